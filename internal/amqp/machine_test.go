package amqp

import (
	"testing"
)

// machine is the state machine of a connection without a socket: frames go in
// through receive, and take returns the frames that came out.
type machine struct {
	c      *Conn
	links  []*Link
	in     []*Delivery
	cause  error
	attach func(l *Link)
}

func newMachine(o Options) *machine {
	m := &machine{}
	m.c = newConn(nil, o, m)
	m.attach = func(l *Link) {
		l.OnDelivery = func(d *Delivery) { m.in = append(m.in, d); d.Accept() }
		l.OnCredit = func(credit uint32, drain bool) {
			for l.Credit() > 0 {
				l.Send([]byte("hello"), nil, 0, false, nil)
			}
		}
		l.Accept()
	}
	return m
}

func (m *machine) Attach(l *Link)     { m.links = append(m.links, l); m.attach(l) }
func (m *machine) Closed(cause error) { m.cause = cause }

type reply struct {
	desc    uint64
	channel uint16
	body    []byte // the whole body
	p       parser
	payload []byte
}

// take returns what the machine has sent since the last call.
func (m *machine) take(t testing.TB) (out []reply) {
	m.c.mu.Lock()
	m.c.flushAck()
	b := m.c.out
	m.c.out = nil
	m.c.mu.Unlock()
	for len(b) > 0 {
		_, ch, body, n, err := ParseFrame(b, 1<<20)
		if err != nil || n == 0 {
			t.Fatalf("frame of ours: %v", err)
		}
		b = b[n:]
		out = append(out, parseReply(t, ch, body))
	}
	return out
}

func parseReply(t testing.TB, ch uint16, body []byte) reply {
	d := newDecoder(body)
	desc, fs := performative(&d)
	p := blank(desc)
	if p == nil {
		t.Fatalf("performative 0x%x of ours", desc)
	}
	p.parse(&fs)
	if err := d.end(&fs); err != nil {
		t.Fatalf("performative 0x%x of ours: %v", desc, err)
	}
	return reply{desc, ch, body, p, d.b}
}

// feed hands a performative to the machine as a frame on channel 0.
func (m *machine) feed(p parser, payload ...byte) bool {
	return m.feedOn(0, p, payload...)
}

func (m *machine) feedOn(ch uint16, p parser, payload ...byte) bool {
	desc := byte(0)
	if _, ok := p.(*endFrame); ok {
		desc = descEnd
	}
	return m.c.receive(frame{frameAMQP, ch, append(encode(p, desc), payload...)})
}

func (m *machine) open(o *openFrame, window uint32) {
	m.feed(o)
	m.feed(&beginFrame{nextOut: 1, inWindow: window, outWindow: 100, handleMax: 100})
}

func standard() *openFrame { return &openFrame{container: "c", maxFrame: 65536, channelMax: 10} }

// sender attaches a link on which the peer sends.
func (m *machine) sender(handle uint32, name string) {
	m.feed(&attachFrame{name: name, handle: handle, role: RoleSender, sndMode: SettleMixed, source: &Terminus{}, target: &Terminus{Address: "q"}})
}

func (m *machine) receiver(handle uint32, name string) {
	m.feed(&attachFrame{name: name, handle: handle, role: RoleReceiver, sndMode: SettleMixed, source: &Terminus{Address: "q"}, target: &Terminus{}})
}

func credit(handle, n uint32) *flowFrame {
	return &flowFrame{nextIn: 1, hasNextIn: true, inWindow: 5000, handle: handle, hasHandle: true, hasCount: true, credit: n, hasCredit: true}
}

func transferOf(handle, id uint32) *transferFrame {
	return &transferFrame{handle: handle, id: id, hasID: true, tag: []byte{byte(id)}, hasFormat: true}
}

// last returns the last reply with the descriptor, or fails.
func last(t *testing.T, rs []reply, desc uint64) reply {
	t.Helper()
	for i := len(rs) - 1; i >= 0; i-- {
		if rs[i].desc == desc {
			return rs[i]
		}
	}
	t.Fatalf("no 0x%x among %d frames", desc, len(rs))
	return reply{}
}

