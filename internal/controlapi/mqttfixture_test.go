package controlapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/controlapi"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/store"
)

const patience = 20 * time.Second // for anything a test waits for

// broker is a hub with its MQTT binding of iot/v1 behind a TLS listener. Its
// clock stands still unless it is moved.
type broker struct {
	control *control.Control
	oauth   *oauth.Server
	gate    *gate.Gate
	port    string
	ca      string // PEM file
	tls     *tls.Config
	offset  atomic.Int64
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func (b *broker) now() time.Time { return noon.Add(time.Duration(b.offset.Load())) }

func openBroker(t testing.TB) *broker {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b := &broker{}
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("NAVE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	const host = "hub.test"
	db, err := store.Open(ctx, "sqlite::memory:", store.Options{Now: b.now, Log: log})
	must(err)
	line, err := bus.Open(ctx, bus.Options{Dir: t.TempDir(), Now: b.now, Log: log})
	must(err)
	b.gate, err = gate.New(ctx, gate.Options{Hub: host, DB: db.Scope(host), Now: b.now, Log: log})
	must(err)
	h, err := hub.Open(ctx, hub.Options{Host: host, DB: db.Scope(host), Bus: line, Gate: b.gate, Partitions: 1,
		Report: func(string, nave.ID, *fault.Error) {}, Log: log})
	must(err)
	b.oauth, err = oauth.Open(ctx, oauth.ServerOptions{Realm: "iot", Host: host, DB: db.Scope(host), Bus: line, Log: log,
		Ended: func(tx *store.Tx, client string, token []byte) error {
			return b.control.EndCredentials(tx, client, token)
		}})
	must(err)
	b.control, err = control.Open(ctx, control.Options{Hub: h, DB: db.Scope(host), Bus: line, Gate: b.gate, Broker: "mqtts://hub.test:8883",
		Clients: control.Clients{Put: b.oauth.PutClient, Delete: b.oauth.DeleteClient}, Log: log})
	must(err)
	server := controlapi.NewMQTT(controlapi.MQTTOptions{Control: b.control, Log: log})
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	_, b.port, _ = net.SplitHostPort(ln.Addr().String())
	b.ca = filepath.Join(t.TempDir(), "ca.pem")
	must(os.WriteFile(b.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate().Raw}), 0o600))
	roots := x509.NewCertPool()
	roots.AddCert(cert.Certificate())
	b.tls = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	var work sync.WaitGroup
	work.Go(func() {
		listen(ctx, tls.NewListener(ln, &tls.Config{Certificates: cert.TLS.Certificates}), server, &work)
	})
	t.Cleanup(func() {
		ln.Close()
		if err := b.control.Close(); err != nil {
			t.Error(err)
		}
		b.oauth.Close()
		h.Close()
		cancel()
		work.Wait()
		b.gate.Close()
		line.Close()
		db.Close()
	})
	return b
}

func listen(ctx context.Context, ln net.Listener, server *controlapi.MQTTServer, work *sync.WaitGroup) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		work.Go(func() {
			if s, p, err := mqtt.Accept(nc, mqtt.Options{Versions: mqtt.V311 | mqtt.V5, LooseTopics: true}); err == nil {
				server.ServeSession(ctx, s, p, "mqtt")
			}
		})
	}
}

// device is D1 of iot-v1 15.1, or one like it.
type device struct {
	b                  *broker
	id                 string
	C1, C2, C3, S1, S2 string
}

func (b *broker) device(t testing.TB, change ...func(*control.Draft)) *device {
	t.Helper()
	draft := control.Draft{
		Commands: []control.SourceDraft{
			{ControlSource: nave.ControlSource{Kind: "relay", PinPort: "1", ValueType: nave.NumericRange, Minimum: "0", Maximum: "1"}},
			{ControlSource: nave.ControlSource{Kind: "valve", PinPort: "2", ValueType: nave.NumericRange, Minimum: "0", Maximum: "100", Adopt: true}},
			{ControlSource: nave.ControlSource{Kind: "matrix", PinPort: "3", ValueType: "Bitmap"}},
		},
		Sensors: []control.SourceDraft{
			{ControlSource: nave.ControlSource{Kind: "thermistor", PinPort: "4", Minimum: "-40", Maximum: "125", Quantity: "temperature", Unit: "Cel"}},
			{ControlSource: nave.ControlSource{Kind: "text", PinPort: "5"}},
		},
	}
	for _, f := range change {
		f(&draft)
	}
	made, _, err := b.control.Create(t.Context(), draft)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{b: b, id: made.ID}
	for _, s := range made.Sources {
		switch s.Kind {
		case "relay":
			d.C1 = s.ID
		case "valve":
			d.C2 = s.ID
		case "matrix":
			d.C3 = s.ID
		case "thermistor":
			d.S1 = s.ID
		case "text":
			d.S2 = s.ID
		}
	}
	return d
}

