package load_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nave-hub/nave/internal/load"
	"github.com/nave-hub/nave/internal/mqtt"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := left(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// left returns the goroutines that do not end; the last ones of a server do so a
// moment after it.
func left() (err error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

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
	h := &conn{s: s, connect: p}
	s.connected.Add(1)
	s.mu.Lock() // Serve sends CONNACK: whoever has it finds the connection
	h.c = session.Serve(ctx, false, h)
	s.conns[h] = true
	s.mu.Unlock()
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

// enough is a context that ends when seen was called n times, not counting what
// comes in the warm-up.
func enough(t *testing.T, warmup time.Duration, n int) (ctx context.Context, seen func()) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var mu sync.Mutex
	var first time.Time
	return ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if first.IsZero() {
			first = time.Now() // the run began before
		}
		if time.Since(first) < warmup {
			return
		}
		if n--; n == 0 {
			cancel()
		}
	}
}

// scheduled compares the result of an open loop with what was due.
func scheduled(t *testing.T, r *load.Result, o *load.Telemetry) {
	t.Helper()
	due := func(span time.Duration) int64 { return int64(o.Rate * span.Seconds()) }
	if all := due(o.Warmup + o.Duration); r.Sent+r.Unsent != all {
		t.Errorf("%d were sent, %d were not, of %d", r.Sent, r.Unsent, all)
	}
	if all := due(o.Duration); r.Done > all || r.Done < all-r.Unsent {
		t.Errorf("%d of %d were measured, %d were not sent", r.Done, all, r.Unsent)
	}
}
