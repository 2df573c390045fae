package amqp_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/nave-hub/nave/internal/amqp"
)

// The Python binding of qpid-proton as partner. Debian: python3-qpid-proton.
func TestProton(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import proton").Run(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("python3-qpid-proton is missing: %v", err)
		}
		t.Skip("python3-qpid-proton is missing")
	}
	check := func(mechanism string, response []byte) error {
		if _, u, p, _ := amqp.ParsePlain(response); mechanism == amqp.Plain && (u != "u" || p != "p") {
			return errors.New("wrong user or password")
		}
		return nil
	}
	for _, scenario := range []string{"echo", "anonymous", "plain", "frames", "large", "settled", "second", "heartbeat", "refused", "rejected", "drain"} {
		t.Run(scenario, func(t *testing.T) {
			_, address := start(t, amqp.Options{SASL: check})
			out, err := exec.CommandContext(within(t), python, "testdata/proton_peer.py", address, scenario).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
