package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/console"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/controlapi"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubamqp"
	"github.com/nave-hub/nave/internal/hubhttp"
	"github.com/nave-hub/nave/internal/hubmqtt"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/store"
)

// Options are what a node gets from the program around it.
type Options struct {
	Log     *slog.Logger
	Now     func() time.Time
	Version string
}

// site is one hub with its surfaces.
type site struct {
	conf *Hub
	gate *gate.Gate
	hub  *hub.Hub
	mqtt *hubmqtt.Server
	amqp *hubamqp.Server
	http *hubhttp.Server

	// iot/v1, nil when it is off:
	control  *control.Control
	tokens   *oauth.Server
	firmware *controlapi.Server
	binding  *controlapi.MQTTServer
}

// Node is one running process.
type Node struct {
	// Set by Start, then read only:
	conf    *Config
	name    string
	version string
	folder  *os.File // the data folder, locked
	log     *slog.Logger
	now     func() time.Time
	db      *store.DB
	bus     *bus.Bus
	tls     *identity
	sites   []*site
	dps     *provisioning // nil when it is off
	sims    *connectivity
	notes   []string
	first   bool // the console opens for the first time
	recent  *console.Recent
	stop    context.CancelFunc
	servers []*http.Server

	listening listeners
	wires     hub.Wires
	work      sync.WaitGroup
}

// Start opens store, bus and hubs, and listens. Close ends it.
func Start(ctx context.Context, c *Config, o Options) (n *Node, err error) {
	n = &Node{conf: c, log: o.Log, now: o.Now, version: o.Version, recent: console.NewRecent(0)}
	if n.log == nil {
		n.log = slog.Default()
	}
	if n.now == nil {
		n.now = time.Now
	}
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err = n.start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) (err error) {
	c := n.conf
	if err = os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("the data folder: %w", err)
	}
	if n.folder, err = lockFolder(c.Data); err != nil {
		return err
	}
	if n.name, err = nodeName(c); err != nil {
		return err
	}
	if n.tls, err = openIdentity(c.Data, c.TLS, certificateNames(c)); err != nil {
		return err
	}
	url := c.Store
	if url == "" {
		url = "sqlite:" + filepath.Join(c.Data, "nave.db")
	}
	if n.db, err = store.Open(ctx, url, store.Options{Now: n.now, Log: n.log}); err != nil {
		return err
	}
	dir := ""
	if c.Bus == "" {
		dir = filepath.Join(c.Data, "log")
	}
	if n.bus, err = bus.Open(ctx, bus.Options{Dir: dir, URL: c.Bus, Replicas: c.Replicas, Node: n.name, Now: n.now, Log: n.log}); err != nil {
		return busError(c, err)
	}
	for i, h := range c.hubs() {
		s, err := n.openHub(ctx, h, i == 0)
		if err != nil {
			return err
		}
		n.sites = append(n.sites, s)
	}
	if err := n.openConnectivity(ctx); err != nil {
		return err
	}
	if err := n.openDPS(ctx); err != nil {
		return err
	}
	return n.listen(ctx)
}

// ErrInUse is in the error of Start when another node runs with the data folder.
var ErrInUse = errors.New("another hub runs with it")

// busError says which servers it is about.
func busError(c *Config, err error) error {
	if c.Bus == "" {
		return err
	}
	return fmt.Errorf("the bus %s: %w", userInfo.ReplaceAllString(c.Bus, "://…@"), err)
}

// userInfo is the part of a URL that may hold a password.
var userInfo = regexp.MustCompile(`://[^@/,]*@`)

// nodeName returns the configured name, or the one made at the first start.
func nodeName(c *Config) (string, error) {
	if c.Node != "" {
		return c.Node, nil
	}
	file := filepath.Join(c.Data, "node")
	if text, err := os.ReadFile(file); err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	var b [6]byte
	rand.Read(b[:])
	name := "node-" + hex.EncodeToString(b[:])
	return name, writeFile(file, []byte(name+"\n"), 0o644)
}

