package mqtt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nave-hub/nave/internal/mqtt"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// TestMain looks for goroutines that were left behind; one that is about to end gets the time for it.
func TestMain(m *testing.M) {
	code := m.Run()
	for late := time.Now().Add(patience); code == 0; {
		err := goleak.Find()
		if err == nil {
			break
		}
		if time.Now().After(late) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// peer is a handler that a test fills with what it needs.
type peer struct {
	publish    func(p *mqtt.Publish, ack mqtt.Ack) error
	subscribe  func(subs []mqtt.Subscription) ([]byte, error)
	subscribed func(subs []mqtt.Subscription)
	acked      func(id uint16)
	ended      chan error
}

func (h *peer) Publish(p *mqtt.Publish, ack mqtt.Ack) error {
	if h.publish == nil {
		ack.Done()
		return nil
	}
	return h.publish(p, ack)
}

func (h *peer) Subscribe(subs []mqtt.Subscription) ([]byte, error) {
	if h.subscribe == nil {
		return make([]byte, len(subs)), nil
	}
	return h.subscribe(subs)
}

func (h *peer) Subscribed(subs []mqtt.Subscription) {
	if h.subscribed != nil {
		h.subscribed(subs)
	}
}

func (h *peer) Unsubscribe([]string) error { return nil }

func (h *peer) Acked(id uint16) {
	if h.acked != nil {
		h.acked(id)
	}
}

func (h *peer) Closed(cause error) { h.ended <- cause }

// socket makes both ends of a connection: over loopback, or in memory without any buffer.
func socket(t testing.TB, loopback bool) (client, server net.Conn) {
	if !loopback {
		client, server = net.Pipe()
	} else {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if server, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// serve runs the server side of nc in the background; the connection comes out of the channel once it is started.
func serve(t testing.TB, nc net.Conn, o mqtt.Options, h *peer) <-chan *mqtt.Conn {
	if h.ended == nil {
		h.ended = make(chan error, 1)
	}
	conns := make(chan *mqtt.Conn, 1)
	go func() {
		s, _, err := mqtt.Accept(nc, o)
		if err != nil {
			t.Error(err)
			nc.Close()
			return
		}
		c := s.Serve(t.Context(), false, h)
		conns <- c
		c.Start()
	}()
	return conns
}

// dial connects raw bytes to a served connection: CONNECT is sent and CONNACK read.
func dial(t testing.TB, loopback bool, o mqtt.Options, h *peer) (net.Conn, *mqtt.Conn) {
	client, server := socket(t, loopback)
	conns := serve(t, server, o, h)
	client.SetDeadline(time.Now().Add(patience))
	write(t, client, &mqtt.Connect{ClientID: "d1"})
	expect(t, client, mqtt.Connack{})
	return client, <-conns
}

type packet interface{ Append(b []byte) []byte }

func write(t testing.TB, nc net.Conn, packets ...packet) {
	t.Helper()
	if _, err := nc.Write(encode(packets)); err != nil {
		t.Fatal(err)
	}
}

func encode(packets []packet) (b []byte) {
	for _, p := range packets {
		b = p.Append(b)
	}
	return b
}

func expect(t testing.TB, nc net.Conn, packets ...packet) {
	t.Helper()
	for _, p := range packets {
		want := p.Append(nil)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %x, %v; want %x", got, err, want)
		}
	}
}

func ended(t testing.TB, h *peer, c *mqtt.Conn, want error) error {
	t.Helper()
	err := <-h.ended
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("closed with %v, want %v", err, want)
	}
	<-c.Done()
	return err
}

func closedSocket(t testing.TB, nc net.Conn) {
	t.Helper()
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d, %v; want a closed connection", n, err)
	}
}

func both(t *testing.T, f func(t *testing.T, loopback bool)) {
	t.Run("pipe", func(t *testing.T) { f(t, false) })
	t.Run("loopback", func(t *testing.T) { f(t, true) })
}
