package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opEnqueue = gate.Op{Name: "c2d.send", Right: nave.ServiceConnect, Rate: "c2dSend", Standard: true, Charge: gate.Chunks}
	opPurge   = gate.Op{Name: "c2d.purge", Right: nave.ServiceConnect, Rate: "c2dSend", Standard: true}
	opPoll    = gate.Op{Name: "c2d.receive", Own: true, Right: nave.DeviceConnect, Rate: "c2dReceiveHttp", Standard: true, Charge: gate.Chunks}
	opDeliver = gate.Op{Name: "c2d.deliver", Own: true, Right: nave.DeviceConnect, Standard: true, Charge: gate.Chunks}
	opSettle  = gate.Op{Name: "c2d.settle", Own: true, Right: nave.DeviceConnect, Standard: true}
)

// SendToDevice puts a message into the queue of m.On and sets its sequence
// number, and its message id when it has none, which does not count as its
// size. The checks follow hub-semantics 5.1 in their order.
func (b *Backend) SendToDevice(ctx context.Context, m *nave.C2D) error {
	return b.enqueue(ctx, m, &b.hub.o.Limits)
}

func (b *Backend) enqueue(ctx context.Context, m *nave.C2D, limits *nave.Limits) error {
	h, size := b.hub, m.Size()
	if err := b.enter(ctx, m.On, &opEnqueue, size); err != nil {
		return err
	}
	now := h.now()
	if size > limits.C2D {
		return fault.MessageTooLarge.Over("c2d.maxSize", limits.C2D, size, "the cloud-to-device message is too large")
	}
	given := m.System.MessageID
	err := h.db.Update(ctx, func(tx *store.Tx) error {
		i, err := h.addressee(tx, m.On)
		if err != nil {
			return err
		}
		m.System.MessageID = given // again: this may run twice
		if err := m.CheckC2D(now, limits); err != nil {
			return err
		}
		if given == "" {
			m.System.MessageID = newMessageID()
		}
		count, bytes, err := tx.PendingC2D(m.On)
		switch {
		case err != nil:
			return err
		case count >= limits.C2DPending:
			return fault.DeviceMaximumQueueDepthExceeded.Over("c2d.maxPending", limits.C2DPending, count+1, "the queue of %s is full", m.On)
		case bytes+size > limits.C2DBytes:
			return fault.DeviceMaximumQueueSizeExceeded.Over("c2d.maxQueueBytes", limits.C2DBytes, bytes+size, "the queue of %s holds too many bytes", m.On)
		}
		m.Enqueued, m.Generation, m.Expires = now, i.Generation, m.System.Expiry
		if m.Expires.IsZero() {
			m.Expires = now.Add(limits.C2DTTL)
		}
		if err := tx.EnqueueC2D(m); err != nil {
			return err
		}
		tx.After(func() { h.wake(m.On) })
		return nil
	})
	if err == nil {
		h.gate.Charge(&opEnqueue, size)
	}
	return h.known(err, m.On)
}

// newMessageID returns a random UUID, version 4.
func newMessageID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// addressee reads an identity that an operation is sent to: it must exist and
// its device be enabled (hub-semantics 3).
func (h *Hub) addressee(tx *store.Tx, id nave.ID) (*nave.Identity, error) {
	device, err := tx.Identity(id.Parent())
	if err != nil {
		return nil, h.known(err, id.Parent())
	}
	if device.Status == nave.Disabled {
		if h.o.DisabledCode {
			return nil, fault.DeviceDisabled.New("device %s is disabled", device.ID)
		}
		return nil, fault.DeviceNotFound.New("device %s is not registered or disabled", device.ID)
	}
	if !id.IsModule() {
		return device, nil
	}
	i, err := tx.Identity(id)
	return i, h.known(err, id)
}

// known gives store errors about an identity their meaning.
func (h *Hub) known(err error, on nave.ID) error {
	switch {
	case !errors.Is(err, store.ErrNone):
		return storeFault(err)
	case on.IsModule():
		return fault.ModuleNotFound.New("module %s is not registered", on)
	}
	return fault.DeviceNotFound.New("device %s is not registered", on)
}

// Purge drops every queued message that no receiver has locked and returns how
// many there were (hub-semantics 5.2).
func (b *Backend) Purge(ctx context.Context, on nave.ID) (n int, err error) {
	if err := b.enter(ctx, on, &opPurge, 0); err != nil {
		return 0, err
	}
	h := b.hub
	err = h.db.Update(ctx, func(tx *store.Tx) error {
		n = 0
		if _, err := tx.Identity(on); err != nil {
			return err
		}
		queued, err := tx.QueuedC2D(on, false)
		for _, c := range queued {
			err = errors.Join(err, h.finish(tx, c, nave.Purged))
			n++
		}
		return err
	})
	return n, h.known(err, on)
}

