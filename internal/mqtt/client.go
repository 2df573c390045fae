package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ClientOptions say what a client puts into its CONNECT; an empty Username and a nil Password are left out.
type ClientOptions struct {
	ClientID, Username string
	Password           []byte
	Clean              bool
	KeepAlive          uint16 // seconds; above 0 the client pings by itself and misses the server after twice the time
	Will               *Will
	Level              byte        // 5 for MQTT 5.0, otherwise 3.1.1
	Properties         *Properties // of CONNECT, with Level 5

	ManualAck bool    // inbound QoS 1 is acknowledged by Client.Ack only
	NoPing    bool    // KeepAlive is announced and not kept
	Limits    Options // MaxPacket, MaxQueue (default 16 MiB), WriteTimeout, and ConnectTimeout for the CONNACK
}

// ClientHandler holds the callbacks of a client, each of which may be nil. They run on the client's read goroutine, one at a time, and
// must not wait for anything that has to be read. Message: what it gets may be kept, but p itself is reused; QoS 1 is acknowledged
// when it returns. Acked: a PUBACK. Closed: the last call, with nil after Client.Close and otherwise as Handler.Closed.
type ClientHandler struct {
	Message func(p *Publish)
	Acked   func(id uint16)
	Refused func(id uint16, reason byte) // a PUBACK of MQTT 5.0 with a reason from 0x80 on, in place of Acked
	Closed  func(err error)
}

// Client is the client side of a connection. Its methods may be called from any goroutine; those with a context wait for an answer
// and so never from a callback.
type Client struct {
	link

	// Set by Open, then read only:
	h      ClientHandler
	manual bool
	hello  *Properties

	// Owned by the reader:
	pub Publish

	// Guarded by calls.mu:
	calls struct {
		mu    sync.Mutex
		id    uint16
		codes map[uint16]chan []byte // SUBSCRIBE and UNSUBSCRIBE that wait
		pings []chan struct{}        // PINGREQ that wait; nil for a ping nobody waits for
		timer *time.Timer
		every time.Duration
		ended bool
	}
}

// Open sends CONNECT and waits for the CONNACK. present says that the server holds a session. On an error nc is closed; a return code
// other than 0 is a *RefusedError.
func Open(nc net.Conn, o ClientOptions, h ClientHandler) (c *Client, present bool, err error) {
	if o.Limits.MaxQueue == 0 {
		o.Limits.MaxQueue = 16 << 20
	}
	limits := o.Limits.withDefaults()
	c = &Client{h: h, manual: o.ManualAck}
	c.nc, c.o, c.done = nc, &limits, make(chan struct{})
	c.in.init(nc)
	if present, err = c.connect(&o); err != nil {
		c.in.drop()
		nc.Close()
		return nil, false, err
	}
	if o.KeepAlive > 0 && !o.NoPing {
		c.limit = 2 * time.Duration(o.KeepAlive) * time.Second
	}
	c.handle, c.ended = c.packet, c.closed
	if c.limit > 0 {
		c.calls.every = c.limit * 3 / 8
		c.calls.mu.Lock()
		c.calls.timer = time.AfterFunc(c.calls.every, c.tick)
		c.calls.mu.Unlock()
	}
	go c.run()
	return c, present, nil
}

func (c *Client) connect(o *ClientOptions) (present bool, err error) {
	if err := c.nc.SetDeadline(time.Now().Add(c.o.ConnectTimeout)); err != nil {
		return false, err
	}
	if o.Level == 5 {
		c.modern = newModern(nil, false)
	}
	p := &Connect{Level: o.Level, Properties: o.Properties, ClientID: o.ClientID, Username: o.Username, HasUsername: o.Username != "" || o.Password != nil, Password: o.Password,
		HasPassword: o.Password != nil, Clean: o.Clean, KeepAlive: o.KeepAlive, Will: o.Will}
	if _, err := c.nc.Write(p.Append(nil)); err != nil {
		return false, err
	}
	head, body, _, err := c.next()
	if err != nil {
		return false, err
	}
	if head>>4 != typeConnack {
		return false, violation("MQTT-3.2.0-1", "the first packet is %s", typeNames[head>>4])
	}
	ack, err := c.accepted(body, o)
	if err != nil {
		return false, err
	}
	c.in.giveBack()
	return ack.Present, c.nc.SetDeadline(time.Time{})
}

