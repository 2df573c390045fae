package amqp

import (
	"bytes"
	"reflect"
	"testing"
)

func FuzzValue(f *testing.F) {
	for _, c := range values {
		f.Add(unhex(f, c.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, n, err := ParseValue(b)
		d := decoder{b: b}
		if d.skip(0); err == nil && (d.err != nil || len(b)-len(d.b) != n) {
			t.Fatalf("skip: %v", d.err)
		}
		if err != nil {
			return
		}
		enc, err := AppendValue(nil, v)
		if err != nil {
			t.Fatalf("%#v: %v", v, err)
		}
		again, _, err := ParseValue(enc)
		if err != nil {
			t.Fatalf("% x: %v", enc, err)
		}
		if enc2, _ := AppendValue(nil, again); !bytes.Equal(enc, enc2) {
			t.Fatalf("% x then % x", enc, enc2)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 8, 2, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 12, 3, 1, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, body, n, err := ParseFrame(b, 65536)
		if err == nil && (n > len(b) || len(body) > n) {
			t.Fatal(n, len(body))
		}
	})
}

// FuzzConnection feeds frames to the state machine of a connection, with an
// application that accepts everything. In the input each frame is its channel,
// the length of its body and the body, so that mutations stay frames.
func FuzzConnection(f *testing.F) {
	var seed []byte
	for b := samplePeer(); len(b) > 0; {
		_, ch, body, n, _ := ParseFrame(b, 65536)
		seed = append(append(seed, byte(ch), byte(len(body))), body...)
		b = b[n:]
	}
	f.Add(seed)
	f.Add(seed[:len(seed)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMachine(Options{MaxSessions: 4, MaxLinks: 8, MaxBuffer: 1 << 20})
		for len(b) > 2 {
			ch, n := uint16(b[0]), min(int(b[1]), len(b)-2)
			if m.c.receive(frame{frameAMQP, ch, b[2 : 2+n : 2+n]}) {
				break
			}
			b = b[2+n:]
		}
		if m.c.retained < 0 || m.c.held < 0 || m.c.heldBytes < 0 || m.c.outs < 0 || m.c.links < 0 {
			t.Fatalf("counts: %d %d %d %d %d", m.c.retained, m.c.held, m.c.heldBytes, m.c.outs, m.c.links)
		}
		for _, fr := range m.take(t) {
			if fr.body == nil {
				t.Fatal("frame of ours does not parse")
			}
		}
	})
}

// samplePeer is what a well-behaved client sends.
func samplePeer() (b []byte) {
	add := func(ch uint16, body []byte) {
		var mark int
		b, mark = openFrameHeader(b, frameAMQP, ch)
		b = closeFrame(append(b, body...), mark)
	}
	add(0, (&openFrame{container: "c", hostname: "h", maxFrame: 4096, channelMax: 9, idle: 60000}).append(nil))
	add(0, (&beginFrame{nextOut: 1, inWindow: 100, outWindow: 100, handleMax: 10}).append(nil))
	add(0, (&attachFrame{name: "s", role: RoleSender, source: &Terminus{}, target: &Terminus{Address: "q"}}).append(nil))
	add(0, (&attachFrame{name: "r", handle: 1, role: RoleReceiver, rcvMode: SettleSecond, source: &Terminus{Address: "q", Filter: Map{{Symbol("f"), Described{Symbol("f"), "x"}}}}, target: &Terminus{}, properties: Map{{Symbol("k"), "v"}}}).append(nil))
	add(0, (&flowFrame{nextIn: 1, hasNextIn: true, inWindow: 100, nextOut: 1, outWindow: 100, handle: 1, hasHandle: true, count: 0, hasCount: true, credit: 10, hasCredit: true}).append(nil))
	add(0, append((&transferFrame{id: 0, hasID: true, tag: []byte{1}, hasFormat: true, more: true}).append(nil), "abc"...))
	add(0, append((&transferFrame{}).append(nil), "def"...))
	add(0, (&dispositionFrame{role: RoleReceiver, first: 1, last: 1, settled: true, state: Rejected{Errorf("x:y", "z")}}).append(nil))
	add(0, (&flowFrame{inWindow: 100, handle: 1, hasHandle: true, credit: 10, hasCredit: true, drain: true, echo: true}).append(nil))
	add(0, (&detachFrame{handle: 1, closed: true}).append(nil))
	add(0, (&endFrame{}).append(nil, descEnd))
	add(0, (&endFrame{err: Errorf("a:b", "c")}).append(nil, descClose))
	return b
}

func FuzzPerformative(f *testing.F) {
	for b := samplePeer(); len(b) > 0; {
		_, _, body, n, _ := ParseFrame(b, 65536)
		f.Add(body)
		b = b[n:]
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDecoder(b)
		desc, fs := performative(&d)
		p := blank(desc)
		if p == nil {
			return
		}
		p.parse(&fs)
		if d.end(&fs) != nil {
			return
		}
		enc := encode(p, byte(desc))
		d = newDecoder(enc)
		desc, fs = performative(&d)
		q := blank(desc)
		q.parse(&fs)
		if err := d.end(&fs); err != nil {
			t.Fatalf("%+v: % x: %v", p, enc, err)
		}
		if !bytes.Equal(enc, encode(q, byte(desc))) && !hasForeign(p) {
			t.Fatalf("%+v becomes %+v", p, q)
		}
	})
}

// hasForeign reports a state that is read but never written.
func hasForeign(p parser) bool {
	var st State
	switch p := p.(type) {
	case *transferFrame:
		st = p.state
	case *dispositionFrame:
		st = p.state
	}
	_, ok := st.(foreign)
	return ok
}

type parser interface{ parse(f *fields) }

func blank(desc uint64) parser {
	switch desc {
	case descOpen:
		return &openFrame{}
	case descBegin:
		return &beginFrame{}
	case descAttach:
		return &attachFrame{}
	case descFlow:
		return &flowFrame{}
	case descTransfer:
		return &transferFrame{}
	case descDisposition:
		return &dispositionFrame{}
	case descDetach:
		return &detachFrame{}
	case descEnd, descClose:
		return &endFrame{}
	case descInit:
		return &saslInit{}
	}
	return nil
}

func encode(p parser, desc byte) []byte {
	if e, ok := p.(*endFrame); ok {
		return e.append(nil, desc)
	}
	return p.(interface{ append([]byte) []byte }).append(nil)
}

// Every performative survives encoding, and no cut of one is taken for a whole.
func TestPerformatives(t *testing.T) {
	for b := samplePeer(); len(b) > 0; {
		_, _, body, n, err := ParseFrame(b, 65536)
		if err != nil || n == 0 {
			t.Fatal(err)
		}
		b = b[n:]
		d := newDecoder(body)
		desc, fs := performative(&d)
		p := blank(desc)
		p.parse(&fs)
		if err := d.end(&fs); err != nil {
			t.Fatalf("0x%x: %v", desc, err)
		}
		payload := len(d.b)
		if got := encode(p, byte(desc)); !bytes.Equal(got, body[:len(body)-payload]) {
			t.Errorf("0x%x: % x, want % x", desc, got, body)
		}
		for i := range len(body) - payload {
			d := newDecoder(body[:i:i])
			desc, fs := performative(&d)
			if q := blank(desc); q != nil {
				q.parse(&fs)
			}
			if d.end(&fs) == nil {
				t.Errorf("0x%x cut to %d passes", desc, i)
			}
		}
	}
}

func FuzzMessage(f *testing.F) {
	m := sampleMessage()
	b, _ := m.Append(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		w := NewSections(b)
		for s, ok := w.Next(); ok; s, ok = w.Next() {
			s.Data()
			s.Map()
			s.Each(func(k, v Raw) bool { k.Text(); v.Value(); return true })
			if s.Kind == SectionProperties {
				s.Properties()
			}
		}
		if err != nil {
			return
		}
		enc, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseMessage(enc); err != nil {
			t.Fatal(err)
		} else if enc2, _ := again.Append(nil); !bytes.Equal(enc, enc2) {
			t.Fatalf("%+v becomes %+v", m, again)
		}
	})
}

