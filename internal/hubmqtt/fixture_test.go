package hubmqtt_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubmqtt"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/store"
)

const (
	host  = "hub.test"
	alias = "gateway.test"
	limit = time.Minute // for anything a test waits for
)

// world is a hub with its MQTT surface behind a loopback listener.
type world struct {
	hub     *hub.Hub
	back    *hub.Backend
	gate    *gate.Gate
	db      *store.DB // of the hub
	server  *hubmqtt.Server
	options hubmqtt.Options
	offset  atomic.Int64 // of the clock
	ids     atomic.Int64

	ctx     context.Context
	dialing sync.Mutex
	ln      net.Listener

	mu      sync.Mutex
	grown   chan struct{} // closed when something is added below
	events  []*nave.Event
	reports []report
}

type report struct {
	op  string
	on  nave.ID
	why *fault.Error
}

// open starts a world that ends with the test.
func open(t testing.TB, change ...func(*hub.Options, *hubmqtt.Options)) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &world{ctx: ctx, grown: make(chan struct{})}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("NAVE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := store.Open(ctx, "sqlite::memory:", store.Options{Now: w.now, Log: log})
	must(err)
	b, err := bus.Open(ctx, bus.Options{Dir: t.TempDir(), Now: w.now, Log: log})
	must(err)
	w.gate, err = gate.New(ctx, gate.Options{Hub: host, DB: db.Scope(host), Now: w.now, Log: log})
	must(err)
	w.db = db.Scope(host)
	o := hub.Options{Host: host, Aliases: []string{alias}, DB: db.Scope(host), Bus: b, Gate: w.gate, Partitions: 1, Report: w.report, Log: log}
	s := hubmqtt.Options{Log: log}
	for _, f := range change {
		f(&o, &s)
	}
	w.hub, err = hub.Open(ctx, o)
	must(err)
	s.Hub, w.options = w.hub, s
	w.back, w.server = w.hub.Backend(hub.Operator()), hubmqtt.New(s)
	w.ln, err = net.Listen("tcp", "127.0.0.1:0")
	must(err)
	r, err := w.back.Events(ctx, 0, nave.Position{})
	must(err)
	read := make(chan struct{})
	go w.read(r, read)
	t.Cleanup(func() {
		w.ln.Close()
		w.hub.Close()
		r.Close()
		<-read
		cancel()
		w.gate.Close()
		b.Close()
		db.Close()
	})
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

func (w *world) report(op string, on nave.ID, why *fault.Error) {
	w.add(func() { w.reports = append(w.reports, report{op, on, why}) })
}

func (w *world) read(r *hub.EventReader, done chan struct{}) {
	defer close(done)
	for {
		events, err := r.Next(w.ctx)
		if err != nil {
			return
		}
		w.add(func() { w.events = append(w.events, events...) })
	}
}

func (w *world) add(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.grown)
	w.grown = make(chan struct{})
}

// await waits until f, called with mu held, has found something.
func (w *world) await(t testing.TB, what string, f func() bool) {
	t.Helper()
	late := time.After(limit)
	for {
		w.mu.Lock()
		found, grown := f(), w.grown
		w.mu.Unlock()
		if found {
			return
		}
		select {
		case <-grown:
		case <-late:
			t.Fatalf("%s did not come", what)
		}
	}
}

// stored returns the first n events of the identity.
func (w *world) stored(t testing.TB, id nave.ID, n int) (events []*nave.Event) {
	t.Helper()
	w.await(t, fmt.Sprintf("event %d of %s", n, id), func() bool {
		events = nil
		for _, e := range w.events {
			if e.From == id {
				events = append(events, e)
			}
		}
		return len(events) >= n
	})
	return events
}

// reported returns the first report of the operation about the identity.
func (w *world) reported(t testing.TB, id nave.ID, op string) (why *fault.Error) {
	t.Helper()
	w.await(t, op+" report on "+id.String(), func() bool {
		for _, r := range w.reports {
			if r.on == id && r.op == op {
				why = r.why
				return true
			}
		}
		return false
	})
	return why
}

// account is a registered identity with its keys.
type account struct {
	nave.ID
	key, second string
}