// accepted reads the CONNACK; with MQTT 5.0 its limits become those of the connection.
func (c *Client) accepted(body []byte, o *ClientOptions) (ack Connack, err error) {
	if c.modern == nil || len(body) == 2 { // a server that speaks 3.1.1 only
		ack, err = parseConnack(body)
	} else {
		ack, err = parseConnack5(body)
	}
	if err != nil {
		return ack, err
	}
	if ack.Code != Accepted {
		e := &RefusedError{Code: ack.Code}
		if ack.Properties != nil {
			e.Text = ack.Properties.Reason
		}
		return ack, e
	}
	if c.modern == nil {
		return ack, nil
	}
	c.modern, c.hello = newModern(ack.Properties, false), ack.Properties
	if o.Properties != nil {
		c.modern.aliasLimit = int(o.Properties.AliasMaximum)
	}
	if p := ack.Properties; p != nil && p.KeepAlive != nil {
		o.KeepAlive = *p.KeepAlive
	}
	return ack, nil
}

// Properties are those of the server's CONNACK, nil when it had none.
func (c *Client) Properties() *Properties { return c.hello }

// Publish queues a packet and does not wait; QoS 1 needs an ID and its PUBACK comes through ClientHandler.Acked. ErrSlow says that
// the queue is full, which closes nothing: the packet was not queued.
func (c *Client) Publish(p *Publish) error { return c.send(p) }

// Ack sends the PUBACK for an inbound publish, with ClientOptions.ManualAck.
func (c *Client) Ack(id uint16) error { return c.reply(Puback{ID: id}.Append(nil)) }

// Subscribe waits for the SUBACK and returns its codes, one a filter.
func (c *Client) Subscribe(ctx context.Context, subs ...Subscription) ([]byte, error) {
	return c.call(ctx, func(id uint16) []byte {
		if s := (Subscribe{ID: id, Subs: subs}); c.modern == nil {
			return s.Append(nil)
		} else {
			return s.AppendV5(nil)
		}
	})
}

// Unsubscribe waits for the UNSUBACK.
func (c *Client) Unsubscribe(ctx context.Context, filters ...string) error {
	_, err := c.call(ctx, func(id uint16) []byte {
		if u := (Unsubscribe{ID: id, Filters: filters}); c.modern == nil {
			return u.Append(nil)
		} else {
			return u.AppendV5(nil)
		}
	})
	return err
}

func (c *Client) call(ctx context.Context, encode func(id uint16) []byte) ([]byte, error) {
	s, answer := &c.calls, make(chan []byte, 1)
	s.mu.Lock()
	if s.codes == nil {
		s.codes = make(map[uint16]chan []byte)
	}
	for s.id++; s.id == 0 || s.codes[s.id] != nil; s.id++ {
		if len(s.codes) == 65535 {
			s.mu.Unlock()
			return nil, errors.New("mqtt: no packet identifier is free")
		}
	}
	id := s.id
	s.codes[id] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.codes, id)
		s.mu.Unlock()
	}()
	if err := c.reply(encode(id)); err != nil {
		return nil, err
	}
	select {
	case codes := <-answer:
		return codes, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.done:
		return nil, c.why()
	}
}

// Ping sends PINGREQ and waits for the PINGRESP.
func (c *Client) Ping(ctx context.Context) error {
	answer := make(chan struct{})
	if err := c.ping(answer); err != nil {
		return err
	}
	select {
	case <-answer:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.done:
		return c.why()
	}
}

func (c *Client) ping(answer chan struct{}) error {
	c.calls.mu.Lock()
	defer c.calls.mu.Unlock()
	if err := c.reply(Pingreq{}.Append(nil)); err != nil {
		return err
	}
	c.calls.pings = append(c.calls.pings, answer)
	return nil
}

func (c *Client) tick() {
	c.ping(nil)
	c.calls.mu.Lock()
	defer c.calls.mu.Unlock()
	if !c.calls.ended {
		c.calls.timer.Reset(c.calls.every)
	}
}

// Close sends what is queued and DISCONNECT, and closes; it does not wait, Done does.
func (c *Client) Close() {
	c.reply(Disconnect{}.Append(nil))
	c.stop(nil, stopFlushed)
}