func (n *Node) openHub(ctx context.Context, c *Hub, first bool) (*site, error) {
	l, err := limits(c.Limits)
	if err != nil {
		return nil, err
	}
	sources, err := sources(c.Events.Sources)
	if err != nil {
		return nil, err
	}
	bearer, err := n.bearer(c)
	if err != nil {
		return nil, err
	}
	db := n.db.Scope(strings.ToLower(c.Host))
	s := &site{conf: c}
	s.gate, err = gate.New(ctx, gate.Options{Hub: c.Host, Tier: gate.Tier{SKU: c.SKU, Units: c.Units}, Throttling: c.Throttling.Enabled,
		Rates: c.Throttling.Rates, Quota: c.Quota.Daily, EnforceQuota: c.Quota.Enforce, Ops: Operations(), DB: db, Now: n.now, Log: n.log})
	if err != nil {
		return nil, err
	}
	s.gate.Suspend(c.State == "suspended")
	aliases := c.Aliases
	if first {
		aliases = append(append([]string(nil), aliases...), "localhost", "127.0.0.1", "::1")
	}
	s.hub, err = hub.Open(ctx, hub.Options{Host: strings.ToLower(c.Host), Aliases: aliases, Limits: l, DB: db, Bus: n.bus, Gate: s.gate,
		Partitions: c.Events.Partitions, Retention: c.Events.Retention, RetainBytes: c.Events.MaxBytes, Sources: sources,
		DisableLocalAuth: c.Auth.DisableLocal, DisableDeviceSAS: c.Auth.DisableDeviceSAS, DisableModuleSAS: c.Auth.DisableModuleSAS,
		DisabledCode: c.Errors.DisabledCode, DeviceFaults: c.FaultInjection.Devices, ConnectionEvents: c.Events.ConnectionEvery,
		FeedbackEvery: c.Feedback, Bearer: bearer, Report: n.report(c), Log: n.log})
	if err != nil {
		return nil, errors.Join(err, s.gate.Close())
	}
	if err := n.seed(ctx, s); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.mqtt = hubmqtt.New(hubmqtt.Options{Hub: s.hub, Find: n.findMQTT, SubscribeFailure: c.MQTT.SubscribeFailure, Log: n.log})
	s.amqp = hubamqp.New(hubamqp.Options{Hub: s.hub, Find: n.find, Log: n.log})
	s.http = hubhttp.New(hubhttp.Options{Hub: s.hub, BodyForm: c.Errors.BodyForm, Tier: c.SKU, Log: n.log})
	if err := n.openControl(ctx, s, db); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// seed puts policies, certificates and consumer groups of the configuration
// into the hub.
func (n *Node) seed(ctx context.Context, s *site) error {
	for _, p := range s.conf.Policies {
		rights, err := nave.ParseRight(p.Rights)
		if err != nil {
			return err
		}
		if _, err := s.hub.PutPolicy(ctx, nave.Policy{Name: p.Name, Rights: rights, Primary: p.Primary, Secondary: p.Secondary}); err != nil {
			return err
		}
	}
	for _, ca := range s.conf.Certificates {
		text, err := os.ReadFile(ca.File)
		if err != nil {
			return fmt.Errorf("hub.certificates: %w", err)
		}
		if err := s.hub.PutAuthority(ctx, ca.Name, string(text)); err != nil {
			return err
		}
	}
	operator := s.hub.Backend(hub.Operator())
	for _, name := range s.conf.Events.Groups {
		if err := operator.CreateGroup(ctx, name); err != nil {
			return fmt.Errorf("hub.events.consumerGroups: %w", err)
		}
	}
	return nil
}

// routable are the names of event sources in routes (service-api 6.2).
var routable = map[string]nave.Source{
	"twinchangeevents": nave.TwinChanges, "devicelifecycleevents": nave.DeviceLifecycle,
	"deviceconnectionstateevents": nave.DeviceConnectionState,
}

func sources(names []string) (all []nave.Source, err error) {
	for _, name := range names {
		s, ok := routable[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("hub.events.sources: %q is no source, known are TwinChangeEvents, DeviceLifecycleEvents, DeviceConnectionStateEvents", name)
		}
		all = append(all, s)
	}
	return all, nil
}

func (n *Node) listen(ctx context.Context) error {
	c := n.conf.Listen
	for _, l := range []struct {
		name, address string
		start         func(net.Listener)
	}{
		{"https", c.HTTPS, func(l net.Listener) { n.serve(n.tlsListener(l), n.serveHTTP(ctx)) }},
		{"mqtt", c.MQTT, func(l net.Listener) { n.work.Go(func() { n.accept(ctx, l, n.tls.config(), n.serveMQTT(ctx)) }) }},
		{"mqttPlain", c.MQTTPlain, func(l net.Listener) { n.work.Go(func() { n.accept(ctx, l, nil, n.serveMQTT(ctx)) }) }},
		{"amqp", c.AMQP, func(l net.Listener) { n.work.Go(func() { n.accept(ctx, l, n.tls.config(), n.serveAMQP(ctx, "amqp")) }) }},
		{"amqpPlain", c.AMQPPlain, func(l net.Listener) { n.work.Go(func() { n.accept(ctx, l, nil, n.serveAMQP(ctx, "amqpplain")) }) }},
	} {
		if l.address == "" || l.address == "off" {
			continue
		}
		nl, note, err := bind(l.address)
		if err != nil {
			return err
		}
		if note != "" {
			n.notes = append(n.notes, note)
		}
		n.listening.add(l.name, nl)
		l.start(nl)
	}
	n.noteDPS()
	n.work.Go(func() { n.renew(ctx) })
	n.work.Go(func() { n.tidy(ctx) })
	n.tellBroker()
	return n.openConsole(c.Console)
}

// serve runs an HTTP server until Close.
func (n *Node) serve(l net.Listener, h http.Handler) {
	s := n.httpServer(h)
	n.servers = append(n.servers, s)
	n.work.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("a listener failed", "node", n.name, "address", l.Addr().String(), "err", err)
		}
	})
}

