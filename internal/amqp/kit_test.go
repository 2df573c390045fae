package amqp_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
)

// broker is the application of these tests: addresses are queues in memory. What
// is sent to "refused" is refused, to "rejects" rejected, "kills" accepts it and
// kills the connection; a sender at any other address fills a queue and a
// receiver there empties it.
type broker struct {
	o amqp.Options

	mu      sync.Mutex
	queues  map[string]*queue
	conns   []*amqp.Conn
	settled map[string]int // outcomes by type
	news    sync.Cond
	lost    int
}

type queue struct {
	messages [][]byte
	readers  []*amqp.Link
}

type session struct {
	b *broker
}

// start listens on loopback and returns the broker and its address.
func start(t testing.TB, o amqp.Options) (*broker, string) {
	t.Helper()
	b := &broker{o: o, queues: map[string]*queue{}, settled: map[string]int{}}
	b.news.L = &b.mu
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { amqp.Serve(nc, b.o, &session{b: b}) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			go c.Abort()
		}
		b.mu.Unlock()
		wg.Wait()
	})
	return b, ln.Addr().String()
}

func (s *session) Opened(c *amqp.Conn) *amqp.Error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.conns = append(s.b.conns, c)
	return nil
}

func (s *session) Closed(cause error) {}

func (s *session) Attach(l *amqp.Link) {
	address := l.PeerAddress()
	b := s.b
	l.OnDetach = func(_ error, lost []*amqp.Out) { b.note(func() { b.lost += len(lost) }) }
	switch {
	case strings.HasPrefix(address, "refused"):
		l.Refuse(amqp.Errorf(amqp.NotFound, "no node %q", address))
		return
	case l.Role == amqp.RoleReceiver:
		l.SetMaxMessageSize(4 << 20)
		if strings.HasPrefix(address, "small") {
			l.SetMaxMessageSize(0)
			l.BufferLimit = 1000
		}
		l.OnDelivery = func(d *amqp.Delivery) { b.take(address, d) }
	default:
		l.OnCredit = func(uint32, bool) { b.pump(address, l) }
		l.OnDisposition = func(o *amqp.Out, st amqp.State, settled bool) {
			b.note(func() { b.settled[stateName(st)]++ })
			if !settled {
				o.Settle(st)
			}
		}
		b.note(func() { q := b.queue(address); q.readers = append(q.readers, l) })
	}
	go l.Accept() // later and from elsewhere
}

func stateName(st amqp.State) string {
	switch st := st.(type) {
	case amqp.Accepted:
		return "accepted"
	case amqp.Released:
		return "released"
	case amqp.Modified:
		return "modified"
	case amqp.Rejected:
		if st.Error != nil {
			return "rejected " + string(st.Error.Condition)
		}
		return "rejected"
	}
	return "none"
}

func (b *broker) note(f func()) {
	b.mu.Lock()
	f()
	b.mu.Unlock()
	b.news.Broadcast()
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// wait blocks until ok, or fails when patience is over.
func (b *broker) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := false
	stop := time.AfterFunc(patience, func() { b.note(func() { late = true }) })
	defer stop.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !ok() {
		if late {
			t.Fatalf("waited for %s; outcomes %v, lost %d", what, b.settled, b.lost)
		}
		b.news.Wait()
	}
}

// queue returns the queue of an address, with mu.
func (b *broker) queue(address string) *queue {
	q := b.queues[address]
	if q == nil {
		q = &queue{}
		b.queues[address] = q
	}
	return q
}

func (b *broker) take(address string, d *amqp.Delivery) {
	switch {
	case d.TooLarge:
		d.Reject(amqp.Errorf(amqp.MessageSizeExceeded, "%d bytes", d.Size))
		return
	case strings.HasPrefix(address, "rejects"):
		d.Reject(&amqp.Error{Condition: "x:bad", Description: "no", Info: amqp.Map{{Key: amqp.Symbol("n"), Value: int32(1)}}})
		return
	case strings.HasPrefix(address, "releases"):
		d.Release()
		return
	case strings.HasPrefix(address, "kills"):
		d.Accept()
		go d.Link.Conn().Kill()
		return
	}
	var readers []*amqp.Link
	b.note(func() {
		q := b.queue(address)
		q.messages = append(q.messages, d.Payload)
		readers = q.readers
	})
	d.Accept()
	for _, l := range readers {
		b.pump(address, l)
	}
}

// pump sends what the queue holds while there is credit.
func (b *broker) pump(address string, l *amqp.Link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queue(address)
	for len(q.messages) > 0 {
		if _, err := l.Send(q.messages[0], nil, 0, false, nil); err != nil {
			return
		}
		q.messages = q.messages[1:]
	}
	l.Drained()
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// connect opens a client connection of our own.
func connect(t testing.TB, address string, o amqp.ClientOptions) *amqp.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := amqp.Open(within(t), nc, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close(nil)
		<-c.Done()
	})
	return c
}