// register makes an identity; a name is made up when it is empty.
func (w *world) register(t testing.TB, name string, auth *nave.Auth) *account {
	t.Helper()
	if name == "" {
		name = fmt.Sprintf("dev%d", w.ids.Add(1))
	}
	id, err := nave.ParseID(name)
	if err == nil && id.IsModule() {
		w.back.Put(w.ctx, id.Parent(), &nave.IdentityPatch{}, "") // it may exist
	}
	var i *nave.Identity
	if err == nil {
		i, err = w.back.Put(w.ctx, id, &nave.IdentityPatch{Auth: auth}, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return &account{id, i.Auth.Primary, i.Auth.Secondary}
}

func (a *account) own() string {
	if a.IsModule() {
		return "devices/" + a.Device + "/modules/" + a.Module + "/"
	}
	return "devices/" + a.Device + "/"
}

func (w *world) token(t testing.TB, a *account, life time.Duration) string {
	t.Helper()
	token, err := cred.Sign(strings.TrimSuffix(host+"/"+a.own(), "/"), a.key, "", w.now().Add(life))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// dial hands one end of a new connection to the server.
func (w *world) dial(t testing.TB, certs ...*x509.Certificate) net.Conn {
	t.Helper()
	w.dialing.Lock()
	defer w.dialing.Unlock()
	nc, err := net.Dial("tcp", w.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	served, err := w.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go w.server.Serve(w.ctx, served, certs, "mqtt")
	t.Cleanup(func() { nc.Close() })
	return nc
}

// device is a connected client.
type device struct {
	*mqtt.Client
	t       testing.TB
	present bool
	in      chan mqtt.Publish
	acks    chan uint16
	closed  chan struct{}
}

func (w *world) login(t testing.TB, a *account) mqtt.ClientOptions {
	return mqtt.ClientOptions{ClientID: a.String(), Username: host + "/" + a.String() + "/?api-version=2021-04-12",
		Password: []byte(w.token(t, a, time.Hour)), KeepAlive: 60}
}

func (w *world) try(t testing.TB, o mqtt.ClientOptions, certs ...*x509.Certificate) (*device, error) {
	t.Helper()
	d := &device{t: t, in: make(chan mqtt.Publish, 1000), acks: make(chan uint16, 1000), closed: make(chan struct{})}
	var err error
	d.Client, d.present, err = mqtt.Open(w.dial(t, certs...), o, mqtt.ClientHandler{
		Message: func(p *mqtt.Publish) { d.in <- *p },
		Acked:   func(id uint16) { d.acks <- id },
		Closed:  func(error) { close(d.closed) },
	})
	if err == nil {
		t.Cleanup(d.Kill)
	}
	return d, err
}

// connect connects with the account's own token; change may alter the CONNECT.
func (w *world) connect(t testing.TB, a *account, change ...func(*mqtt.ClientOptions)) *device {
	t.Helper()
	o := w.login(t, a)
	for _, f := range change {
		f(&o)
	}
	d, err := w.try(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// refused wants CONNACK with the code, and a report that says why.
func (w *world) refused(t testing.TB, o mqtt.ClientOptions, code byte, certs ...*x509.Certificate) {
	t.Helper()
	_, err := w.try(t, o, certs...)
	refused, ok := err.(*mqtt.RefusedError)
	if !ok || refused.Code != code {
		t.Fatalf("got %v, want CONNACK %d", err, code)
	}
}

func (d *device) subscribe(subs ...any) (codes []byte) {
	d.t.Helper()
	var list []mqtt.Subscription
	for n := 0; n < len(subs); n += 2 {
		list = append(list, mqtt.Subscription{Filter: subs[n].(string), QoS: byte(subs[n+1].(int))})
	}
	codes, err := d.Subscribe(d.context(), list...)
	if err != nil {
		d.t.Fatal(err)
	}
	return codes
}

func (d *device) unsubscribe(filters ...string) {
	d.t.Helper()
	if err := d.Unsubscribe(d.context(), filters...); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	d.t.Cleanup(cancel)
	return ctx
}

func (d *device) publish(topic, payload string, qos byte, id uint16) {
	d.t.Helper()
	if err := d.Publish(&mqtt.Publish{Topic: topic, Payload: []byte(payload), QoS: qos, ID: id}); err != nil {
		d.t.Fatal(err)
	}
}

// next returns the next message.
func (d *device) next() mqtt.Publish {
	d.t.Helper()
	return came(d, d.in, "message")
}

// came returns what the channel brings next, also when the connection has ended behind it.
func came[T any](d *device, from <-chan T, what string) (v T) {
	d.t.Helper()
	select {
	case v = <-from:
		return v
	case <-d.closed:
	case <-time.After(limit):
		d.t.Fatalf("no %s came", what)
	}
	select {
	case v = <-from:
	default:
		d.t.Fatalf("the connection was closed, a %s was expected", what)
	}
	return v
}

func (d *device) acked(want uint16) {
	d.t.Helper()
	if id := came(d, d.acks, fmt.Sprintf("PUBACK %d", want)); id != want {
		d.t.Fatalf("PUBACK %d, want %d", id, want)
	}
}

// quiet wants nothing to have come once everything sent so far has been handled.
func (d *device) quiet() {
	d.t.Helper()
	d.alive()
	select {
	case p := <-d.in:
		d.t.Fatalf("unexpected message %s %q", p.Topic, p.Payload)
	case id := <-d.acks:
		d.t.Fatalf("unexpected PUBACK %d", id)
	default:
	}
}

// alive wants a PINGRESP.
func (d *device) alive() {
	d.t.Helper()
	if err := d.Ping(d.context()); err != nil {
		d.t.Fatal(err)
	}
}

// dropped wants the server to have closed the connection without a PUBACK.
func (d *device) dropped() {
	d.t.Helper()
	select {
	case <-d.closed:
	case <-time.After(limit):
		d.t.Fatal("the connection was not closed")
	}
	select {
	case id := <-d.acks:
		d.t.Fatalf("PUBACK %d before the end", id)
	default:
	}
}

// leave sends DISCONNECT and waits until the hub has taken leave, too: the client's own end may come before.
func (w *world) leave(t testing.TB, a *account, d *device) {
	t.Helper()
	d.Close()
	<-d.Done()
	w.watch(t, a, "the device is gone", func(i *nave.Identity) bool { return !i.Presence.Connected })
}

// watch looks at the registered identity until it is as wanted.
func (w *world) watch(t testing.TB, a *account, what string, wanted func(*nave.Identity) bool) {
	t.Helper()
	for late := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		i, err := w.back.Device(w.ctx, a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(i) {
			return
		}
		if time.Now().After(late) {
			t.Fatalf("never: %s; %d messages pending", what, i.Pending)
		}
	}
}

// ended waits for the report of the operation and wants its code.
func (w *world) ended(t testing.TB, id nave.ID, op string, code *fault.Code) *fault.Error {
	t.Helper()
	why := w.reported(t, id, op)
	if why.Code != code {
		t.Fatalf("%s of %s: %v, want %v", op, id, why, code)
	}
	return why
}
