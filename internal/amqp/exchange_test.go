package amqp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// begin speaks the protocol header of SASL and skips the mechanisms.
func begin(t *testing.T, nc net.Conn) {
	t.Helper()
	nc.Write([]byte("AMQP\x03\x01\x00\x00"))
	expectBytes(t, nc, []byte("AMQP\x03\x01\x00\x00"))
	h := make([]byte, 8)
	io.ReadFull(nc, h)
	size, _, err := frameLength(h, 512)
	if err != nil {
		t.Fatal(err)
	}
	io.CopyN(io.Discard, nc, int64(size-8))
}

// bytesOf writes a frame by hand: the body's length is filled in.
func bytesOf(parts ...any) []byte {
	b := []byte{0, 0, 0, 0, 2, 1, 0, 0}
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		}
	}
	b[2], b[3] = byte(len(b)>>8), byte(len(b))
	return b
}

// greeter wants the responses one, two and three.
func greeter(seen *SASLInit) func(SASLInit) Step {
	return func(init SASLInit) Step {
		*seen = init
		want := []string{"one", "two", "three"}
		return func(text []byte) ([]byte, error) {
			if string(text) != want[0] {
				return nil, fmt.Errorf("%q where %q was expected", text, want[0])
			}
			if want = want[1:]; len(want) == 0 {
				return nil, nil
			}
			return []byte("say " + want[0]), nil
		}
	}
}

func TestExchangeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var init SASLInit
		nc, closed := dial(Options{Mechanisms: []string{"TPM"}, Exchange: greeter(&init)})
		begin(t, nc)
		// mechanism, initial response, hostname
		nc.Write(bytesOf(0, 0x53, 0x41, 0xc0, 19, 3, 0xa3, 3, "TPM", 0xa0, 3, "one", 0xa1, 6, "scope1"))
		expectBytes(t, nc, bytesOf(0, 0x53, 0x42, 0xc0, 10, 1, 0xa0, 7, "say two"))
		nc.Write(bytesOf(0, 0x53, 0x43, 0xc0, 6, 1, 0xa0, 3, "two"))
		expectBytes(t, nc, bytesOf(0, 0x53, 0x42, 0xc0, 12, 1, 0xa0, 9, "say three"))
		// The descriptor as a symbol, and the long forms of list and binary.
		nc.Write(bytesOf(0, 0xa3, 23, "amqp:sasl-response:list", 0xd0, 0, 0, 0, 14, 0, 0, 0, 1, 0xb0, 0, 0, 0, 5, "three"))
		expectBytes(t, nc, bytesOf(0, 0x53, 0x44, 0xc0, 3, 1, 0x50, 0))
		if init.Mechanism != "TPM" || string(init.Response) != "one" || init.Hostname != "scope1" {
			t.Errorf("%+v", init)
		}
		openRaw(t, nc, standard())
		nc.Close()
		<-closed
	})
}

func TestExchangeEnds(t *testing.T) {
	long := func(SASLInit) Step { return func([]byte) ([]byte, error) { return make([]byte, MaxChallenge+1), nil } }
	endless := func(SASLInit) Step { return func([]byte) ([]byte, error) { return []byte{}, nil } }
	one := bytesOf(0, 0x53, 0x41, 0xc0, 12, 3, 0xa3, 3, "TPM", 0xa0, 3, "one", 0x40)
	for name, c := range map[string]struct {
		f    func(SASLInit) Step
		init []byte
		code int // -1: no outcome
		say  []byte
	}{
		"refused at once":     {func(SASLInit) Step { return nil }, one, saslAuth, nil},
		"refused by the step": {greeter(new(SASLInit)), bytesOf(0, 0x53, 0x41, 0xc0, 6, 1, 0xa3, 3, "TPM"), saslAuth, nil},
		"not offered":         {greeter(new(SASLInit)), bytesOf(0, 0x53, 0x41, 0xc0, 6, 1, 0xa3, 3, "TPX"), saslAuth, nil},
		"refused later":       {greeter(new(SASLInit)), one, saslAuth, bytesOf(0, 0x53, 0x43, 0xc0, 4, 1, 0xa0, 1, "x")},
		"an empty list":       {greeter(new(SASLInit)), one, saslAuth, bytesOf(0, 0x53, 0x43, 0x45)},
		"challenge too long":  {long, one, saslSys, nil},
		"endless":             {endless, one, saslAuth, bytesOf(0, 0x53, 0x43, 0xc0, 3, 1, 0xa0, 0)},
		"init twice":          {greeter(new(SASLInit)), one, -1, one},
		"response of no kind": {greeter(new(SASLInit)), one, -1, bytesOf(0, 0x53, 0x43, 0xc0, 3, 1, 0x50, 0)},
		"frame of AMQP":       {greeter(new(SASLInit)), one, -1, rawFrame(0, []byte{0, 0x53, 0x43, 0x45})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, closed := dial(Options{Mechanisms: []string{"TPM"}, Exchange: c.f})
				begin(t, nc)
				nc.Write(c.init)
				code := drive(t, nc, c.say)
				if code != c.code {
					t.Errorf("outcome %d", code)
				}
				if err := <-closed; !errors.Is(err, ErrHandshake) {
					t.Error(err)
				}
			})
		})
	}
}

