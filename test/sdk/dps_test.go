package sdk_test

import (
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// Addresses of the provisioning service and of a second hub. The SDKs send no
// server name when they dial an address, so what they want is told by the
// address they dialled, and the node listens on all of them.
const (
	dpsAddress    = "127.0.0.78"
	secondAddress = "127.0.0.79"
)

// provisioning is what drivers of devices to be provisioned need.
type provisioning struct {
	// Set by startDPS, then read only:
	owner *cred.ConnectionString
	http  *http.Client
	tpm   string // program with the software TPM; set before the drivers that need one

	// Guarded by mu:
	mu    sync.Mutex
	roots map[string]*cred.CA // uploaded
	tpms  []*exec.Cmd         // running
}

// startDPS runs a node with a provisioning service and two hubs until the test
// ends, or skips the test.
func startDPS(t *testing.T) *rig {
	t.Helper()
	for _, port := range []string{mqttPort, amqpPort, webPort} {
		if err := free("0.0.0.0", port); err != nil {
			unavailable(t, "the provisioning service can't listen: %v", err)
		}
	}
	all := func(port string) string { return net.JoinHostPort("0.0.0.0", port) }
	c, err := node.Load("", nil, map[string]any{"data": t.TempDir(), "hub.host": hubAddress, "dps.host": dpsAddress, "listen.mqtt": all(mqttPort),
		"listen.https": all(webPort), "listen.amqp": all(amqpPort), "listen.console": "off"})
	if err != nil {
		t.Fatal(err)
	}
	second := c.Hub
	second.Host = secondAddress
	c.Hubs = []node.Hub{second}
	r, two := newRig(), newRig()
	r.Kit = navetest.Run(t, c)
	two.Kit = r.Kit.At(1)
	r.hubs = map[string]*rig{hubAddress: r, secondAddress: two}
	r.follow(t)
	two.follow(t)
	text, err := r.Node.DPS().OwnerConnection(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.dps = &provisioning{roots: map[string]*cred.CA{}, http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: r.TLS()}}}
	r.dps.http.Transport.(*http.Transport).TLSClientConfig.ServerName = dpsAddress
	t.Cleanup(r.dps.http.CloseIdleConnections)
	t.Cleanup(r.dps.endTPMs)
	if r.dps.owner, err = cred.ParseConnectionString(text); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDPS provisions devices from nothing with the vendors' clients: they
// register, connect to the hub they got and send telemetry.
func TestDPS(t *testing.T) {
	node := nodeDriver(t)
	python := environment(t, tool(t, "python3"), "python/requirements.txt", filepath.Join("python", ".venv", "device"))
	r := startDPS(t)
	js := node(r)
	py := func(name string) *exec.Cmd {
		cmd := exec.Command(python, "-B", "driver.py", name)
		cmd.Dir = "python"
		return cmd
	}
	t.Run("area", func(t *testing.T) {
		var work sync.WaitGroup
		defer work.Wait()
		work.Go(func() { together(t, r, "node", js, nodeAreas...) })
		work.Go(func() { together(t, r, "python", py, pythonAreas...) })
		work.Go(func() {
			t.Run("tpm", func(t *testing.T) {
				r.dps.buildTPM(t)
				together(t, r, "node", js, "dps-http-tpm", "dps-amqp-tpm", "dps-amqpws-tpm")
			})
		})
	})
	// What the others would notice comes after them.
	t.Run("throttled", func(t *testing.T) {
		launchArea(t, r, "node", js, "dps-throttled")
		launchArea(t, r, "python", py, "dps-throttled")
	})
}

var (
	nodeAreas = []string{"dps-mqtt-key", "dps-mqtt-cert", "dps-mqttws-key", "dps-mqttws-cert", "dps-amqp-key", "dps-amqp-cert",
		"dps-amqpws-key", "dps-amqpws-cert", "dps-http-key", "dps-http-cert", "dps-service", "dps-hubs"}
	pythonAreas = []string{"dps-mqtt-sync-key", "dps-mqtt-sync-cert", "dps-mqtt-async-key", "dps-mqtt-async-cert",
		"dps-mqttws-sync-key", "dps-mqttws-sync-cert", "dps-mqttws-async-key", "dps-mqttws-async-cert"}
)

// together runs the areas at the same time: most of their time is waiting.
func together(t *testing.T, r *rig, language string, cmd func(area string) *exec.Cmd, areas ...string) {
	var work sync.WaitGroup
	defer work.Wait()
	for _, name := range areas {
		work.Go(func() { launchArea(t, r, language, cmd, name) })
	}
}

func launchArea(t *testing.T, r *rig, language string, cmd func(area string) *exec.Cmd, name string) {
	t.Run(language+"-"+name, func(t *testing.T) { launch(t, r, newProxy(t, ""), r.about(""), cmd(name)).run(t) })
}
