package hubamqp

import (
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// Close implements hub.Peer. The whole connection ends only when the fault is
// the connection's: played faults and the end of the hub. Everything else costs
// the identity its links and leaves its neighbours alone (device-protocols
// 3.10).
func (s *seat) Close(what hub.Part, why *fault.Error) {
	switch what {
	case hub.Socket:
		s.c.work.Go(s.c.engine.Kill) // behind the answer to whoever asked for it
	case hub.Whole:
		s.closeWhole(why)
	case hub.SessionPart:
		s.closeSessions(why)
	case hub.TokenRequestLink, hub.TokenResponseLink:
		s.c.cutTokens(what, why)
	case hub.TwinResponseLink, hub.MethodRequestLink:
		kind := kindOf(what)
		// A line that takes over takes both halves of a pair.
		s.cut(why, func(n *strand) bool {
			return n.part == what || why.Code == fault.LinkCreationConflict && kindOf(n.part) == kind
		})
	default:
		s.cut(why, func(n *strand) bool { return n.part == what })
	}
}

func (s *seat) closeWhole(why *fault.Error) {
	switch why.Code {
	case fault.ConnectionForcefullyClosedOnFaultInjection, fault.ServiceUnavailable:
		e := s.c.deviceCondition("device.disconnect", s.id, why)
		e.Condition = amqp.ConnectionForced
		s.c.engine.Close(e)
		return
	}
	s.c.mu.Lock()
	if s.c.seats[s.id] == s {
		delete(s.c.seats, s.id) // whoever attaches next proves itself anew
	}
	m := s.c.claims[s.proof]
	s.c.mu.Unlock()
	if m != nil && m.socket && why.Code == fault.IotHubUnauthorized {
		s.c.engine.Close(s.c.deviceCondition("device.disconnect", s.id, why))
		return
	}
	s.cut(why, func(*strand) bool { return true })
	s.do(func() { s.close(nil) })
}

// cut detaches the links that which picks, with the reason.
func (s *seat) cut(why *fault.Error, which func(*strand) bool) {
	gone := s.pick(which)
	if len(gone) == 0 {
		return
	}
	e := s.c.deviceCondition("device.disconnect", s.id, why)
	for _, n := range gone {
		n.Detach(e)
	}
	s.lost(gone)
}

// pick takes the links that which accepts out of the seat.
func (s *seat) pick(which func(*strand) bool) (gone []*strand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []*strand
	for _, n := range s.links {
		if which(n) {
			n.waiting = nil
			gone = append(gone, n)
		} else {
			kept = append(kept, n)
		}
	}
	s.links = kept
	return gone
}

// lost has the queue see to links that are out.
func (s *seat) lost(gone []*strand) {
	s.do(func() {
		for _, n := range gone {
			s.settleLoss(n)
		}
		s.leave(nil)
	})
}

// closeSessions ends the sessions of the identity's links; of a session that
// carries other identities too, only its own links.
func (s *seat) closeSessions(why *fault.Error) {
	s.mu.Lock()
	sessions := map[*amqp.Session]bool{}
	for _, n := range s.links {
		sessions[n.Session()] = true
	}
	s.mu.Unlock()
	shared := s.c.sharedSessions(s)
	e := s.c.deviceCondition("device.disconnect", s.id, why)
	e.Condition = amqp.InternalError
	gone := s.pick(func(n *strand) bool { return sessions[n.Session()] })
	for _, n := range gone {
		if shared[n.Session()] {
			n.Detach(e)
		}
	}
	for session := range sessions {
		if !shared[session] {
			session.End(e)
		}
	}
	s.lost(gone)
}

// sharedSessions returns the sessions that carry links of other identities.
func (c *conn) sharedSessions(but *seat) map[*amqp.Session]bool {
	shared := map[*amqp.Session]bool{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seats {
		if s == but {
			continue
		}
		s.mu.Lock()
		for _, n := range s.links {
			shared[n.Session()] = true
		}
		s.mu.Unlock()
	}
	return shared
}
