package amqp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Serve runs the server side of a connection on the calling goroutine until it
// ends, and returns what it gave to h.Closed. It owns nc and closes it.
func Serve(nc net.Conn, o Options, h Handler) error {
	c := newConn(nc, o, h)
	return c.run(c.acceptHeaders)
}

func (c *Conn) run(handshake func() error) error {
	c.mu.Lock()
	c.arm()
	c.mu.Unlock()
	err := handshake()
	if err == nil {
		err = c.read()
	}
	return c.finish(err)
}

// read handles frames until the connection ends.
func (c *Conn) read() error {
	for {
		f, err := c.in.frame(c.o.MaxFrame)
		if err != nil {
			return c.unreadable(err)
		}
		if c.receive(f) {
			return nil
		}
	}
}

// unreadable ends a connection whose bytes cannot be cut into frames any more.
// After a framing error the peer is told, and what it still sends is thrown
// away until it closes: closing first would reset our CLOSE away.
func (c *Conn) unreadable(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	c.mu.Lock()
	c.fail(e)
	c.unlock()
	c.in.drop()
	io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c.nc}, c.in.small[:])
	return err
}

// receive handles one frame and then tells the application; over means that
// both sides have closed.
func (c *Conn) receive(f frame) (over bool) {
	c.mu.Lock()
	over, err := c.handle(f)
	if err != nil {
		c.fail(asError(err, DecodeError))
	}
	c.unlock()
	c.tell()
	if c.heavy() {
		c.pause()
	}
	return over
}

// handle is the state machine of the connection: a frame in, frames in c.out
// and events in c.events out. An error ends the connection. mu.
func (c *Conn) handle(f frame) (over bool, err error) {
	if f.kind != frameAMQP {
		return false, Errorf(FramingError, "frame of type %d", f.kind)
	}
	if len(f.body) == 0 {
		return false, nil
	}
	d := newDecoder(f.body)
	desc, fs := performative(&d)
	if d.err != nil {
		return false, d.err
	}
	if desc == descClose {
		return c.peerClose(&d, &fs)
	}
	if c.phase == closing {
		return false, nil
	}
	if desc == descOpen {
		var o openFrame
		o.parse(&fs)
		if err := d.end(&fs); err != nil {
			return false, err
		}
		return false, orNil(c.opened(&o))
	}
	if desc < descBegin || desc > descEnd {
		return false, unknownPerformative(desc)
	}
	if c.phase == opening {
		return false, Errorf(IllegalState, "performative 0x%x before open", desc)
	}
	return false, c.forward(f.channel, desc, &d, &fs)
}

// orNil keeps a nil *Error from becoming an error that is not nil.
func orNil(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}

func (c *Conn) peerClose(d *decoder, fs *fields) (over bool, err error) {
	var p endFrame
	p.parse(fs)
	if err := d.end(fs); err != nil {
		return false, err
	}
	if p.err != nil {
		c.end(p.err)
	}
	c.end(nil)
	c.sendClose(nil)
	return true, nil
}

// forward hands a frame to its session. mu.
func (c *Conn) forward(channel uint16, desc uint64, d *decoder, fs *fields) error {
	if channel > c.o.ChannelMax {
		return Errorf(FramingError, "channel %d exceeds channel-max %d", channel, c.o.ChannelMax)
	}
	s := c.remotes[channel]
	if desc == descBegin {
		var p beginFrame
		p.parse(fs)
		if err := d.end(fs); err != nil {
			return err
		}
		if s != nil {
			return Errorf(IllegalState, "channel %d has a session", channel)
		}
		return orNil(c.begun(channel, &p))
	}
	if s == nil {
		return Errorf(IllegalState, "channel %d has no session", channel)
	}
	return s.receive(desc, d, fs)
}

const unsentSlack = 1 << 20 // for our answers, on top of what Send may queue

// heavy reports whether the application or the socket lags so far behind that
// reading has to wait.
func (c *Conn) heavy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isHeavy()
}

func (c *Conn) isHeavy() bool {
	return c.phase == open && !c.broken &&
		(c.heldBytes > c.o.MaxBuffer || len(c.out) > c.o.MaxUnsent+unsentSlack)
}

// pause holds the read goroutine, and so the peer, until the backlog is gone.
func (c *Conn) pause() {
	c.mu.Lock()
	c.paused = true
	for c.isHeavy() && !c.causeKnown {
		c.wake.Wait()
	}
	c.paused = false
	c.in.last.Store(int64(time.Since(c.start)))
	c.mu.Unlock()
}

// acceptHeaders is the server's side of the protocol headers and SASL (2.2, 5.3).
func (c *Conn) acceptHeaders() error {
	id, err := c.header()
	if err != nil {
		return err
	}
	if id == protoSASL {
		if err := c.acceptSASL(); err != nil {
			return err
		}
		if id, err = c.header(); err != nil {
			return err
		}
	}
	c.send(protocolHeader(protoAMQP))
	if id != protoAMQP {
		return fmt.Errorf("%w: protocol id %d", ErrHandshake, id)
	}
	return nil
}

// header reads a protocol header. One of another protocol or version is
// answered with ours before the connection ends (2.2).
func (c *Conn) header() (id byte, err error) {
	h, err := c.in.need(headerSize)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	id, ok := parseHeader(h)
	c.in.skip(headerSize)
	if !ok {
		c.send(protocolHeader(protoAMQP))
		return 0, fmt.Errorf("%w: peer does not speak AMQP 1.0", ErrHandshake)
	}
	return id, nil
}

// send queues bytes outside the AMQP layer.
func (c *Conn) send(b []byte) {
	c.mu.Lock()
	c.putRaw(b)
	c.unlock()
}

// finish flushes what is queued, closes the socket and tells the application.
func (c *Conn) finish(err error) error {
	c.mu.Lock()
	c.end(err)
	c.phase = closed
	if c.timer != nil {
		c.timer.Stop()
	}
	c.unlock()
	c.nc.SetWriteDeadline(time.Now().Add(c.o.CloseTimeout))
	c.mu.Lock()
	for c.writing {
		c.wake.Wait()
	}
	c.broken = true
	for _, s := range c.locals {
		if s != nil {
			s.lose(c.cause)
		}
	}
	cause := c.cause
	c.mu.Unlock()
	c.nc.Close()
	c.in.drop()
	c.tell()
	if c.h != nil {
		c.h.Closed(cause)
	}
	close(c.done)
	return cause
}