func kinds(rs []reply) (out []uint64) {
	for _, r := range rs {
		out = append(out, r.desc)
	}
	return out
}

func TestOpenAndBegin(t *testing.T) {
	m := newMachine(Options{ContainerID: "DeviceGateway_1"})
	m.open(standard(), 100)
	rs := m.take(t)
	o := last(t, rs, descOpen).p.(*openFrame)
	if o.container != "DeviceGateway_1" || o.maxFrame != 65536 || o.channelMax != 8191 || o.idle != 240000 {
		t.Errorf("%+v", o)
	}
	b := last(t, rs, descBegin).p.(*beginFrame)
	if !b.hasRemote || b.remote != 0 || b.nextOut != 1 || b.inWindow != 5000 || b.handleMax != 262143 {
		t.Errorf("%+v", b)
	}
}

func TestAttachAnswer(t *testing.T) {
	m := newMachine(Options{})
	m.attach = func(l *Link) { l.SetMaxMessageSize(262144); l.Accept() }
	m.open(standard(), 100)
	m.take(t)
	in := attachFrame{name: "n", handle: 7, role: RoleSender, sndMode: SettleUnsettled, rcvMode: SettleSecond,
		source: &Terminus{Address: "me"}, target: &Terminus{Address: "/devices/d/messages/events"}, properties: Map{{Symbol("k"), "v"}}}
	m.feed(&in)
	rs := m.take(t)
	a := rs[0].p.(*attachFrame)
	if a.name != "n" || a.role != RoleReceiver || a.sndMode != SettleUnsettled || a.rcvMode != SettleSecond || a.maxMessage != 262144 ||
		a.source.Address != "me" || a.target.Address != "/devices/d/messages/events" || a.properties.Get("k") != "v" {
		t.Errorf("%+v", a)
	}
	f := rs[1].p.(*flowFrame)
	if f.credit != 100 || !f.hasCount || f.count != 0 || !f.hasHandle || f.handle != a.handle || !f.hasNextIn || f.nextIn != 1 {
		t.Errorf("%+v", f)
	}
}

func TestRefusedAttach(t *testing.T) {
	m := newMachine(Options{})
	m.attach = func(l *Link) { l.Refuse(Errorf(NotFound, "no")) }
	m.open(standard(), 100)
	m.take(t)
	m.sender(0, "a")
	m.receiver(1, "b")
	rs := m.take(t)
	a, d := rs[0].p.(*attachFrame), rs[1].p.(*detachFrame)
	if a.target != nil || a.source == nil || !d.closed || d.err.Condition != NotFound {
		t.Errorf("%+v %+v", a, d)
	}
	if a := rs[2].p.(*attachFrame); a.source != nil || a.target == nil {
		t.Errorf("%+v", a)
	}
	m.feed(&detachFrame{handle: 0, closed: true})
	m.feed(&detachFrame{handle: 1, closed: true})
	if rs := m.take(t); len(rs) != 0 || m.c.links != 0 || m.c.retained != 0 {
		t.Error(kinds(rs), m.c.links, m.c.retained)
	}
	m.sender(0, "a") // the handle is free again
	last(t, m.take(t), descAttach)
}

