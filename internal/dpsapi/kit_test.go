package dpsapi_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/dpsapi"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/store"
)

// Names of the kit's instance and of the hubs linked to it.
const (
	serviceHost = "dps.test"
	globalHost  = "global.dps.test"
	idScope     = "0ne00000D35"
)

var hubHosts = []string{"hub-a.test", "hub-b.test"}

// kit is a provisioning service on a real store and bus with two hubs, behind
// TLS listeners, with a clock that the test moves.
type kit struct {
	*dps.Access
	service *dps.Service
	gate    *gate.Gate
	hubs    map[string]*hub.Hub
	db      *store.DB // of the instance
	bus     *bus.Bus
	offset  atomic.Int64
	stood   atomic.Int64 // when the clock was stopped, Unix nanoseconds; 0: it runs
	host    string       // that clients dial
	scope   string

	roots               *x509.CertPool
	https, mqtts, amqps string // addresses
	options             setup
	serve               context.Context
	shut                context.CancelFunc // ends what is served
}

// setup is what a test may change before the kit opens.
type setup struct {
	device   dpsapi.DeviceOptions
	service  dps.Options
	settings dps.Settings
	rows     func(put func(kind, key string, v any))
}

func (k *kit) now() time.Time {
	at := time.Now()
	if stood := k.stood.Load(); stood != 0 {
		at = time.Unix(0, stood)
	}
	return at.Add(time.Duration(k.offset.Load()))
}

// freeze stops the clock: from now on only pass moves it, so that no bucket
// fills by itself.
func (k *kit) freeze() { k.stood.Store(time.Now().UnixNano()) }

// pass moves the clock.
func (k *kit) pass(d time.Duration) { k.offset.Add(int64(d)) }

// webhookPatience is how long webhooks may take, in seconds: tests hold some
// of them up.
const webhookPatience = 120

// atRest encrypts the secrets of a kit.
var atRest = []byte("0123456789abcdef0123456789abcdef")

