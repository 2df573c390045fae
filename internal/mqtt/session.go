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

// Accept reads the CONNECT of a new connection on the caller's goroutine and answers nothing; an empty client identifier is for
// the application to refuse [MQTT-3.1.3-8]. On an error nc is closed: ErrProtocol, ErrTooLarge, ErrConnectTimeout, a network error,
// or ErrVersion after CONNACK 1, together with a Connect of which only Protocol and Level are set [MQTT-3.1.2-2].
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
	p, err := parseConnect(body)
	if err != nil {
		return p, err
	}
	if w := p.Will; w != nil {
		if !c.o.LooseTopics && hasWildcard([]byte(w.Topic)) {
			return nil, violation("MQTT-3.3.2-2", "CONNECT: the will topic holds a wildcard")
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
// has sent behind its CONNECT does not cost it the answer.
func (s *Session) Refuse(code byte) error {
	nc := s.c.nc
	defer nc.Close()
	defer s.c.in.drop()
	if err := nc.SetWriteDeadline(time.Now().Add(s.c.o.WriteTimeout)); err != nil {
		return err
	}
	if _, err := nc.Write(Connack{Code: code}.Append(nil)); err != nil {
		return err
	}
	lingerClose(nc)
	return nil
}

// Serve sends CONNACK 0 and returns the connection, which calls h from Conn.Start on. Packets that came before are handled then.
// The context's end closes the connection with the context's cause.
func (s *Session) Serve(ctx context.Context, present bool, h Handler) *Conn {
	c := s.c
	c.limit = min(time.Duration(s.keepAlive)*1500*time.Millisecond, c.o.KeepAliveCap)
	if s.keepAlive == 0 {
		c.limit = c.o.KeepAliveCap
	}
	c.h, c.handle, c.ended = h, c.packet, c.closed
	c.reply(Connack{Present: present}.Append(nil))
	c.unwatch = context.AfterFunc(ctx, func() { c.Close(context.Cause(ctx)) })
	return c
}
