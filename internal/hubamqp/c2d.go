package hubamqp

import (
	"encoding/hex"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// prepareCommands sets up the link that cloud-to-device messages go out on.
func (s *seat) prepareCommands(n *strand) {
	n.PeerMax = 0 // device-protocols 3.5: some clients ask for less than a message may have, and yet take it
	n.OnCredit = func(credit uint32, drain bool) {
		s.credited(n, credit, false)
		s.mu.Lock()
		free := n.Link.Credit()
		if len(n.waiting) > 0 {
			free = 0
		}
		s.mu.Unlock()
		delivered := s.line.Credit(int(min(free, 1<<30)))
		switch {
		case !drain:
		case delivered == nil:
			n.Drained()
		default: // whoever drains gets what is in the queue first
			s.c.work.Go(func() {
				<-delivered
				n.Drained()
			})
		}
	}
	n.OnDisposition = s.takeVerdict
}

// Deliver implements hub.Peer.
func (s *seat) Deliver(c *nave.C2D) error {
	raw, err := hex.DecodeString(c.Lock)
	if err != nil || len(raw) != 16 {
		return fault.ServerError.New("the lock token %q is no GUID", c.Lock)
	}
	lock := amqp.UUID(raw)
	b, err := appendCommand(nil, c, lock)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.links {
		if n.part == hub.CommandLink {
			return s.send(n, outgoing{payload: b, tag: littleEndian(lock), app: c.Lock})
		}
	}
	return errOff
}

// takeVerdict learns what the device made of a message (device-protocols 3.7).
func (s *seat) takeVerdict(out *amqp.Out, state amqp.State, settled bool) {
	lock, ok := out.App.(string)
	if !ok {
		return
	}
	v := nave.Complete
	switch state := state.(type) {
	case nil:
		if !settled {
			return
		}
	case amqp.Accepted:
	case amqp.Rejected:
		v = nave.Reject
	case amqp.Released:
		v = nave.Abandon
	case amqp.Modified:
		if v = nave.Abandon; state.UndeliverableHere {
			v = nave.Reject
		}
	default: // Received: part of the message is there, that decides nothing
		if !settled {
			return
		}
	}
	if settled {
		out = nil
	}
	s.do(func() { s.settle(lock, v, out) })
}

// settle settles a delivery with the hub, and with a device that waits for our
// answer (receiver settle mode second); on the queue.
func (s *seat) settle(lock string, v nave.Verdict, out *amqp.Out) {
	if s.closed {
		return
	}
	err := s.line.Settle(s.c.ctx, lock, v)
	var e *amqp.Error
	if err != nil {
		e = s.c.deviceCondition("c2d.settle", s.id, err)
	}
	switch {
	case out == nil:
	case e != nil:
		out.Settle(amqp.Rejected{Error: e})
	default:
		out.Settle(amqp.Accepted{})
	}
}
