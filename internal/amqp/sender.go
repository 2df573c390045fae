package amqp

import (
	"encoding/binary"
	"slices"
)

// Out is a delivery sent unsettled.
type Out struct {
	// App is what was given to Send.
	App any

	// Set by Send, then read only:
	link *Link
	id   uint32

	// Guarded by Conn.mu:
	settled bool
}

// Send sends a message, or queues it behind those before it; it never waits.
// payload is an encoded message and may be used again afterwards, as may tag; a
// nil tag stands for a counter of four bytes. The link's sender settle mode
// overrides settled unless it is mixed. For a settled message out is nil;
// for others OnDisposition follows, with out.App set to app, or OnDetach.
// Errors: ErrNoCredit (try again after OnCredit), ErrDetached, ErrTooLarge.
func (l *Link) Send(payload, tag []byte, format uint32, settled bool, app any) (out *Out, err error) {
	c := l.s.c
	c.mu.Lock()
	out, err = l.send(payload, tag, format, settled, app)
	c.unlock()
	return out, err
}

func (l *Link) send(payload, tag []byte, format uint32, settled bool, app any) (*Out, error) {
	switch {
	case l.Role == RoleReceiver || len(tag) > maxTag:
		return nil, Errorf(NotAllowed, "send to a receiver, or a delivery-tag of more than %d bytes", maxTag)
	case l.state != linkAttached || !l.s.alive():
		return nil, ErrDetached
	case l.PeerMax > 0 && uint64(len(payload)) > l.PeerMax:
		return nil, ErrTooLarge
	case l.sendable() == 0:
		l.starve()
		return nil, ErrNoCredit
	}
	if l.SndMode != SettleMixed {
		settled = l.SndMode == SettleSettled
	}
	s := l.s
	l.credit--
	l.count++
	id := s.nextDelivery
	s.nextDelivery++
	if tag == nil {
		l.nextTag++
		tag = binary.BigEndian.AppendUint32(make([]byte, 0, 4), l.nextTag)
	}
	var out *Out
	if !settled {
		out = &Out{App: app, link: l, id: id}
		if s.outs == nil {
			s.outs = map[uint32]*Out{}
		}
		s.outs[id] = out
		s.c.outs++
	}
	p := sending{l: l, rest: payload, t: transferFrame{handle: l.handle, id: id, hasID: true, tag: tag,
		format: format, hasFormat: true, settled: settled}}
	s.start(&p)
	return out, nil
}

// sendable is how many deliveries may be sent now. mu.
func (l *Link) sendable() uint32 {
	s, c := l.s, l.s.c
	if l.state != linkAttached || !s.alive() || s.pending != nil || s.peerWindow == 0 ||
		c.unsent() >= c.o.MaxUnsent || c.outs >= c.o.MaxUnsettled {
		return 0
	}
	return l.credit
}

// starve remembers that the link has something to send and credit, but no room. mu.
func (l *Link) starve() {
	if !l.starved && l.state == linkAttached && l.credit > 0 {
		l.starved = true
		l.s.c.starved = append(l.s.c.starved, l)
	}
}

// senderFlow takes the receiver's credit (2.6.7). mu.
func (l *Link) senderFlow(p *flowFrame) {
	if p.hasCredit {
		base := uint32(0) // initial-delivery-count, for a peer that has not seen our ATTACH
		if p.hasCount {
			base = p.count
		}
		l.credit = remaining(p.credit, l.count-base)
	}
	l.draining = p.drain
	if l.state != linkAttached {
		return // Accept goes on from here
	}
	switch {
	case p.drain && l.credit == 0:
		l.drained()
	case p.echo && !p.drain:
		l.sendFlow(false)
	}
	if n := l.sendable(); n > 0 || l.draining {
		l.s.c.events = append(l.s.c.events, event{kind: evCredit, link: l, drain: l.draining})
	} else {
		l.starve()
	}
}

// Drained gives back the credit that is left, once the receiver asked for a
// drain and there is nothing more to send. Otherwise it does nothing.
func (l *Link) Drained() {
	c := l.s.c
	c.mu.Lock()
	defer c.unlock()
	if l.Role == RoleSender && l.draining && l.state == linkAttached {
		l.drained()
	}
}

// drained advances delivery-count by the unused credit (2.6.7) and says so. mu.
func (l *Link) drained() {
	l.count += l.credit
	l.credit = 0
	l.sendFlow(false)
	l.draining = false
}

// takeOuts removes and returns the unsettled deliveries of the link, oldest first. mu.
func (l *Link) takeOuts() []*Out {
	var lost []*Out
	for _, o := range l.s.outs {
		if o.link == l {
			lost = append(lost, o)
		}
	}
	slices.SortFunc(lost, func(a, b *Out) int { return int(int32(a.id - b.id)) })
	for _, o := range lost {
		delete(l.s.outs, o.id)
		o.settled = true
	}
	l.s.c.outs -= len(lost)
	return lost
}

// Link returns the link the delivery was sent on.
func (o *Out) Link() *Link { return o.link }

// Settle settles the delivery with the state, in answer to an outcome the
// receiver sent unsettled (receiver settle mode second). st may differ from the
// receiver's state. It does nothing when the delivery is settled or lost.
func (o *Out) Settle(st State) {
	s, c := o.link.s, o.link.s.c
	c.mu.Lock()
	defer c.unlock()
	if o.settled || !s.alive() {
		return
	}
	o.settled = true
	delete(s.outs, o.id)
	c.outs--
	c.putDisposition(s.local, dispositionFrame{RoleSender, o.id, o.id, true, st})
}
