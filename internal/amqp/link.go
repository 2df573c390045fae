package amqp

// Role is the part a side plays on a link (2.8.1).
type Role bool

// The roles of a link, seen from this side in Link.Role.
const (
	RoleSender   Role = false
	RoleReceiver Role = true
)

// Settle modes of the sender (2.8.2) and the receiver (2.8.3).
const (
	SettleUnsettled uint8 = 0 // sender: every delivery unsettled
	SettleSettled   uint8 = 1 // sender: every delivery settled
	SettleMixed     uint8 = 2 // sender: as it likes

	SettleFirst  uint8 = 0 // receiver: settles by itself
	SettleSecond uint8 = 1 // receiver: settles after the sender
)

// Link is one link of a session (2.6). The callbacks run on the read goroutine
// and must not block, except OnCredit, which may run on any goroutine.
type Link struct {
	// Set from the peer's ATTACH. On the server the application may change
	// Source, Target and the settle modes before Accept; the answer carries them.
	Name       string
	Role       Role // ours
	Source     *Terminus
	Target     *Terminus
	SndMode    uint8
	RcvMode    uint8
	Properties Map // the peer's; keys are symbols
	Desired    []Symbol
	PeerMax    uint64 // the peer's max-message-size; 0 means none
	Inflight   int    // unsettled deliveries of a live link of this name, which Accept ends

	// Set by the application before Accept, then read only:
	Answer         Map      // properties of our ATTACH; nil echoes the peer's
	Offered        []Symbol // offered capabilities of our ATTACH
	MaxMessageSize uint64   // advertised, and the greatest delivery given out whole; 0: no limit but BufferLimit
	BufferLimit    int      // receiver: greatest delivery given out whole; 0: MaxMessageSize, or 1 MiB
	Window         uint32   // receiver: deliveries unanswered or on their way; 0: DefaultCredit
	ManualCredit   bool     // receiver: no credit but by Grant
	OnDelivery     func(d *Delivery)
	OnDrained      func()                                    // receiver: the peer has answered Drain
	OnCredit       func(credit uint32, drain bool)           // sender: something may be sent; with drain call Drained soon
	OnDisposition  func(out *Out, state State, settled bool) // sender: outcome; if not settled, answer with out.Settle
	OnDetach       func(cause error, lost []*Out)            // once, when an accepted link is over; lost in order of sending
	App            any                                       // the application's own

	// Set when the link appears, then read only:
	s    *Session
	cost int // retained bytes

	// Client only, owned by the read goroutine until closed:
	ready  chan struct{}
	gone   chan struct{}
	failed error

	// Guarded by Conn.mu:
	state    linkState
	accepted bool // the application wants to hear about it
	handle   uint32
	remote   uint32
	bound    bool // remote is valid
	cause    error
	count    uint32 // delivery-count
	credit   uint32 // link-credit that is left
	heldHere uint32 // receiver: unanswered deliveries
	draining bool
	starved  bool // sender: listed in Conn.starved
	nextTag  uint32
	partial  *Delivery // receiver: a delivery of which more is to come
}

type linkState uint8

const (
	linkPending   linkState = iota // the peer's ATTACH is here, the application has not answered
	linkRequested                  // our ATTACH is out, the peer has not answered (client)
	linkAttached
	linkDetaching // our DETACH is out
	linkGone
)

// Session returns the session of the link.
func (l *Link) Session() *Session { return l.s }

// Conn returns the connection of the link.
func (l *Link) Conn() *Conn { return l.s.c }

// PeerAddress returns the address of the terminus the peer attaches to: the
// target if the peer sends, the source if it receives; "" when it has none.
func (l *Link) PeerAddress() string {
	t := l.Source
	if l.Role == RoleReceiver {
		t = l.Target
	}
	if t == nil {
		return ""
	}
	return t.Address
}

// SetMaxMessageSize sets what our ATTACH advertises; call before Accept.
func (l *Link) SetMaxMessageSize(n uint64) { l.MaxMessageSize = n }

// Accept answers the peer's ATTACH and, if we receive, grants credit. It fails
// with ErrDetached when the link is gone or was answered; no callback follows then.
func (l *Link) Accept() error {
	c := l.s.c
	c.mu.Lock()
	if l.state != linkPending || !l.s.alive() {
		c.unlock()
		return ErrDetached
	}
	l.prepare()
	l.takeName()
	if !l.sendAttach(l.Source, l.Target) {
		l.detach(Errorf(FrameSizeTooSmall, "attach does not fit into %d bytes", c.maxOut))
		c.unlock()
		return ErrDetached
	}
	l.state, l.accepted = linkAttached, true
	l.grant()
	ready := l.Role == RoleSender && l.sendable() > 0
	drain := l.draining
	c.unlock()
	if ready || drain {
		l.tellCredit(drain)
	}
	return nil
}