// Kill closes the socket without DISCONNECT; what is queued is lost.
func (c *Client) Kill() { c.stop(ErrClosed, stopNow) }

// Done is closed when ClientHandler.Closed has returned and both goroutines have ended.
func (c *Client) Done() <-chan struct{} { return c.done }

func (c *Client) why() error {
	if c.cause == nil {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, c.cause)
}

func (c *Client) closed(cause error) {
	c.calls.mu.Lock()
	c.calls.ended = true
	if c.calls.timer != nil {
		c.calls.timer.Stop()
	}
	c.calls.mu.Unlock()
	if c.h.Closed != nil {
		c.h.Closed(cause)
	}
}

// packet handles what a server may send.
func (c *Client) packet(head byte, body []byte, own bool) error {
	if c.modern != nil {
		return c.packetModern(head, body, own)
	}
	switch kind := head >> 4; kind {
	case typePublish:
		return c.message(head, body, own)
	case typePuback:
		p, err := parsePuback(body)
		if err == nil && c.h.Acked != nil {
			c.h.Acked(p.ID)
		}
		return err
	case typeSuback:
		p, err := parseSuback(body)
		if err != nil {
			return err
		}
		return c.answer(kind, p.ID, p.Codes)
	case typeUnsuback:
		p, err := parseUnsuback(body)
		if err != nil {
			return err
		}
		return c.answer(kind, p.ID, nil)
	case typePingresp:
		return c.pong()
	default:
		return violation("", "%s from a server", typeNames[kind])
	}
}

// packetModern is packet for MQTT 5.0.
func (c *Client) packetModern(head byte, body []byte, own bool) error {
	switch kind := head >> 4; kind {
	case typePublish:
		return c.message(head, body, own)
	case typePuback:
		p, err := parsePuback5(body)
		if err != nil {
			return err
		}
		c.landed()
		if p.Reason >= Unspecified && c.h.Refused != nil {
			c.h.Refused(p.ID, p.Reason)
		} else if c.h.Acked != nil {
			c.h.Acked(p.ID)
		}
		return nil
	case typeSuback:
		p, err := parseSuback5(body)
		if err != nil {
			return err
		}
		return c.answer(kind, p.ID, p.Codes)
	case typeUnsuback:
		p, err := parseUnsuback5(body)
		if err != nil {
			return err
		}
		return c.answer(kind, p.ID, p.Codes)
	case typePingresp:
		return c.pong()
	case typeDisconnect:
		return c.disconnected(body)
	default:
		return violation("", "%s from a server", typeNames[kind])
	}
}

func (c *Client) message(head byte, body []byte, own bool) error {
	p := &c.pub
	if c.modern != nil {
		if err := c.decodeModern(p, head, body, own); err != nil {
			return err
		}
		own = true
	} else if err := p.decode(head, body, "", true); err != nil {
		return err
	}
	if p.QoS > 1 {
		return violation("", "PUBLISH with QoS 2, which is not supported")
	}
	id, qos := p.ID, p.QoS
	if c.h.Message != nil {
		if !own {
			p.detach(body, "")
		}
		c.h.Message(p)
	}
	c.pub = Publish{}
	if qos == 1 && !c.manual {
		return c.Ack(id)
	}
	return nil
}

// answer ends a call; the answer to one that was given up is dropped.
func (c *Client) answer(kind byte, id uint16, codes []byte) error {
	c.calls.mu.Lock()
	waiting := c.calls.codes[id]
	delete(c.calls.codes, id)
	issued := c.calls.id
	c.calls.mu.Unlock()
	if waiting != nil {
		waiting <- codes
	} else if issued == 0 {
		return violation("", "%s for identifier %d, which was not asked for", typeNames[kind], id)
	}
	return nil
}

func (c *Client) pong() error {
	c.calls.mu.Lock()
	defer c.calls.mu.Unlock()
	if len(c.calls.pings) == 0 {
		return violation("", "PINGRESP without PINGREQ")
	}
	if answer := c.calls.pings[0]; answer != nil {
		close(answer)
	}
	if c.calls.pings = c.calls.pings[1:]; len(c.calls.pings) == 0 {
		c.calls.pings = nil
	}
	return nil
}
