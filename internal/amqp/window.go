package amqp

import "slices"

// window is the flow state of a session (2.5.6). Part of Session, guarded by Conn.mu.
type window struct {
	nextIn     uint32 // id of the peer's next transfer
	inLeft     uint32 // transfers the peer may still send
	nextOut    uint32 // id of our next transfer
	peerWindow uint32 // transfers we may still send
	pending    *sending
}

// sending is a delivery under way; it waits in Session.pending for the peer's window.
type sending struct {
	l    *Link
	t    transferFrame
	rest []byte
	size int // of rest while pending
}

// flow handles the peer's FLOW. mu.
func (s *Session) flow(p *flowFrame) *Error {
	base := uint32(1) // our first transfer id, for a peer that has not seen our BEGIN
	if p.hasNextIn {
		base = p.nextIn
	}
	s.peerWindow = remaining(p.inWindow, s.nextOut-base)
	s.pump()
	if !p.hasHandle {
		if p.echo {
			s.sendFlow()
		}
		s.c.wakeStarved()
		return nil
	}
	l, fault := s.linkOf(p.handle)
	if l == nil {
		return fault
	}
	l.flow(p)
	s.c.wakeStarved()
	return nil
}

// remaining is what is left of a grant of n when some of what was sent is still
// under way (2.5.6, 2.6.7). A peer that counts more than was sent is out of step;
// for it everything has arrived.
func remaining(n, underway uint32) uint32 {
	switch {
	case int32(underway) < 0:
		return n
	case underway >= n:
		return 0
	}
	return n - underway
}

// arrived counts a transfer and renews the window long before it is used up,
// unless the application is too far behind. mu.
func (s *Session) arrived() *Error {
	if s.inLeft == 0 {
		return Errorf(WindowViolation, "transfer %d exceeds the incoming window", s.nextIn)
	}
	s.nextIn++
	s.inLeft--
	s.renew()
	return nil
}

// renew sends a FLOW when the peer has used a quarter of its window. mu.
func (s *Session) renew() {
	w := s.c.o.IncomingWindow
	if s.c.held < s.c.o.MaxUnsettled && w-s.inLeft > w/4 {
		s.sendFlow()
	}
}

// sendFlow sends the session's flow state. mu.
func (s *Session) sendFlow() { s.putFlow(flowFrame{}) }

// putFlow completes p with the session's state, renews the window and sends it. mu.
func (s *Session) putFlow(p flowFrame) {
	if !s.alive() {
		return
	}
	if s.c.held < s.c.o.MaxUnsettled {
		s.inLeft = s.c.o.IncomingWindow
	}
	p.nextIn, p.hasNextIn = s.nextIn, s.remoteBegun
	p.inWindow = s.inLeft
	p.nextOut, p.outWindow = s.nextOut, s.c.o.IncomingWindow
	mark := s.c.begin(s.local)
	s.c.out = closeFrame(p.append(s.c.out), mark)
}

// start sends p, or keeps the part that the peer's window does not admit. mu.
func (s *Session) start(p *sending) {
	if s.emit(p) {
		return
	}
	kept := *p // p itself, payload and tag stay the caller's
	kept.rest = append([]byte(nil), p.rest...)
	if p.t.tag != nil {
		kept.t.tag = append(make([]byte, 0, maxTag), p.t.tag...)
	}
	kept.size = len(kept.rest)
	s.c.pendingSize += kept.size
	s.pending = &kept
}

// pump continues the pending delivery. mu.
func (s *Session) pump() {
	if s.pending != nil && s.alive() && s.emit(s.pending) {
		s.dropPending(nil)
	}
}

// dropPending forgets the pending delivery, if it is one of l; nil is any link. mu.
func (s *Session) dropPending(l *Link) {
	if p := s.pending; p != nil && (l == nil || p.l == l) {
		s.c.pendingSize -= p.size
		s.pending = nil
	}
}

// emit writes transfers of p, split to the peer's frame size, while its window
// lasts; done means all are written. mu.
func (s *Session) emit(p *sending) (done bool) {
	c := s.c
	for s.peerWindow > 0 {
		mark := c.begin(s.local)
		p.t.more = false
		c.out = p.t.append(c.out)
		n := len(p.rest)
		if len(c.out)-mark+n > c.maxOut {
			p.t.more = true
			c.out = p.t.append(c.out[:mark+headerSize])
			n = c.maxOut - (len(c.out) - mark)
		}
		c.out = closeFrame(append(c.out, p.rest[:n]...), mark)
		p.rest = p.rest[n:]
		s.nextOut++
		s.peerWindow--
		if !p.t.more {
			return true
		}
		p.t = transferFrame{handle: p.t.handle, settled: p.t.settled}
	}
	return false
}

// disposition handles the peer's DISPOSITION (2.6.12). mu.
func (s *Session) disposition(p *dispositionFrame) *Error {
	if int32(p.last-p.first) < 0 {
		return Errorf(InvalidField, "disposition of %d to %d", p.first, p.last)
	}
	if f, ok := p.state.(foreign); ok {
		return f.error()
	}
	if p.role == RoleReceiver {
		eachID(s.outs, p.first, p.last, func(id uint32, o *Out) { s.outcome(id, o, p) })
	} else if p.settled {
		eachID(s.held, p.first, p.last, func(_ uint32, d *Delivery) { d.settledByPeer() })
	}
	s.c.wakeStarved()
	return nil
}

// eachID calls f for the members of m from first to last, in order, at a cost
// bounded by the size of m whatever the range claims.
func eachID[T any](m map[uint32]T, first, last uint32, f func(id uint32, v T)) {
	span := last - first
	if uint64(span) < uint64(len(m))*2+2 {
		for i := uint32(0); ; i++ {
			if v, ok := m[first+i]; ok {
				f(first+i, v)
			}
			if i == span {
				return
			}
		}
	}
	var ids []uint32
	for id := range m {
		if id-first <= span {
			ids = append(ids, id-first)
		}
	}
	slices.Sort(ids)
	for _, i := range ids {
		f(first+i, m[first+i])
	}
}

// outcome applies the receiver's disposition to a delivery of ours. mu.
func (s *Session) outcome(id uint32, o *Out, p *dispositionFrame) {
	if p.settled {
		delete(s.outs, id)
		s.c.outs--
		o.settled = true
	}
	s.c.events = append(s.c.events, event{kind: evDisposition, link: o.link, out: o, state: p.state, settled: p.settled})
}

// wakeStarved queues OnCredit for links that may send again. mu, read goroutine.
func (c *Conn) wakeStarved() {
	for _, l := range c.takeStarved() {
		c.events = append(c.events, event{kind: evCredit, link: l})
	}
}

// takeStarved removes and returns the links that were refused a Send although
// the peer gave credit, and may send now. mu.
func (c *Conn) takeStarved() (ready []*Link) {
	if len(c.starved) == 0 || c.unsent() > c.o.MaxUnsent/2 || c.outs >= c.o.MaxUnsettled {
		return nil
	}
	keep := c.starved[:0]
	for _, l := range c.starved {
		switch {
		case l.sendable() > 0:
			l.starved = false
			ready = append(ready, l)
		case l.state == linkAttached && l.credit > 0:
			keep = append(keep, l)
		default:
			l.starved = false
		}
	}
	clear(c.starved[len(keep):])
	c.starved = keep
	return ready
}
