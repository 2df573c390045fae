package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/console"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// consoleFile tells the command line where the console is and what opens it.
const consoleFile = "console.json"

// doorplate is what stands in consoleFile.
type doorplate struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

// openConsole serves the operator's API, with the token of the last start.
func (n *Node) openConsole(address string) error {
	if address == "" || address == "off" {
		return nil
	}
	l, _, err := bind(address)
	if err != nil {
		return err
	}
	n.listening.add("console", l)
	file := filepath.Join(n.conf.Data, consoleFile)
	var plate doorplate
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &plate)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("the console gets a new token", "node", n.name, "err", err)
	}
	if plate.Token == "" {
		plate.Token, n.first = rand.Text(), true
	}
	plate.URL = "http://" + l.Addr().String()
	if text, err = json.Marshal(plate); err == nil {
		err = writeFile(file, append(text, '\n'), 0o600)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	host, _, _ := net.SplitHostPort(l.Addr().String())
	o := console.Options{Hubs: n.Hubs(), Rest: n.rest, Control: func(h *hub.Hub) *control.Control { return n.Control(h.Host()) }, Token: plate.Token, Hosts: []string{host}, Version: n.version,
		Node: n.name, Addresses: n.addresses, CAFile: n.CAFile(), Recent: n.recent, Log: n.log}
	if n.dps != nil {
		o.DPS, o.DPSRest = n.dps.service, n.dps.http.Operator()
	}
	o.Connectivity = n.operate()
	n.serve(l, console.New(o))
	return nil
}

// rest returns the service REST of a hub as its operator.
func (n *Node) rest(h *hub.Hub) http.Handler {
	for _, s := range n.sites {
		if s.hub == h {
			return s.http.As(hub.Operator())
		}
	}
	return http.NotFoundHandler()
}

// addresses returns every listener with its address.
func (n *Node) addresses() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"https", "mqtt", "mqttPlain", "amqp", "amqpPlain", "console"} {
		if a := n.Address(name); a != "" {
			all[name] = a
		}
	}
	return all
}

// report keeps a failure that a hub had, for whoever asks why.
func (n *Node) report(c *Hub) func(string, nave.ID, *fault.Error) {
	return func(op string, on nave.ID, why *fault.Error) { n.recent.Record(c.Host, op, on, why) }
}
