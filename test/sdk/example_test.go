package sdk_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
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
		cmd, out := r.run(t, python, "../../examples/python/device.py", r.example(t, "example-python"), r.Node.CAFile(), "1")
		if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "message 1 is on the hub's disk") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("node device and back end", func(t *testing.T) {
		device, said := r.run(t, "node", "../../examples/node/device.js", r.example(t, "example-node"), "30")
		defer device.Wait()
		defer device.Process.Kill()
		service, events := r.strings(t)
		ready := func() bool {
			i, err := r.Backend.Device(t.Context(), nave.ID{Device: "example-node"})
			return err == nil && i.Presence.Connected
		}
		for !ready() {
			if t.Context().Err() != nil {
				t.Fatalf("the device never came: %s", said)
			}
			time.Sleep(20 * time.Millisecond)
		}
		cmd, out := r.run(t, "node", "../../examples/node/backend.js", service, events, "example-node")
		err := cmd.Wait()
		for _, want := range []string{"desired interval is 10", `"status":200`, `"statusCode":"Success"`, "event of example-node"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing, %v: %s", want, err, out)
			}
		}
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
			cmd, out := r.run(t, command[0], append(command[1:], dpsAddress, r.Node.DPS().Scope(), id, e.Attestation.Keys()[0], "1")...)
			if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), " as "+id) || !strings.Contains(out.String(), "message 1 is on the hub's disk") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// run starts a program that trusts the node's CA and finds the npm packages.
func (r *rig) run(t *testing.T, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	modules, err := filepath.Abs("node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(cmd.Environ(), "NODE_PATH="+modules, "NODE_EXTRA_CA_CERTS="+r.Node.CAFile(), "SSL_CERT_FILE="+r.Node.CAFile())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
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
