package hubamqp

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/hub"
)

const (
	opFeedback   = "feedback.receive"
	feedbackType = "application/vnd.microsoft.iothub.feedback.json"
)

// feedbackLink gives a service the outcomes of its messages (service-api 3.4).
// Whoever has credit takes the next batch; its lock is the delivery tag.
type feedbackLink struct {
	// Set by attachFeedback, then read only:
	c      *conn
	l      *amqp.Link
	b      *hub.Backend
	ctx    context.Context // ends with the link
	cancel context.CancelFunc
	more   chan struct{} // credit may have come

	settling queue

	// Guarded by mu:
	mu       sync.Mutex
	draining bool
	idle     bool // nothing was due when the pump looked last
}

func (c *conn) attachFeedback(l *amqp.Link) {
	if l.Role != amqp.RoleSender {
		c.refuse(l, opFeedback, nave.ID{}, notServed(l))
		return
	}
	b, err := c.backend("messages", "servicebound", "feedback")
	if err == nil {
		err = c.mayOpen()
	}
	if err != nil {
		c.refuse(l, opFeedback, nave.ID{}, err)
		return
	}
	f := &feedbackLink{c: c, l: l, b: b, more: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancel(c.ctx)
	l.OnCredit = f.credited
	l.OnDisposition = f.disposed
	l.OnDetach = func(_ error, lost []*amqp.Out) {
		f.cancel()
		for _, out := range lost {
			f.settling.do(&c.work, func() { f.giveBack(out.App.(string)) })
		}
	}
	if !c.accept(l) {
		f.cancel()
		return
	}
	c.work.Go(f.pump)
}

// wake leaves a signal that nobody has to be waiting for.
func wake(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// credited waits until something may be sent; false when the link is over.
func credited(ctx context.Context, l *amqp.Link, more <-chan struct{}) bool {
	for l.Credit() == 0 {
		select {
		case <-more:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// credited implements Link.OnCredit.
func (f *feedbackLink) credited(_ uint32, drain bool) {
	f.mu.Lock()
	f.draining = drain
	idle := f.idle
	f.mu.Unlock()
	if drain && idle {
		f.l.Drained()
	}
	wake(f.more)
}

func (f *feedbackLink) pump() {
	defer f.cancel()
	for credited(f.ctx, f.l, f.more) {
		batch, err := f.next()
		switch {
		case err != nil:
			if f.ctx.Err() == nil {
				f.l.Detach(f.c.condition(opFeedback, nave.ID{}, err))
			}
			return
		case batch != nil && !f.send(batch):
			return
		}
	}
}

// next waits for a batch; nil when the receiver drains and none is due, which
// gives its credit back.
func (f *feedbackLink) next() (*hub.FeedbackBatch, error) {
	if batch, err := f.b.DueFeedback(f.ctx); batch != nil || err != nil {
		return batch, err
	}
	f.mu.Lock()
	drained := f.draining
	f.draining, f.idle = false, !drained
	f.mu.Unlock()
	if drained {
		f.l.Drained()
		return nil, nil
	}
	batch, err := f.b.NextFeedback(f.ctx)
	f.mu.Lock()
	f.idle = false
	f.mu.Unlock()
	return batch, err
}

// send hands the batch over; false when the link is over. A batch that finds no
// credit any more goes to whoever asks next.
func (f *feedbackLink) send(batch *hub.FeedbackBatch) bool {
	_, err := f.l.Send(f.encode(batch), lockTag(batch.Lock), 0, false, batch.Lock)
	switch {
	case err == nil:
		if f.l.SndMode == amqp.SettleSettled {
			f.settle(batch.Lock, true)
		}
		return true
	case errors.Is(err, amqp.ErrNoCredit):
		f.giveBack(batch.Lock)
		return true
	case errors.Is(err, amqp.ErrTooLarge):
		f.l.Detach(amqp.Errorf(amqp.MessageSizeExceeded, "A feedback message is larger than the receiver takes."))
	}
	f.giveBack(batch.Lock)
	return false
}

// encode writes the message; clients rely on user-id, content-type and the
// annotation being there.
func (f *feedbackLink) encode(batch *hub.FeedbackBatch) []byte {
	m := amqp.Message{
		Header:             &amqp.Header{Priority: 4, DeliveryCount: uint32(batch.Tries)},
		MessageAnnotations: amqp.Map{{Key: amqp.Symbol("iothub-enqueuedtime"), Value: amqp.NewTimestamp(f.c.hub.Now())}},
		Properties: &amqp.Properties{MessageID: newGUID(), UserID: []byte(f.c.hub.Name()), ContentType: feedbackType, ContentEncoding: "utf-8",
			To: "/messages/servicebound/feedback"},
		Data: [][]byte{nave.AppendFeedback(nil, batch.Records)},
	}
	b, err := m.Append(nil)
	if err != nil {
		panic(err) // every type above has an encoding
	}
	return b
}

// lockTag returns the lock as the 16 bytes of a GUID in .NET's order, so that
// clients show it as the same text that HTTPS uses.
func lockTag(lock string) []byte {
	b, err := hex.DecodeString(lock)
	if err != nil || len(b) != 16 {
		return []byte(lock)
	}
	return littleEndian(amqp.UUID(b))
}

// disposed settles a batch by the receiver's outcome. An answer is due when the
// receiver settles second; it is accepted for an abandoned batch, too.
func (f *feedbackLink) disposed(out *amqp.Out, state amqp.State, settled bool) {
	done := false
	switch state.(type) {
	case nil, amqp.Received: // decides nothing, unless it is the last word
		if !settled {
			return
		}
	case amqp.Accepted, amqp.Rejected:
		done = true
	}
	f.settling.do(&f.c.work, func() {
		if err := f.settle(out.App.(string), done); err != nil {
			out.Settle(amqp.Rejected{Error: err})
			return
		}
		out.Settle(amqp.Accepted{})
	})
}

func (f *feedbackLink) settle(lock string, done bool) *amqp.Error {
	if err := f.b.SettleFeedback(f.c.ctx, lock, done); err != nil {
		return f.c.condition("feedback.settle", nave.ID{}, err)
	}
	return nil
}

// giveBack returns a batch that was not settled; its lock may have run out.
func (f *feedbackLink) giveBack(lock string) {
	ctx, cancel := context.WithTimeout(f.c.ctx, 10*time.Second)
	defer cancel()
	if err := f.b.SettleFeedback(ctx, lock, false); err != nil {
		f.c.log.Debug("feedback was not given back", "hub", f.c.hub.Host(), "err", err)
	}
}
