package bus

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

const (
	tellers   = 4 // goroutines that run listeners
	tellQueue = 8192
)

// endpoint is one Serve or one Listen.
type endpoint struct {
	serve  Handler
	listen func(in []byte)
	sub    atomic.Pointer[nats.Subscription] // nil without a cluster
}

// table knows who serves and listens in this process. Listeners run on a few
// goroutines, a subject always on the same one.
type table struct {
	// Set by newTable, then read only:
	bus    *Bus
	ctx    context.Context // ends when the table closes
	cancel context.CancelFunc
	queues [tellers]chan wakeup
	seed   maphash.Seed

	// Guarded by mu:
	mu        sync.RWMutex
	closed    bool
	servers   map[string][]*endpoint
	listeners map[string][]*endpoint
}

type wakeup struct {
	to   *endpoint
	data []byte
}

func newTable(b *Bus) *table {
	t := &table{bus: b, seed: maphash.MakeSeed(), servers: map[string][]*endpoint{}, listeners: map[string][]*endpoint{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	for i := range t.queues {
		t.queues[i] = make(chan wakeup, tellQueue)
		b.work.Go(func() { t.run(t.queues[i]) })
	}
	return t
}

func (t *table) run(queue chan wakeup) {
	for {
		select {
		case w := <-queue:
			w.to.listen(w.data)
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *table) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
}

// subscriptions returns those of all endpoints.
func (t *table) subscriptions() (all []*nats.Subscription) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, m := range []map[string][]*endpoint{t.servers, t.listeners} {
		for _, some := range m {
			for _, e := range some {
				if sub := e.sub.Load(); sub != nil {
					all = append(all, sub)
				}
			}
		}
	}
	return all
}

// spawn runs f on a goroutine that Close waits for; false when closed.
func (t *table) spawn(f func()) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.closed {
		return false
	}
	t.bus.work.Go(f)
	return true
}

func (t *table) side(e *endpoint) map[string][]*endpoint {
	if e.serve != nil {
		return t.servers
	}
	return t.listeners
}

func (t *table) add(subject string, e *endpoint) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errClosing
	}
	m := t.side(e)
	m[subject] = append(m[subject], e)
	return nil
}

func (t *table) remove(subject string, e *endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.side(e)
	// A fresh slice, because tell walks the old one without the lock.
	left := slices.DeleteFunc(slices.Clone(m[subject]), func(x *endpoint) bool { return x == e })
	if len(left) == 0 {
		delete(m, subject)
		return
	}
	m[subject] = left
}

// server returns the newest endpoint that serves the subject here, or nil.
func (t *table) server(subject string) *endpoint {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if all := t.servers[subject]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

func (t *table) tell(subject string, data []byte) {
	t.mu.RLock()
	to := t.listeners[subject]
	t.mu.RUnlock()
	if len(to) == 0 {
		return
	}
	queue := t.queues[maphash.String(t.seed, subject)%tellers]
	for _, e := range to {
		select {
		case queue <- wakeup{e, data}:
		default:
			t.bus.lost.Add(1)
		}
	}
}
