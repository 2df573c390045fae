package mqtt

import (
	"net"
)

// Conn is the server side of a connection after CONNACK 0. Its methods may be called from any goroutine, and from the handler.
type Conn struct {
	link

	// Set by Session.Serve, then read only:
	h       Handler
	unwatch func() bool

	// Owned by the reader:
	pub Publish // what Handler.Publish gets
}

func (c *Conn) open(nc net.Conn, o *Options) {
	c.nc, c.in.tally = uncounted(nc)
	c.o, c.done = o, make(chan struct{})
	c.in.init(c.nc)
}

// Level is the protocol level, 4 for MQTT 3.1.1 and 5 for MQTT 5.0.
func (c *Conn) Level() byte {
	if c.modern != nil {
		return 5
	}
	return 4
}

// Start begins to read. It is called exactly once, also when Close was called before: only then does Handler.Closed come.
func (c *Conn) Start() { go c.run() }

// Publish queues a packet and never blocks; the order of calls is the order on the wire. QoS 1 needs p.ID, which the caller keeps
// unique among what is outstanding. p may be reused after the call, the memory of its payload not. The error is ErrClosed when
// the connection is closed or closing, ErrSlow when Options.MaxQueue is exceeded, which closes it, or says what cannot be encoded. With MQTT 5.0 a packet
// that is larger than the client takes is a *TooLargeError and changes nothing, and QoS 1 waits for the client's receive maximum.
func (c *Conn) Publish(p *Publish) error {
	err := c.send(p)
	if err == ErrSlow {
		c.stop(err, stopNow)
	}
	return err
}

// Close stops reading, sends what is queued, bounded by Options.WriteTimeout, and closes, with close_notify when the connection is
// TLS. It returns at once. cause, ErrClosed when nil, goes to Handler.Closed unless the connection was closing already.
func (c *Conn) Close(cause error) {
	if cause == nil {
		cause = ErrClosed
	}
	c.stop(cause, stopFlushed)
}

// Abort resets the TCP connection beneath; nothing more is sent. cause is used as by Close.
func (c *Conn) Abort(cause error) {
	if cause == nil {
		cause = ErrClosed
	}
	c.stop(cause, stopReset)
}

// Done is closed when Handler.Closed has returned and both goroutines have ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// RemoteAddr is the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LocalAddr is the address the peer connected to.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

func (c *Conn) closed(cause error) {
	c.unwatch()
	c.h.Closed(cause)
}

// packet handles what a client may send.
func (c *Conn) packet(head byte, body []byte, own bool) error {
	switch kind := head >> 4; kind {
	case typePublish:
		return c.publish(head, body, own)
	case typePuback:
		return c.acked(body)
	case typePingreq:
		return c.answer(Pingresp{}.Append(nil))
	case typeSubscribe:
		return c.subscribe(body)
	case typeUnsubscribe:
		return c.unsubscribe(body)
	case typeDisconnect:
		if c.modern != nil {
			return c.disconnected(body)
		}
		return errDisconnect
	case typeConnect:
		return violation("MQTT-3.1.0-2", "second CONNECT")
	case typeAuth:
		return violation5(ProtocolViolation, "AUTH: extended authentication is not supported")
	case typePubrec, typePubrel, typePubcomp:
		return violation("", "%s: QoS 2 is not supported", typeNames[kind])
	default:
		return violation("", "%s from a client", typeNames[kind])
	}
}

func (c *Conn) acked(body []byte) error {
	parse := parsePuback
	if c.modern != nil {
		parse = parsePuback5
	}
	p, err := parse(body)
	if err != nil {
		return err
	}
	if c.modern != nil {
		c.landed()
	}
	c.h.Acked(p.ID)
	return nil
}

// publishModern is publish for MQTT 5.0.
func (c *Conn) publishModern(head byte, body []byte, own bool) error {
	p := &Publish{}
	if err := c.decodeModern(p, head, body, own); err != nil {
		return err
	}
	if p.Properties != nil && p.Properties.SubscriptionIDs != nil {
		return violation5(ProtocolViolation, "PUBLISH: a subscription identifier from a client")
	}
	ack := Ack{}
	if p.QoS == 1 {
		if r := c.acks.Load(); r != nil && r.taken-r.retired.Load() >= uint64(min(c.o.MaxUnacked, 65535)) {
			return violation5(ReceiveExceeded, "PUBLISH: more than %d without PUBACK", c.o.MaxUnacked)
		}
		ack = c.slot(p.ID)
	}
	return c.h.Publish(p, ack)
}

func (c *Conn) publish(head byte, body []byte, own bool) error {
	if c.modern != nil {
		return c.publishModern(head, body, own)
	}
	p, known := &c.pub, ""
	if c.in.buf != nil {
		known = c.in.buf.topic
	}
	if err := p.decode(head, body, known, c.o.LooseTopics); err != nil {
		return err
	}
	if p.QoS > 1 {
		return violation("", "PUBLISH with QoS 2, which is not supported")
	}
	if !own {
		p.detach(body, known)
		if c.in.buf != nil {
			c.in.buf.topic = p.Topic
		}
	}
	ack := Ack{}
	if p.QoS == 1 {
		ack = c.slot(p.ID)
		if c.stopped.Load() {
			return nil
		}
	}
	err := c.h.Publish(p, ack)
	c.pub = Publish{}
	return err
}

// slot waits until fewer than MaxUnacked publishes are pending; an idle connection has no ring.
func (c *Conn) slot(id uint16) Ack {
	r := c.acks.Load()
	if r == nil {
		r = newRing()
		c.acks.Store(r)
	}
	r.room(c.o.MaxUnacked, &c.link)
	return Ack{c: c, s: r.take(id)}
}

func (c *Conn) subscribe(body []byte) error {
	parse := parseSubscribe
	if c.modern != nil {
		parse = parseSubscribe5
	}
	s, err := parse(body, c.o.LooseTopics)
	if err != nil {
		return err
	}
	if s.Properties != nil && s.Properties.SubscriptionIDs != nil {
		return violation5(NoSubscriptionIDs, "SUBSCRIBE: subscription identifiers are not supported")
	}
	codes, err := c.h.Subscribe(s.Subs)
	if err != nil {
		return err
	}
	if err := checkCodes(codes, len(s.Subs), c.modern != nil); err != nil {
		return err
	}
	answer := Suback{ID: s.ID, Codes: codes}
	encode := answer.Append
	if c.modern != nil {
		encode = answer.AppendV5
		c.modern.grant(s.Subs, codes)
	}
	if err := c.answer(encode(nil)); err != nil {
		return err
	}
	c.h.Subscribed(s.Subs)
	return nil
}

func (c *Conn) unsubscribe(body []byte) error {
	parse := parseUnsubscribe
	if c.modern != nil {
		parse = parseUnsubscribe5
	}
	u, err := parse(body, c.o.LooseTopics)
	if err != nil {
		return err
	}
	if err := c.h.Unsubscribe(u.Filters); err != nil {
		return err
	}
	if c.modern != nil {
		return c.answer(Unsuback{ID: u.ID, Codes: c.modern.withdraw(u.Filters)}.AppendV5(nil))
	}
	return c.answer(Unsuback{ID: u.ID}.Append(nil))
}

// answer queues a reply of the reader's; a peer that asks and never reads is as slow as one that only does not read.
func (c *Conn) answer(b []byte) error {
	err := c.reply(b)
	if err == ErrSlow {
		c.stop(err, stopNow)
	}
	return err
}
