package amqp

// attach handles the peer's ATTACH. fault ends the session, err the connection. mu.
func (s *Session) attach(p *attachFrame, cost int) (fault *Error, err error) {
	if s.links[p.handle] != nil {
		return Errorf(HandleInUse, "handle %d has a link", p.handle), nil
	}
	delete(s.errant, p.handle)
	key := linkName{p.name, !p.role}
	old := s.names[key]
	if old != nil && old.state == linkRequested {
		s.attachAnswered(old, p)
		return nil, nil
	}
	c := s.c
	// Room is kept for refused links the peer has not detached yet.
	if c.links >= c.o.MaxLinks+64 || c.retained+cost > c.o.MaxBuffer {
		return nil, Errorf(ResourceLimitExceeded, "too many links")
	}
	inflight := 0
	if old != nil {
		if inflight = old.inflight(); inflight == 0 {
			old.supersede()
		}
	}
	l := s.newLink(p, cost)
	if l == nil {
		return Errorf(ResourceLimitExceeded, "no handle left below %d", s.handleMax), nil
	}
	s.bind(l, p)
	switch {
	case c.links > c.o.MaxLinks:
		l.refuse(Errorf(ResourceLimitExceeded, "more than %d links", c.o.MaxLinks))
	case p.coordinator:
		l.refuse(Errorf(NotImplemented, "transactions"))
	default:
		if l.Inflight = inflight; inflight == 0 {
			s.names[key] = l
		}
		c.events = append(c.events, event{kind: evAttach, link: l})
	}
	return nil, nil
}

// inflight counts the unsettled deliveries that we sent on the link. mu.
func (l *Link) inflight() (n int) {
	for _, o := range l.s.outs {
		if o.link == l {
			n++
		}
	}
	return n
}

// takeName makes an accepted link the one of its name. mu.
func (l *Link) takeName() {
	key := linkName{l.Name, l.Role}
	if old := l.s.names[key]; old != nil && old != l {
		old.supersede()
	}
	l.s.names[key] = l
}

// supersede ends a link whose name the peer uses again in the same session. mu.
func (l *Link) supersede() {
	err := Errorf(LinkStolen, "link %q was attached again", clip(l.Name, 64))
	if l.state == linkPending {
		l.refuse(err)
		return
	}
	l.detach(err)
}

// newLink makes the link for an ATTACH of the peer, or nil when it allows no more handles. mu.
func (s *Session) newLink(p *attachFrame, cost int) *Link {
	l := &Link{Name: p.name, Role: !p.role, s: s, cost: cost}
	if !s.giveHandle(l) {
		return nil
	}
	s.c.retained += cost
	l.take(p)
	l.Source, l.Target = p.source, p.target
	return l
}

// take copies what the peer's ATTACH decides. mu.
func (l *Link) take(p *attachFrame) {
	l.SndMode, l.RcvMode = p.sndMode, p.rcvMode
	l.Properties, l.Desired, l.PeerMax = p.properties, p.desired, p.maxMessage
	if l.Role == RoleReceiver {
		l.count = p.initial
	}
}

// giveHandle gives l the lowest handle that was never used, or a free one. mu.
func (s *Session) giveHandle(l *Link) bool {
	switch n := len(s.freeHandles); {
	case n > 0:
		l.handle = s.freeHandles[n-1]
		s.freeHandles = s.freeHandles[:n-1]
		s.handles[l.handle] = l
	case uint64(len(s.handles)) > uint64(s.handleMax):
		return false
	default:
		l.handle = uint32(len(s.handles))
		s.handles = append(s.handles, l)
	}
	if s.names == nil {
		s.names = map[linkName]*Link{}
	}
	s.c.links++
	return true
}

// bind connects a link to the peer's handle. mu.
func (s *Session) bind(l *Link, p *attachFrame) {
	if s.links == nil {
		s.links = map[uint32]*Link{}
	}
	l.remote, l.bound = p.handle, true
	s.links[p.handle] = l
}

// attachAnswered handles the answer to an ATTACH of ours. mu.
func (s *Session) attachAnswered(l *Link, p *attachFrame) {
	s.bind(l, p)
	l.take(p)
	theirs := p.source
	if l.Role == RoleSender {
		theirs = p.target
	}
	if theirs == nil {
		return // refused: the reason follows in a DETACH (2.6.3)
	}
	l.Source, l.Target = p.source, p.target
	l.state = linkAttached
	l.grant()
	s.c.events = append(s.c.events, event{kind: evAttached, link: l})
}

// linkOf finds the link of the peer's handle; without one the session is at fault. mu.
func (s *Session) linkOf(handle uint32) (*Link, *Error) {
	if l := s.links[handle]; l != nil {
		return l, nil
	}
	if _, ok := s.errant[handle]; ok {
		return nil, Errorf(ErrantLink, "handle %d was closed with an error", handle)
	}
	return nil, Errorf(UnattachedHandle, "handle %d has no link", handle)
}

// detached handles the peer's DETACH. mu.
func (s *Session) detached(p *detachFrame) *Error {
	l, fault := s.linkOf(p.handle)
	if l == nil {
		return fault
	}
	cause := orNil(p.err)
	switch l.state {
	case linkPending:
		// 2.6.3: a DETACH must follow an ATTACH of ours.
		l.refuse(nil)
	case linkAttached, linkRequested:
		s.c.putDetach(s.local, detachFrame{handle: l.handle, closed: p.closed})
	}
	l.lose(cause)
	delete(s.links, p.handle)
	s.handles[l.handle] = nil
	s.freeHandles = append(s.freeHandles, l.handle)
	s.c.wakeStarved()
	return nil
}