// Each mistake of a peer ends what it must end and nothing more.
func TestMistakes(t *testing.T) {
	state := func(b ...byte) []byte { return b }
	for _, c := range []struct {
		name string
		do   func(m *machine)
		desc uint64
		want Symbol
	}{
		{"transfer without credit", func(m *machine) {
			m.c.o.IncomingWindow = 5000
			for i := range uint32(4) {
				m.feed(transferOf(0, i))
			}
		}, descDetach, TransferLimitExceeded},
		{"delivery without id", func(m *machine) { m.feed(&transferFrame{handle: 0, tag: []byte{1}}) }, descDetach, InvalidField},
		{"tag too long", func(m *machine) { m.feed(&transferFrame{handle: 0, hasID: true, tag: make([]byte, 33)}) }, descDetach, InvalidField},
		{"delivery inside another", func(m *machine) {
			tr := transferOf(0, 1)
			tr.more = true
			m.feed(tr)
			m.feed(transferOf(0, 2))
		}, descDetach, NotAllowed},
		{"resumption", func(m *machine) { tr := transferOf(0, 1); tr.resume = true; m.feed(tr) }, descDetach, NotImplemented},
		{"transfer to a sender", func(m *machine) { m.feed(transferOf(1, 1)) }, descDetach, NotAllowed},
		{"id in use", func(m *machine) { m.feed(transferOf(0, 1)); m.feed(transferOf(0, 1)) }, descDetach, InvalidField},

		{"transfer on unknown handle", func(m *machine) { m.feed(transferOf(9, 1)) }, descEnd, UnattachedHandle},
		{"flow on unknown handle", func(m *machine) { m.feed(credit(9, 1)) }, descEnd, UnattachedHandle},
		{"detach of unknown handle", func(m *machine) { m.feed(&detachFrame{handle: 9}) }, descEnd, UnattachedHandle},
		{"handle in use", func(m *machine) { m.sender(0, "other") }, descEnd, HandleInUse},
		{"errant link", func(m *machine) {
			m.links[0].Detach(Errorf(DetachForced, ""))
			m.feed(&detachFrame{handle: 0, closed: true})
			m.feed(transferOf(0, 1))
		}, descEnd, ErrantLink},
		{"window", func(m *machine) {
			m.c.o.MaxUnsettled = 0 // nothing is answered fast enough
			m.c.remotes[0].inLeft = 1
			m.feed(transferOf(0, 1))
			m.feed(transferOf(0, 2))
		}, descEnd, WindowViolation},
		{"disposition backwards", func(m *machine) { m.feed(&dispositionFrame{role: RoleReceiver, first: 5, last: 4}) }, descEnd, InvalidField},
		{"transactional state", func(m *machine) {
			m.c.receive(frame{body: state(0, 0x53, 0x15, 0xc0, 0x0b, 5, 0x41, 0x43, 0x43, 0x41, 0x00, 0x53, 0x34, 0xc0, 1, 0)})
		}, descEnd, NotImplemented},

		{"unknown performative", func(m *machine) { m.c.receive(frame{body: state(0, 0x53, 0x19, 0x45)}) }, descClose, DecodeError},
		{"unknown symbolic descriptor", func(m *machine) { m.c.receive(frame{body: state(0, 0xa3, 1, 'x', 0x45)}) }, descClose, DecodeError},
		{"no descriptor", func(m *machine) { m.c.receive(frame{body: state(0x45)}) }, descClose, DecodeError},
		{"field of wrong type", func(m *machine) { m.c.receive(frame{body: state(0, 0x53, 0x16, 0xc0, 3, 1, 0x50, 1)}) }, descClose, DecodeError},
		{"second open", func(m *machine) { m.feed(standard()) }, descClose, IllegalState},
		{"begin on a used channel", func(m *machine) { m.feed(&beginFrame{}) }, descClose, IllegalState},
		{"begin answers nothing", func(m *machine) { m.feedOn(2, &beginFrame{hasRemote: true, remote: 3}) }, descClose, IllegalState},
		{"frame without session", func(m *machine) { m.feedOn(5, transferOf(0, 1)) }, descClose, IllegalState},
		{"channel beyond", func(m *machine) { m.feedOn(9000, &beginFrame{}) }, descClose, FramingError},
		{"handle beyond", func(m *machine) { m.sender(300000, "x") }, descClose, FramingError},
		{"SASL frame", func(m *machine) { m.c.receive(frame{kind: frameSASL}) }, descClose, FramingError},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(Options{})
			m.attach = func(l *Link) {
				l.Window = 3
				l.OnDelivery = func(d *Delivery) {}
				l.Accept()
			}
			m.open(standard(), 100)
			m.sender(0, "s")
			m.receiver(1, "r")
			m.take(t)
			c.do(m)
			rs := m.take(t)
			r := last(t, rs, c.desc)
			var got *Error
			switch p := r.p.(type) {
			case *detachFrame:
				got = p.err
			case *endFrame:
				got = p.err
			}
			if got == nil || got.Condition != c.want {
				t.Fatalf("%v, want %s", got, c.want)
			}
			for _, worse := range []uint64{descEnd, descClose} {
				for _, r := range rs {
					if r.desc == worse && worse > c.desc {
						t.Errorf("also sent 0x%x", worse)
					}
				}
			}
		})
	}
}