// finish ends a message: it leaves the queue, and its outcome becomes a
// feedback record when its sender asked for that.
func (h *Hub) finish(tx *store.Tx, c *nave.C2D, o nave.Outcome) error {
	if err := tx.DropC2D(c.On, c.Seq); err != nil {
		return err
	}
	if f := h.onSettled.Load(); f != nil {
		if _, sms := c.AppValue(SMSProperty); sms {
			tx.After(func() { h.later(func() { (*f)(c.On.Device, c.System.MessageID, o == nave.Success) }) })
		}
	}
	if !c.System.Ack.Wants(o) {
		return nil
	}
	now := h.now()
	tx.After(h.feedbackCame)
	return tx.AddFeedback(nave.Feedback{OriginalMessageID: c.System.MessageID, Generation: c.Generation, Device: c.On.Device,
		Module: c.On.Module, Enqueued: now, Status: o, Description: string(o)}, now.Add(h.o.Limits.FeedbackTTL))
}

// lockPrefix marks the locks that a node gave.
func lockPrefix(node string) string {
	sum := fnv.New32a()
	sum.Write([]byte(node))
	return hex.EncodeToString(sum.Sum(nil))
}

// newLock returns a lock token: 32 hex digits, the first eight name the node.
func (h *Hub) newLock() string {
	var b [12]byte
	rand.Read(b[:])
	return lockPrefix(h.bus.Node()) + hex.EncodeToString(b[:])
}

// Receive leases the next message of an HTTPS device for the lock time, the
// default when it is zero. It returns nil when the queue is empty.
func (l *Line) Receive(ctx context.Context, lock time.Duration) (*nave.C2D, error) {
	h := l.hub
	if err := h.gate.Enter(ctx, l.who, l.id, &opPoll, 0); err != nil {
		return nil, err
	}
	if lock <= 0 {
		lock = h.o.Limits.C2DLock
	}
	l.touch()
	c, err := l.lease(ctx, h.now().Add(lock))
	if c != nil && c.Deliveries == 1 {
		h.gate.Charge(&opPoll, c.Size())
	}
	return c, err
}

// lease takes the next message; nil when there is none.
func (l *Line) lease(ctx context.Context, until time.Time) (c *nave.C2D, err error) {
	err = l.hub.db.View(ctx, func(tx *store.Tx) error {
		n, _, err := tx.PendingC2D(l.id)
		if err == nil && n == 0 {
			return store.ErrNone
		}
		return err
	})
	if err == nil {
		err = l.hub.db.Update(ctx, func(tx *store.Tx) error {
			c, err = tx.LeaseC2D(l.id, l.hub.newLock(), until)
			return err
		})
	}
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, nil
	case err != nil:
		return nil, storeFault(err) // c may be set although nothing was committed
	}
	return c, nil
}

// Settle ends a delivery. DeviceMessageLockLost: the lock is unknown, has run
// out, or belongs to a later delivery.
func (l *Line) Settle(ctx context.Context, lock string, v nave.Verdict) error {
	h := l.hub
	if err := h.gate.Enter(ctx, l.who, l.id, &opSettle, 0); err != nil {
		return err
	}
	if raw, err := hex.DecodeString(lock); err != nil || len(raw) != 16 {
		return fault.DeviceMessageLockLost.New("the lock token is not one that this hub gave, a token has 32 hex digits")
	}
	err := h.db.Update(ctx, func(tx *store.Tx) error {
		c, err := tx.LockedC2D(l.id, lock)
		if err != nil {
			return err
		}
		if !c.LockUntil.IsZero() && h.now().After(c.LockUntil) {
			return store.ErrNone
		}
		switch v {
		case nave.Complete:
			return h.finish(tx, c, nave.Success)
		case nave.Reject:
			return h.finish(tx, c, nave.Rejected)
		}
		return h.fail(tx, c)
	})
	if err == nil || errors.Is(err, store.ErrNone) {
		l.mu.Lock()
		delete(l.held, lock) // otherwise the message goes back to the queue with the line
		l.mu.Unlock()
	}
	if errors.Is(err, store.ErrNone) {
		return fault.DeviceMessageLockLost.New("the lock of this delivery is gone: it ran out, or the message was settled or delivered anew")
	}
	return storeFault(err)
}

