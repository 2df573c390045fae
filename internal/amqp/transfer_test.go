package amqp

import "testing"

func TestSplitToPeersFrames(t *testing.T) {
	for _, size := range []uint32{512, 4096} {
		m := newMachine(Options{})
		m.attach = func(l *Link) { l.Accept() }
		o := standard()
		o.maxFrame = size
		m.open(o, 7)
		m.feed(&attachFrame{name: "r", role: RoleReceiver, source: &Terminus{Address: "q"}, target: &Terminus{},
			properties: Map{{Symbol("long"), string(make([]byte, 5000))}}})
		m.feed(&flowFrame{nextIn: 1, hasNextIn: true, inWindow: 7, handle: 0, hasHandle: true, hasCount: true, credit: 10, hasCredit: true})
		m.take(t)
		l := m.links[0]
		payload := make([]byte, 60<<10)
		for i := range payload {
			payload[i] = byte(i * 7)
		}
		if _, err := l.Send(payload, nil, 0x80013700, false, nil); err != nil {
			t.Fatal(err)
		}
		if l.Credit() != 0 && size == 512 {
			t.Error("credit while a delivery waits for the window")
		}
		var got []byte
		next := uint32(1)
		for done := false; !done; {
			rs := m.take(t)
			if len(rs) == 0 || len(rs) > 7 {
				t.Fatalf("%d frames in a window of 7", len(rs))
			}
			for _, r := range rs {
				p := r.p.(*transferFrame)
				if len(r.body)+8 > int(size) || p.hasID != (next == 1) {
					t.Fatalf("frame of %d: %+v", len(r.body)+8, p)
				}
				got = append(got, r.payload...)
				done = !p.more
				next++
			}
			m.feed(&flowFrame{nextIn: next, hasNextIn: true, inWindow: 7})
		}
		if string(got) != string(payload) || m.c.pendingSize != 0 || l.Credit() != 9 {
			t.Errorf("%d bytes, %d pending", len(got), m.c.pendingSize)
		}
		// Errors are cut down to the frame.
		l.Detach(&Error{Condition: NotFound, Description: string(make([]byte, 9000)), Info: Map{{Symbol("x"), "y"}}})
		if p := last(t, m.take(t), descDetach).p.(*detachFrame); p.err.Condition != NotFound || len(p.err.Description) != 250 {
			t.Errorf("%+v", p.err)
		}
	}
}

func TestMultiTransferAbortAndOversize(t *testing.T) {
	m := newMachine(Options{})
	m.attach = func(l *Link) {
		l.SetMaxMessageSize(1000)
		l.OnDelivery = func(d *Delivery) {
			m.in = append(m.in, d)
			if d.TooLarge {
				d.Reject(Errorf(MessageSizeExceeded, "%d", d.Size))
			} else {
				d.Accept()
			}
		}
		l.Accept()
	}
	m.open(standard(), 100)
	m.sender(0, "s")
	m.take(t)
	send := func(id uint32, n, size int, abort bool) {
		for i := range n {
			p := transferOf(0, id)
			p.more = i < n-1
			p.aborted = abort && i == n-1
			m.feed(p, make([]byte, size)...)
		}
	}
	send(1, 10, 100, false)
	send(2, 3, 100, true)
	send(3, 30, 100000, false)
	send(4, 1, 1001, false)
	send(5, 1, 1000, false)
	if len(m.in) != 4 || m.in[0].Size != 1000 || len(m.in[0].Payload) != 1000 || m.c.retained != m.links[0].cost {
		t.Fatalf("%d deliveries, %d retained", len(m.in), m.c.retained)
	}
	if d := m.in[1]; !d.TooLarge || d.Size != 3000000 || d.Payload != nil {
		t.Errorf("%v %d %d", d.TooLarge, d.Size, len(d.Payload))
	}
	if !m.in[2].TooLarge || m.in[3].TooLarge {
		t.Error("limit")
	}
}

func TestPreSettledReturnsCreditWithoutDisposition(t *testing.T) {
	m := newMachine(Options{})
	m.open(standard(), 100)
	m.sender(0, "s")
	m.take(t)
	for i := range uint32(500) {
		p := transferOf(0, i)
		p.settled = true
		m.feed(p)
	}
	for _, r := range m.take(t) {
		if r.desc != descFlow {
			t.Fatalf("0x%x", r.desc)
		}
	}
	if len(m.in) != 500 || m.c.held != 0 {
		t.Error(len(m.in), m.c.held)
	}
}

func TestCreditStopsWhileUnanswered(t *testing.T) {
	m := newMachine(Options{})
	m.attach = func(l *Link) { l.Window = 10; l.OnDelivery = func(d *Delivery) { m.in = append(m.in, d) }; l.Accept() }
	m.open(standard(), 100)
	m.sender(0, "s")
	for i := range uint32(10) {
		m.feed(transferOf(0, i))
	}
	if rs := m.take(t); kinds(rs)[len(rs)-1] != descFlow || m.links[0].Credit() != 0 {
		t.Error(kinds(rs))
	}
	for _, d := range m.in[:4] {
		d.Accept()
	}
	m.take(t)
	m.in[4].Accept()
	if p := last(t, m.take(t), descFlow).p.(*flowFrame); p.credit != 5 || p.count != 10 {
		t.Errorf("%+v", p)
	}
}
