package node

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/dpsapi"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/mqtt"
)

// DPS is the provisioning service beside the hubs.
type DPS struct {
	Enabled   bool              `koanf:"enabled" default:"true" doc:"Serve a provisioning service (DPS), linked to the hubs of this process."`
	Host      string            `koanf:"host" default:"" doc:"Host name of its two endpoints; empty: dps. before the first hub's name, and 127.0.0.2 when that is localhost."`
	Aliases   []string          `koanf:"aliases" doc:"Other names and addresses that clients dial for it, such as global.azure-devices-provisioning.net."`
	Scope     string            `koanf:"idScope" default:"" doc:"Id scope of a new service, such as 0ne0000ABCD; empty: made at random once."`
	LinkedCA  string            `koanf:"linkedCA" default:"" doc:"PEM file with CAs that vouch for linked hubs elsewhere, besides those of the system."`
	Locations map[string]string `koanf:"locations" doc:"Network (10.0.0.0/8) to location, for the allocation policy geoLatency."`
	Policies  []Policy          `koanf:"policies" doc:"Shared access policies with fixed keys, name, rights, primaryKey, secondaryKey; provisioningserviceowner is made at the first start."`
}

// loopbackDPS is the host of the provisioning service beside a hub on
// localhost: SDKs dial fixed ports, so it needs a name or address of its own,
// and this one needs no resolver.
const loopbackDPS = "127.0.0.2"

// answerPause is what a device waits at least for an answer over MQTT and AMQP,
// see dpsapi.DeviceOptions.
const answerPause = 50 * time.Millisecond

// dpsHost returns the host name of the provisioning service.
func (c *Config) dpsHost() string {
	switch host := strings.ToLower(c.Hub.Host); {
	case c.DPS.Host != "":
		return strings.ToLower(c.DPS.Host)
	case host == "localhost" || net.ParseIP(host) != nil:
		return loopbackDPS
	default:
		return "dps." + host
	}
}

// noteDPS says when the listeners leave out the address of the provisioning
// service.
func (n *Node) noteDPS() {
	if n.dps == nil || n.conf.dpsHost() != loopbackDPS {
		return
	}
	c := n.conf.Listen
	for _, l := range []struct{ name, address string }{{"https", c.HTTPS}, {"mqtt", c.MQTT}, {"amqp", c.AMQP}} {
		host, port, err := net.SplitHostPort(l.address)
		if at := net.ParseIP(host); err == nil && at != nil && !at.IsUnspecified() && host != loopbackDPS {
			n.notes = append(n.notes, fmt.Sprintf("listen.%s is %s, so the provisioning service can't be reached at %s. Leave the address out (:%s), or set dps.host.",
				l.name, l.address, loopbackDPS, port))
			return
		}
	}
}

func (c *DPS) check() error {
	_, err := c.locate()
	return err
}

// locate returns the location of an address, by the narrowest network.
func (c *DPS) locate() (func(remote string) string, error) {
	networks := map[netip.Prefix]string{}
	for text, location := range c.Locations {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("dps.locations: %q is no network such as 10.0.0.0/8", text)
		}
		networks[p] = location
	}
	return func(remote string) (location string) {
		at, err := netip.ParseAddrPort(remote)
		if err != nil {
			return ""
		}
		bits := -1
		for p, l := range networks {
			if p.Bits() > bits && p.Contains(at.Addr().Unmap()) {
				bits, location = p.Bits(), l
			}
		}
		return location
	}, nil
}

// provisioning is the provisioning service with its surfaces.
type provisioning struct {
	gate    *gate.Gate
	service *dps.Service
	http    *dpsapi.Server
	mqtt    *dpsapi.MQTT
	amqp    *dpsapi.AMQP
}

// openDPS starts the provisioning service, once the hubs are open.
func (n *Node) openDPS(ctx context.Context) error {
	c := &n.conf.DPS
	if !c.Enabled {
		return nil
	}
	key, err := n.secretKey(ctx)
	if err != nil {
		return err
	}
	locate, err := c.locate()
	if err != nil {
		return err
	}
	host := n.conf.dpsHost()
	db := n.db.Scope("dps:" + host)
	remote := dps.NewRemote
	if c.LinkedCA != "" {
		roots, err := trusted("dps.linkedCA", c.LinkedCA)
		if err != nil {
			return err
		}
		web := dps.RemoteClient(roots)
		remote = func(connection string) (dps.Target, error) { return dps.NewRemoteOver(connection, web) }
	}
	p := &provisioning{}
	if p.gate, err = gate.New(ctx, gate.Options{Hub: host, DB: db, Now: n.now, Log: n.log}); err != nil {
		return err
	}
	p.service, err = dps.Open(ctx, dps.Options{Host: host, Aliases: c.Aliases, Scope: newScope(c.Scope), DB: db, Bus: n.bus, Gate: p.gate,
		Local: n.target, Remote: remote, Locate: locate, Key: key,
		Report: func(op, registration string, why *fault.Error) {
			n.recent.Record(host, op, nave.ID{Device: registration}, withCause(why))
		}, Log: n.log})
	if err != nil {
		return errors.Join(err, p.gate.Close())
	}
	p.http = dpsapi.New(dpsapi.Options{Service: p.service, Log: n.log})
	o := dpsapi.DeviceOptions{Services: []*dps.Service{p.service}, Log: n.log, Pause: answerPause}
	p.mqtt, p.amqp = dpsapi.NewMQTT(o), dpsapi.NewAMQP(o)
	n.dps = p
	return n.seedDPS(ctx)
}

