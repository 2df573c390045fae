package dpsapi

import (
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// Attach implements amqp.Handler: one link brings requests, another takes the
// answers, in any order (dps 2.5).
func (c *amqpConn) Attach(l *amqp.Link) {
	if err := c.admit(l); err != nil {
		l.Refuse(c.refuse("dps.attach", err))
		return
	}
	if l.Role == amqp.RoleReceiver {
		l.Window = linkCredit
		l.SetMaxMessageSize(maxPacket)
		l.OnDelivery = c.received
		l.Accept()
		return
	}
	l.OnCredit = func(uint32, bool) { c.flush(); l.Drained() }
	l.OnDisposition = func(out *amqp.Out, state amqp.State, settled bool) {
		if !settled {
			out.Settle(state)
		}
	}
	l.OnDetach = func(error, []*amqp.Out) { c.drop(l) }
	c.mu.Lock()
	c.links = append(c.links, l)
	c.mu.Unlock()
	if l.Accept() != nil {
		c.drop(l)
	}
}

func (c *amqpConn) drop(l *amqp.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links = slices.DeleteFunc(c.links, func(x *amqp.Link) bool { return x == l })
}

// admit checks that the link is for the identity of the connection, and takes
// the versions it names.
func (c *amqpConn) admit(l *amqp.Link) error {
	scope, id, err := parseAddress(l.PeerAddress())
	if err != nil {
		return err
	}
	if err := c.bind(scope, id); err != nil {
		return err
	}
	text, ok := amqp.Text(l.Properties.Get("com.microsoft:api-version"))
	if !ok {
		return nil
	}
	version, err := dps.ParseVersion(text)
	if err != nil {
		return err
	}
	client, _ := amqp.Text(l.Properties.Get("com.microsoft:client-version"))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version = version
	if client != "" {
		c.client = brief(client)
	}
	return nil
}

// bind compares the address with the identity of the connection. Without SASL
// it is the certificate's, in the scope of the first link.
func (c *amqpConn) bind(scope, id string) (err error) {
	if !c.established {
		if name := c.certs[0].Subject.CommonName; !strings.EqualFold(name, id) {
			return fault.DPSIotHubUnauthorizedAccess.New("Unauthorized: the certificate is not for the registration id %q", brief(id))
		}
		if c.service, err = find(c.server.o.Services, scope); err != nil {
			return err
		}
		c.identify(scope, id)
	}
	if !strings.EqualFold(scope, c.scope) || !strings.EqualFold(id, c.id) {
		return fault.DPSIotHubUnauthorizedAccess.New("Unauthorized: the connection is not for the registration id %q", brief(id))
	}
	return nil
}

// job is a request that waits for its turn.
type job struct {
	d       *amqp.Delivery
	session *amqp.Session
}

// answer is a message that waits for a link with credit.
type answer struct {
	payload []byte
	session *amqp.Session // of the request
	until   time.Time
}

// received queues a request; it runs on the read goroutine.
func (c *amqpConn) received(d *amqp.Delivery) {
	select {
	case c.jobs <- &job{d, d.Link.Session()}:
	default: // only who detaches links with requests on them gets here
		d.Release()
		d.Link.Conn().Close(amqp.Errorf(amqp.ResourceLimitExceeded, "more than %d requests wait", maxJobs))
	}
}

// work serves requests until the connection is over.
func (c *amqpConn) work() {
	for j := range c.jobs {
		c.mu.Lock()
		ended := c.ended
		c.mu.Unlock()
		if !ended {
			c.serve(j)
		}
	}
}

func (c *amqpConn) serve(j *job) {
	m, r, err := c.perform(j.d)
	time.Sleep(c.server.o.Pause)
	if err != nil {
		e := refusal(err)
		c.server.o.note(c.service, operationOf(m).String(), c.id, c.remote, e)
		c.life.answered(nil, e)
		j.d.Reject(encodeAMQP(e))
		if j.d.Settled { // there is no outcome that could tell
			j.d.Link.Detach(encodeAMQP(e))
		}
		return
	}
	c.life.answered(r, nil)
	payload, err := responseTo(m, r)
	if err != nil {
		j.d.Reject(c.refuse("dps.answer", err))
		return
	}
	j.d.Accept()
	c.respond(answer{payload, j.session, time.Now().Add(c.server.o.Hold)})
}

// perform reads a request and runs it; m is nil when it cannot be read.
func (c *amqpConn) perform(d *amqp.Delivery) (m *amqpRequest, r *reply, err error) {
	if d.TooLarge {
		return nil, nil, fault.DPSMessageTooLarge.New("the message has %d bytes, %d are taken", d.Size, maxPacket)
	}
	if m, err = parseRequest(d.Payload); err != nil {
		return m, nil, err
	}
	claim := c.claim(c.scope, c.id)
	r, err = run(c.ctx, c.service, &claim, &m.request)
	return m, r, err
}

// respond sends an answer as soon as there is a link with credit for it.
func (c *amqpConn) respond(a answer) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	c.waiting = slices.DeleteFunc(c.waiting, func(w answer) bool { return now.After(w.until) })
	full := len(c.waiting) >= maxHeld
	if !full {
		c.waiting = append(c.waiting, a)
	}
	c.mu.Unlock()
	if full {
		c.shut(amqp.Errorf(amqp.ResourceLimitExceeded, "more than %d answers wait for credit", maxHeld))
		return
	}
	c.flush()
}

// flush sends what waits, as far as there is credit. It may be called from any
// goroutine; mu keeps the order, and Send neither blocks nor calls back.
func (c *amqpConn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 {
		a := c.waiting[0]
		if time.Now().Before(a.until) && !c.send(a) {
			return
		}
		c.waiting = c.waiting[1:]
	}
}

// send tries the links of the request's session first; mu is held.
func (c *amqpConn) send(a answer) bool {
	for _, same := range []bool{true, false} {
		for _, l := range slices.Backward(c.links) {
			if (l.Session() == a.session) != same {
				continue
			}
			if _, err := l.Send(a.payload, nil, 0, true, nil); err == nil {
				return true
			}
		}
	}
	return false
}
