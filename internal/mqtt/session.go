package mqtt

import (
	"context"
	"errors"
	"net"
	"os"
	"time"
)

// Session is a connection whose CONNECT is read and not answered. Exactly one of Refuse and Serve is called.
type Session struct {
	c         *Conn
	keepAlive uint16
}

// Use replaces the options for what follows CONNECT, for a listener that knows only then who will serve the connection.
func (s *Session) Use(o Options) { *s.c.o = o.withDefaults() }

// RemoteAddr is the address of the peer.
func (s *Session) RemoteAddr() net.Addr { return s.c.nc.RemoteAddr() }

// Accept reads the CONNECT of a new connection on the caller's goroutine and answers nothing; an empty client identifier is for
// the application to refuse [MQTT-3.1.3-8]. On an error nc is closed: ErrProtocol, ErrTooLarge, ErrConnectTimeout, a network error,
// or ErrVersion after CONNACK 1, together with a Connect of which only Protocol and Level are set [MQTT-3.1.2-2]. A malformed CONNECT of
// MQTT 5.0 is answered with its reason, one that asks for extended authentication with 0x8C and ErrAuthMethod.
func Accept(nc net.Conn, o Options) (*Session, *Connect, error) {
	o = o.withDefaults()
	c := &Conn{}
	c.open(nc, &o)
	deadline := time.Now().Add(o.ConnectTimeout)
	if err := nc.SetReadDeadline(deadline); err != nil {
		nc.Close()
		return nil, nil, err
	}
	s := &Session{c: c}
	p, err := c.first()
	switch {
	case err == nil:
		s.keepAlive = p.KeepAlive
		return s, p, nil
	case errors.Is(err, ErrAuthMethod):
		s.Refuse(BadAuthMethod)
		return nil, nil, err
	case c.modern != nil && errors.Is(err, ErrProtocol):
		code, text := reasonOf(err)
		s.RefuseText(code, text)
		return nil, nil, err
	case errors.Is(err, ErrVersion):
		s.Refuse(BadProtocol)
		return nil, p, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = ErrConnectTimeout
	}
	c.in.drop()
	nc.Close()
	return nil, nil, err
}

func (c *Conn) first() (*Connect, error) {
	head, body, _, err := c.next()
	if err != nil {
		return nil, err
	}
	if head>>4 != typeConnect {
		return nil, violation("MQTT-3.1.0-1", "the first packet is %s", typeNames[head>>4])
	}
	p, err := parseConnect(body, c.o.Versions)
	if p != nil && p.Level == 5 && err != ErrVersion {
		c.modern = newModern(p.Properties, true)
	}
	if err != nil {
		return p, err
	}
	if w := p.Will; w != nil {
		if !c.o.LooseTopics && hasWildcard([]byte(w.Topic)) {
			return nil, violation("MQTT-3.3.2-2", "CONNECT: the will topic holds a wildcard")
		}
		if w.QoS > 1 && c.modern != nil {
			return nil, violation5(QoSUnsupported, "CONNECT: the will has QoS %d", w.QoS)
		}
		w.Payload = append([]byte{}, w.Payload...)
	}
	if p.HasPassword {
		p.Password = append([]byte{}, p.Password...)
	}
	c.in.giveBack()
	return p, nil
}

// Refuse sends CONNACK with the code and closes; it waits up to half a second for the client to hang up, so that what the client
// has sent behind its CONNECT does not cost it the answer. The code is a return code of 3.1.1 or a reason code of 5.0 and is translated for
// the other version, but BadProtocol always leaves in the form of 3.1.1, since it comes from a server that speaks nothing else.
func (s *Session) Refuse(code byte) error { return s.RefuseText(code, "") }

// RefuseText is Refuse with a reason string, which a client of MQTT 5.0 gets when it takes packets of that size.
func (s *Session) RefuseText(code byte, text string) error {
	nc := s.c.nc
	defer nc.Close()
	defer s.c.in.drop()
	if err := nc.SetWriteDeadline(time.Now().Add(s.c.o.WriteTimeout)); err != nil {
		return err
	}
	if _, err := nc.Write(s.refusal(code, text)); err != nil {
		return err
	}
	lingerClose(nc)
	return nil
}

func (s *Session) refusal(code byte, text string) []byte {
	m := s.c.modern
	if m == nil || code == BadProtocol {
		return Connack{Code: classic(code)}.Append(nil)
	}
	plain := Connack{Code: modern(code)}
	full := plain
	if text != "" {
		full.Properties = &Properties{Reason: text[:min(len(text), 512)]}
	}
	if b := full.AppendV5(nil); len(b) <= m.maxPacket {
		return b
	}
	return plain.AppendV5(nil)
}

// Serve sends CONNACK 0 and returns the connection, which calls h from Conn.Start on. Packets that came before are handled then.
// The context's end closes the connection with the context's cause.
func (s *Session) Serve(ctx context.Context, present bool, h Handler) *Conn {
	c, hello := s.c, []byte(nil)
	if c.modern == nil {
		hello = Connack{Present: present}.Append(nil)
	} else {
		c.modern.aliasLimit = int(c.o.TopicAliases)
		hello = Connack{Present: present, Properties: s.greeting()}.AppendV5(nil)
	}
	c.limit = min(time.Duration(s.keepAlive)*1500*time.Millisecond, c.o.KeepAliveCap)
	if s.keepAlive == 0 {
		c.limit = c.o.KeepAliveCap
	}
	c.h, c.handle, c.ended = h, c.packet, c.closed
	c.reply(hello)
	c.unwatch = context.AfterFunc(ctx, func() { c.Close(context.Cause(ctx)) })
	return c
}
