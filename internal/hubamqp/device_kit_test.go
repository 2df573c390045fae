package hubamqp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func withFaults(c *node.Config) { c.Hub.FaultInjection.Devices = true }

// tap records what comes from the server.
type tap struct {
	net.Conn
	mu    sync.Mutex
	grown chan struct{} // closed when more has come
	bytes []byte
}

func (w *tap) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.mu.Lock()
	w.bytes = append(w.bytes, b[:n]...)
	close(w.grown)
	w.grown = make(chan struct{})
	w.mu.Unlock()
	return n, err
}

// frame is one frame of the server: its channel, descriptor and fields.
type frame struct {
	channel uint16
	code    uint64
	fields  []any
	size    int
}

// seen returns the bytes so far.
func (w *tap) seen() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.bytes)
}

// frames returns the AMQP frames so far.
func (w *tap) frames(t testing.TB) (all []frame) {
	t.Helper()
	b := w.seen()
	for len(b) >= 8 {
		if string(b[:4]) == "AMQP" {
			b = b[8:]
			continue
		}
		n := int(binary.BigEndian.Uint32(b))
		if n < 8 || n > len(b) {
			break
		}
		f := frame{channel: binary.BigEndian.Uint16(b[6:]), size: n}
		if b[5] == 0 && n > 8 {
			v, _, err := amqp.ParseValue(b[8:n])
			if err != nil {
				t.Fatal(err)
			}
			d := v.(amqp.Described)
			f.code, _ = d.Descriptor.(uint64)
			f.fields, _ = d.Value.([]any)
		}
		all = append(all, f)
		b = b[n:]
	}
	return all
}

