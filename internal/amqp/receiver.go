package amqp

// Credit returns, for a sender, how many deliveries may be sent now; for a
// receiver, how many the peer may still send.
func (l *Link) Credit() uint32 {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	if l.Role == RoleReceiver {
		return l.credit
	}
	n := l.sendable()
	if n == 0 {
		l.starve()
	}
	return n
}

// Grant sets the credit of a receiver with ManualCredit to n deliveries.
func (l *Link) Grant(n uint32) {
	c := l.s.c
	c.mu.Lock()
	defer c.unlock()
	if l.Role == RoleReceiver && l.state == linkAttached {
		l.credit = n
		l.draining = false
		l.sendFlow(false)
	}
}

// Drain asks the peer to use up its credit now or to give it back; OnDrained follows.
func (l *Link) Drain() {
	c := l.s.c
	c.mu.Lock()
	defer c.unlock()
	if l.Role == RoleReceiver && l.state == linkAttached {
		l.draining = true
		l.sendFlow(true)
	}
}

// grant tops the credit up once half the window is free. mu.
func (l *Link) grant() {
	if l.Role != RoleReceiver || l.state != linkAttached || l.ManualCredit || l.draining || l.heldHere >= l.Window {
		return
	}
	target := l.Window - l.heldHere
	if target > l.credit && target-l.credit >= (l.Window+1)/2 {
		l.credit = target
		l.sendFlow(false)
	}
}

// sendFlow sends the link's flow state; delivery-count is always in it, as
// uAMQP computes its credit from it. mu.
func (l *Link) sendFlow(echo bool) {
	l.s.putFlow(flowFrame{handle: l.handle, hasHandle: true, count: l.count, hasCount: true,
		credit: l.credit, hasCredit: true, drain: l.draining, echo: echo})
}

// flow handles the peer's FLOW on the link. mu.
func (l *Link) flow(p *flowFrame) {
	if l.state >= linkDetaching {
		return
	}
	if l.Role == RoleSender {
		l.senderFlow(p)
		return
	}
	if gone := p.count - l.count; p.hasCount && int32(gone) > 0 {
		l.count = p.count
		l.credit -= min(gone, l.credit)
	}
	if l.draining && l.credit == 0 {
		l.draining = false
		l.s.c.events = append(l.s.c.events, event{kind: evDrained, link: l})
		l.grant()
	}
	if p.echo && l.state == linkAttached {
		l.sendFlow(false)
	}
}

// transfer handles the peer's TRANSFER. mu.
func (s *Session) transfer(p *transferFrame, payload []byte) *Error {
	if fault := s.arrived(); fault != nil {
		return fault
	}
	if f, ok := p.state.(foreign); ok {
		return f.error()
	}
	l, fault := s.linkOf(p.handle)
	if l == nil {
		return fault
	}
	if l.state >= linkDetaching {
		return nil // sent before the peer saw our DETACH
	}
	if err := l.transfer(p, payload); err != nil {
		if l.state == linkPending {
			l.refuse(err)
		} else {
			l.detach(err)
		}
	}
	return nil
}

// transfer adds a transfer to the delivery it belongs to. An error ends the link. mu.
func (l *Link) transfer(p *transferFrame, payload []byte) *Error {
	switch {
	case l.Role == RoleSender:
		return Errorf(NotAllowed, "transfer to a sender")
	case p.resume:
		return Errorf(NotImplemented, "resumption of deliveries")
	}
	d := l.partial
	if d == nil {
		var err *Error
		if d, err = l.firstTransfer(p); err != nil {
			return err
		}
	} else if p.hasID && p.id != d.id {
		return Errorf(NotAllowed, "delivery %d begins inside delivery %d", p.id, d.id)
	}
	d.Settled = d.Settled || p.settled
	if p.hasFormat {
		d.Format = p.format
	}
	if p.aborted {
		l.dropPartial()
		l.grant()
		return nil
	}
	if err := l.collect(d, payload, p.more); err != nil {
		return err
	}
	if p.more {
		l.partial = d
		return nil
	}
	return l.complete(d)
}

// firstTransfer checks the transfer that begins a delivery and uses a credit. mu.
func (l *Link) firstTransfer(p *transferFrame) (*Delivery, *Error) {
	switch {
	case !p.hasID:
		return nil, Errorf(InvalidField, "delivery without delivery-id")
	case len(p.tag) > maxTag:
		return nil, Errorf(InvalidField, "delivery-tag of %d bytes", len(p.tag))
	case l.credit == 0:
		return nil, Errorf(TransferLimitExceeded, "transfer without credit")
	}
	if _, dup := l.s.held[p.id]; dup {
		return nil, Errorf(InvalidField, "delivery-id %d is in use", p.id)
	}
	l.credit--
	l.count++
	d := &Delivery{Link: l, id: p.id, tagLen: uint8(len(p.tag))}
	copy(d.tag[:], p.tag)
	return d, nil
}

// collect appends a payload, unless the delivery has become too large; then
// only its size is counted. mu.
func (l *Link) collect(d *Delivery, payload []byte, more bool) *Error {
	d.Size += len(payload)
	c := l.s.c
	if d.Size > l.BufferLimit {
		d.TooLarge = true
		if l.partial == d {
			c.retained -= cap(d.Payload)
		}
		d.Payload = nil
		return nil
	}
	if l.partial == nil && !more {
		d.Payload = append(make([]byte, 0, len(payload)), payload...)
		return nil
	}
	before := cap(d.Payload)
	if l.partial == nil {
		before = 0
	}
	if d.Size > before {
		size := max(d.Size, min(2*before, l.BufferLimit))
		if c.retained+size > c.o.MaxBuffer {
			return Errorf(ResourceLimitExceeded, "too many unfinished deliveries")
		}
		grown := make([]byte, len(d.Payload), size)
		copy(grown, d.Payload)
		d.Payload = grown
		c.retained += size - before
	}
	d.Payload = append(d.Payload, payload...)
	return nil
}

// complete gives the delivery to the application. mu.
func (l *Link) complete(d *Delivery) *Error {
	s, c := l.s, l.s.c
	l.dropPartial()
	d.settled = d.Settled
	if !d.settled {
		if s.held == nil {
			s.held = map[uint32]*Delivery{}
		}
		s.held[d.id] = d
	}
	d.charge = cap(d.Payload)
	c.held++
	c.heldBytes += d.charge
	l.heldHere++
	c.events = append(c.events, event{kind: evDelivery, link: l, in: d})
	return nil
}