func FuzzSASL(f *testing.F) {
	f.Add((&saslInit{mechanism: Plain, response: []byte("\x00u\x00p"), hostname: "h"}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDecoder(b)
		_, fs := performative(&d)
		var s saslInit
		s.parse(&fs)
		d.end(&fs)
		ParsePlain(b)
	})
}

func TestParsePlain(t *testing.T) {
	z, u, p, ok := ParsePlain([]byte("z\x00u\x00p"))
	if !ok || z != "z" || u != "u" || p != "p" {
		t.Error(z, u, p, ok)
	}
	for _, bad := range []string{"", "a", "a\x00b", "a\x00b\x00c\x00d"} {
		if _, _, _, ok := ParsePlain([]byte(bad)); ok {
			t.Errorf("%q passes", bad)
		}
	}
}

func sampleMessage() *Message {
	n := uint32(3)
	return &Message{
		Header:              &Header{Durable: true, Priority: 4, TTL: 1000, DeliveryCount: 2},
		DeliveryAnnotations: Map{{Symbol("d"), int64(1)}},
		MessageAnnotations:  Map{{Symbol("x-opt-lock-token"), UUID{1}}, {Symbol("n"), uint8(3)}, {Symbol("t"), Timestamp(5)}},
		Properties: &Properties{MessageID: uint64(7), UserID: []byte("u"), To: "/t", Subject: "s", ReplyTo: "r", CorrelationID: UUID{9},
			ContentType: "application/json", ContentEncoding: "utf-8", AbsoluteExpiryTime: 6, CreationTime: 7, GroupID: "g", GroupSequence: &n, ReplyToGroupID: "h"},
		ApplicationProperties: Map{{"status-code", int32(200)}, {"v", int64(1)}, {"s", "text"}},
		Data:                  [][]byte{[]byte("one"), []byte("two")},
		Footer:                Map{{Symbol("f"), true}},
	}
}

