package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/load"
	"github.com/nave-hub/nave/internal/mqtt"
)

// reach says where a hub is dialled, when not at the usual ports of its host.
type reach struct {
	mqtt, https, amqp string
	insecure          bool
}

func (r *reach) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.mqtt, "mqtt", "", "host:port to dial for MQTT over TLS (port 8883 of the hub's host)")
	f.StringVar(&r.https, "https", "", "host:port to dial for the service REST (port 443 of the hub's host)")
	f.BoolVar(&r.insecure, "insecure", false, "trust any server certificate; for tests only")
}

// flagAMQP adds what only measurements over AMQP need.
func (r *reach) flagAMQP(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.amqp, "amqps", "", "host:port to dial for AMQP over TLS (port 5671 of the hub's host)")
}

// loadHub is a hub as load sees it.
type loadHub struct {
	*load.Service
	plainPorts
}

// plainPorts are host:port of the node's listeners without TLS, "" where there is none.
type plainPorts struct{ plain, plainAMQP string }

// loadHub returns the hub of --login, or that of the node on this machine.
func (e *env) loadHub(ctx context.Context, r *reach, parallel int) (*loadHub, error) {
	o := load.ServiceOptions{HTTPS: r.https, MQTT: r.mqtt, AMQP: r.amqp, Parallel: parallel}
	login, plain := e.login, plainPorts{}
	if login == "" {
		c, err := e.operator(ctx)
		if err != nil {
			return nil, err
		}
		if login, plain, err = c.ports(ctx, &o); err != nil {
			return nil, err
		}
	}
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, InsecureSkipVerify: r.insecure}
	s, err := load.OpenService(login, o)
	if err != nil {
		return nil, misuse("Copy the string from 'nave policy connection-string iothubowner'.", "the connection string is unusable: %v", err)
	}
	return &loadHub{Service: s, plainPorts: plain}, nil
}

// ports asks the console for a connection string, and where the node listens.
func (c *client) ports(ctx context.Context, o *load.ServiceOptions) (login string, plain plainPorts, err error) {
	var at struct {
		Addresses map[string]string `json:"addresses"`
		CAFile    string            `json:"caFile"`
	}
	var strings struct {
		Service string `json:"service"`
	}
	if err := c.ask(ctx, http.MethodGet, "/api/status", nil, &at); err != nil {
		return "", plain, err
	}
	if err := c.askHub(ctx, http.MethodGet, "/strings", nil, &strings); err != nil {
		return "", plain, err
	}
	if strings.Service == "" {
		return "", plain, trouble("Create it with 'nave policy', or give another one's connection string with --login.", "the hub has no policy iothubowner")
	}
	if c.e.ca == "" {
		c.e.ca = at.CAFile
	}
	u, err := url.Parse(c.base)
	if err != nil {
		return "", plain, err
	}
	if o.HTTPS == "" {
		o.HTTPS = dialable(at.Addresses["https"], u.Hostname())
	}
	if o.MQTT == "" {
		o.MQTT = dialable(at.Addresses["mqtt"], u.Hostname())
	}
	if o.AMQP == "" {
		o.AMQP = dialable(at.Addresses["amqp"], u.Hostname())
	}
	return strings.Service, plainPorts{dialable(at.Addresses["mqttPlain"], u.Hostname()), dialable(at.Addresses["amqpPlain"], u.Hostname())}, nil
}

// dialable puts a host in place of the address for "all addresses".
func dialable(listening, host string) string {
	name, port, err := net.SplitHostPort(listening)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(name); name == "" || ip != nil && ip.IsUnspecified() {
		name = host
	}
	return net.JoinHostPort(name, port)
}

// loadFailure gives the errors of load their remedy.
func loadFailure(err error) error {
	var status *load.StatusError
	var exists *load.ExistsError
	var refused *mqtt.RefusedError
	var unknown x509.UnknownAuthorityError
	var dial *net.OpError
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &exists):
		return trouble("Choose another --prefix; or --reuse, which gives these devices new keys.", "%w", err)
	case errors.As(err, &status):
		for _, c := range fault.Find(status.Code) {
			if c.Family == fault.Hub && c.Name == status.Code {
				return &failure{text: err.Error(), fix: c.Fix, code: c, cause: err}
			}
		}
	case errors.As(err, &refused):
		return trouble("Check the connection string, and the clock of this machine. A node logs why it refused.", "%w", err)
	case errors.As(err, &unknown):
		return trouble("Name the hub's CA with --ca FILE; a node keeps it as ca.pem in its data folder.", "%w", err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return trouble("Check the address, and that the server runs: --https, --mqtt and --amqps name other ports, --url a broker.", "%w", err)
	}
	return err
}

// withDevices creates devices, calls f and deletes them, also after Ctrl-C.
func (e *env) withDevices(ctx context.Context, h *loadHub, devices []load.Device, o keepOptions, f func() error) error {
	p := e.progress("Creating devices")
	created, err := h.Create(ctx, devices, o.reuse, p.step)
	p.end()
	if err == nil {
		err = f()
	}
	if len(created) == 0 || o.keep && err == nil || o.reuse {
		return loadFailure(err)
	}
	p = e.progress("Deleting devices")
	gone := h.Delete(context.WithoutCancel(ctx), created, p.step)
	p.end()
	if gone != nil {
		gone = fmt.Errorf("the devices %s to %s could not be deleted: %w", created[0].ID, created[len(created)-1].ID, gone)
	}
	if err == nil {
		err = gone
	} else if gone != nil {
		e.say("%s %s", paint(e.colorErr, yellow, "warning:"), oneLine(gone.Error()))
	}
	return loadFailure(err)
}

// keepOptions say what becomes of devices before and after.
type keepOptions struct{ keep, reuse bool }