// await waits until want accepts what has come.
func (w *tap) await(t testing.TB, what string, want func([]frame) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		w.mu.Lock()
		grown := w.grown
		w.mu.Unlock()
		if want(w.frames(t)) {
			return
		}
		select {
		case <-grown:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// party is one client connection.
type party struct {
	*amqp.Conn
	t   testing.TB
	k   *navetest.Kit
	tap *tap
}

// dialed is how a client connects.
type dialed struct {
	amqp.ClientOptions
	certs []tls.Certificate
	nc    net.Conn // instead of TLS to the AMQP port
}

func try(t testing.TB, k *navetest.Kit, d dialed) (*party, error) {
	t.Helper()
	nc := d.nc
	if nc == nil {
		var err error
		if nc, err = tls.Dial("tcp", k.Node.Address("amqp"), k.TLS(d.certs...)); err != nil {
			t.Fatal(err)
		}
	}
	p := &party{t: t, k: k, tap: &tap{Conn: nc, grown: make(chan struct{})}}
	if d.Hostname == "" {
		d.Hostname = navetest.Host
	}
	var err error
	if p.Conn, err = amqp.Open(within(t), p.tap, d.ClientOptions); err == nil {
		t.Cleanup(p.Abort)
	}
	return p, err
}

func join(t testing.TB, k *navetest.Kit, d ...dialed) *party {
	t.Helper()
	d = append(d, dialed{})
	p, err := try(t, k, d[0])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ended waits for the end of the connection and returns why.
func (p *party) ended() error {
	p.t.Helper()
	select {
	case <-p.Done():
		return p.Err()
	case <-time.After(patience):
		p.t.Fatal("the connection was not closed")
		return nil
	}
}

// thread is one link of a client.
type thread struct {
	*amqp.Link
	t    testing.TB
	got  chan *amqp.Delivery
	out  chan amqp.State
	lent chan struct{}
	back chan struct{} // the peer has answered a drain
	gone chan error
}

// attachment is how a link is wanted.
type attachment struct {
	name    string
	session *amqp.Session
	props   amqp.Map
	snd     uint8
	rcv     uint8
	manual  bool
	max     uint64
}

var names struct {
	sync.Mutex
	n int
}

func (p *party) tryLink(role amqp.Role, address string, a ...attachment) (*thread, error) {
	p.t.Helper()
	a = append(a, attachment{snd: amqp.SettleMixed})
	o := a[0]
	if o.session == nil {
		o.session = p.Begin()
	}
	if o.name == "" {
		names.Lock()
		names.n++
		o.name = fmt.Sprintf("link-%d", names.n)
		names.Unlock()
	}
	n := &thread{t: p.t, got: make(chan *amqp.Delivery, 1000), out: make(chan amqp.State, 1000), lent: make(chan struct{}, 1), back: make(chan struct{}, 1), gone: make(chan error, 1)}
	n.Link = &amqp.Link{Name: o.name, Role: role, SndMode: o.snd, RcvMode: o.rcv, Answer: o.props, ManualCredit: o.manual, MaxMessageSize: o.max,
		Source: &amqp.Terminus{Address: address}, Target: &amqp.Terminus{Address: address},
		OnDelivery: func(d *amqp.Delivery) { n.got <- d },
		OnCredit: func(uint32, bool) {
			select {
			case n.lent <- struct{}{}:
			default:
			}
		},
		OnDisposition: func(out *amqp.Out, st amqp.State, settled bool) {
			if !settled {
				out.Settle(st)
			}
			n.out <- st
		},
		OnDrained: func() { n.back <- struct{}{} },
		OnDetach:  func(cause error, _ []*amqp.Out) { n.gone <- cause },
	}
	return n, o.session.Attach(within(p.t), n.Link)
}

func (p *party) sender(address string, a ...attachment) *thread {
	p.t.Helper()
	n, err := p.tryLink(amqp.RoleSender, address, a...)
	if err != nil {
		p.t.Fatalf("sender to %s: %v", address, err)
	}
	return n
}

func (p *party) receiver(address string, a ...attachment) *thread {
	p.t.Helper()
	n, err := p.tryLink(amqp.RoleReceiver, address, a...)
	if err != nil {
		p.t.Fatalf("receiver from %s: %v", address, err)
	}
	return n
}

// refused wants the attach to be refused with the condition.
func (p *party) refused(role amqp.Role, address string, condition amqp.Symbol, a ...attachment) *amqp.Error {
	p.t.Helper()
	_, err := p.tryLink(role, address, a...)
	return wantCondition(p.t, err, condition)
}

func wantCondition(t testing.TB, err error, condition amqp.Symbol) *amqp.Error {
	t.Helper()
	var e *amqp.Error
	if !errors.As(err, &e) || e.Condition != condition {
		t.Fatalf("got %v, want %s", err, condition)
	}
	return e
}

// send sends a message and returns its outcome.
func (n *thread) send(payload []byte, format ...uint32) amqp.State {
	n.t.Helper()
	f := uint32(0)
	if len(format) > 0 {
		f = format[0]
	}
	n.put(payload, f, false)
	return n.outcome()
}

// put sends a message as soon as there is credit.
func (n *thread) put(payload []byte, format uint32, settled bool) {
	n.t.Helper()
	for {
		_, err := n.Link.Send(payload, nil, format, settled, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, amqp.ErrNoCredit) {
			n.t.Fatal(err)
		}
		select {
		case <-n.lent:
		case <-time.After(patience):
			n.t.Fatal("no credit came")
		}
	}
}

func (n *thread) outcome() amqp.State {
	n.t.Helper()
	select {
	case st := <-n.out:
		return st
	case err := <-n.gone:
		n.gone <- err
		select {
		case st := <-n.out: // both were there
			return st
		default:
			n.t.Fatalf("the link was detached: %v", err)
		}
	case <-time.After(patience):
		n.t.Fatal("no outcome came")
	}
	return nil
}

func (n *thread) accepted(payload []byte, format ...uint32) {
	n.t.Helper()
	if st := n.send(payload, format...); st != (amqp.Accepted{}) {
		n.t.Fatalf("outcome %#v, want accepted", st)
	}
}

func (n *thread) rejected(payload []byte, condition amqp.Symbol, format ...uint32) *amqp.Error {
	n.t.Helper()
	st := n.send(payload, format...)
	r, ok := st.(amqp.Rejected)
	if !ok || r.Error == nil || r.Error.Condition != condition {
		n.t.Fatalf("outcome %#v, want rejected with %s", st, condition)
	}
	return r.Error
}

// next returns the next message, still to be answered.
func (n *thread) next() (*amqp.Delivery, *amqp.Message) {
	n.t.Helper()
	select {
	case d := <-n.got:
		m, err := amqp.ParseMessage(d.Payload)
		if err != nil {
			n.t.Fatal(err)
		}
		return d, m
	case err := <-n.gone:
		n.t.Fatalf("the link was detached: %v", err)
	case <-time.After(patience):
		n.t.Fatal("no message came")
	}
	return nil, nil
}

// quiet wants nothing to have come.
func (n *thread) quiet() {
	n.t.Helper()
	select {
	case d := <-n.got:
		n.t.Fatalf("unexpected message %x", d.Payload)
	default:
	}
}

// detached wants the link to be detached with the condition.
func (n *thread) detached(condition amqp.Symbol) *amqp.Error {
	n.t.Helper()
	select {
	case err := <-n.gone:
		return wantCondition(n.t, err, condition)
	case <-time.After(patience):
		n.t.Fatalf("the link was not detached")
	}
	return nil
}

// attached wants the link to be there still.
func (n *thread) attached() {
	n.t.Helper()
	select {
	case err := <-n.gone:
		n.t.Fatalf("the link was detached: %v", err)
	default:
	}
}

func encoded(t testing.TB, m *amqp.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func data(text string) []byte { return amqp.AppendData(nil, []byte(text)) }

// desk is a pair of $cbs links.
type desk struct {
	requests, replies *thread
	p                 *party
}

func (p *party) desk(a ...attachment) *desk {
	p.t.Helper()
	if len(a) == 0 {
		a = []attachment{{snd: amqp.SettleMixed, session: p.Begin()}}
	}
	return &desk{requests: p.sender("$cbs", a...), replies: p.receiver("$cbs", a...), p: p}
}

func tokenMessage(t testing.TB, id any, token, name string) []byte {
	return encoded(t, &amqp.Message{Properties: &amqp.Properties{MessageID: id, To: "$cbs", ReplyTo: "cbs"}, Value: token,
		ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: "servicebus.windows.net:sastoken"}, {Key: "name", Value: name}}})
}

// put puts a token and returns status and description.
func (d *desk) put(token string) (int32, string) {
	d.p.t.Helper()
	d.requests.accepted(tokenMessage(d.p.t, "m1", token, navetest.Host))
	return d.reply()
}

func (d *desk) reply() (int32, string) {
	d.p.t.Helper()
	in, m := d.replies.next()
	in.Accept()
	status, ok := m.ApplicationProperties.Get("status-code").(int32)
	if !ok {
		d.p.t.Fatalf("status-code is %#v", m.ApplicationProperties.Get("status-code"))
	}
	text, _ := m.ApplicationProperties.Get("status-description").(string)
	return status, text
}

func (d *desk) ok(token string) {
	d.p.t.Helper()
	if status, text := d.put(token); status != 200 {
		d.p.t.Fatalf("put-token: %d %s", status, text)
	}
}

// device opens a connection that has put the tokens of the devices.
func device(t testing.TB, k *navetest.Kit, devices ...*navetest.Device) *party {
	t.Helper()
	p := join(t, k)
	d := p.desk()
	for _, who := range devices {
		d.ok(who.Token())
	}
	return p
}

func at(d *navetest.Device, tail string) string {
	if d.IsModule() {
		return "/devices/" + d.ID.Device + "/modules/" + d.Module + tail
	}
	return "/devices/" + d.ID.Device + tail
}

func events(d *navetest.Device) string   { return at(d, "/messages/events") }
func commands(d *navetest.Device) string { return at(d, "/messages/devicebound") }

// stored returns the events of the device, once there are n.
func stored(k *navetest.Kit, d *navetest.Device, n int) []*nave.Event {
	return k.Events(n, func(e *nave.Event) bool { return e.From == d.ID && e.Source == nave.Telemetry })
}

// wsNet is the client's side of a WebSocket as a byte stream.
type wsNet struct {
	net.Conn
	ws   *websocket.Conn
	rest []byte
}

func (c *wsNet) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		_, p, err := c.ws.ReadMessage()
		if err != nil {
			return 0, err
		}
		c.rest = p
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *wsNet) Write(b []byte) (int, error) {
	return len(b), c.ws.WriteMessage(websocket.BinaryMessage, b)
}