func TestMessage(t *testing.T) {
	m := sampleMessage()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseMessage(b)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("%+v %v", got, err)
	}
	whole := map[int]bool{}
	w := NewSections(b)
	for _, ok := w.Next(); ok; _, ok = w.Next() {
		whole[len(b)-len(w.rest)] = true
	}
	for i := 1; i < len(b); i++ {
		if _, err := ParseMessage(b[:i:i]); (err == nil) != whole[i] {
			t.Errorf("cut to %d: %v", i, err)
		}
	}
	for _, m := range []*Message{{HasValue: true}, {Value: "v", HasValue: true}, {Sequence: [][]any{{"a"}, {}}}, {Data: [][]byte{{}}}, {}} {
		b, _ := m.Append(nil)
		if got, err := ParseMessage(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v becomes %+v: %v", m, got, err)
		}
	}
}

func TestMessageIDKeepsItsType(t *testing.T) {
	for _, id := range []any{uint64(0), uint64(5), uint64(1 << 40), UUID{1, 2}, "id", []byte{1}, nil} {
		b, _ := (&Message{Properties: &Properties{MessageID: id, ReplyTo: "r"}}).Append(nil)
		m, err := ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		b, _ = m.Reply().Append(nil)
		r, err := ParseMessage(b)
		if err != nil || !reflect.DeepEqual(r.Properties.CorrelationID, id) || r.Properties.To != "r" {
			t.Errorf("%T: %#v %v", id, r.Properties, err)
		}
	}
}

func TestBadMessages(t *testing.T) {
	for name, h := range map[string]string{
		"no descriptor":             "a0 01 00",
		"unknown section":           "00 53 7f 40",
		"properties after data":     "00 53 75 a0 00 00 53 73 45",
		"two kinds of body":         "00 53 75 a0 00 00 53 77 40",
		"two values":                "00 53 77 40 00 53 77 40",
		"data holds a string":       "00 53 75 a1 00",
		"annotations hold a list":   "00 53 72 45",
		"properties hold a map":     "00 53 73 c1 01 00",
		"sequence holds a null":     "00 53 76 40",
		"content type is no symbol": "00 53 73 c0 0a 07 40 40 40 40 40 40 a1 01 61",
	} {
		if m, err := ParseMessage(unhex(t, h)); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestSectionsWithoutDecoding(t *testing.T) {
	b, _ := sampleMessage().Append(nil)
	var keys, data []byte
	w := NewSections(b)
	for s, ok := w.Next(); ok; s, ok = w.Next() {
		switch s.Kind {
		case SectionProperties:
			if p, err := s.Properties(); err != nil || p.MessageID != uint64(7) {
				t.Error(p, err)
			}
		case SectionApplicationProperties:
			s.Each(func(k, v Raw) bool {
				name, _ := k.Text()
				keys = append(append(keys, name...), ' ')
				return true
			})
		case SectionData:
			p, _ := s.Data()
			data = append(data, p...)
		}
	}
	if string(keys) != "status-code v s " || string(data) != "onetwo" || w.Err() != nil {
		t.Errorf("%q %q %v", keys, data, w.Err())
	}
}
