package console

import (
	"context"
	"net"
	"net/http"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/hub"
)

// status is what GET /api/status answers.
type status struct {
	Version   string            `json:"version"`
	Node      string            `json:"node"`
	Addresses map[string]string `json:"addresses"` // by listener
	CAFile    string            `json:"caFile,omitempty"`
	Hubs      []hubStatus       `json:"hubs"`
	DPS       *dpsStatus        `json:"dps,omitempty"` // nil when it is off
}

type hubStatus struct {
	Host        string `json:"host"`
	Connections int    `json:"connections"` // on this node, devices and modules
	Devices     int    `json:"devices"`
	Enabled     int    `json:"enabled"`
	Disabled    int    `json:"disabled"`
	Modules     int    `json:"modules"`
	Connected   int    `json:"connected"` // devices, on all nodes
	Partitions  int    `json:"partitions"`
	Problem     string `json:"problem,omitempty"` // why the counts are missing
}

func (s *server) status(ctx context.Context) *status {
	out := &status{Version: s.o.Version, Node: s.o.Node, Addresses: s.o.Addresses(), CAFile: s.o.CAFile}
	for _, h := range s.o.Hubs {
		one := hubStatus{Host: h.Host(), Connections: h.Connections(), Partitions: h.Partitions()}
		if n, err := h.Backend(hub.Operator()).Statistics(ctx); err != nil {
			one.Problem = err.Error()
		} else {
			one.Devices, one.Enabled, one.Disabled, one.Modules, one.Connected = n.Devices, n.Enabled, n.Disabled, n.Modules, n.Connected
		}
		out.Hubs = append(out.Hubs, one)
	}
	out.DPS = s.dpsStatus(ctx)
	return out
}

func (s *server) showStatus(w http.ResponseWriter, r *http.Request) {
	answer(w, s.status(r.Context()))
}

// connections is what clients need to reach a hub.
type connections struct {
	Host     string            `json:"host"`
	Service  string            `json:"service,omitempty"`  // for service SDKs, policy iothubowner
	Events   string            `json:"eventHub,omitempty"` // for Event Hubs clients, policy service
	Policies map[string]string `json:"policies"`           // connection string by policy
	CAFile   string            `json:"caFile,omitempty"`
}

func (s *server) showStrings(h *hub.Hub, w http.ResponseWriter, r *http.Request) error {
	out := connections{Host: h.Host(), Policies: map[string]string{}, CAFile: s.o.CAFile}
	for _, p := range h.Policies() {
		c := cred.ConnectionString{HostName: h.Host(), Policy: p.Name, Key: p.Primary}
		out.Policies[p.Name] = c.String()
	}
	out.Service = out.Policies["iothubowner"]
	if p, ok := reader(h); ok {
		c := cred.ConnectionString{Endpoint: "sb://" + s.readerHost(h) + "/", Policy: p.Name, Key: p.Primary, EntityPath: h.Name()}
		out.Events = c.String()
	}
	return answer(w, out)
}

// readerHost is the host of the Event Hubs-compatible endpoint, with its port
// unless it is the usual one.
func (s *server) readerHost(h *hub.Hub) string {
	_, port, err := net.SplitHostPort(s.o.Addresses()["amqp"])
	if err != nil || port == "5671" {
		return h.Host()
	}
	return net.JoinHostPort(h.Host(), port)
}

// reader returns the policy for event readers: service, or the first that
// suffices.
func reader(h *hub.Hub) (nave.Policy, bool) {
	if p, ok := h.Policy("service"); ok && p.Rights.Has(nave.ServiceConnect) {
		return p, true
	}
	for _, p := range h.Policies() {
		if p.Rights.Has(nave.ServiceConnect) {
			return p, true
		}
	}
	return nave.Policy{}, false
}
