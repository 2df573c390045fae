package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is a writer that tells when a text has been written to it.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	want  string
	found chan struct{}
	once  sync.Once
}

func newWatched(want string) *watched { return &watched{want: want, found: make(chan struct{})} }

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	if strings.Contains(w.text.String(), w.want) {
		w.once.Do(func() { close(w.found) })
	}
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// serving runs nave serve until stop, which returns its exit code.
func serving(t *testing.T, args ...string) (out, stderr *watched, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, stderr = newWatched("NODE_EXTRA_CA_CERTS"), newWatched("Stopping")
	code := make(chan int, 1)
	args = append([]string{"serve", "--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--console", "127.0.0.1:0", "--set", "log.level=warn"}, args...)
	go func() { code <- runContext(ctx, args, newEnv(strings.NewReader(""), out, stderr)) }()
	select {
	case <-out.found:
	case n := <-code:
		t.Fatalf("serve ended with %d: %s%s", n, out, stderr)
	case <-time.After(2 * time.Minute):
		t.Fatalf("serve is not ready: %s%s", out, stderr)
	}
	stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { stop() })
	return out, stderr, stop
}

func clearVariables(t *testing.T) {
	for _, name := range []string{"NAVE_CONSOLE", "NAVE_TOKEN", "NAVE_LOGIN", "NAVE_HUB", "NAVE_DATA", "NAVE_CONFIG"} {
		if old, ok := os.LookupEnv(name); ok {
			os.Unsetenv(name)
			t.Cleanup(func() { os.Setenv(name, old) })
		}
	}
}

// TestServeAgain starts a hub whose first start has failed, and a second one
// on its folder.
func TestServeAgain(t *testing.T) {
	clearVariables(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := filepath.Join(t.TempDir(), "new")
	start := []string{"serve", "--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--data", data, "--console"}
	refused := func(console string, want ...string) {
		t.Helper()
		var out, stderr bytes.Buffer
		if code := run(append(slices.Clone(start), console), strings.NewReader(""), &out, &stderr); code != 1 {
			t.Errorf("serve ended with %d: %s", code, &out)
		}
		for _, text := range want {
			if !strings.Contains(stderr.String(), text) {
				t.Errorf("serve does not say %q: %s", text, &stderr)
			}
		}
	}
	refused(taken.Addr().String(), taken.Addr().String()+" is in use", "To do: Stop what listens there")
	out, _, stop := serving(t, "--data", data)
	device := lineWith(out.String(), "DeviceId=device1")
	if device == "" {
		t.Error("the first device is not made at the first start that succeeds")
	}
	refused("127.0.0.1:0", data+" is in use", "To do: Stop the hub that runs there, or give this one a folder")
	answered(t, "device", "create", "a-first-one", "--data", data)
	stop()
	out, _, _ = serving(t, "--data", data)
	if got := lineWith(out.String(), "DeviceId="); got != device {
		t.Errorf("after the restart the device is %q, before %q", got, device)
	}
}

// TestServe starts a hub as a newcomer does, and again.
func TestServe(t *testing.T) {
	clearVariables(t)
	data := filepath.Join(t.TempDir(), "new")
	out, stderr, stop := serving(t, "--data", data)
	text := out.String()
	for _, want := range []string{"The hub localhost runs.", "CA file      " + data + "/ca.pem", "\nHostName=localhost;SharedAccessKeyName=iothubowner;SharedAccessKey=",
		"\nEndpoint=sb://localhost", "\nHostName=localhost;DeviceId=device1;SharedAccessKey=", "\nnave monitor --data " + data, "\nnave simulate ", "\nnave c2d send device1 'hello'"} {
		if !strings.Contains(text, want) {
			t.Errorf("serve does not print %q:\n%s", want, text)
		}
	}
	device := lineWith(text, "DeviceId=device1")
	if got := strings.TrimSpace(answered(t, "device", "connection-string", "device1", "--data", data)); got != device {
		t.Errorf("the connection string is %q, serve printed %q", got, device)
	}
	if code := stop(); code != 0 || !strings.Contains(stderr.String(), "Stopping") {
		t.Errorf("serve ended with %d: %s", code, stderr)
	}
	out, _, stop = serving(t, "--data", data)
	if got := lineWith(out.String(), "DeviceId=device1"); got != device {
		t.Errorf("after the restart the device is %q, before %q", got, device)
	}
	answered(t, "device", "delete", "device1", "--data", data)
	stop()
	out, _, _ = serving(t, "--data", data)
	if strings.Contains(out.String(), "DeviceId=") {
		t.Error("a deleted device came back")
	}
}

func lineWith(text, part string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// answered runs a command and returns its answer.
func answered(t *testing.T, args ...string) string {
	t.Helper()
	var out, stderr bytes.Buffer
	if code := run(args, strings.NewReader(""), &out, &stderr); code != 0 {
		t.Fatalf("nave %s: %d %s", strings.Join(args, " "), code, &stderr)
	}
	return out.String()
}

func TestServeRefuses(t *testing.T) {
	clearVariables(t)
	for name, args := range map[string][]string{
		"log.level":         {"--set", "log.level=loud"},
		"no value":          {"--set", "log.level"},
		"hosst":             {"--set", "hub.hosst=x"},
		"can't be read":     {"--config", "does-not-exist.yaml"},
		"unknown command":   {"here"},
		"can't start":       {"--https", "256.0.0.1:1"},
		"'nave serve --hel": {"--https", "256.0.0.1:1"},
	} {
		var stderr bytes.Buffer
		all := append([]string{"serve", "--data", filepath.Join(t.TempDir(), "d"), "--mqtt", "off", "--amqp", "off", "--console", "off"}, args...)
		if code := run(all, strings.NewReader(""), io.Discard, &stderr); code == 0 || !strings.Contains(stderr.String(), name) {
			t.Errorf("serve %v: %d %s", args, code, &stderr)
		}
	}
}