// A connection that ends before the peer's OPEN still ends with OPEN and CLOSE
// (2.4.6).
func TestCloseFollowsOpen(t *testing.T) {
	for name, feed := range map[string]func(m *machine){
		"begin before open": func(m *machine) { m.feed(&beginFrame{}) },
		"SASL frame":        func(m *machine) { m.c.receive(frame{kind: frameSASL}) },
		"close before open": func(m *machine) { m.c.receive(frame{body: []byte{0, 0x53, descClose, 0x45}}) },
	} {
		m := newMachine(Options{})
		feed(m)
		if rs := m.take(t); len(rs) != 2 || rs[0].desc != descOpen || rs[1].desc != descClose {
			t.Error(name, kinds(rs))
		}
	}
}

func TestFramesAfterDetachAreIgnored(t *testing.T) {
	m := newMachine(Options{})
	m.open(standard(), 100)
	m.sender(0, "s")
	m.take(t)
	m.links[0].Detach(Errorf(DetachForced, "bye"))
	for i := range uint32(50) {
		m.feed(transferOf(0, i))
	}
	if rs := m.take(t); len(rs) != 1 || rs[0].desc != descDetach || len(m.in) != 0 {
		t.Error(kinds(rs), len(m.in))
	}
}

func TestDispositionsBecomeRanges(t *testing.T) {
	m := newMachine(Options{})
	var held []*Delivery
	m.attach = func(l *Link) { l.OnDelivery = func(d *Delivery) { held = append(held, d) }; l.Accept() }
	m.open(standard(), 100)
	m.sender(0, "s")
	for i := range uint32(20) {
		m.feed(transferOf(0, i))
	}
	m.take(t)
	for _, i := range []int{5, 6, 7, 4, 3, 10} {
		held[i].Accept()
		held[i].Accept() // a second answer does nothing
	}
	held[11].Reject(Errorf(NotAllowed, "x"))
	held[12].Release()
	held[13].Modify(Modified{DeliveryFailed: true})
	var got []dispositionFrame
	for _, r := range m.take(t) {
		if r.desc == descDisposition {
			got = append(got, *r.p.(*dispositionFrame))
		}
	}
	if len(got) != 5 || got[0].first != 3 || got[0].last != 7 || got[1].first != 10 || got[1].last != 10 || got[2].first != 11 {
		t.Fatalf("%+v", got)
	}
	if got[2].state.(Rejected).Error.Condition != NotAllowed || got[3].state != (Released{}) || !got[4].state.(Modified).DeliveryFailed {
		t.Errorf("%+v", got)
	}
	for _, p := range got {
		if !p.settled || p.role != RoleReceiver {
			t.Errorf("%+v", p)
		}
	}
}

// The answer to a request must not overtake its disposition (device-protocols 3.3).
func TestDispositionPrecedesWhatIsSentLater(t *testing.T) {
	m := newMachine(Options{})
	m.open(standard(), 100)
	m.attach = func(l *Link) {
		l.OnDelivery = func(d *Delivery) { d.Accept(); m.links[0].Send([]byte("reply"), nil, 0, true, nil) }
		l.Accept()
	}
	m.receiver(0, "r")
	m.feed(credit(0, 1))
	m.sender(1, "s")
	m.take(t)
	m.feed(transferOf(1, 0))
	rs := m.take(t)
	if len(rs) != 2 || rs[0].desc != descDisposition || rs[1].desc != descTransfer {
		t.Error(kinds(rs))
	}
}

