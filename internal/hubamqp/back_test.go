package hubamqp_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/navetest"
)

// back is a connection of a back end with a session.
type back struct {
	*amqp.Session
	conn *amqp.Conn
	kit  *navetest.Kit
	t    testing.TB
	last atomic.Int64
}

// dialBack opens a connection that has proven nothing yet.
func dialBack(t testing.TB, k *navetest.Kit, change ...func(*amqp.ClientOptions)) *back {
	t.Helper()
	b, err := tryBack(t, k, change...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tryBack(t testing.TB, k *navetest.Kit, change ...func(*amqp.ClientOptions)) (*back, error) {
	t.Helper()
	nc, err := tls.Dial("tcp", k.Node.Address("amqp"), k.TLS())
	if err != nil {
		t.Fatal(err)
	}
	b := &back{kit: k, t: t}
	o := amqp.ClientOptions{Options: amqp.Options{ContainerID: "back", Hostname: k.Hub.Host()}}
	for _, f := range change {
		f(&o)
	}
	if b.conn, err = amqp.Open(within(t), nc, o); err != nil {
		return nil, err
	}
	t.Cleanup(func() { b.conn.Close(nil); <-b.conn.Done() })
	b.Session = b.conn.Begin()
	return b, nil
}

// service opens a connection with a token of policy service.
func service(t testing.TB, k *navetest.Kit) *back {
	t.Helper()
	b := dialBack(t, k)
	b.put(k.Policy("service"))
	return b
}

func (b *back) name(kind string) string { return fmt.Sprintf("%s-%d", kind, b.last.Add(1)) }

// put puts a token and wants it to be taken.
func (b *back) put(token string) {
	b.t.Helper()
	if status, text := b.node("$cbs").put(token); status != 200 {
		b.t.Fatalf("put-token answers %d %s", status, text)
	}
}

// exchange is a request/response node with both links attached.
type exchange struct {
	b       *back
	send    *sender
	replies *receiver
}

func (b *back) node(address string) *exchange {
	b.t.Helper()
	return &exchange{b, b.sender(address), b.receiver(address, func(l *amqp.Link) { l.Target = &amqp.Terminus{Address: "replies"} })}
}

// ask sends a request and returns the answer.
func (n *exchange) ask(m *amqp.Message) *amqp.Message {
	n.b.t.Helper()
	if st := n.send.message(m); st != (amqp.Accepted{}) {
		n.b.t.Fatalf("the request is %v", st)
	}
	return parse(n.b.t, n.replies.next())
}

// put sends put-token.
func (n *exchange) put(token string, change ...func(*amqp.Message)) (status int32, text string) {
	n.b.t.Helper()
	m := &amqp.Message{Properties: &amqp.Properties{MessageID: n.b.name("put"), ReplyTo: "replies"}, Value: token,
		ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: "servicebus.windows.net:sastoken"},
			{Key: "name", Value: "amqps://" + n.b.kit.Hub.Host() + ":5671/"}}}
	for _, f := range change {
		f(m)
	}
	r := n.ask(m)
	status, _ = r.ApplicationProperties.Get("status-code").(int32)
	text, _ = r.ApplicationProperties.Get("status-description").(string)
	return status, text
}

// sender is a link that a client sends on.
type sender struct {
	*amqp.Link
	t       testing.TB
	more    chan struct{}
	outcome chan amqp.State
	gone    chan error
}

func (b *back) sender(address string, change ...func(*amqp.Link)) *sender {
	b.t.Helper()
	s, err := b.trySender(address, change...)
	if err != nil {
		b.t.Fatalf("attach to %s: %v", address, err)
	}
	return s
}

func (b *back) trySender(address string, change ...func(*amqp.Link)) (*sender, error) {
	s := &sender{t: b.t, more: make(chan struct{}, 1), outcome: make(chan amqp.State, 1000), gone: make(chan error, 1)}
	s.Link = &amqp.Link{Name: b.name("sender"), Role: amqp.RoleSender, Target: &amqp.Terminus{Address: address},
		OnCredit: func(uint32, bool) {
			select {
			case s.more <- struct{}{}:
			default:
			}
		},
		OnDisposition: func(_ *amqp.Out, st amqp.State, _ bool) { s.outcome <- st },
		OnDetach:      func(err error, _ []*amqp.Out) { s.gone <- err }}
	for _, f := range change {
		f(s.Link)
	}
	return s, b.Attach(within(b.t), s.Link)
}