// prepare completes what the application left open. mu.
func (l *Link) prepare() {
	if ours := l.ours(); *ours == nil {
		*ours = &Terminus{} // null would say that the link is refused
	}
	if l.BufferLimit == 0 {
		l.BufferLimit = 1 << 20
		if l.MaxMessageSize > 0 && l.MaxMessageSize < 1<<30 {
			l.BufferLimit = int(l.MaxMessageSize)
		}
	}
	l.BufferLimit = min(l.BufferLimit, l.s.c.o.MaxBuffer)
	or(&l.Window, DefaultCredit)
	if l.Answer == nil {
		l.Answer = l.Properties
	}
}

func (l *Link) ours() **Terminus {
	if l.Role == RoleSender {
		return &l.Source
	}
	return &l.Target
}

// Refuse answers the peer's ATTACH with one that has no terminus of ours,
// followed by DETACH with the error (2.6.3). No callback follows.
func (l *Link) Refuse(err *Error) {
	l.s.c.mu.Lock()
	defer l.s.c.unlock()
	if l.state == linkPending && l.s.alive() {
		l.refuse(err)
	}
}

// refuse is Refuse with mu.
func (l *Link) refuse(err *Error) {
	source, target := l.Source, l.Target
	if l.Role == RoleSender {
		source = nil
	} else {
		target = nil
	}
	l.Answer = nil
	l.sendAttach(source, target)
	l.detach(err)
}

// sendAttach sends our ATTACH; what does not fit into the peer's frames is left
// out. ok is false when even the rest does not fit. mu.
func (l *Link) sendAttach(source, target *Terminus) (ok bool) {
	c := l.s.c
	a := attachFrame{name: l.Name, handle: l.handle, role: l.Role, sndMode: l.SndMode, rcvMode: l.RcvMode,
		source: source, target: target, maxMessage: l.MaxMessageSize, offered: l.Offered, properties: l.Answer}
	if c.client != nil {
		a.desired, a.offered = l.Desired, nil
	}
	for range 3 {
		mark := c.begin(l.s.local)
		c.out = a.append(c.out)
		if !c.tooLong(mark) {
			c.out = closeFrame(c.out, mark)
			return true
		}
		if a.properties == nil {
			a.source, a.target = shorten(a.source), shorten(a.target)
		}
		a.properties = nil
	}
	a.source, a.target = nil, nil
	mark := c.begin(l.s.local)
	c.out = a.append(c.out)
	if !c.tooLong(mark) {
		c.out = closeFrame(c.out, mark)
	}
	return false
}

// shorten reduces a terminus to its address.
func shorten(t *Terminus) *Terminus {
	if t == nil {
		return nil
	}
	return &Terminus{Address: t.Address, Durable: t.Durable}
}

// Detach closes the link, with err unless it is nil. OnDetach runs when the
// peer has answered; deliveries it still sends are thrown away.
func (l *Link) Detach(err *Error) {
	c := l.s.c
	c.mu.Lock()
	defer c.unlock()
	if l.state == linkPending && l.s.alive() {
		l.refuse(err)
		return
	}
	l.detach(err)
}

// detach sends DETACH(closed). mu.
func (l *Link) detach(err *Error) {
	if l.state >= linkDetaching || !l.s.alive() {
		return
	}
	l.cause = orNil(err)
	l.s.c.putDetach(l.s.local, detachFrame{l.handle, true, err})
	l.leave(linkDetaching)
	if err != nil && l.bound && len(l.s.errant) < maxErrant {
		if l.s.errant == nil {
			l.s.errant = map[uint32]struct{}{}
		}
		l.s.errant[l.remote] = struct{}{}
	}
}

// leave ends the flow of deliveries. mu.
func (l *Link) leave(to linkState) {
	if l.s.names[linkName{l.Name, l.Role}] == l {
		delete(l.s.names, linkName{l.Name, l.Role})
	}
	l.dropPartial()
	l.s.dropPending(l)
	l.state = to
	l.credit = 0
	if l.heldHere > 0 {
		for _, d := range l.s.held {
			if d.Link == l {
				d.settledByPeer()
			}
		}
	}
}

func (l *Link) dropPartial() {
	if l.partial != nil {
		l.s.c.retained -= cap(l.partial.Payload)
		l.partial = nil
	}
}

// lose ends the link without frames and queues OnDetach. mu, read goroutine.
func (l *Link) lose(cause error) {
	if l.state == linkGone {
		return
	}
	if l.cause == nil {
		l.cause = cause
	}
	l.leave(linkGone)
	c := l.s.c
	c.links--
	c.retained -= l.cost
	lost := l.takeOuts()
	if l.accepted {
		c.events = append(c.events, event{kind: evDetach, link: l, cause: l.cause, lost: lost})
	}
}