// renew looks after the server certificate once a day.
func (n *Node) renew(ctx context.Context) {
	for pause(ctx, 24*time.Hour) {
		if err := n.tls.refresh(); err != nil {
			n.log.Error("the server certificate could not be renewed", "node", n.name, "err", err)
		}
	}
}

// closeTimeout is what requests in flight get at the end.
const closeTimeout = 5 * time.Second

// Close stops listening, ends every connection and closes hubs, bus and store,
// in this order. What was acknowledged is on disk.
func (n *Node) Close() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	// Hubs end while the HTTP servers do, so that requests which wait for a
	// device are answered.
	var requests sync.WaitGroup
	for _, s := range n.servers {
		requests.Go(func() {
			if err := s.Shutdown(ctx); err != nil {
				s.Close()
			}
		})
	}
	errs = append(errs, n.closeDPS(), n.closeConnectivity())
	for _, s := range n.sites {
		errs = append(errs, s.closeControl(), s.hub.Close())
	}
	requests.Wait()
	n.stop()
	n.work.Wait()
	for _, s := range n.sites {
		errs = append(errs, s.gate.Close())
	}
	if n.bus != nil {
		errs = append(errs, n.bus.Close())
	}
	if n.db != nil {
		errs = append(errs, n.db.Close())
	}
	if n.folder != nil {
		errs = append(errs, n.folder.Close())
	}
	return errors.Join(errs...)
}

func (s *site) close() error { return errors.Join(s.hub.Close(), s.gate.Close()) }

// Address returns where the listener https, mqtt, amqp or console listens, ""
// when it does not.
func (n *Node) Address(listener string) string { return n.listening.address(listener) }

// Notes returns what whoever started the node should know.
func (n *Node) Notes() []string { return n.notes }

// First says whether the node has opened its console for the first time.
func (n *Node) First() bool { return n.first }

// Hubs returns the hubs in the order of the configuration.
func (n *Node) Hubs() (all []*hub.Hub) {
	for _, s := range n.sites {
		all = append(all, s.hub)
	}
	return all
}

// CAFile returns the path of the CA certificate that clients must trust, ""
// when the operator brings a server certificate.
func (n *Node) CAFile() string { return n.tls.CAFile() }
