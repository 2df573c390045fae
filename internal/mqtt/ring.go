package mqtt

import "sync/atomic"

// States of a slot, above the packet identifier; 0 is a slot not taken yet.
const (
	slotPending = 1 << 16
	slotDone    = 2 << 16
	slotNever   = 3 << 16
	slotRefused = 4 << 16 // MQTT 5.0: above it the reason code, from bit 24 on
)

// segment makes 256 bytes of slots.
type segment struct {
	next  atomic.Pointer[segment]
	slots [62]atomic.Uint32
}

// ring keeps the QoS 1 publishes that have no PUBACK yet, in order of arrival. The reader takes slots at the tail, any goroutine
// completes them, and the writer collects completed ones from the head up to the first that is pending. No lock is involved:
// each slot is one word, and each end has one owner. Segments behind the head are garbage.
type ring struct {
	// Owned by the reader:
	tail  *segment
	at    int
	taken uint64

	// Owned by the writer:
	head *segment
	from int

	// Shared:
	retired atomic.Uint64 // slots collected
	wait    atomic.Pointer[waiter]
}

// waiter is a reader that stands still until so many slots are retired.
type waiter struct {
	until uint64
	ready chan struct{}
}

func newRing() *ring {
	s := new(segment)
	return &ring{tail: s, head: s}
}

func (r *ring) take(id uint16) *atomic.Uint32 {
	if r.at == len(r.tail.slots) {
		s := new(segment)
		r.tail.next.Store(s)
		r.tail, r.at = s, 0
	}
	s := &r.tail.slots[r.at]
	s.Store(slotPending | uint32(id))
	r.at++
	r.taken++
	return s
}

// collect appends the PUBACKs that are due, as many as fit into b's capacity.
func (r *ring) collect(b []byte) []byte {
	n := uint64(0)
	for cap(b)-len(b) >= 5 {
		if r.from == len(r.head.slots) {
			next := r.head.next.Load()
			if next == nil {
				break
			}
			r.head, r.from = next, 0
		}
		v := r.head.slots[r.from].Load()
		if v < slotDone {
			break
		}
		switch {
		case v < slotNever:
			b = append(b, typePuback<<4, 2, byte(v>>8), byte(v))
		case v&slotRefused != 0:
			b = append(b, typePuback<<4, 3, byte(v>>8), byte(v), byte(v>>24))
		}
		r.from++
		n++
	}
	if n > 0 {
		r.wake(r.retired.Add(n))
	}
	return b
}

// due reports whether collect will find something.
func (r *ring) due() bool {
	s, at := r.head, r.from
	if at == len(s.slots) {
		if s, at = s.next.Load(), 0; s == nil {
			return false
		}
	}
	return s.slots[at].Load() >= slotDone
}

func (r *ring) wake(retired uint64) {
	if w := r.wait.Load(); w != nil && retired >= w.until && r.wait.CompareAndSwap(w, nil) {
		close(w.ready)
	}
}

// room waits while limit slots are pending, until a quarter of them is retired or the writer has ended.
func (r *ring) room(limit int, l *link) {
	if r.taken-r.retired.Load() < uint64(limit) {
		return
	}
	w := &waiter{until: r.taken - uint64(limit) + uint64(limit+3)/4, ready: make(chan struct{})}
	r.wait.Store(w)
	// The writer may have passed between the test and the store; whoever swaps the waiter out is the one that need not wait.
	if (r.retired.Load() >= w.until || l.state.Load() == writerEnded) && r.wait.CompareAndSwap(w, nil) {
		return
	}
	<-w.ready
}

// release frees a waiting reader for good.
func (r *ring) release() { r.wake(^uint64(0)) }

// Ack completes one QoS 1 publish. It is a value of two words; the zero Ack, that of a QoS 0 publish, does nothing.
type Ack struct {
	c *Conn
	s *atomic.Uint32
}

// Done lets the PUBACK leave as soon as those of all earlier publishes have; it never blocks, and only the first call counts.
func (a Ack) Done() { a.complete(slotDone) }

// Ahead is Done for a contract in which the PUBACK must precede what is published afterwards (dps 0.1): it is queued at once, not
// behind those of earlier publishes that are pending. A handler that completes every publish in this way, during the call, keeps
// the order [MQTT-4.6.0-2].
func (a Ack) Ahead() {
	if a.s == nil {
		return
	}
	v := a.s.Load()
	if v>>16 != slotPending>>16 || !a.s.CompareAndSwap(v, v&0xffff|slotNever) {
		return
	}
	if a.c.reply(Puback{ID: uint16(v)}.Append(nil)) == ErrSlow {
		a.c.stop(ErrSlow, stopNow)
	}
	a.c.kick()
}

// Never ends the wait without a PUBACK, for fault injection: later publishes are acknowledged as if this one had not been.
func (a Ack) Never() { a.complete(slotNever) }

// Refuse answers with a PUBACK whose reason code is 0x80 or above. MQTT 3.1.1 has no such thing, so that there the connection closes
// with a *ReasonError. The zero Ack has nobody to answer.
func (a Ack) Refuse(reason byte) {
	if a.s != nil && a.c.modern == nil {
		a.c.Close(&ReasonError{Code: reason, Text: "a publish was refused"})
		return
	}
	a.complete(slotRefused | uint32(max(reason, Unspecified))<<24)
}

func (a Ack) complete(state uint32) {
	if a.s == nil {
		return
	}
	v := a.s.Load()
	if v>>16 == slotPending>>16 && a.s.CompareAndSwap(v, v&0xffff|state) {
		a.c.kick()
	}
}