func quiet() *slog.Logger {
	if os.Getenv("NAVE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

func open(t testing.TB, change ...func(*setup)) *kit {
	t.Helper()
	k := &kit{hubs: map[string]*hub.Hub{}, host: globalHost, scope: idScope}
	k.options.rows = func(func(kind, key string, v any)) {}
	for _, f := range change {
		f(&k.options)
	}
	ctx := context.Background()
	log := quiet()
	db, err := store.Open(ctx, "sqlite::memory:", store.Options{Now: k.now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if k.bus, err = bus.Open(ctx, bus.Options{Now: k.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.bus.Close() })
	for _, host := range hubHosts {
		k.openHub(t, db.Scope(host), host)
	}
	k.db = db.Scope(serviceHost)
	if k.gate, err = gate.New(ctx, gate.Options{Hub: serviceHost, DB: k.db, Now: k.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.gate.Close() })
	k.fill(t)
	k.start(t)
	k.listen(t)
	return k
}

func (k *kit) openHub(t testing.TB, db *store.DB, host string) {
	t.Helper()
	ctx := context.Background()
	g, err := gate.New(ctx, gate.Options{Hub: host, DB: db, Now: k.now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	h, err := hub.Open(ctx, hub.Options{Host: host, DB: db, Bus: k.bus, Gate: g, Log: quiet(), Limits: nave.Defaults()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	k.hubs[host] = h
}

// fill puts rows into the store: linked hubs, settings, and what the test wants.
func (k *kit) fill(t testing.TB) {
	t.Helper()
	put := func(kind, key string, v any) {
		t.Helper()
		doc, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		row := &store.DPSRow{Kind: kind, Key: strings.ToLower(key), Doc: doc}
		if err := k.db.Update(context.Background(), func(tx *store.Tx) error { return tx.PutDPS(row) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range hubHosts {
		put(dps.KindHub, host, dps.LinkedHub{Name: host, Local: true})
	}
	k.options.settings.ID = dps.DefaultSettings
	k.options.settings.Webhook.Timeout = webhookPatience
	put(dps.KindSettings, dps.DefaultSettings, k.options.settings)
	k.options.rows(put)
}

// start opens the service on the kit's store, again after close.
func (k *kit) start(t testing.TB) {
	t.Helper()
	o := k.options.service
	o.Host, o.Aliases, o.Scope = serviceHost, []string{globalHost}, idScope
	o.DB, o.Bus, o.Gate, o.Key, o.Log = k.db, k.bus, k.gate, atRest, quiet()
	o.Local = func(host string) dps.Target {
		if h := k.hubs[host]; h != nil {
			return dps.LocalTarget(h)
		}
		return nil
	}
	s, err := dps.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	k.service, k.Access = s, s.Operator()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// listen opens the three ports with a certificate that names the instance.
// Client certificates are asked for and not judged (dps 1.5).
func (k *kit) listen(t testing.TB) {
	t.Helper()
	server, err := identity()
	if err != nil {
		t.Fatal(err)
	}
	k.roots = server.roots
	conf := &tls.Config{Certificates: []tls.Certificate{server.pair}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	ctx, cancel := context.WithCancel(context.Background())
	k.serve, k.shut = ctx, cancel
	var work sync.WaitGroup
	o := k.options.device
	o.Idle, o.Hold = cmp.Or(o.Idle, time.Hour), cmp.Or(o.Hold, time.Hour)
	o.Services, o.Log = []*dps.Service{k.service}, quiet()
	m, a := dpsapi.NewMQTT(o), dpsapi.NewAMQP(o)
	onMQTT := func(nc net.Conn, certs []*x509.Certificate, transport string) {
		defer context.AfterFunc(ctx, func() { nc.Close() })()
		session, p, err := mqtt.Accept(nc, mqtt.Options{Versions: mqtt.V311 | mqtt.V5, LooseTopics: true})
		if err != nil {
			return
		}
		if !dpsapi.IsDPS(p.Username) {
			p.Username = "" // a node would take it to a hub
		}
		m.ServeSession(ctx, session, p, certs, transport)
	}
	onAMQP := func(nc net.Conn, certs []*x509.Certificate, transport string) { a.Serve(ctx, nc, certs, transport) }
	k.mqtts = k.port(t, conf, &work, func(nc *tls.Conn) { onMQTT(nc, nc.ConnectionState().PeerCertificates, "mqtt") })
	k.amqps = k.port(t, conf, &work, func(nc *tls.Conn) { onAMQP(nc, nc.ConnectionState().PeerCertificates, "amqp") })
	web := httptest.NewUnstartedServer(k.web(&work, onMQTT, onAMQP))
	web.TLS = conf.Clone()
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	web.StartTLS()
	k.https = web.Listener.Addr().String()
	t.Cleanup(func() { cancel(); web.Close(); work.Wait() })
}

// port accepts connections and does their handshake.
func (k *kit) port(t testing.TB, conf *tls.Config, work *sync.WaitGroup, serve func(*tls.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	work.Go(func() {
		context.AfterFunc(k.serve, func() { l.Close() })
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				tc := tls.Server(nc, conf)
				stop := context.AfterFunc(k.serve, func() { nc.Close() })
				err := tc.Handshake()
				if !stop() || err != nil {
					nc.Close()
					return
				}
				serve(tc)
			})
		}
	})
	return l.Addr().String()
}

type served func(net.Conn, []*x509.Certificate, string)

// web is what a node does on port 443 for a host of the provisioning service.
func (k *kit) web(work *sync.WaitGroup, onMQTT, onAMQP served) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !websocket.IsWebSocketUpgrade(r) || !dpsapi.IsSocketPath(r.URL.Path) {
			dpsapi.New(dpsapi.Options{Service: k.service, Log: quiet()}).ServeHTTP(w, r)
			return
		}
		protocol, token := dpsapi.ChooseProtocol(websocket.Subprotocols(r))
		if protocol == "" {
			http.Error(w, "a sub-protocol is needed", http.StatusBadRequest)
			return
		}
		u := websocket.Upgrader{Subprotocols: []string{token}, CheckOrigin: func(*http.Request) bool { return true }}
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		ws.SetPingHandler(func(text string) error {
			return ws.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(patience)) // by default a second
		})
		certs := r.TLS.PeerCertificates
		if dpsapi.WithoutCertificate(protocol, r.URL.RawQuery) {
			certs = nil
		}
		nc := newSocket(ws)
		work.Go(func() {
			if protocol == dpsapi.MQTTProtocol {
				onMQTT(nc, certs, "mqttws")
			} else {
				onAMQP(nc, certs, "amqpws")
			}
		})
	})
}

// socket is a WebSocket as a stream, for both ends.
type socket struct {
	*websocket.Conn
	message io.Reader
}

func newSocket(ws *websocket.Conn) *socket { return &socket{Conn: ws} }

func (s *socket) Read(b []byte) (int, error) {
	for {
		if s.message == nil {
			_, r, err := s.NextReader()
			if err != nil {
				return 0, err
			}
			s.message = r
		}
		n, err := s.message.Read(b)
		if errors.Is(err, io.EOF) {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *socket) Write(b []byte) (int, error) {
	return len(b), s.WriteMessage(websocket.BinaryMessage, b)
}

func (s *socket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// enrol puts an individual enrolment with a symmetric key and returns its
// device.
func (k *kit) enrol(t testing.TB, id string, change ...func(*dps.Enrollment)) *device {
	t.Helper()
	d := k.device(t, id).withKey(cred.NewLongKey())
	e := &dps.Enrollment{RegistrationID: id, Attestation: &dps.Attestation{Type: dps.AttestKey,
		SymmetricKey: &dps.SymmetricKey{Primary: d.key, Secondary: cred.NewLongKey()}}}
	for _, f := range change {
		f(e)
	}
	k.put(t, e)
	return d
}

// put stores an enrolment or a group, replacing the one that is there.
func (k *kit) put(t testing.TB, e *dps.Enrollment) *dps.Enrollment {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := dps.ParseEnrollment(b, e.IsGroup())
	if err != nil {
		t.Fatal(err)
	}
	store := k.PutEnrollment
	if e.IsGroup() {
		store = k.PutGroup
	}
	put, err := store(context.Background(), parsed.ID(), parsed, dps.Match{})
	if errors.Is(err, fault.DPSEnrollmentConflict) || errors.Is(err, fault.DPSEnrollmentGroupConflict) {
		put, err = store(context.Background(), parsed.ID(), parsed, dps.Match{IfMatch: "*"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return put
}

// onHub returns the device as the hub has it.
func (k *kit) onHub(t testing.TB, host, id string) *nave.Identity {
	t.Helper()
	h := k.hubs[host]
	if h == nil {
		t.Fatalf("no hub %q", host)
	}
	i, err := h.Backend(hub.Operator()).Device(context.Background(), nave.ID{Device: id})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// inject makes an operation of the service fail until the test ends, or clear
// is called.
func (k *kit) inject(t testing.TB, r gate.Rule) (clear func()) {
	t.Helper()
	r.Family = fault.DPS
	r, err := k.gate.Inject(r)
	if err != nil {
		t.Fatal(err)
	}
	clear = sync.OnceFunc(func() { k.gate.Remove(r.ID) })
	t.Cleanup(clear)
	return clear
}

// webhook is a custom-allocation service that holds its answer back until it is
// told to go on.
type webhook struct {
	*httptest.Server
	answer atomic.Value // string: the body; the status is 200
	status atomic.Int64
	asked  chan string   // bodies of requests
	hold   chan struct{} // nil: answers at once
}

func newWebhook(t testing.TB, answer string) *webhook {
	w := &webhook{asked: make(chan string, 100)}
	w.answer.Store(answer)
	w.status.Store(200)
	w.Server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.asked <- string(body)
		if w.hold != nil {
			select {
			case <-w.hold:
			case <-r.Context().Done():
			}
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(int(w.status.Load()))
		io.WriteString(rw, w.answer.Load().(string))
	}))
	t.Cleanup(w.Close)
	return w
}

// custom makes an enrolment ask the webhook.
func (w *webhook) custom(e *dps.Enrollment) {
	e.Allocation = dps.AllocateCustom
	e.Custom = &dps.CustomAllocation{URL: w.URL + "/allocate?code=secret", Version: apiVersion}
}
