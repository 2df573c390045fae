package amqp

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// quiet is an application without links.
type quiet struct{ closed chan error }

func (q quiet) Attach(l *Link)     { l.Accept() }
func (q quiet) Closed(cause error) { q.closed <- cause }

// dial starts a server on one end of a pipe and returns the other end.
func dial(o Options) (net.Conn, chan error) {
	a, b := net.Pipe()
	q := quiet{make(chan error, 1)}
	go Serve(a, o, q)
	return b, q.closed
}

func rawFrame(ch uint16, body []byte) []byte {
	b, mark := openFrameHeader(nil, frameAMQP, ch)
	return closeFrame(append(b, body...), mark)
}

// next reads one frame; heartbeats have desc 0.
func next(t *testing.T, nc net.Conn) reply {
	t.Helper()
	h := make([]byte, 8)
	if _, err := io.ReadFull(nc, h); err != nil {
		t.Fatalf("frame expected: %v", err)
	}
	size, off, err := frameLength(h, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size-8)
	io.ReadFull(nc, b)
	if len(b) == 0 {
		return reply{}
	}
	return parseReply(t, uint16(h[6])<<8|uint16(h[7]), b[off-8:])
}

func expectBytes(t *testing.T, nc net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != string(want) {
		t.Fatalf("% x %v, want % x", got, err, want)
	}
}

func openRaw(t *testing.T, nc net.Conn, o *openFrame) {
	t.Helper()
	nc.Write(protocolHeader(protoAMQP))
	expectBytes(t, nc, protocolHeader(protoAMQP))
	nc.Write(rawFrame(0, o.append(nil)))
	if r := next(t, nc); r.desc != descOpen {
		t.Fatalf("0x%x instead of open", r.desc)
	}
}

func TestHeartbeatAtHalfOfThePeersTimeout(t *testing.T) {
	for _, c := range []struct {
		idle uint32
		beat time.Duration
	}{{120000, time.Minute}, {0, 2 * time.Minute}, {7000, 3500 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			nc, closed := dial(Options{})
			o := standard()
			o.idle = c.idle
			openRaw(t, nc, o)
			last := time.Now()
			for range 5 {
				if r := next(t, nc); r.desc != 0 {
					t.Fatalf("0x%x", r.desc)
				}
				if d := time.Since(last); d > c.beat {
					t.Errorf("heartbeat after %v", d)
				}
				last = time.Now()
				nc.Write(rawFrame(0, nil)) // we stay alive as well
			}
			nc.Close()
			<-closed
		})
	}
}

func TestSilentPeerIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, closed := dial(Options{})
		openRaw(t, nc, standard())
		start := time.Now()
		for {
			if r := next(t, nc); r.desc == descClose {
				if e := r.p.(*endFrame).err; e == nil || e.Condition != ResourceLimitExceeded {
					t.Error(e)
				}
				break
			}
		}
		if d := time.Since(start); d < 480*time.Second || d > 490*time.Second {
			t.Error(d)
		}
		if _, err := nc.Read(make([]byte, 1)); err == nil { // the peer never answers
			t.Error("still open")
		}
		if err := <-closed; !errors.Is(err, ErrIdle) {
			t.Error(err)
		}
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, closed := dial(Options{})
		openRaw(t, nc, standard())
		gone := make(chan struct{})
		go func() { // it does send, and wants answers
			defer close(gone)
			nc.Write(rawFrame(0, (&beginFrame{inWindow: 1, handleMax: 1}).append(nil)))
			for {
				if _, err := nc.Write(rawFrame(0, (&flowFrame{echo: true}).append(nil))); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if err := <-closed; !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
		nc.Close()
		<-gone
	})
}

func TestHandshakeHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, closed := dial(Options{})
		nc.Write([]byte("AMQP"))
		if err := <-closed; !errors.Is(err, ErrHandshake) {
			t.Error(err)
		}
		nc.Close()
	})
}