// message sends a message and returns its outcome.
func (s *sender) message(m *amqp.Message) amqp.State {
	s.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.transfer(b, 0)
	return s.next()
}

func (s *sender) transfer(b []byte, format uint32) {
	s.t.Helper()
	ctx := within(s.t)
	for {
		_, err := s.Send(b, nil, format, false, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, amqp.ErrNoCredit) {
			s.t.Fatal(err)
		}
		select {
		case <-s.more:
		case <-ctx.Done():
			s.t.Fatal("no credit came")
		}
	}
}

func (s *sender) next() amqp.State {
	s.t.Helper()
	select {
	case st := <-s.outcome:
		return st
	case err := <-s.gone:
		s.t.Fatalf("the link is gone: %v", err)
	case <-within(s.t).Done():
		s.t.Fatal("no outcome came")
	}
	return nil
}

// receiver is a link that a client receives on.
type receiver struct {
	*amqp.Link
	t    testing.TB
	came chan *amqp.Delivery
	gone chan error
}

func (b *back) receiver(address string, change ...func(*amqp.Link)) *receiver {
	b.t.Helper()
	r, err := b.tryReceiver(address, change...)
	if err != nil {
		b.t.Fatalf("attach to %s: %v", address, err)
	}
	return r
}

func (b *back) tryReceiver(address string, change ...func(*amqp.Link)) (*receiver, error) {
	r := &receiver{t: b.t, came: make(chan *amqp.Delivery, 5000), gone: make(chan error, 1)}
	r.Link = &amqp.Link{Name: b.name("receiver"), Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: address}, SndMode: amqp.SettleMixed,
		OnDelivery: func(d *amqp.Delivery) { r.came <- d },
		OnDetach:   func(err error, _ []*amqp.Out) { r.gone <- err }}
	for _, f := range change {
		f(r.Link)
	}
	return r, b.Attach(within(b.t), r.Link)
}

// next returns the next delivery, which it accepts.
func (r *receiver) next() *amqp.Delivery {
	r.t.Helper()
	d := r.take()
	d.Accept()
	return d
}

// take returns the next delivery unanswered.
func (r *receiver) take() *amqp.Delivery {
	r.t.Helper()
	select {
	case d := <-r.came:
		return d
	case err := <-r.gone:
		r.t.Fatalf("the link is gone: %v", err)
	case <-within(r.t).Done():
		r.t.Fatal("nothing came")
	}
	return nil
}

// ended waits for the end of a link and returns its condition.
func ended(t testing.TB, gone chan error) *amqp.Error {
	t.Helper()
	select {
	case err := <-gone:
		return condition(t, err)
	case <-within(t).Done():
		t.Fatal("the link stays")
		return nil
	}
}

// condition wants an error of the protocol.
func condition(t testing.TB, err error) *amqp.Error {
	t.Helper()
	e, ok := errors.AsType[*amqp.Error](err)
	if !ok {
		t.Fatalf("the error is %v, not one of AMQP", err)
	}
	return e
}

func parse(t testing.TB, d *amqp.Delivery) *amqp.Message {
	t.Helper()
	m, err := amqp.ParseMessage(d.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// line is a device's handle over no particular protocol.
func line(t testing.TB, d *navetest.Device, k *navetest.Kit) *hub.Line {
	t.Helper()
	who, err := k.Hub.Authenticate(t.Context(), cred.Claim{SAS: d.Token()}, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	l, err := k.Hub.Connect(t.Context(), who, d.ID, hub.Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// publish stores telemetry of a device, one event for each body.
func publish(t testing.TB, l *hub.Line, bodies ...string) {
	t.Helper()
	done := make(chan error, len(bodies))
	for _, body := range bodies {
		l.Send(&nave.Message{Body: []byte(body)}, func(err error) { done <- err })
	}
	for range bodies {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// handshake dials the AMQP port with TLS.
func handshake(t testing.TB, k *navetest.Kit) net.Conn {
	t.Helper()
	nc, err := tls.Dial("tcp", k.Node.Address("amqp"), k.TLS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}