func TestReceiverSettlesSecond(t *testing.T) {
	m := newMachine(Options{})
	m.open(standard(), 100)
	m.feed(&attachFrame{name: "s", role: RoleSender, rcvMode: SettleSecond, source: &Terminus{}, target: &Terminus{Address: "q"}})
	m.take(t)
	m.feed(transferOf(0, 4))
	p := last(t, m.take(t), descDisposition).p.(*dispositionFrame)
	if p.settled || p.state != (Accepted{}) || p.first != 4 || m.c.held != 0 {
		t.Errorf("%+v", p)
	}
	m.feed(&dispositionFrame{role: RoleSender, first: 0, last: 1<<31 - 1, settled: true, state: Accepted{}})
	if m.c.held != 0 || len(m.c.remotes[0].held) != 0 {
		t.Error(m.c.held)
	}
}

func TestSenderSettlesSecond(t *testing.T) {
	m := newMachine(Options{})
	var states []State
	m.attach = func(l *Link) {
		l.OnDisposition = func(o *Out, st State, settled bool) {
			states = append(states, st)
			if o.App == "lost" {
				o.Settle(Rejected{Errorf("com.microsoft:message-lock-lost", "late")})
			} else if !settled {
				o.Settle(st)
			}
		}
		l.Accept()
	}
	m.open(standard(), 100)
	m.feed(&attachFrame{name: "r", role: RoleReceiver, rcvMode: SettleSecond, source: &Terminus{Address: "q"}, target: &Terminus{}})
	m.feed(credit(0, 10))
	m.links[0].Send([]byte("a"), make([]byte, 16), 0, false, "ok")
	m.links[0].Send([]byte("b"), nil, 0, false, "lost")
	rs := m.take(t)
	tr := last(t, rs, descTransfer).p.(*transferFrame)
	if len(tr.tag) != 4 || tr.settled {
		t.Errorf("%+v", tr)
	}
	m.feed(&dispositionFrame{role: RoleReceiver, first: tr.id - 1, last: tr.id, state: Accepted{}})
	rs = m.take(t)
	a, b := rs[0].p.(*dispositionFrame), rs[1].p.(*dispositionFrame)
	if a.role != RoleSender || !a.settled || a.state != (Accepted{}) || b.state.(Rejected).Error.Condition != "com.microsoft:message-lock-lost" {
		t.Errorf("%+v %+v", a, b)
	}
	if m.c.outs != 0 || len(states) != 2 {
		t.Error(m.c.outs, states)
	}
}

func TestLostDeliveriesComeInOrder(t *testing.T) {
	for name, end := range map[string]func(m *machine){
		"detach": func(m *machine) { m.feed(&detachFrame{handle: 0, closed: true, err: Errorf("x:y", "")}) },
		"end":    func(m *machine) { m.feed(&endFrame{err: Errorf("x:y", "")}) },
	} {
		m := newMachine(Options{})
		var lost []*Out
		var cause error
		m.attach = func(l *Link) { l.OnDetach = func(c error, o []*Out) { cause, lost = c, o }; l.Accept() }
		m.open(standard(), 100)
		m.receiver(0, "r")
		m.feed(credit(0, 50))
		for i := range 50 {
			m.links[0].Send([]byte("a"), nil, 0, false, i)
		}
		end(m)
		if len(lost) != 50 || cause == nil || m.c.outs != 0 || m.c.links != 0 {
			t.Fatalf("%s: %d %v %d", name, len(lost), cause, m.c.outs)
		}
		for i, o := range lost {
			if o.App != i {
				t.Fatalf("%s: %v at %d", name, o.App, i)
			}
		}
		if _, err := m.links[0].Send(nil, nil, 0, false, nil); err != ErrDetached {
			t.Error(err)
		}
	}
}