func TestProtocolHeaders(t *testing.T) {
	for name, h := range map[string][]byte{
		"TLS": protocolHeader(protoTLS), "version": {'A', 'M', 'Q', 'P', 0, 0, 9, 1}, "HTTP": []byte("GET / HT"), "id": protocolHeader(9),
	} {
		synctest.Test(t, func(t *testing.T) {
			nc, closed := dial(Options{})
			nc.Write(h)
			expectBytes(t, nc, protocolHeader(protoAMQP))
			if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: %v", name, err)
			}
			if err := <-closed; !errors.Is(err, ErrHandshake) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestSASL(t *testing.T) {
	check := func(mechanism string, response []byte) error {
		_, user, password, _ := ParsePlain(response)
		if mechanism == Plain && (user != "u" || password != "p") {
			return errors.New("wrong")
		}
		return nil
	}
	for _, c := range []struct {
		mechanism Symbol
		response  string
		code      uint8
	}{{Anonymous, "", 0}, {MSSBCBS, "", 0}, {External, "", 0}, {Plain, "\x00u\x00p", 0}, {Plain, "\x00u\x00q", 1}, {"SCRAM", "", 1}} {
		synctest.Test(t, func(t *testing.T) {
			nc, closed := dial(Options{SASL: check})
			nc.Write(protocolHeader(protoSASL))
			expectBytes(t, nc, protocolHeader(protoSASL))
			h := make([]byte, 8)
			io.ReadFull(nc, h)
			size, _, _ := frameLength(h, 512)
			b := make([]byte, size-8)
			io.ReadFull(nc, b)
			d := newDecoder(b)
			desc, fs := performative(&d)
			if got := fs.symbols(); h[5] != frameSASL || desc != descMechanisms || len(got) != 4 || got[0] != MSSBCBS {
				t.Fatal(desc, got)
			}
			init := saslInit{mechanism: c.mechanism, response: []byte(c.response)}
			f, mark := openFrameHeader(nil, frameSASL, 0)
			nc.Write(closeFrame(init.append(f), mark))
			f, mark = openFrameHeader(nil, frameSASL, 0)
			expectBytes(t, nc, closeFrame(appendOutcome(f, c.code), mark))
			if c.code == 0 {
				openRaw(t, nc, standard())
				nc.Close()
			} else if _, err := nc.Read(h); err != io.EOF {
				t.Error(err)
			}
			<-closed
		})
	}
}

func TestOpenLimits(t *testing.T) {
	for name, c := range map[string]struct {
		o    openFrame
		want Symbol
	}{
		"frame below 512": {openFrame{container: "c", maxFrame: 511}, InvalidField},
		"idle of 1 s":     {openFrame{container: "c", maxFrame: 512, idle: 1000}, InvalidField},
	} {
		synctest.Test(t, func(t *testing.T) {
			nc, closed := dial(Options{MinPeerIdle: 5 * time.Second})
			openRaw(t, nc, &c.o)
			r := next(t, nc)
			if r.desc != descClose || r.p.(*endFrame).err.Condition != c.want {
				t.Errorf("%s: 0x%x", name, r.desc)
			}
			nc.Write(rawFrame(0, (&endFrame{}).append(nil, descClose)))
			var e *Error
			if err := <-closed; !errors.As(err, &e) || e.Condition != c.want {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// A frame that cannot be cut is told to the peer even while it goes on sending.
func TestFramingErrors(t *testing.T) {
	for name, b := range map[string][]byte{
		"too short": {0, 0, 0, 7, 2, 0, 0, 0}, "too long": {0, 1, 0, 1, 2, 0, 0, 0}, "huge": {0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0},
		"offset before": {0, 0, 0, 9, 1, 0, 0, 0, 0}, "offset behind": {0, 0, 0, 9, 9, 0, 0, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			nc, closed := dial(Options{})
			openRaw(t, nc, standard())
			nc.Write(b)
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				for {
					if _, err := nc.Write(make([]byte, 100)); err != nil {
						return
					}
					time.Sleep(time.Millisecond) // in a bubble, time passes only so
				}
			}()
			if r := next(t, nc); r.desc != descClose || r.p.(*endFrame).err.Condition != FramingError {
				t.Errorf("%s: 0x%x", name, r.desc)
			}
			var e *Error
			if err := <-closed; !errors.As(err, &e) || e.Condition != FramingError {
				t.Errorf("%s: %v", name, err)
			}
			nc.Close()
			<-gone
		})
	}
}

func TestCloseByThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, closed := dial(Options{})
		openRaw(t, nc, standard())
		nc.Write(rawFrame(0, (&endFrame{}).append(nil, descClose)))
		if r := next(t, nc); r.desc != descClose || r.p.(*endFrame).err != nil {
			t.Errorf("0x%x", r.desc)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A hostile peer leaves multi-transfer deliveries unfinished on many links of
// many sessions. What is kept stays below MaxBuffer.
func TestMemoryOfUnfinishedDeliveries(t *testing.T) {
	a, b := net.Pipe()
	const limit = 4 << 20
	done := make(chan struct{})
	go func() {
		Serve(a, Options{MaxBuffer: limit}, greedy{})
		close(done)
	}()
	go io.Copy(io.Discard, b)
	b.Write(protocolHeader(protoAMQP))
	b.Write(rawFrame(0, standard().append(nil)))
	before := heap()
	p := transferFrame{id: 1, hasID: true, tag: []byte{1}, more: true}
	chunk := make([]byte, 60000)
	peak := int64(0)
	var err error
	for ch := uint16(0); ch < 40 && err == nil; ch++ {
		b.Write(rawFrame(ch, (&beginFrame{inWindow: 1, handleMax: 100}).append(nil)))
		for h := range uint32(20) {
			at := attachFrame{name: string(rune('a' + h)), handle: h, role: RoleSender, source: &Terminus{}, target: &Terminus{Address: "q"}}
			b.Write(rawFrame(ch, at.append(nil)))
			p.handle = h
			for range 4 {
				if _, err = b.Write(rawFrame(ch, append(p.append(nil), chunk...))); err != nil {
					break
				}
			}
		}
		peak = max(peak, heap()-before)
	}
	if peak > limit+4<<20 {
		t.Errorf("heap grew by %d for a limit of %d", peak, limit)
	}
	b.Close()
	<-done
}

type greedy struct{}

func (greedy) Attach(l *Link)     { l.SetMaxMessageSize(1 << 20); l.Accept() }
func (greedy) Closed(cause error) {}

// heap returns the bytes in use. What pools hold goes with the second collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Thousands of attaches whose properties are large maps end the connection, not the process.
func TestMemoryOfAttaches(t *testing.T) {
	a, b := net.Pipe()
	const limit = 4 << 20
	done := make(chan error, 1)
	go func() { done <- Serve(a, Options{MaxBuffer: limit}, greedy{}) }()
	go io.Copy(io.Discard, b)
	b.Write(protocolHeader(protoAMQP))
	b.Write(rawFrame(0, standard().append(nil)))
	b.Write(rawFrame(0, (&beginFrame{inWindow: 1, handleMax: 1 << 20}).append(nil)))
	nulls := make([]any, 4000)
	before := heap()
	for h := range uint32(1000) {
		at := attachFrame{name: "x" + string(rune(h)), handle: h, role: RoleSender, source: &Terminus{}, target: &Terminus{}, properties: Map{{Symbol("k"), nulls}}}
		if _, err := b.Write(rawFrame(0, at.append(nil))); err != nil {
			break
		}
	}
	var e *Error
	b.Write(rawFrame(0, (&endFrame{}).append(nil, descClose)))
	if err := <-done; !errors.As(err, &e) || e.Condition != ResourceLimitExceeded {
		t.Error(err)
	}
	if grown := heap() - before; grown > limit+1<<20 {
		t.Errorf("heap grew by %d", grown)
	}
	b.Close()
}

func TestIdleConnectionIsSmall(t *testing.T) {
	const n = 200
	ends := make([]net.Conn, n)
	closes := make([]chan error, n)
	before := heap()
	for i := range ends {
		ends[i], closes[i] = dial(Options{})
		openRaw(t, ends[i], standard())
	}
	size := (heap() - before) / n
	for try := 0; try < 100 && size > 6<<10; try++ { // the last writers may still be on their way out
		time.Sleep(10 * time.Millisecond)
		size = (heap() - before) / n
	}
	t.Logf("%d bytes of heap per idle connection, with its pipe", size)
	if size > 6<<10 {
		t.Errorf("%d bytes per idle connection", size)
	}
	for i := range ends {
		ends[i].Close()
		<-closes[i]
	}
}

func TestClientHandshakes(t *testing.T) {
	for _, mechanism := range []string{"", Anonymous, MSSBCBS, Plain} {
		synctest.Test(t, func(t *testing.T) {
			nc, closed := dial(Options{SASL: func(m string, r []byte) error {
				if m == Plain {
					return errors.New("no")
				}
				return nil
			}})
			c, err := Open(context.Background(), nc, ClientOptions{Mechanism: mechanism, Options: Options{Hostname: "h"}})
			if (err != nil) != (mechanism == Plain) {
				t.Fatal(err)
			}
			if err == nil {
				c.Close(Errorf(ConnectionForced, "bye"))
				<-c.Done()
				var e *Error
				if err := <-closed; !errors.As(err, &e) || e.Condition != ConnectionForced {
					t.Error(err)
				}
				return
			}
			<-closed
		})
	}
}