// fail counts a failed delivery: the message is queued again at its place, or
// ends when it has failed too often.
func (h *Hub) fail(tx *store.Tx, c *nave.C2D) error {
	if c.Failed+1 >= h.o.Limits.C2DDeliveries {
		return h.finish(tx, c, nave.DeliveryCountExceeded)
	}
	tx.After(func() { h.wake(c.On) })
	return tx.RequeueC2D(c.On, c.Seq, c.Failed+1)
}

// requeue puts messages back that a line held when it ended; that does not
// count as a failure (hub-semantics 5.2).
func (h *Hub) requeue(id nave.ID, held map[string]int64) {
	err := h.unlock(id, held)
	if err == nil {
		return
	}
	h.o.Log.Error("messages stay locked until the store takes writes again or the hub starts anew", "hub", h.o.Host, "device", id.String(), "err", err)
	h.spawn(func() {
		for err != nil {
			select {
			case <-h.ctx.Done():
				return
			case <-time.After(requeueEvery):
			}
			err = h.unlock(id, held)
		}
	})
}

// requeueEvery is the pause between two attempts to take locks back.
const requeueEvery = time.Second

// unlock takes the locks back that still stand.
func (h *Hub) unlock(id nave.ID, held map[string]int64) error {
	return h.db.Update(context.WithoutCancel(h.ctx), func(tx *store.Tx) error {
		for lock := range held {
			c, err := tx.LockedC2D(id, lock)
			if errors.Is(err, store.ErrNone) {
				continue
			}
			if err == nil {
				err = tx.RequeueC2D(id, c.Seq, c.Failed)
			}
			if err != nil {
				return err
			}
		}
		tx.After(func() { h.wake(id) })
		return nil
	})
}

// Credit says how many more messages may be delivered to the line: below zero
// as many as there are, zero none. Delivery starts at once, on goroutines of
// the hub, in sequence order. The result is closed once what waits has been
// delivered, as far as the credit goes; nil when nothing will be.
func (l *Line) Credit(n int) <-chan struct{} {
	l.speak()
	l.mu.Lock()
	l.credit = n
	l.mu.Unlock()
	return l.pull()
}

// pull starts a delivery run unless one is on its way or nothing may be sent,
// and returns what its end closes, nil without one.
func (l *Line) pull() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.credit == 0 || l.closing.Load():
		return nil
	case l.run != nil:
		l.again = true
	default:
		l.run = make(chan struct{})
		if !l.hub.spawn(l.deliver) {
			l.run = nil
		}
	}
	return l.run
}

// deliver hands over messages until the queue or the credit is empty.
func (l *Line) deliver() {
	for {
		more, err := l.deliverOne()
		if err != nil {
			l.hub.o.Log.Warn("delivery stopped", "hub", l.hub.o.Host, "device", l.id.String(), "op", opDeliver.Name, "err", err)
		}
		l.mu.Lock()
		if l.credit == 0 || !more && !l.again {
			close(l.run)
			l.run = nil
			l.mu.Unlock()
			return
		}
		l.again = false
		l.mu.Unlock()
	}
}

func (l *Line) deliverOne() (more bool, err error) {
	h := l.hub
	if err := h.gate.Enter(h.ctx, l.who, l.id, &opDeliver, 0); err != nil {
		return false, err
	}
	l.mu.Lock()
	willing := l.credit != 0
	l.mu.Unlock()
	if !willing {
		return false, nil
	}
	var until time.Time
	if !l.from.Endless {
		until = h.now().Add(h.o.Limits.C2DLock)
	}
	c, err := l.lease(h.ctx, until)
	if c == nil {
		return false, err
	}
	if !l.hold(c) || l.peer.Deliver(c) != nil {
		l.mu.Lock()
		delete(l.held, c.Lock)
		l.credit = 0
		l.mu.Unlock()
		h.requeue(l.id, map[string]int64{c.Lock: c.Seq})
		return false, nil
	}
	l.touch()
	if c.Deliveries == 1 {
		h.gate.Charge(&opDeliver, c.Size())
	}
	return true, nil
}

// hold remembers the delivery as the line's; false when the line wants no more.
func (l *Line) hold(c *nave.C2D) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.credit == 0 {
		return false
	}
	if l.credit > 0 {
		l.credit--
	}
	if l.held == nil {
		l.held = map[string]int64{}
	}
	l.held[c.Lock] = c.Seq
	return true
}

// spawn runs f on a goroutine that Close waits for; false after Close began.
func (h *Hub) spawn(f func()) bool {
	h.start.Lock()
	defer h.start.Unlock()
	if h.ctx.Err() != nil {
		return false
	}
	h.work.Go(f)
	return true
}
