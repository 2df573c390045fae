package controlapi_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/mqtt"
)

const patience = time.Minute // for anything a test waits for

// broker is a site with its MQTT port. Its clock stands still unless it is
// moved.
type broker struct {
	*site
	port   string
	tls    *tls.Config
	offset time.Duration
}

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func openBroker(t testing.TB) *broker {
	t.Helper()
	s := openSite(t)
	b := &broker{site: s, tls: &tls.Config{RootCAs: s.Roots, ServerName: s.Hub.Host()}}
	_, b.port, _ = net.SplitHostPort(s.Node.Address("mqtt"))
	return b
}

// pass moves the clock.
func (b *broker) pass(d time.Duration) {
	b.offset += d
	b.Clock.Freeze(noon.Add(b.offset))
}

// call sends a request over HTTPS and returns the body of an answer that is a
// success.
func (b *broker) call(t testing.TB, path, body string, header ...string) map[string]any {
	t.Helper()
	r, err := http.NewRequest("POST", "https://"+b.Hub.Host()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var v map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s: %d %v, %v", path, resp.StatusCode, v, err)
	}
	return v
}

// device is D1 of iot-v1 15.1, or one like it.
type device struct {
	b                  *broker
	id, secret         string
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
	made, secret, err := b.control.Create(t.Context(), draft)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{b: b, id: made.ID, secret: secret}
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

// token gets an access token with the scopes, all MQTT scopes when there are
// none.
func (d *device) token(t testing.TB, scopes ...string) string {
	t.Helper()
	if scopes == nil {
		scopes = control.MQTTScopes
	}
	body := "grant_type=client_credentials&scope=" + url.QueryEscape(strings.Join(scopes, " "))
	return d.b.call(t, "/oauth/token", body, form, basic(d.id, d.secret))["access_token"].(string)
}

// credential gets the password of a CONNECT tuple.
func (d *device) credential(t testing.TB, token string) string {
	t.Helper()
	return d.b.call(t, "/iot/v1/mqtt-credentials", `{"device_id":"`+d.id+`"}`, jsonBody, bearer(token))["mqtt_credential"].(string)
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
	if err := closedSchema(schema, p.Payload); err != nil {
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
