package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNobody is returned by Call when no node serves the subject.
var ErrNobody = errors.New("bus: nobody serves the subject")

// ErrUnavailable is given to appends that the log could not make durable: disk
// full, sync failed, cluster out of reach, bus closing.
var ErrUnavailable = errors.New("bus: event log is unavailable")

// Options says how to open a Bus; the zero value is an embedded server in a
// temporary folder.
type Options struct {
	Dir      string           // of the embedded server; empty with an empty URL: a temporary folder
	URL      string           // NATS servers, comma-separated; empty: embedded
	Replicas int              // copies of each log, 1 by default, up to 5; only with URL
	Node     string           // name of this node, random when empty
	Now      func() time.Time // stamps events that have no time; time.Now when nil
	Log      *slog.Logger     // slog.Default when nil
}

// Bus is one node's access to event logs, calls and wake-ups; its methods may
// be used from any goroutine.
//
// Order of locks: Bus.mu, Log.mu, part.mu, table.mu; none is held while a
// callback of the caller runs.
type Bus struct {
	// Set by Open, then read only:
	o        Options
	server   *embedded // nil with a URL
	write    *nats.Conn
	read     *nats.Conn // big answers on a connection of their own do not delay acknowledgements
	js       jetstream.JetStream
	table    *table
	fetches  chan struct{} // limits reads in flight
	closing  chan struct{}
	work     sync.WaitGroup
	id       string // unique among all openings of all nodes
	subjects subscriptions

	corrupt atomic.Int64
	lost    atomic.Int64

	// Guarded by mu:
	mu     sync.Mutex
	closed bool
	logs   map[string]*Log
	sick   error         // why the embedded storage takes nothing, nil when it does
	down   chan struct{} // closed while sick
}

// Open starts the embedded server or connects to the cluster. Errors: the
// folder is in use or unreadable, no server answers before ctx ends.
func Open(ctx context.Context, o Options) (*Bus, error) {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Replicas < 1 || o.Replicas > 5 {
		return nil, fmt.Errorf("bus: %d replicas, allowed are 1 to 5", o.Replicas)
	}
	if o.URL == "" {
		o.Replicas = 1
	}
	id := rand.Text()
	if o.Node == "" {
		o.Node = id
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	b := &Bus{o: o, id: id, fetches: make(chan struct{}, 8), closing: make(chan struct{}), logs: map[string]*Log{}, down: make(chan struct{})}
	if o.URL == "" {
		var err error
		if b.server, err = openEmbedded(&o); err != nil {
			return nil, err
		}
	}
	if err := b.connect(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bus) connect(ctx context.Context) error {
	var err error
	if b.write, err = b.dial("write"); err != nil {
		return err
	}
	if b.read, err = b.dial("read"); err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.write); err != nil {
		return err
	}
	if _, err := b.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("bus: JetStream of %s: %w", b.o.URL, err)
	}
	b.table = newTable(b)
	if b.server == nil {
		if m := b.write.MaxPayload(); m < eventMax {
			b.o.Log.Warn("the NATS servers refuse large batches; set max_payload to 8 MB", "max_payload", m)
		}
		return b.subjects.start(b)
	}
	return nil
}

func (b *Bus) dial(use string) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("nave " + b.o.Node + " " + use),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // what can't be sent fails at once and is retried by its owner
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.o.Log.Warn("bus connection", "node", b.o.Node, "use", use, "error", err)
		}),
	}
	if b.server != nil {
		// Nothing but this process can be slow here, and that is no reason to give up.
		return nats.Connect("", append(opts, nats.InProcessServer(b.server), nats.Timeout(startTimeout))...)
	}
	opts = append(opts, nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
		if err != nil {
			b.o.Log.Warn("bus connection lost", "node", b.o.Node, "use", use, "error", err)
		}
	}))
	c, err := nats.Connect(b.o.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	return c, nil
}

// Node returns the name of this node.
func (b *Bus) Node() string { return b.o.Node }

// Corrupt returns how many damaged batches readers of this Bus have skipped.
func (b *Bus) Corrupt() int64 { return b.corrupt.Load() }

// Lost returns how many wake-ups were dropped because receivers were slow.
func (b *Bus) Lost() int64 { return b.lost.Load() }

// Healthy returns nil, or why the logs take no events now, wrapping
// ErrUnavailable.
func (b *Bus) Healthy() error {
	b.mu.Lock()
	sick, closed := b.sick, b.closed
	b.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("%w: closed", ErrUnavailable)
	case sick != nil:
		return sick
	case !b.write.IsConnected():
		return fmt.Errorf("%w: not connected", ErrUnavailable)
	}
	return nil
}

// Close waits for appends in flight, stops everything served and the embedded
// server. Appends and calls after it are refused.
func (b *Bus) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	logs := maps.Clone(b.logs)
	b.mu.Unlock()
	if b.table != nil {
		b.table.close()
	}
	for _, l := range logs {
		<-l.ready
		l.shut()
	}
	b.subjects.stop(b)
	close(b.closing)
	b.work.Wait()
	if b.server == nil && b.write != nil && b.write.IsConnected() {
		b.flush() // the last answers
	}
	for _, c := range []*nats.Conn{b.read, b.write} {
		if c != nil {
			c.Close()
		}
	}
	if b.server != nil {
		return b.server.close()
	}
	return nil
}

// state returns what stops appends now, and the channel that closes when
// something does.
func (b *Bus) state() (error, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sick, b.down
}
