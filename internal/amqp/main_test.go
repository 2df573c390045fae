package amqp

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := leaks(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leaks gives goroutines that are about to end a minute, as goleak by itself
// looks for less than a second.
func leaks() (err error) {
	for late := time.Now().Add(time.Minute); time.Now().Before(late); {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}
