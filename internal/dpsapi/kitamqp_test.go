package dpsapi_test

import (
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
)

// amqpPeer is a device on AMQP.
type amqpPeer struct {
	t        testing.TB
	d        *device
	conn     *amqp.Conn
	session  *amqp.Session
	out, in  *amqp.Link
	credit   chan struct{}
	outcomes chan amqp.State
	got      chan *amqp.Delivery
}

// sasl is how the device proves itself: PLAIN with a token, or nothing.
func (d *device) sasl() amqp.ClientOptions {
	if d.key == "" {
		return amqp.ClientOptions{}
	}
	return amqp.ClientOptions{Mechanism: amqp.Plain, Response: []byte("\x00" + d.resource() + "\x00" + d.token())}
}

// amqp connects and attaches both links, the receiver first.
func (d *device) amqp() *amqpPeer {
	d.t.Helper()
	return d.amqpOn(d.dial(d.amqps), d.sasl())
}

func (d *device) amqpOn(nc net.Conn, o amqp.ClientOptions) *amqpPeer {
	d.t.Helper()
	p := d.open(nc, o)
	if err := p.attachIn(d.resource()); err != nil {
		d.t.Fatal(err)
	}
	if err := p.attachOut(d.resource()); err != nil {
		d.t.Fatal(err)
	}
	return p
}

// open connects and begins a session.
func (d *device) open(nc net.Conn, o amqp.ClientOptions) *amqpPeer {
	d.t.Helper()
	p, err := d.tryOpen(nc, o)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func (d *device) tryOpen(nc net.Conn, o amqp.ClientOptions) (*amqpPeer, error) {
	d.t.Helper()
	nc.SetDeadline(time.Time{})
	c, err := amqp.Open(within(d.t), nc, o)
	if err != nil {
		return nil, err
	}
	d.t.Cleanup(func() { c.Abort(); <-c.Done() })
	return &amqpPeer{t: d.t, d: d, conn: c, session: c.Begin(), credit: make(chan struct{}, 1), outcomes: make(chan amqp.State, 100),
		got: make(chan *amqp.Delivery, 100)}, nil
}

func (p *amqpPeer) properties() amqp.Map {
	return amqp.Map{{Key: amqp.Symbol("com.microsoft:api-version"), Value: p.d.version}, {Key: amqp.Symbol("com.microsoft:client-version"), Value: "test"}}
}

func (p *amqpPeer) attachIn(address string) error {
	p.in = &amqp.Link{Name: "recv_link", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: address}, SndMode: amqp.SettleMixed,
		Answer: p.properties(), OnDelivery: func(d *amqp.Delivery) { p.got <- d; d.Accept() }}
	return p.session.Attach(within(p.t), p.in)
}

func (p *amqpPeer) attachOut(address string) error {
	p.out = p.sender(address)
	return p.session.Attach(within(p.t), p.out)
}

func (p *amqpPeer) sender(address string) *amqp.Link {
	return &amqp.Link{Name: "sender_link", Role: amqp.RoleSender, Target: &amqp.Terminus{Address: address}, SndMode: amqp.SettleMixed,
		Answer: p.properties(),
		OnCredit: func(uint32, bool) {
			select {
			case p.credit <- struct{}{}:
			default:
			}
		},
		OnDisposition: func(_ *amqp.Out, st amqp.State, _ bool) { p.outcomes <- st }}
}

// send sends a message as soon as there is credit.
func (p *amqpPeer) send(m *amqp.Message) {
	p.t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.sendRaw(b)
}

func (p *amqpPeer) sendRaw(b []byte) {
	p.t.Helper()
	for ctx := within(p.t); ; {
		_, err := p.out.Send(b, nil, 0, false, nil)
		if err == nil {
			return
		}
		select {
		case <-p.credit:
		case <-ctx.Done():
			p.t.Fatal(err)
		}
	}
}

func (p *amqpPeer) outcomeOf() amqp.State {
	p.t.Helper()
	select {
	case st := <-p.outcomes:
		return st
	case <-time.After(patience):
		p.t.Fatal("no disposition")
	}
	return nil
}

// reply reads an answer and checks its body: exactly one data section.
func (p *amqpPeer) reply() (*amqp.Message, *answer) {
	p.t.Helper()
	select {
	case d := <-p.got:
		m, err := amqp.ParseMessage(d.Payload)
		if err != nil || len(m.Data) != 1 || m.HasValue {
			p.t.Fatalf("%+v, %v", m, err)
		}
		code := 200
		if len(m.ApplicationProperties) > 0 {
			code = 202
		}
		return m, newAnswer(p.t, code, m.Data[0])
	case <-time.After(patience):
		p.t.Fatal("no answer")
	}
	return nil, nil
}

func registerMessage(body string, more ...amqp.Pair) *amqp.Message {
	return &amqp.Message{ApplicationProperties: append(amqp.Map{{Key: "iotdps-operation-type", Value: "iotdps-register"}}, more...), Data: [][]byte{[]byte(body)}}
}

func pollMessage(operation string) *amqp.Message {
	return &amqp.Message{ApplicationProperties: amqp.Map{{Key: "iotdps-operation-type", Value: "iotdps-get-operationstatus"},
		{Key: "iotdps-operation-id", Value: operation}}, Data: [][]byte{{}}}
}

// ask sends a request that must be accepted and returns its answer.
func (p *amqpPeer) ask(m *amqp.Message) *answer {
	p.t.Helper()
	p.send(m)
	if st := p.outcomeOf(); st != (amqp.Accepted{}) {
		p.t.Fatalf("%+v", st)
	}
	_, a := p.reply()
	return a
}

// rejected sends a request that must be rejected, and returns the error and its
// description.
func (p *amqpPeer) rejected(m *amqp.Message) (*amqp.Error, *answer) {
	p.t.Helper()
	p.send(m)
	st := p.outcomeOf()
	r, ok := st.(amqp.Rejected)
	if !ok || r.Error == nil {
		p.t.Fatalf("%+v, want Rejected", st)
	}
	a := newAnswer(p.t, 0, []byte(r.Error.Description))
	if n, _ := a.at("errorCode").(json.Number); len(n) != 6 {
		p.t.Errorf("errorCode %s has not six digits", n)
	}
	return r.Error, a
}

func (p *amqpPeer) outcome(body string) *answer {
	p.t.Helper()
	a := p.ask(registerMessage(body))
	operation := a.get("operationId")
	return p.d.finished(operation, func() *answer { return p.ask(pollMessage(operation)) })
}
