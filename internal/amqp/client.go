package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// ClientOptions are the settings of the client's side of a connection.
type ClientOptions struct {
	Options
	Mechanism string // SASL mechanism; "" begins with AMQP at once
	Response  []byte // initial response of the mechanism
	// Step answers a challenge of the server; without it a challenge ends the
	// connection. It runs on the read goroutine.
	Step Step
	// SASLHostname goes into the SASL layer; default Hostname.
	SASLHostname string
	// OnClosed runs once when the connection is over, on its read goroutine.
	OnClosed func(cause error)
}

type clientHandler struct{ closed func(cause error) }

func (h clientHandler) Attach(l *Link) { l.Refuse(Errorf(NotAllowed, "no links from this side")) }

func (h clientHandler) Closed(cause error) {
	if h.closed != nil {
		h.closed(cause)
	}
}

// Open runs the client's side of a connection and returns when both sides have
// exchanged OPEN. It owns nc. For tests and load generators.
func Open(ctx context.Context, nc net.Conn, o ClientOptions) (*Conn, error) {
	c := newConn(nc, o.Options, clientHandler{o.OnClosed})
	c.client = &o
	go c.run(c.offerHeaders)
	select {
	case <-c.ready:
		return c, nil
	case <-c.done:
	case <-ctx.Done():
		c.Abort()
		<-c.done
	}
	if c.cause == nil {
		return nil, ErrHandshake
	}
	return nil, c.cause
}

// Err returns why the connection ended; call it after Done.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

func (c *Conn) offerHeaders() error {
	if c.client.Mechanism != "" {
		if err := c.offerSASL(); err != nil {
			return err
		}
	}
	c.send(protocolHeader(protoAMQP))
	c.mu.Lock()
	c.sendOpen()
	c.unlock()
	return c.expectHeader(protoAMQP)
}

func (c *Conn) expectHeader(want byte) error {
	id, err := c.header()
	if err == nil && id != want {
		err = fmt.Errorf("%w: peer answers with protocol id %d", ErrHandshake, id)
	}
	return err
}

// Begin begins a session; it does not wait for the peer.
func (c *Conn) Begin() *Session {
	c.mu.Lock()
	defer c.unlock()
	s := c.newSession()
	if c.phase == open {
		s.sendBegin()
	} else {
		s.localEnded = true
	}
	return s
}

// Attach attaches a link whose fields the caller has set: Name, Role, Source,
// Target, settle modes, callbacks, and Answer for its properties. It returns
// when the peer has answered; the error of a refusal is that of its DETACH.
// Only for connections made by Open, and not from a callback.
func (s *Session) Attach(ctx context.Context, l *Link) error {
	c := s.c
	l.s = s
	l.ready, l.gone = make(chan struct{}), make(chan struct{})
	c.mu.Lock()
	if !s.alive() || !s.giveHandle(l) {
		c.unlock()
		return ErrDetached
	}
	if l.Source == nil {
		l.Source = &Terminus{}
	}
	if l.Target == nil {
		l.Target = &Terminus{}
	}
	l.prepare()
	l.state, l.accepted = linkRequested, true
	s.names[linkName{l.Name, l.Role}] = l
	l.sendAttach(l.Source, l.Target)
	c.unlock()
	select {
	case <-l.ready:
		return nil
	case <-l.gone:
		return errors.Join(ErrDetached, l.failed)
	case <-ctx.Done():
		l.Detach(nil)
		return ctx.Err()
	}
}
