package hub

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

var opFeedback = gate.Op{Name: "feedback.receive", Right: nave.ServiceConnect, Standard: true}

// feedbackBatch is the greatest number of records in one feedback message.
const feedbackBatch = 64

// FeedbackBatch is a leased feedback message.
type FeedbackBatch struct {
	Lock    string // 32 hex digits
	Records []nave.Feedback
	Tries   int // deliveries, this one included
	Until   time.Time
}

// TakeFeedback leases the records that wait now, up to 64; nil when none do.
func (b *Backend) TakeFeedback(ctx context.Context) (*FeedbackBatch, error) {
	h := b.hub
	if err := b.enter(ctx, nave.ID{}, &opFeedback, 0); err != nil {
		return nil, err
	}
	batch := &FeedbackBatch{Lock: h.newLock(), Until: h.now().Add(h.o.Limits.FeedbackLock)}
	err := h.db.Update(ctx, func(tx *store.Tx) (err error) {
		batch.Records, batch.Tries, err = tx.LeaseFeedback(batch.Lock, batch.Until, feedbackBatch)
		return err
	})
	if err != nil || len(batch.Records) == 0 {
		return nil, storeFault(err)
	}
	h.feedbackAt.Store(h.now().UnixNano())
	return batch, nil
}

// NextFeedback waits for the next feedback message: 64 records, or what waits
// when the pause since the last message is over (hub-semantics 5.4).
func (b *Backend) NextFeedback(ctx context.Context) (*FeedbackBatch, error) {
	for {
		came := b.hub.feedbackSignal()
		batch, pause, err := b.lookForFeedback(ctx)
		if batch != nil || err != nil {
			return batch, err
		}
		if err := await(ctx, came, pause); err != nil {
			return nil, err
		}
	}
}

// DueFeedback is NextFeedback that doesn't wait; nil when no message is due.
func (b *Backend) DueFeedback(ctx context.Context) (*FeedbackBatch, error) {
	batch, _, err := b.lookForFeedback(ctx)
	return batch, err
}

// lookForFeedback leases a message that is due. When none is, pause tells in how
// long the records that wait will be, below zero without any.
func (b *Backend) lookForFeedback(ctx context.Context) (batch *FeedbackBatch, pause time.Duration, err error) {
	n, err := b.hub.feedbackWaits(ctx)
	if err != nil || n == 0 {
		return nil, -1, err
	}
	last := time.Unix(0, b.hub.feedbackAt.Load())
	pause = b.hub.o.FeedbackEvery - b.hub.now().Sub(last)
	if n < feedbackBatch && pause > 0 {
		return nil, pause, nil
	}
	batch, err = b.TakeFeedback(ctx)
	return batch, -1, err
}

// await waits for the signal, for the pause unless it is below zero, or for the
// end of ctx.
func await(ctx context.Context, signal <-chan struct{}, pause time.Duration) error {
	var after <-chan time.Time
	if pause >= 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-signal:
	case <-after:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (h *Hub) feedbackWaits(ctx context.Context) (n int, err error) {
	err = h.db.View(ctx, func(tx *store.Tx) error { n, _, err = tx.Feedback(); return err })
	return n, storeFault(err)
}

func (h *Hub) feedbackSignal() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

// feedbackCame wakes those who wait for feedback, on every node.
func (h *Hub) feedbackCame() {
	h.feedbackHere()
	h.tell(note{Kind: noteFeedback})
}

func (h *Hub) feedbackHere() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.waiting)
	h.waiting = make(chan struct{})
}

// SettleFeedback completes a batch, or gives it back when done is false.
// DeviceMessageLockLost: the lock is unknown or has run out.
func (b *Backend) SettleFeedback(ctx context.Context, lock string, done bool) error {
	if err := b.enter(ctx, nave.ID{}, &opFeedback, 0); err != nil {
		return err
	}
	err := b.hub.db.Update(ctx, func(tx *store.Tx) error {
		if !done {
			tx.After(b.hub.feedbackCame)
		}
		return tx.SettleFeedback(lock, done)
	})
	if errors.Is(err, store.ErrNone) {
		return fault.DeviceMessageLockLost.New("the lock of this feedback message is unknown or ran out after %s (setting feedback.lock)", b.hub.o.Limits.FeedbackLock)
	}
	return storeFault(err)
}