// drive answers every challenge with say until an outcome, or until the end, which is -1.
func drive(t *testing.T, nc net.Conn, say []byte) int {
	for range 100 {
		h := make([]byte, 8)
		if _, err := io.ReadFull(nc, h); err != nil {
			return -1
		}
		size, _, err := frameLength(h, 512)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size-8)
		io.ReadFull(nc, b)
		d := newDecoder(b)
		desc, fs := performative(&d)
		if desc == descOutcome {
			return int(fs.ubyte(9))
		}
		nc.Write(say)
	}
	t.Fatal("no end")
	return 0
}

func TestChallengeFitsFrame(t *testing.T) {
	b, mark := openFrameHeader(nil, frameSASL, 0)
	b = closeFrame(appendText(b, descChallenge, make([]byte, MaxChallenge)), mark)
	if len(b) != minMaxFrame {
		t.Errorf("%d bytes", len(b))
	}
}

func TestExchangeSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, closed := dial(Options{Mechanisms: []string{"TPM"}, Exchange: greeter(new(SASLInit)), HandshakeTimeout: time.Minute})
		begin(t, nc)
		nc.Write(bytesOf(0, 0x53, 0x41, 0xc0, 12, 3, 0xa3, 3, "TPM", 0xa0, 3, "one", 0x40))
		before := time.Now()
		io.Copy(io.Discard, nc)
		if err := <-closed; err == nil || time.Since(before) > 2*time.Minute {
			t.Error(err, time.Since(before))
		}
	})
}

func TestClientExchange(t *testing.T) {
	answers := func(challenge []byte) ([]byte, error) {
		if bytes.HasSuffix(challenge, []byte("!")) {
			return nil, errors.New("too loud")
		}
		return bytes.TrimPrefix(challenge, []byte("say ")), nil
	}
	var seen SASLInit
	for name, c := range map[string]struct {
		server func(SASLInit) Step
		step   Step
		ok     bool
	}{
		"three steps":   {greeter(&seen), answers, true},
		"one step":      {func(SASLInit) Step { return func([]byte) ([]byte, error) { return nil, nil } }, nil, true},
		"nobody":        {greeter(&seen), nil, false},
		"client's veto": {func(SASLInit) Step { return func([]byte) ([]byte, error) { return []byte("shout!"), nil } }, answers, false},
		"wrong answer":  {greeter(&seen), func([]byte) ([]byte, error) { return nil, nil }, false},
		"endless":       {func(SASLInit) Step { return func([]byte) ([]byte, error) { return []byte{}, nil } }, answers, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, closed := dial(Options{Mechanisms: []string{"TPM"}, Exchange: c.server})
				conn, err := Open(context.Background(), nc, ClientOptions{Mechanism: "TPM", Response: []byte("one"), Step: c.step,
					SASLHostname: "s/registrations/r", Options: Options{Hostname: "h"}})
				if (err == nil) != c.ok {
					t.Error(err)
				}
				if err == nil {
					conn.Close(nil)
					<-conn.Done()
				}
				<-closed
			})
		})
	}
	if seen.Hostname != "s/registrations/r" {
		t.Error(seen.Hostname)
	}
}

// script is a peer that has sent all it will ever send.
type script struct {
	net.Conn
	in io.Reader
}

func (s script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s script) Write(p []byte) (int, error)      { return len(p), nil }
func (s script) Close() error                     { return nil }
func (s script) SetWriteDeadline(time.Time) error { return nil }

// FuzzExchange feeds a server in SASL: whatever comes, steps and sizes stay within their bounds.
func FuzzExchange(f *testing.F) {
	head := []byte("AMQP\x03\x01\x00\x00")
	init := bytesOf(0, 0x53, 0x41, 0xc0, 12, 3, 0xa3, 3, "TPM", 0xa0, 3, "one", 0x40)
	f.Add(bytes.Join([][]byte{head, init, bytesOf(0, 0x53, 0x43, 0xc0, 6, 1, 0xa0, 3, "two"), bytesOf(0, 0x53, 0x43, 0xc0, 8, 1, 0xa0, 5, "three"), []byte("AMQP\x00\x01\x00\x00")}, nil))
	f.Add(append(head, init...))
	f.Fuzz(func(t *testing.T, b []byte) {
		calls := 0
		step := func(text []byte) ([]byte, error) {
			if calls++; calls > maxChallenges+1 || len(text) > maxSASLFrame {
				t.Errorf("call %d with %d bytes", calls, len(text))
			}
			return text, nil
		}
		Serve(script{in: bytes.NewReader(b)}, Options{Mechanisms: []string{"TPM"}, Exchange: func(SASLInit) Step { return step }}, nil)
	})
}
