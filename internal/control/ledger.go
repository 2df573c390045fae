package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// ledger gives out item ids and knows which items the event log may not have
// yet. Ids are reserved in blocks; the store holds of the node's block from
// which id on items may be missing in the log.
type ledger struct {
	// Set by newLedger, then read only:
	c    *Control
	node string

	// Guarded by mu:
	mu       sync.Mutex
	next     int64 // next free id of the block
	high     int64 // end of the block
	inflight []*span
	noted    int64 // what the store holds
	owed     []*span
	fresh    *sync.Cond // a block came, or a span ended
	busy     bool
}

// span is a run of ids that were taken together.
type span struct {
	low, high int64
	done      bool
	events    []*nave.Event // owed to the log
}

// blockSize is how many ids are reserved at once.
const blockSize = 1 << 16

func newLedger(c *Control) *ledger {
	l := &ledger{c: c, node: c.bus.Node()}
	l.fresh = sync.NewCond(&l.mu)
	return l
}

// open appends to the event log what it may not have of the last run.
func (l *ledger) open(ctx context.Context) error {
	low, high := int64(0), int64(0)
	err := l.c.db.View(ctx, func(tx *store.Tx) (err error) { low, high, err = tx.ControlBlock(l.node); return err })
	if err != nil {
		return err
	}
	for low < high {
		if low, err = l.replay(ctx, low, high); err != nil {
			return fmt.Errorf("items that are owed to the event log: %w", err)
		}
	}
	return nil
}

// replayAmount bounds what replay holds in memory.
const replayAmount = 2000

func (l *ledger) replay(ctx context.Context, low, high int64) (next int64, err error) {
	var events []*nave.Event
	next = high
	err = l.c.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.ControlFeedBetween(low, high, replayAmount)
		if err != nil {
			return err
		}
		if len(rows) == replayAmount {
			next = rows[len(rows)-1].ID + 1
		}
		for _, f := range rows {
			device, source, err := tx.ControlSourceOf(f.Source)
			if err != nil {
				return err
			}
			events = append(events, event(device, source, f))
		}
		return nil
	})
	if err != nil || len(events) == 0 {
		return next, err
	}
	done := make(chan error, 1)
	l.c.hub.Record(events, func(err error) { done <- err })
	if err = <-done; err == nil {
		err = l.c.db.Update(ctx, func(tx *store.Tx) error { return tx.LoggedControl(l.node, next) })
	}
	if err == nil {
		l.c.o.Log.Info("items of the last run were appended to the event log", "hub", l.c.hub.Host(), "items", len(events))
	}
	return next, err
}

// take gives out n ids. Whoever gets a span must close it.
func (l *ledger) take(ctx context.Context, n int) (*span, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Nothing is taken from the old block while a new one comes: its beginning
	// has been told to the store.
	for l.busy || l.high-l.next < int64(n) {
		if l.busy {
			l.fresh.Wait()
			continue
		}
		if err := l.reserve(ctx); err != nil {
			return nil, err
		}
	}
	s := &span{low: l.next, high: l.next + int64(n)}
	l.next = s.high
	l.inflight = append(l.inflight, s)
	return s, nil
}

// reserve gets a new block; what was left of the old one is dropped.
func (l *ledger) reserve(ctx context.Context) error {
	l.busy = true
	low := int64(0)
	if len(l.inflight) > 0 {
		low = l.inflight[0].low
	}
	l.mu.Unlock()
	var first int64
	err := l.c.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) (err error) {
		first, err = tx.TakeControlIDs(l.node, low, blockSize)
		return err
	})
	l.mu.Lock()
	l.busy = false
	l.fresh.Broadcast()
	if err != nil {
		return err
	}
	l.next, l.high, l.noted = first, first+blockSize, max(low, 0)
	if low == 0 {
		l.noted = first
	}
	return nil
}

// finish ends a span whose items the log has, or that has none.
func (l *ledger) finish(s *span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.done, s.events = true, nil
	n := 0
	for n < len(l.inflight) && l.inflight[n].done {
		l.inflight[n] = nil
		n++
	}
	l.inflight = l.inflight[n:]
	l.fresh.Broadcast()
}

// owe keeps a span whose items the log has refused, to try again.
func (l *ledger) owe(s *span, events []*nave.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.events = events
	l.owed = append(l.owed, s)
	l.fresh.Broadcast()
}

// note appends what is owed and writes how far the log has everything.
func (l *ledger) note(ctx context.Context) error {
	l.settle()
	l.mu.Lock()
	low := l.next
	if len(l.inflight) > 0 {
		low = l.inflight[0].low
	}
	same := low == l.noted || l.high == 0
	l.mu.Unlock()
	if same {
		return nil
	}
	err := l.c.db.Update(ctx, func(tx *store.Tx) error { return tx.LoggedControl(l.node, low) })
	if err == nil {
		l.mu.Lock()
		l.noted = max(l.noted, low)
		l.mu.Unlock()
	}
	return err
}

func (l *ledger) settle() {
	l.mu.Lock()
	owed := l.owed
	l.owed = nil
	l.mu.Unlock()
	for _, s := range owed {
		events := make([]*nave.Event, len(s.events))
		for i, e := range s.events {
			again := *e
			events[i] = &again
		}
		done := make(chan error, 1)
		l.c.hub.Record(events, func(err error) { done <- err })
		if err := <-done; err != nil {
			l.owe(s, s.events)
			continue
		}
		l.finish(s)
	}
}

// drainTime bounds how long close waits for the log.
const drainTime = 5 * time.Second

// close waits for appends under way and writes a last time how far the log has
// everything.
func (l *ledger) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	defer context.AfterFunc(ctx, l.fresh.Broadcast)()
	l.mu.Lock()
	for len(l.inflight) > len(l.owed) && ctx.Err() == nil {
		l.fresh.Wait()
	}
	l.mu.Unlock()
	return l.note(context.WithoutCancel(ctx))
}
