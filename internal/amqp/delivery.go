package amqp

// Delivery is a message the peer has sent. The application answers each exactly
// once, from any goroutine, with Accept, Reject, Release or Modify; further
// answers do nothing. Until then it counts against the link's credit. For a
// delivery the peer sent settled the answer only returns the credit.
type Delivery struct {
	// Read only:
	Link     *Link
	Format   uint32 // message-format
	Payload  []byte // all transfers together; the application's own; nil when TooLarge
	Size     int    // of the payload, also when it was thrown away
	TooLarge bool   // exceeds the link's limit; the payload was not kept
	Settled  bool   // the peer sent it settled

	// Guarded by Conn.mu:
	id       uint32
	settled  bool // nothing more goes over the wire about it
	answered bool
	charge   int // payload bytes counted in Conn.heldBytes
	tagLen   uint8
	tag      [maxTag]byte
}

// Tag returns the delivery tag, of at most 32 bytes.
func (d *Delivery) Tag() []byte { return d.tag[:d.tagLen] }

// Accept tells the peer that the message was processed.
func (d *Delivery) Accept() { d.answer(Accepted{}) }

// Reject tells the peer that the message is invalid; err may be nil.
func (d *Delivery) Reject(err *Error) { d.answer(Rejected{err}) }

// Release tells the peer that the message was not processed and may be sent again.
func (d *Delivery) Release() { d.answer(Released{}) }

// Modify is Release with changes.
func (d *Delivery) Modify(m Modified) { d.answer(m) }

// answer sends the outcome and returns the credit.
func (d *Delivery) answer(st State) {
	l := d.Link
	c := l.s.c
	c.mu.Lock()
	defer c.unlock()
	if d.answered {
		return
	}
	d.answered = true
	c.heldBytes -= d.charge
	if c.paused {
		c.wake.Broadcast()
	}
	if !d.settled && l.s.alive() && l.state == linkAttached {
		d.send(st)
	}
	d.release()
	l.grant()
}

// send sends the outcome: settled, or in mode second unsettled, upon which the
// peer settles. There is nothing to do when it has, so that is not awaited;
// senders built on proton never say so. mu.
func (d *Delivery) send(st State) {
	l := d.Link
	s, c := l.s, l.s.c
	d.settled = true
	delete(s.held, d.id)
	first := l.RcvMode != SettleSecond
	if first && st == (Accepted{}) {
		c.accept(s, d.id)
		return
	}
	c.putDisposition(s.local, dispositionFrame{RoleReceiver, d.id, d.id, first, st})
}

// release takes a delivery that is done out of the counts and lets a peer that
// was held back go on. mu.
func (d *Delivery) release() {
	d.Link.heldHere--
	c := d.Link.s.c
	c.held--
	if c.held == c.o.MaxUnsettled-1 {
		for _, s := range c.locals {
			if s != nil && s.alive() {
				s.renew()
			}
		}
	}
}

// settledByPeer takes note that the sender has settled the delivery, or that its
// link is gone: the answer goes nowhere any more. mu.
func (d *Delivery) settledByPeer() {
	delete(d.Link.s.held, d.id)
	d.settled = true
}
