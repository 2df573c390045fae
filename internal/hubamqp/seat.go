package hubamqp

import (
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// errOff tells the hub that the device has no link for what it was given.
var errOff = errors.New("hubamqp: the device has no link for this")

// seat is one device or module identity on one connection: its line, its links,
// and the peer that the hub calls.
//
// The line exists from the first attach until the last link is gone. Whatever
// changes the links runs on the seat's queue; the hub's calls of Close, which
// may come from anywhere, take links out under mu and leave the rest to the
// queue.
type seat struct {
	// Set by conn.seat, then read only:
	c     *conn
	id    nave.ID
	who   *nave.Principal
	nonce [8]byte // first half of the correlation ids of method calls

	queue   queue
	backlog atomic.Int32 // twin requests on the queue

	// Guarded by conn.mu:
	proof string // key of the claim that it stands on, "" for a certificate
	users int    // attaches on their way to it

	// Set by open on the queue before the first link is accepted, then read only:
	line *hub.Line

	// Owned by the queue:
	closed bool

	// Guarded by mu:
	mu    sync.Mutex
	links []*strand
	shown int64   // desired $version of the last twin that was sent
	asked *strand // the twin link that asked for desired properties; nil: none
	tags  uint64  // of what was sent settled
}

// strand is one link of a seat.
type strand struct {
	// Set before Accept, then read only:
	*amqp.Link
	part        hub.Part
	correlation string // com.microsoft:channel-correlation-id

	// Guarded by seat.mu:
	waiting  []outgoing // without credit yet; of a twin request link: without a receiver yet
	listened bool       // credit has been seen
}

// outgoing is an encoded message that waits for credit.
type outgoing struct {
	payload, tag []byte
	settled      bool
	app          any
}

const (
	maxWaiting  = 200       // messages kept for a link without credit
	maxBacklog  = 20        // twin requests that are settled before they are carried out
	requestKept = 256 << 10 // greatest twin request or method reply that is looked at
)

// seat returns the seat of the first of the ids that the connection may act as;
// the caller owes it a leave.
func (c *conn) seat(ids []nave.ID) (s *seat, err error) {
	for n, id := range ids {
		c.mu.Lock()
		if s = c.seats[id]; s != nil {
			s.users++
		}
		c.mu.Unlock()
		if s != nil {
			return s, nil
		}
		who, proof, failed := c.prove(id)
		if failed == nil {
			return c.newSeat(id, who, proof), nil
		}
		if n == 0 {
			err = failed
		}
	}
	return nil, err
}

func (c *conn) newSeat(id nave.ID, who *nave.Principal, proof string) *seat {
	s := &seat{c: c, id: id, who: who, proof: proof, users: 1}
	rand.Read(s.nonce[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seats == nil {
		c.seats = map[nave.ID]*seat{}
	}
	c.seats[id] = s
	return s
}

func (s *seat) do(f func()) { s.queue.do(&s.c.work, f) }

// attachDevice judges whose link it is and leaves the rest to the seat's queue.
func (c *conn) attachDevice(l *amqp.Link, a *address) {
	part, ok := a.part(l)
	if !ok {
		l.Refuse(c.deviceCondition("link.attach", a.ids[0], addressNotFound(l)))
		return
	}
	s, err := c.seat(a.ids)
	if err != nil {
		l.Refuse(c.deviceCondition("device.connect", a.ids[0], err))
		return
	}
	s.do(func() {
		if err := s.attach(l, part); err != nil {
			l.Refuse(c.deviceCondition("link.attach", s.id, err))
		}
		c.mu.Lock()
		s.users--
		c.mu.Unlock()
		s.leave(nil)
	})
}

// open connects the identity; on the queue.
func (s *seat) open(model string) error {
	switch {
	case s.closed:
		return fault.IotHubUnauthorized.New("the connection of %s has been ended, put a token again", s.id)
	case s.line != nil:
		return s.line.Announce(s.c.ctx, model)
	}
	line, err := s.c.hub.Connect(s.c.ctx, s.who, s.id, hub.Arrival{Peer: s, Model: model, Protocol: s.c.protocol, Remote: s.c.remote})
	if err != nil {
		return err
	}
	s.c.mu.Lock()
	s.line = line
	m := s.c.claims[s.proof]
	s.c.mu.Unlock()
	if m != nil { // it may have been renewed meanwhile
		line.Renew(m.who.Until)
	}
	return nil
}

// renew gives the line a new expiry after a token for the identity was put.
func (s *seat) renew(until time.Time) {
	s.c.mu.Lock()
	line := s.line
	s.c.mu.Unlock()
	if line != nil {
		line.Renew(until)
	}
}

// Property keys of links (device-protocols 3.5).
const (
	correlationKey = "com.microsoft:channel-correlation-id"
	modelKey       = "com.microsoft:model-id"
)

// attach takes a link into the seat; on the queue.
func (s *seat) attach(l *amqp.Link, part hub.Part) error {
	model, _ := amqp.Text(l.Properties.Get(modelKey))
	if err := s.open(model); err != nil {
		return err
	}
	n := &strand{Link: l, part: part}
	n.correlation, _ = amqp.Text(l.Properties.Get(correlationKey))
	if err := s.displace(n); err != nil {
		return err
	}
	s.prepare(n)
	l.OnDetach = func(cause error, _ []*amqp.Out) { s.do(func() { s.gone(n, cause) }) }
	s.mu.Lock()
	s.links = append(s.links, n)
	s.mu.Unlock()
	if k := kindOf(part); k != 0 {
		s.line.Claim(k)
	}
	if l.Accept() != nil {
		s.gone(n, nil)
	} else if part == hub.TwinResponseLink {
		s.catchUp(n)
	}
	return nil
}

// prepare sets what the link does.
func (s *seat) prepare(n *strand) {
	switch n.part {
	case hub.TelemetryLink:
		s.prepareTelemetry(n)
	case hub.CommandLink:
		s.prepareCommands(n)
	case hub.TwinRequestLink:
		n.BufferLimit = requestKept
		n.OnDelivery = s.takeTwinRequest(n)
	case hub.MethodResponseLink:
		n.BufferLimit = requestKept
		n.OnDelivery = s.takeMethodReply
	case hub.TwinResponseLink, hub.MethodRequestLink:
		if n.SndMode == amqp.SettleUnsettled {
			n.SndMode = amqp.SettleSettled // device-protocols 3.8: always sent settled
		}
		n.OnCredit = func(credit uint32, drain bool) { s.credited(n, credit, drain) }
	}
}

// paired says whether links of this part come in pairs with a correlation id.
func paired(p hub.Part) bool {
	return p >= hub.TwinRequestLink && p <= hub.MethodResponseLink
}

// displace makes room for a link: an earlier one of the same part goes, unless
// both belong to pairs of their own in different sessions. The same pair twice
// is a conflict (device-protocols 3.5, 3.9).
func (s *seat) displace(n *strand) error {
	var old []*strand
	s.mu.Lock()
	for _, e := range s.links {
		if e.part != n.part {
			continue
		}
		if elsewhere := e.Session() != n.Session(); elsewhere && paired(n.part) && e.correlation != "" && n.correlation != "" {
			if e.correlation == n.correlation {
				s.mu.Unlock()
				return fault.LinkCreationConflict.New("a link with the correlation id %q is attached already", brief(n.correlation))
			}
			continue
		}
		old = append(old, e)
	}
	s.mu.Unlock()
	for _, e := range old {
		e.Detach(s.c.deviceCondition("link.attach", s.id, fault.LinkCreationConflict.New("another link of %s for the same was attached", s.id)))
		s.remove(e)
	}
	return nil
}

// kindOf returns what a link of the part holds for its identity.
func kindOf(p hub.Part) hub.Kind {
	switch p {
	case hub.TelemetryLink:
		return hub.Telemetry
	case hub.CommandLink:
		return hub.Commands
	case hub.TwinRequestLink, hub.TwinResponseLink:
		return hub.Twins
	case hub.MethodRequestLink, hub.MethodResponseLink:
		return hub.Methods
	}
	return 0
}

// has reports whether a link is left for which f holds. The caller holds mu.
func (s *seat) has(f func(*strand) bool) bool {
	for _, n := range s.links {
		if f(n) {
			return true
		}
	}
	return false
}

// gone takes a link out that has ended; on the queue.
func (s *seat) gone(n *strand, cause error) {
	s.remove(n)
	var own *amqp.Error
	if cause == nil || errors.As(cause, &own) {
		s.leave(nil)
		return
	}
	s.leave(s.c.ended(cause))
}

// remove takes the link out of the seat and releases what it held; on the
// queue. It does nothing when the link is out already.
func (s *seat) remove(n *strand) {
	s.mu.Lock()
	left := len(s.links)
	s.links = without(s.links, n)
	out := len(s.links) < left
	n.waiting = nil
	s.mu.Unlock()
	if out {
		s.settleLoss(n)
	}
}

// settleLoss tells the line what has ended with a link that is out of links.
func (s *seat) settleLoss(n *strand) {
	s.mu.Lock()
	kind := kindOf(n.part)
	kept := s.has(func(e *strand) bool { return kindOf(e.part) == kind })
	deaf := s.asked == n || s.asked != nil && n.part == hub.TwinResponseLink && s.partner(s.asked) == nil
	if deaf {
		s.asked = nil
	}
	mute := n.part == hub.MethodRequestLink && !s.has(func(e *strand) bool { return e.part == hub.MethodRequestLink })
	s.mu.Unlock()
	if s.closed || s.line == nil {
		return
	}
	if kind != 0 && !kept {
		s.line.Release(kind)
		return
	}
	if deaf {
		s.line.WatchDesired(false)
	}
	if mute {
		s.line.WatchMethods(false)
	}
}

// leave closes the seat when nothing uses it any more; on the queue.
func (s *seat) leave(why *fault.Error) {
	s.c.mu.Lock()
	s.mu.Lock()
	idle := s.users == 0 && len(s.links) == 0
	s.mu.Unlock()
	if idle && s.c.seats[s.id] == s {
		delete(s.c.seats, s.id)
	}
	s.c.mu.Unlock()
	if idle {
		s.close(why)
	}
}

// close ends the line; on the queue.
func (s *seat) close(why *fault.Error) {
	if s.closed {
		return
	}
	s.closed = true
	if s.line != nil {
		s.line.Close(why)
	}
}

// credited sends what waits for the link's credit.
func (s *seat) credited(n *strand, credit uint32, drain bool) {
	s.mu.Lock()
	s.flush(n)
	first := !n.listened && credit > 0
	n.listened = n.listened || first
	s.mu.Unlock()
	if first && n.part == hub.MethodRequestLink {
		s.do(func() { s.listen(n) })
	}
	if drain {
		n.Drained()
	}
}

// listen says that the device listens for methods, while the link is there.
func (s *seat) listen(n *strand) {
	s.mu.Lock()
	there := s.has(func(e *strand) bool { return e == n })
	s.mu.Unlock()
	if there && !s.closed {
		s.line.WatchMethods(true)
	}
}

// flush sends what waits, as far as there is credit. The caller holds mu.
func (s *seat) flush(n *strand) {
	for len(n.waiting) > 0 {
		o := &n.waiting[0]
		out, err := n.Link.Send(o.payload, o.tag, 0, o.settled, o.app)
		if errors.Is(err, amqp.ErrNoCredit) {
			return
		}
		s.sent(o, out, err)
		n.waiting = n.waiting[1:]
	}
	n.waiting = nil
}

// send sends the message, or keeps it until there is credit. The caller holds
// mu.
func (s *seat) send(n *strand, o outgoing) error {
	if len(n.waiting) >= maxWaiting {
		return errors.New("hubamqp: the device gives no credit")
	}
	if len(n.waiting) == 0 {
		out, err := n.Link.Send(o.payload, o.tag, 0, o.settled, o.app)
		if !errors.Is(err, amqp.ErrNoCredit) {
			if err == nil {
				s.sent(&o, out, nil)
			}
			return err
		}
	}
	n.waiting = append(n.waiting, o)
	return nil
}

// sent sees to a message that the link settled by itself, or that could not be
// sent after it had waited. The caller holds mu.
func (s *seat) sent(o *outgoing, out *amqp.Out, err error) {
	lock, command := o.app.(string)
	if command && err == nil && out == nil {
		s.do(func() { s.settle(lock, nave.Complete, nil) })
	}
}

// tag returns a delivery tag of 16 bytes. The caller holds mu.
func (s *seat) tag() []byte {
	s.tags++
	b := append(make([]byte, 0, 16), s.nonce[:]...)
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(s.tags>>shift))
	}
	return b
}
