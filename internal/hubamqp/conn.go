package hubamqp

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"weak"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// conn is one AMQP connection: handler of the engine, and home of the claims
// and the seats of the device identities on it.
type conn struct {
	// Set by Serve, then read only:
	server   *Server
	log      *slog.Logger
	ctx      context.Context // of operations; outlives the connection, so that what came in is finished
	nc       net.Conn
	certs    []*x509.Certificate
	protocol string
	remote   string
	work     crew // goroutines that run

	// Set before the first link, then read only:
	hub *hub.Hub

	queue queue // token requests and proofs, in the order of arrival

	management management // with a lock of its own

	// Guarded by mu:
	mu      sync.Mutex
	engine  *amqp.Conn // nil until OPEN
	closing bool       // shutDown was called
	claims  map[string]*claim
	order   int // of the claim that came last
	seats   map[nave.ID]*seat
	nodes   map[*amqp.Session]*tokenNode
	watched map[weak.Pointer[amqp.Link]]struct{} // links of services
	ticking bool                                 // a check of the watched links is due
	opens   opens
}

// Opened implements amqp.Opener: it chooses the hub by the host name of the
// peer's OPEN. A peer that has proven itself to one hub by SASL stays there.
func (c *conn) Opened(engine *amqp.Conn) *amqp.Error {
	host := engine.Hostname()
	find := c.server.o.Find
	c.mu.Lock()
	c.engine = engine
	bound, closing := len(c.claims) > 0, c.closing
	c.mu.Unlock()
	if closing {
		return forced()
	}
	if host == "" || find == nil || bound || c.hub.Answers(host) {
		return nil
	}
	h := find(host)
	if h == nil {
		return c.condition("connection.open", nave.ID{}, fault.IotHubNotFound.New("%s names no hub of this server", brief(host)))
	}
	c.hub = h
	return nil
}

func forced() *amqp.Error {
	return amqp.Errorf(amqp.ConnectionForced, "The hub is shutting down, connect again.")
}

// shutDown closes the connection because the process ends.
func (c *conn) shutDown() {
	c.mu.Lock()
	c.closing = true
	engine := c.engine
	c.mu.Unlock()
	if engine == nil {
		c.nc.Close()
		return
	}
	engine.Close(forced())
}

// do runs f on the connection's queue.
func (c *conn) do(f func()) { c.queue.do(&c.work, f) }

// maxJobs is how far a client may run ahead of what the connection's queue does
// for it: more than all its links and tokens.
const maxJobs = 32 << 10

// crowded ends the connection of a client that runs too far ahead.
func (c *conn) crowded() bool {
	if c.queue.length() < maxJobs {
		return false
	}
	c.engine.Close(amqp.Errorf(amqp.ResourceLimitExceeded, "more than %d links wait to be attached", maxJobs))
	return true
}

// Closed implements amqp.Handler: the links are gone, the seats follow.
func (c *conn) Closed(cause error) {
	c.do(func() {
		why := c.ended(cause)
		c.mu.Lock()
		seats := c.seats
		c.seats, c.claims, c.watched = nil, nil, nil
		c.mu.Unlock()
		for _, s := range seats {
			s.do(func() { s.close(why) })
		}
	})
}

// ended says why a connection ended without an orderly close; nil when the
// close was orderly.
func (c *conn) ended(cause error) *fault.Error {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	switch {
	case cause == nil:
		return nil
	case closing:
		return fault.From(fault.ServiceUnavailable.Wrap(cause, "the hub is shutting down"))
	case errors.Is(cause, io.EOF):
		return fault.From(fault.DeviceConnectionClosedRemotely.Wrap(cause, "the client closed the socket without CLOSE"))
	}
	return fault.From(fault.DeviceConnectionClosedRemotely.Wrap(cause, "the connection broke: %v", cause))
}

// queue runs functions one after the other, in order, on a goroutine that
// exists only while there are some.
type queue struct {
	// Guarded by mu:
	mu      sync.Mutex
	jobs    []func()
	running bool
}

func (q *queue) do(work *crew, f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, f)
	if !q.running {
		q.running = true
		work.Go(q.run)
	}
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs)
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		jobs := q.jobs
		q.jobs = nil
		if len(jobs) == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, f := range jobs {
			f()
		}
	}
}

// crew counts goroutines as a sync.WaitGroup does, but lets one start at any
// time: the hub may call a seat while its connection ends.
type crew struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while nobody waits
}

// Go runs f on a goroutine.
func (w *crew) Go(f func()) {
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
	go func() {
		defer w.leave()
		f()
	}()
}

func (w *crew) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

// Wait returns when no goroutine runs.
func (w *crew) Wait() {
	w.mu.Lock()
	if w.n == 0 {
		w.mu.Unlock()
		return
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	<-idle
}