func (d *device) now(t testing.TB) *control.Device {
	t.Helper()
	now, err := d.b.control.Find(t.Context(), d.id)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func (d *device) feedTopic(t testing.TB, source string) string {
	now := d.now(t)
	return now.FeedTopic(now.RoutesOf(source)[0])
}

func (d *device) desiredTopic(t testing.TB, command string) string {
	now := d.now(t)
	return now.DesiredTopic(now.RoutesOf(command)[0])
}

func (d *device) ackTopic() string { return "iot/v1/devices/" + d.id + "/feed-data/acks" }

// token issues an access token with the scopes, all MQTT scopes when there are
// none.
func (d *device) token(t testing.TB, scopes ...string) *oauth.Token {
	t.Helper()
	if scopes == nil {
		scopes = control.MQTTScopes
	}
	token, err := d.b.oauth.Issue(t.Context(), d.id, scopes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (d *device) credential(t testing.TB, token *oauth.Token) string {
	t.Helper()
	k, err := d.now(t).Credential(t.Context(), token.Grant.Hash, token.Grant.Scopes)
	if err != nil {
		t.Fatal(err)
	}
	return k.Password
}

// link is a connection of the engine's client.
type link struct {
	*mqtt.Client
	d       *device
	level   byte
	last    uint16
	acks    chan map[string]any
	wishes  chan map[string]any
	pubacks chan uint16
	refused chan byte
	closed  chan error
}

func (b *broker) open(o mqtt.ClientOptions, h mqtt.ClientHandler) (*mqtt.Client, error) {
	nc, err := tls.Dial("tcp", "127.0.0.1:"+b.port, b.tls)
	if err != nil {
		return nil, err
	}
	c, _, err := mqtt.Open(nc, o, h)
	return c, err
}

// tuple is what the device connects with.
func (d *device) tuple(level byte, password string) mqtt.ClientOptions {
	return mqtt.ClientOptions{Level: level, ClientID: d.id, Username: d.id, Password: []byte(password), Clean: true, KeepAlive: 60}
}

// connect opens a connection with the credential of a new token, and subscribes
// to the acknowledgements.
func (d *device) connect(t testing.TB, level byte) *link {
	t.Helper()
	l := d.connectWith(t, level, d.credential(t, d.token(t)))
	l.subscribe(t, d.ackTopic(), 1)
	return l
}

func (d *device) connectWith(t testing.TB, level byte, password string) *link {
	t.Helper()
	l := &link{d: d, level: level, acks: make(chan map[string]any, 200), wishes: make(chan map[string]any, 200), pubacks: make(chan uint16, 200),
		refused: make(chan byte, 10), closed: make(chan error, 1)}
	var err error
	l.Client, err = d.b.open(d.tuple(level, password), mqtt.ClientHandler{Message: func(p *mqtt.Publish) { l.message(t, p) },
		Acked: func(id uint16) { l.pubacks <- id }, Refused: func(_ uint16, reason byte) { l.refused <- reason }, Closed: func(err error) { l.closed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Kill(); <-l.Done() })
	return l
}

func (l *link) message(t testing.TB, p *mqtt.Publish) {
	var v map[string]any
	schema, to := "mqtt-desired-state", l.wishes
	if p.Topic == l.d.ackTopic() {
		schema, to = "mqtt-feed-data-ack", l.acks
	}
	if p.Retain {
		t.Errorf("%s came with retain", p.Topic)
	}
	if err := json.Unmarshal(p.Payload, &v); err != nil {
		t.Errorf("%q: %v", p.Payload, err)
	}
	if err := valid(schema, p.Payload); err != nil {
		t.Errorf("%s: %v", p.Payload, err)
	}
	v["topic"] = p.Topic
	to <- v
}

func (l *link) subscribe(t testing.TB, topic string, want byte) {
	t.Helper()
	codes, err := l.Subscribe(t.Context(), mqtt.Subscription{Filter: topic, QoS: 1})
	if err != nil || len(codes) != 1 || codes[0] != want {
		t.Fatalf("SUBACK %#x, %v; want %#x", codes, err, want)
	}
}

// denied is the code of a refused subscription.
func (l *link) denied() byte {
	if l.level == 5 {
		return mqtt.Denied
	}
	return mqtt.SubFailure
}

// publish sends a payload with QoS 1, or as change has it, and returns the
// acknowledgement. With QoS 1 there must be a PUBACK.
func (l *link) publish(t testing.TB, topic, payload string, change ...func(*mqtt.Publish)) map[string]any {
	t.Helper()
	p := &mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: 1}
	for _, f := range change {
		f(p)
	}
	l.last++
	if p.QoS > 0 {
		p.ID = l.last
	}
	if err := l.Publish(p); err != nil {
		t.Fatal(err)
	}
	a := await(t, l.acks)
	if p.QoS > 0 {
		if id := await(t, l.pubacks); id != p.ID {
			t.Errorf("PUBACK %d, want %d", id, p.ID)
		}
	}
	if a["feed_data_topic"] != topic {
		t.Errorf("acknowledgement for %v, want %s", a["feed_data_topic"], topic)
	}
	if _, ok := a["code"]; ok {
		t.Error("an acknowledgement with a code")
	}
	return a
}

// quiet makes sure that nothing is on its way to the device.
func (l *link) quiet(t testing.TB) {
	t.Helper()
	if err := l.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.acks)+len(l.wishes) > 0 {
		t.Errorf("%d acknowledgements and %d desired states came", len(l.acks), len(l.wishes))
	}
}

// ended waits until the hub has closed the connection, with MQTT 5.0 for the
// reason.
func (l *link) ended(t testing.TB, reason byte) {
	t.Helper()
	err := await(t, l.closed)
	var e *mqtt.ReasonError
	if l.level == 5 && (!errors.As(err, &e) || e.Code != reason) {
		t.Errorf("closed with %v, want %#x", err, reason)
	}
}

func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// rejected compares the parts of an acknowledgement that every refusal has.
func rejected(t testing.TB, a map[string]any, label string, retryable bool) map[string]any {
	t.Helper()
	e, _ := a["error"].(map[string]any)
	if a["status"] != "rejected" || a["retryable"] != retryable || e["type"] != label {
		t.Errorf("%v, want rejected, %s, retryable %v", a, label, retryable)
	}
	details, _ := e["details"].(map[string]any)
	return details
}

func accepted(t testing.TB, a map[string]any, status string) float64 {
	t.Helper()
	id, _ := a["feed_data_id"].(float64)
	if a["status"] != status || a["retryable"] != false || id <= 0 {
		t.Errorf("%v, want %s", a, status)
	}
	return id
}

func warned(a map[string]any, kind string) bool {
	all, _ := a["warnings"].([]any)
	for _, w := range all {
		if w.(map[string]any)["type"] == kind {
			return true
		}
	}
	return false
}

var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	text, err := os.ReadFile("../../docs/spec/iot-v1.md")
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	var names []string
	for _, m := range regexp.MustCompile("(?s)\n### ([a-z-]+)\n\n```json\n(.*?)\n```").FindAllStringSubmatch(string(text), -1) {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(m[2]))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource("https://hub.example/iot/v1/schemas/"+m[1]+".schema.json", v); err != nil {
			return nil, err
		}
		names = append(names, m[1])
	}
	all := map[string]*jsonschema.Schema{}
	for _, name := range names {
		if all[name], err = c.Compile("https://hub.example/iot/v1/schemas/" + name + ".schema.json"); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// valid checks a document against a schema of iot-v1 14.
func valid(schema string, text []byte) error {
	all, err := schemas()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	return all[schema].Validate(v)
}