func TestDrainAndEcho(t *testing.T) {
	m := newMachine(Options{})
	m.attach = func(l *Link) {
		l.OnCredit = func(n uint32, drain bool) {
			if drain {
				l.Send([]byte("one"), nil, 0, true, nil)
				l.Drained()
			}
		}
		l.Accept()
	}
	m.open(standard(), 100)
	m.receiver(0, "r")
	m.take(t)
	f := credit(0, 10)
	f.echo = true
	m.feed(f)
	if p := last(t, m.take(t), descFlow).p.(*flowFrame); p.credit != 10 || !p.hasCount || p.count != 0 {
		t.Errorf("%+v", p)
	}
	f = credit(0, 10)
	f.drain = true
	m.feed(f)
	rs := m.take(t)
	if p := last(t, rs, descFlow).p.(*flowFrame); p.credit != 0 || p.count != 10 || !p.drain || rs[0].desc != descTransfer {
		t.Errorf("%+v", p)
	}
	f.count, f.credit = 10, 0 // a drain without credit is answered too
	m.feed(f)
	if p := last(t, m.take(t), descFlow).p.(*flowFrame); p.count != 10 || !p.drain {
		t.Errorf("%+v", p)
	}
	m.feed(&flowFrame{nextIn: 1, hasNextIn: true, inWindow: 9, echo: true})
	if p := last(t, m.take(t), descFlow).p.(*flowFrame); p.hasHandle || p.nextOut != 2 {
		t.Errorf("%+v", p)
	}
}

func TestSameNameInOneSession(t *testing.T) {
	m := newMachine(Options{})
	m.open(standard(), 100)
	m.sender(0, "n")
	m.receiver(1, "n") // the other direction is another name
	m.feedOn(1, &beginFrame{nextOut: 1, inWindow: 10, outWindow: 10, handleMax: 10})
	m.feedOn(1, &attachFrame{name: "n", role: RoleSender, source: &Terminus{}, target: &Terminus{Address: "q"}})
	for _, r := range m.take(t) {
		if r.desc == descDetach {
			t.Fatal("names clash")
		}
	}
	m.sender(2, "n")
	rs := m.take(t)
	if p := last(t, rs, descDetach).p.(*detachFrame); p.handle != 0 || p.err.Condition != LinkStolen {
		t.Errorf("%+v", p)
	}
	last(t, rs, descAttach)
}

func TestAcceptAfterThePeerHasGone(t *testing.T) {
	m := newMachine(Options{})
	m.attach = func(l *Link) {}
	m.open(standard(), 100)
	m.sender(0, "s")
	m.take(t)
	m.feed(&detachFrame{handle: 0, closed: true})
	if got := kinds(m.take(t)); len(got) != 2 || got[0] != descAttach || got[1] != descDetach {
		t.Error(got)
	}
	if err := m.links[0].Accept(); err != ErrDetached {
		t.Error(err)
	}
	m.links[0].Refuse(nil)
	if rs := m.take(t); len(rs) != 0 {
		t.Error(kinds(rs))
	}
}

func TestLimitsOfLinksAndSessions(t *testing.T) {
	m := newMachine(Options{MaxLinks: 2, MaxSessions: 2})
	m.open(standard(), 100)
	for i := range uint32(3) {
		m.sender(i, string(rune('a'+i)))
	}
	if p := last(t, m.take(t), descDetach).p.(*detachFrame); p.handle != 2 || p.err.Condition != ResourceLimitExceeded {
		t.Errorf("%+v", p)
	}
	for i := uint32(3); i < 100; i++ {
		m.sender(i, string(rune('a'+i)))
	}
	if p := last(t, m.take(t), descClose).p.(*endFrame); p.err.Condition != ResourceLimitExceeded {
		t.Errorf("%+v", p)
	}
	m = newMachine(Options{MaxSessions: 2})
	m.open(standard(), 100)
	m.feedOn(1, &beginFrame{})
	m.take(t)
	m.feedOn(2, &beginFrame{})
	if p := last(t, m.take(t), descEnd); p.channel != 2 || p.p.(*endFrame).err.Condition != ResourceLimitExceeded {
		t.Errorf("%+v", p)
	}
	m.feedOn(2, &endFrame{})
	for i := range uint16(30) {
		m.feedOn(20+i, &beginFrame{})
	}
	if p := last(t, m.take(t), descClose).p.(*endFrame); p.err.Condition != ResourceLimitExceeded {
		t.Errorf("%+v", p)
	}
}
