package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("NAVE_BUS_CHILD"); dir != "" {
		os.Exit(child(dir))
	}
	code := m.Run()
	if code == 0 {
		if err := left(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// left returns the goroutines that do not end; the last ones of a server do so a
// moment after it.
func left() (err error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// openBus opens a bus that the test closes at its end.
func openBus(t testing.TB, o bus.Options) *bus.Bus {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet()
	}
	b, err := bus.Open(limit(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *bus.Bus) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func openLog(t testing.TB, b *bus.Bus, name string, o bus.LogOptions) *bus.Log {
	t.Helper()
	l, err := b.Log(limit(t), name, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// limit returns a context that ends before the test binary would.
func limit(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// put appends and waits.
func put(t testing.TB, l *bus.Log, events ...*nave.Event) {
	t.Helper()
	done := make(chan error, 1)
	l.AppendAll(events, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// reader opens a reader that the test closes.
func reader(t testing.TB, l *bus.Log, partition int, from nave.Position) *bus.Reader {
	t.Helper()
	r, err := l.Read(partition, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// read returns the next n events, or more when the last batch has more.
func read(t testing.TB, r *bus.Reader, n int) []*nave.Event {
	t.Helper()
	var all []*nave.Event
	ctx := limit(t)
	for len(all) < n {
		events, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(all), n, err)
		}
		all = append(all, events...)
	}
	return all
}
