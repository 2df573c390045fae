package load_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/nave-hub/nave/internal/load"
	"github.com/nave-hub/nave/internal/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the MQTT engine with a handler that acknowledges at once and counts.
type server struct {
	target    load.Target
	published atomic.Int64
	connected atomic.Int64
	handle    func(c *conn, p *mqtt.Publish) error // may be nil
	refuse    func(p *mqtt.Connect) byte           // may be nil

	mu    sync.Mutex
	conns map[*conn]bool
}

// conn is the handler of one connection.
type conn struct {
	s       *server
	c       *mqtt.Conn
	connect *mqtt.Connect
	started chan struct{}
	filters []string
}

func serve(t testing.TB, s *server) *server {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.target, s.conns = load.Target{Address: ln.Addr().String()}, map[*conn]bool{}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.accept(ctx, nc) })
		}
	})
	t.Cleanup(func() { ln.Close(); cancel(); all.Wait() })
	return s
}

func (s *server) accept(ctx context.Context, nc net.Conn) {
	session, p, err := mqtt.Accept(nc, mqtt.Options{})
	if err != nil {
		return
	}
	if s.refuse != nil {
		if code := s.refuse(p); code != 0 {
			session.Refuse(code)
			return
		}
	}
	h := &conn{s: s, connect: p, started: make(chan struct{})}
	h.c = session.Serve(ctx, false, h)
	s.mu.Lock()
	s.conns[h] = true
	s.mu.Unlock()
	s.connected.Add(1)
	h.c.Start()
	<-h.c.Done()
}

// killAll resets every connection.
func (s *server) killAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.c.Abort(nil)
	}
}

func (c *conn) Publish(p *mqtt.Publish, ack mqtt.Ack) error {
	c.s.published.Add(1)
	if c.s.handle != nil {
		if err := c.s.handle(c, p); err != nil {
			return err
		}
	}
	ack.Done()
	return nil
}

func (c *conn) Subscribe(subs []mqtt.Subscription) ([]byte, error) {
	return make([]byte, len(subs)), nil
}
func (c *conn) Subscribed(subs []mqtt.Subscription) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, s := range subs {
		c.filters = append(c.filters, s.Filter)
	}
}
func (c *conn) Unsubscribe([]string) error { return nil }
func (c *conn) Acked(uint16)               {}
func (c *conn) Closed(error) {
	c.s.mu.Lock()
	delete(c.s.conns, c)
	c.s.mu.Unlock()
}