// withCause returns a failure with what lies behind it, which devices are not
// told: whether an enrolment exists is not their business, but the operator's.
func withCause(why *fault.Error) *fault.Error {
	cause := errors.Unwrap(why)
	if cause == nil {
		return why
	}
	told := *why
	told.Text += " (" + cause.Error() + ")"
	return &told
}

// newScope returns the id scope for a new service, in the published form.
func newScope(configured string) string {
	if configured != "" {
		return configured
	}
	var b [4]byte
	rand.Read(b[:])
	return "0ne" + strings.ToUpper(hex.EncodeToString(b[:]))
}

// target returns a hub of this process for the provisioning service.
func (n *Node) target(host string) dps.Target {
	for _, s := range n.sites {
		if strings.EqualFold(s.hub.Host(), host) {
			return dps.LocalTarget(s.hub)
		}
	}
	return nil
}

// seedDPS links the hubs of this process, and puts the policies of the
// configuration into the service.
func (n *Node) seedDPS(ctx context.Context) error {
	var hosts []string
	for _, s := range n.sites {
		hosts = append(hosts, s.hub.Host())
	}
	if err := n.dps.service.LinkLocal(ctx, hosts); err != nil {
		return err
	}
	for _, p := range n.conf.DPS.Policies {
		rights, err := dps.ParseRight(p.Rights)
		if err == nil {
			err = n.dps.service.SetPolicy(ctx, &dps.Policy{Name: p.Name, Rights: rights, Primary: p.Primary, Secondary: p.Secondary})
		}
		if err != nil {
			return fmt.Errorf("dps.policies: %w", err)
		}
	}
	return nil
}

// closeDPS ends the provisioning service; before the hubs.
func (n *Node) closeDPS() error {
	if n.dps == nil {
		return nil
	}
	return errors.Join(n.dps.service.Close(), n.dps.gate.Close())
}

// DPS returns the provisioning service, nil when it is off.
func (n *Node) DPS() *dps.Service {
	if n.dps == nil {
		return nil
	}
	return n.dps.service
}

// forDPS says whether a connection is for the provisioning service: by the name
// that the client dialled or, where it dialled an address, by that.
func (n *Node) forDPS(server string, nc net.Conn) bool {
	if n.dps == nil {
		return false
	}
	if server != "" {
		return n.dps.service.Answers(server)
	}
	host, _, err := net.SplitHostPort(nc.LocalAddr().String())
	return err == nil && n.dps.service.Answers(host)
}

// dpsRequest says whether an HTTP request is for the provisioning service: by
// its host, or on a hub's host by the path of the device API.
func (n *Node) dpsRequest(r *http.Request) bool {
	if n.dps == nil {
		return false
	}
	if n.dps.service.Answers(r.Host) {
		return true
	}
	scope, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	word, _, _ := strings.Cut(rest, "/")
	return strings.EqualFold(word, "registrations") && n.dps.service.Serves(scope)
}

// serveDPS serves a request for the provisioning service; MQTT and AMQP may come
// in a WebSocket (dps 2.6).
func (n *Node) serveDPS(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if !websocket.IsWebSocketUpgrade(r) || !dpsapi.IsSocketPath(r.URL.Path) {
		n.dps.http.ServeHTTP(w, r)
		return
	}
	nc, protocol := upgrade(w, r, dpsapi.MQTTProtocol, dpsapi.AMQPProtocol)
	var certs []*x509.Certificate
	if r.TLS != nil && !dpsapi.WithoutCertificate(protocol, r.URL.RawQuery) {
		certs = r.TLS.PeerCertificates
	}
	switch protocol {
	case dpsapi.MQTTProtocol:
		n.work.Go(func() {
			defer untilEnd(ctx, nc)()
			session, p, err := mqtt.Accept(nc, mqtt.Options{Versions: mqtt.V311, LooseTopics: true, ConnectTimeout: handshakeTimeout})
			if err != nil {
				n.log.Debug("no CONNECT on a WebSocket to the provisioning service", "node", n.name, "peer", nc.RemoteAddr().String(), "err", err)
				nc.Close()
				return
			}
			n.dps.mqtt.ServeSession(ctx, session, p, certs, "mqttws")
		})
	case dpsapi.AMQPProtocol:
		n.work.Go(func() { n.dps.amqp.Serve(ctx, nc, certs, "amqpws") })
	}
}
