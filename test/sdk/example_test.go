package sdk_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// TestExamples runs what stands in examples: the devices in both languages, and
// the back end against the device that is connected.
func TestExamples(t *testing.T) {
	nodeDriver(t)
	python := environment(t, tool(t, "python3"), "python/requirements.txt", "python/.venv/device")
	r := startQuiet(t)
	if r.web != "" {
		unavailable(t, "port %s can't be listened on: %s", webPort, r.web)
	}
	t.Run("python device", func(t *testing.T) {
		p := r.run(t, python, "../../examples/python/device.py", r.example(t, "example-python"), r.Node.CAFile(), "1")
		p.ends(t, "message 1 is on the hub's disk")
	})
	t.Run("node device and back end", func(t *testing.T) {
		device := r.run(t, "node", "../../examples/node/device.js", r.example(t, "example-node"), "600")
		device.until(t, "reported firmware 1.4.2") // which it sends after it subscribed to everything
		service, events := r.strings(t)
		p := r.run(t, "node", "../../examples/node/backend.js", service, events, "example-node")
		p.ends(t, "desired interval is 10", `"status":200`, `"statusCode":"Success"`, "event of example-node")
		device.until(t, `desired properties: {"interval":10`)
		device.until(t, `method reboot: {"delay":5}`)
		device.until(t, "message from the cloud: hello device")
	})
}

// TestProvisioningExamples has the devices of examples provision themselves.
func TestProvisioningExamples(t *testing.T) {
	nodeDriver(t)
	python := environment(t, tool(t, "python3"), "python/requirements.txt", "python/.venv/device")
	r := startDPS(t)
	for id, command := range map[string][]string{"example-node": {"node", "../../examples/node/provision.js"}, "example-python": {python, "../../examples/python/provision.py"}} {
		t.Run(id, func(t *testing.T) {
			e, err := dps.ParseEnrollment([]byte(`{"registrationId":"`+id+`","attestation":{"type":"symmetricKey"}}`), false)
			if err == nil {
				e, err = r.Node.DPS().Operator().PutEnrollment(t.Context(), id, e, dps.Match{})
			}
			if err != nil {
				t.Fatal(err)
			}
			p := r.run(t, command[0], append(command[1:], dpsAddress, r.Node.DPS().Scope(), id, e.Attestation.Keys()[0], "1")...)
			p.ends(t, " as "+id, "message 1 is on the hub's disk")
		})
	}
}

// program is one that runs until the test ends.
type program struct {
	ended chan struct{} // closed when it has, with err set
	err   error

	// Guarded by mu:
	mu   sync.Mutex
	text strings.Builder // what it printed
	more chan struct{}   // closed and replaced when it prints
}

// Write takes what the program prints.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.more)
	p.more = make(chan struct{})
	return p.text.Write(b)
}

func (p *program) printed() (text string, more chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String(), p.more
}

// until returns when the program has printed the text; it is an error to end
// before.
func (p *program) until(t *testing.T, want string) {
	t.Helper()
	for {
		text, more := p.printed()
		if strings.Contains(text, want) {
			return
		}
		select {
		case <-more:
		case <-p.ended:
			p.ends(t, want)
			return
		}
	}
}

// ends waits for the end of the program, which has to go well and to have
// printed everything.
func (p *program) ends(t *testing.T, all ...string) {
	t.Helper()
	<-p.ended
	text, _ := p.printed()
	for _, want := range all {
		if p.err == nil && !strings.Contains(text, want) {
			p.err = fmt.Errorf("%q is missing", want)
		}
	}
	if p.err != nil {
		t.Fatalf("%v: %s", p.err, text)
	}
}

// run starts a program that trusts the node's CA and finds the npm packages. It
// is killed when the test ends, or hangs.
func (r *rig) run(t *testing.T, name string, args ...string) *program {
	t.Helper()
	modules, err := filepath.Abs("node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	p := &program{ended: make(chan struct{}), more: make(chan struct{})}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = p, p
	cmd.Env = append(cmd.Environ(), "NODE_PATH="+modules, "NODE_EXTRA_CA_CERTS="+r.Node.CAFile(), "SSL_CERT_FILE="+r.Node.CAFile())
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// example registers a device and returns its connection string.
func (r *rig) example(t *testing.T, name string) string {
	t.Helper()
	d := r.Device(name)
	return (&cred.ConnectionString{HostName: hubAddress, DeviceID: name, Key: d.Key}).String()
}

// strings returns what a back end connects with.
func (r *rig) strings(t *testing.T) (service, events string) {
	t.Helper()
	p, ok := r.Hub.Policy("iothubowner")
	if !ok {
		t.Fatal("no policy iothubowner")
	}
	service = (&cred.ConnectionString{HostName: hubAddress, Policy: p.Name, Key: p.Primary}).String()
	events = "Endpoint=sb://" + hubAddress + "/;SharedAccessKeyName=" + p.Name + ";SharedAccessKey=" + p.Primary + ";EntityPath=" + r.Hub.Name()
	return service, events
}
