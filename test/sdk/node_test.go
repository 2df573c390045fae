package sdk_test

import (
	"context"
	"os/exec"
	"testing"
)

// TestNode runs the Node SDKs: azure-iot-device with its transports and
// azure-iothub.
func TestNode(t *testing.T) {
	drive := nodeDriver(t)
	r := start(t)
	areas(t, r, []area{{"mqtt", false}, {"mqttws", true}, {"amqp", false}, {"amqpws", true}, {"http", true}, {"service", true}}, drive(r))
}

// TestNodeBackEnd runs the Node SDKs of back ends that take what the hub has to
// tell: azure-iothub over AMQP, whose areas would take each other's feedback,
// and @azure/event-hubs.
func TestNodeBackEnd(t *testing.T) {
	drive := nodeDriver(t)
	r := startQuiet(t)
	areas(t, r, []area{{"backend", false}, {"events", true}}, drive(r))
	areas(t, r, []area{{"backendws", true}}, drive(r))
}

// nodeDriver returns what makes the command for an area of a rig, or skips the
// test.
func nodeDriver(t *testing.T) func(*rig) func(area string) *exec.Cmd {
	t.Helper()
	gate(t)
	node, npm := tool(t, "node"), tool(t, "npm")
	installed(t, "node/package-lock.json", version(t, node), "node/node_modules", func(ctx context.Context) error {
		return command(ctx, "node", npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	})
	return func(r *rig) func(string) *exec.Cmd {
		return func(name string) *exec.Cmd {
			cmd := exec.Command(node, "driver.js", name)
			cmd.Dir = "node"
			cmd.Env = []string{"NODE_EXTRA_CA_CERTS=" + r.Node.CAFile()}
			return cmd
		}
	}
}

// area is a group of cases with a driver process of its own.
type area struct {
	name string
	web  bool // needs HTTPS
}

// areas runs the areas in parallel, each with a proxy.
func areas(t *testing.T, r *rig, all []area, cmd func(area string) *exec.Cmd) {
	ports := []string{mqttPort, amqpPort}
	if r.web == "" {
		ports = append(ports, webPort)
	}
	t.Run("area", func(t *testing.T) {
		for n, a := range all {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				if a.web && r.web != "" {
					unavailable(t, "port %s can't be listened on: %s", webPort, r.web)
				}
				p := newProxy(t, proxyAddresses[n], ports...)
				launch(t, r, p, r.about(proxyAddresses[n]), cmd(a.name)).run(t)
			})
		}
	})
}
