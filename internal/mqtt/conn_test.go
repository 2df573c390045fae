package mqtt_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

// TestRefusedPackets sends what ends a connection, and looks at the cause.
func TestRefusedPackets(t *testing.T) {
	for _, v := range []struct {
		name string
		send []byte
		want error
		text string
	}{
		{"DEV-056 second CONNECT", (&mqtt.Connect{ClientID: "d1"}).Append(nil), mqtt.ErrProtocol, "second CONNECT"},
		{"DEV-067 QoS 2 PUBLISH", (&mqtt.Publish{Topic: "t", QoS: 2, ID: 1}).Append(nil), mqtt.ErrProtocol, "QoS 2"},
		{"DEV-070 PUBLISH of 300 KiB", (&mqtt.Publish{Topic: "t", QoS: 1, ID: 1, Payload: make([]byte, 300<<10)}).Append(nil), mqtt.ErrTooLarge, "307205, limit 307200"},
		{"header of an oversized packet", []byte{0x32, 0xff, 0xff, 0xff, 0x7f}, mqtt.ErrTooLarge, "268435455, limit 307200"},
		{"PUBREL", []byte{0x62, 2, 0, 1}, mqtt.ErrProtocol, "PUBREL"},
		{"CONNACK", []byte{0x20, 2, 0, 0}, mqtt.ErrProtocol, "CONNACK from a client"},
		{"SUBACK", []byte{0x90, 3, 0, 1, 0}, mqtt.ErrProtocol, "SUBACK from a client"},
		{"PINGRESP", []byte{0xd0, 0}, mqtt.ErrProtocol, "PINGRESP from a client"},
		{"empty SUBSCRIBE", []byte{0x82, 2, 0, 1}, mqtt.ErrProtocol, "no topic filter"},
		{"wildcard in PUBLISH", (&mqtt.Publish{Topic: "a/+"}).Append(nil), mqtt.ErrProtocol, "wildcard"},
	} {
		t.Run(v.name, func(t *testing.T) {
			both(t, func(t *testing.T, loopback bool) {
				h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error { t.Error("handled"); return nil }}
				client, conn := dial(t, loopback, mqtt.Options{}, h)
				go client.Write(v.send)
				closedSocket(t, client)
				client.Close()
				if err := ended(t, h, conn, v.want); !strings.Contains(err.Error(), v.text) {
					t.Errorf("%v does not say %q", err, v.text)
				}
			})
		})
	}
}

func TestAccept(t *testing.T) {
	for _, v := range []struct {
		name   string
		send   []byte
		want   error
		answer string
	}{
		{"DEV-055 first packet is not CONNECT", []byte{0xc0, 0}, mqtt.ErrProtocol, ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), mqtt.ErrProtocol, ""},
		{"DEV-058 protocol level 3", []byte("\x10\x10\x00\x06MQIsdp\x03\x00\x00\x3c\x00\x02d1"), mqtt.ErrVersion, "\x20\x02\x00\x01"},
		{"DEV-058 protocol level 5", []byte("\x10\x0f\x00\x04MQTT\x05\x00\x00\x3c\x00\x00\x02d1"), mqtt.ErrVersion, "\x20\x02\x00\x01"},
		{"oversized", []byte{0x10, 0xff, 0xff, 0xff, 0x7f}, mqtt.ErrTooLarge, ""},
		{"wildcard in the will topic", (&mqtt.Connect{Will: &mqtt.Will{Topic: "#"}}).Append(nil), mqtt.ErrProtocol, ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			both(t, func(t *testing.T, loopback bool) {
				client, server := socket(t, loopback)
				result := make(chan error, 1)
				go func() {
					_, _, err := mqtt.Accept(server, mqtt.Options{})
					result <- err
				}()
				go client.Write(v.send)
				got, _ := io.ReadAll(io.LimitReader(client, 4))
				if string(got) != v.answer {
					t.Errorf("answer %x", got)
				}
				closedSocket(t, client)
				client.Close()
				if err := <-result; !errors.Is(err, v.want) {
					t.Errorf("%v, want %v", err, v.want)
				}
			})
		})
	}
}

// TestRefuse: a client that pipelines reads its CONNACK although the server has not read what followed.
func TestRefuse(t *testing.T) {
	client, server := socket(t, true)
	connect := &mqtt.Connect{ClientID: "d1", Username: "u", HasUsername: true, Will: &mqtt.Will{Topic: "w", Payload: []byte("bye")}}
	write(t, client, connect, mqtt.Subscribe{ID: 1, Subs: []mqtt.Subscription{{Filter: "a"}}}, &mqtt.Publish{Topic: "t", Payload: make([]byte, 100<<10)})
	s, c, err := mqtt.Accept(server, mqtt.Options{})
	if err != nil || c.Username != "u" || string(c.Will.Payload) != "bye" {
		t.Fatalf("%+v, %v", c, err)
	}
	result := make(chan error, 1)
	go func() { result <- s.Refuse(mqtt.NotAuthorized) }()
	expect(t, client, mqtt.Connack{Code: mqtt.NotAuthorized})
	closedSocket(t, client)
	client.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestBytewise sends packets byte by byte, and all of them in one piece.
func TestBytewise(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		t.Run("DEV-057 SUBSCRIBE before CONNACK", func(t *testing.T) {
			sub := mqtt.Subscribe{ID: 7, Subs: []mqtt.Subscription{{Filter: "a/#", QoS: 2}, {Filter: "b", QoS: 0}, {Filter: "no", QoS: 1}}}
			var conn *mqtt.Conn
			ready := make(chan struct{})
			h := &peer{
				subscribe: func(subs []mqtt.Subscription) ([]byte, error) {
					if !slices.Equal(subs, sub.Subs) {
						t.Errorf("%+v", subs)
					}
					return []byte{1, 0, mqtt.SubFailure}, nil
				},
				subscribed: func([]mqtt.Subscription) { <-ready; conn.Publish(&mqtt.Publish{Topic: "a/b", Payload: []byte("late")}) },
			}
			client, server := socket(t, loopback)
			conns := serve(t, server, mqtt.Options{}, h)
			var all []byte
			for _, p := range []packet{&mqtt.Connect{ClientID: "d1"}, sub, &mqtt.Publish{Topic: "t", Payload: make([]byte, 700), QoS: 1, ID: 5},
				mqtt.Unsubscribe{ID: 8, Filters: []string{"never"}}, mqtt.Pingreq{}} {
				all = p.Append(all)
			}
			go func() {
				for i := range all {
					client.Write(all[i : i+1])
				}
			}()
			expect(t, client, mqtt.Connack{})
			conn = <-conns
			close(ready)
			expectAnywhere(t, client, mqtt.Puback{ID: 5}, mqtt.Suback{ID: 7, Codes: []byte{1, 0, 0x80}},
				&mqtt.Publish{Topic: "a/b", Payload: []byte("late")}, mqtt.Unsuback{ID: 8}, mqtt.Pingresp{})
			client.Close()
			<-conn.Done()
		})
	})
}

// expectAnywhere reads the others in their order, and before, among or behind them the PUBACK, which has no order with other packets.
func expectAnywhere(t *testing.T, nc net.Conn, ack mqtt.Puback, others ...packet) {
	t.Helper()
	got := make([]byte, len(encode(others))+len(ack.Append(nil)))
	if _, err := io.ReadFull(nc, got); err != nil {
		t.Fatalf("%x, %v", got, err)
	}
	for n := range len(others) + 1 {
		if bytes.Equal(got, slices.Concat(encode(others[:n]), ack.Append(nil), encode(others[n:]))) {
			return
		}
	}
	t.Fatalf("read %x; want %x with %x", got, encode(others), ack.Append(nil))
}

// TestSizes sends payloads around every boundary of the buffers, both ways.
func TestSizes(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		var conn *mqtt.Conn
		ready := make(chan struct{})
		h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error {
			<-ready
			return conn.Publish(p)
		}}
		c, server := socket(t, loopback)
		conns := serve(t, server, mqtt.Options{MaxQueue: 64 << 20}, h)
		got := make(chan mqtt.Publish, 100)
		client, _, err := mqtt.Open(c, mqtt.ClientOptions{}, mqtt.ClientHandler{Message: func(p *mqtt.Publish) { got <- *p }})
		if err != nil {
			t.Fatal(err)
		}
		conn = <-conns
		close(ready)
		var sent []mqtt.Publish
		for _, topic := range []string{"t", strings.Repeat("long/", 2000)} {
			for _, size := range []int{0, 1, 120, 250, 251, 252, 253, 4080, 4089, 4090, 4091, 4092, 8192, 32755, 32762, 32763, 32764, 32765, 40000, 255 << 10} {
				p := mqtt.Publish{Topic: topic, Payload: bytes.Repeat([]byte{byte(size), byte(len(sent))}, size)[:size]}
				sent = append(sent, p)
				if err := client.Publish(&p); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, want := range sent {
			if p := <-got; p.Topic != want.Topic || !bytes.Equal(p.Payload, want.Payload) {
				t.Fatalf("publish %d of %d bytes came as %d bytes", i, len(want.Payload), len(p.Payload))
			}
		}
		client.Kill()
		<-client.Done()
		<-conn.Done()
	})
}

func TestKeepAlive(t *testing.T) {
	for _, v := range []struct {
		name      string
		keepAlive uint16
		limit     time.Duration
	}{
		{"DEV-063 silence for 1.5 keep-alive", 60, 90 * time.Second},
		{"DEV-064 capped", 65535, 1767 * time.Second},
		{"none asked for", 0, 1767 * time.Second},
	} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &peer{}
				client, server := net.Pipe()
				conns := serve(t, server, mqtt.Options{}, h)
				write(t, client, &mqtt.Connect{ClientID: "d1", KeepAlive: v.keepAlive})
				expect(t, client, mqtt.Connack{})
				conn := <-conns
				for range 3 {
					time.Sleep(v.limit - time.Millisecond)
					write(t, client, mqtt.Pingreq{})
					expect(t, client, mqtt.Pingresp{})
				}
				begin := time.Now()
				ended(t, h, conn, mqtt.ErrKeepAlive)
				if d := time.Since(begin); d < v.limit || d > v.limit+v.limit/60 {
					t.Errorf("closed after %v", d)
				}
				closedSocket(t, client)
			})
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		var feed sync.WaitGroup
		defer feed.Wait()
		feed.Go(func() {
			for _, b := range (&mqtt.Connect{ClientID: "d1"}).Append(nil) {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		})
		begin := time.Now()
		if _, _, err := mqtt.Accept(server, mqtt.Options{}); err != mqtt.ErrConnectTimeout || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// TestClientPings: an idle client keeps itself alive, and notices a server that is gone.
func TestClientPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &peer{}
		c, server := net.Pipe()
		conns := serve(t, server, mqtt.Options{}, h)
		client, _, err := mqtt.Open(c, mqtt.ClientOptions{KeepAlive: 10}, mqtt.ClientHandler{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := client.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		client.Close()
		ended(t, h, <-conns, nil)
		<-client.Done()
	})
}

func TestSlowReader(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		h := &peer{}
		_, conn := dial(t, loopback, mqtt.Options{MaxQueue: 256 << 10}, h)
		var err error
		for n := 0; err == nil; n++ {
			if n > 1<<16 {
				t.Fatal("never full")
			}
			err = conn.Publish(&mqtt.Publish{Topic: "t", Payload: make([]byte, 3000)})
		}
		if err != mqtt.ErrSlow {
			t.Fatal(err)
		}
		ended(t, h, conn, mqtt.ErrSlow)
		if err := conn.Publish(&mqtt.Publish{Topic: "t"}); err != mqtt.ErrClosed {
			t.Error(err)
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &peer{}
		client, conn := dial(t, false, mqtt.Options{}, h)
		client.SetDeadline(time.Time{})
		conn.Publish(&mqtt.Publish{Topic: "t", Payload: make([]byte, 100)})
		ended(t, h, conn, mqtt.ErrSlow)
	})
}

// TestCloseFlushes: everything queued before Close arrives, then the end.
func TestCloseFlushes(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		h := &peer{}
		client, conn := dial(t, loopback, mqtt.Options{MaxQueue: 64 << 20}, h)
		p := &mqtt.Publish{Topic: "t", Payload: make([]byte, 5000), QoS: 1}
		for id := range uint16(1000) {
			p.ID = id + 1
			if err := conn.Publish(p); err != nil {
				t.Fatal(err)
			}
		}
		taken := errors.New("taken over")
		conn.Close(taken)
		for id := range uint16(1000) {
			p.ID = id + 1
			expect(t, client, p)
		}
		closedSocket(t, client)
		client.Close()
		ended(t, h, conn, taken)
	})
}

func TestAbort(t *testing.T) {
	h := &peer{}
	client, conn := dial(t, true, mqtt.Options{}, h)
	cause := errors.New("injected")
	conn.Abort(cause)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	ended(t, h, conn, cause)
}

func TestContextEnds(t *testing.T) {
	client, server := socket(t, true)
	write(t, client, &mqtt.Connect{ClientID: "d1"})
	s, _, err := mqtt.Accept(server, mqtt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	h := &peer{ended: make(chan error, 1)}
	conn := s.Serve(ctx, true, h)
	conn.Start()
	expect(t, client, mqtt.Connack{Present: true})
	stopping := errors.New("stopping")
	cancel(stopping)
	closedSocket(t, client)
	client.Close()
	ended(t, h, conn, stopping)
}

func TestEOF(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		h := &peer{}
		client, conn := dial(t, loopback, mqtt.Options{}, h)
		client.Close()
		ended(t, h, conn, io.EOF)
	})
}

// broken is a connection whose writes fail once the peer is gone.
type broken struct {
	net.Conn
	gone   atomic.Bool
	failed chan struct{}
}

func (b *broken) Write(p []byte) (int, error) {
	if !b.gone.Load() {
		return b.Conn.Write(p)
	}
	close(b.failed)
	return 0, syscall.EPIPE
}

// TestLastWords: a client that says DISCONNECT and hangs up has left in an orderly way, although an answer to something before could not
// be written any more, and although nobody had the time to read for a while.
func TestLastWords(t *testing.T) {
	for _, end := range []struct {
		words []packet
		busy  time.Duration // longer than a reader is waited for
		want  error
	}{
		{words: []packet{mqtt.Disconnect{}}},
		{words: []packet{mqtt.Disconnect{}}, busy: 600 * time.Millisecond},
		{want: syscall.EPIPE}, // one that hangs up in silence is gone all the same
	} {
		client, inner := socket(t, true)
		nc := &broken{Conn: inner, failed: make(chan struct{})}
		var conn *mqtt.Conn
		ready := make(chan struct{})
		h := &peer{publish: func(*mqtt.Publish, mqtt.Ack) error {
			<-ready
			nc.gone.Store(true)
			conn.Publish(&mqtt.Publish{Topic: "down"})
			<-nc.failed
			for range 3 {
				conn.Publish(&mqtt.Publish{Topic: "nobody reads this"})
			}
			time.Sleep(end.busy)
			return nil
		}}
		conns := serve(t, nc, mqtt.Options{}, h)
		write(t, client, &mqtt.Connect{ClientID: "d1"})
		expect(t, client, mqtt.Connack{})
		conn = <-conns
		write(t, client, &mqtt.Publish{Topic: "up"})
		write(t, client, end.words...)
		close(ready)
		ended(t, h, conn, end.want)
	}
}

// TestTLS runs over TLS: small and large packets, a graceful end with close_notify, and a reset beneath.
func TestTLS(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	for _, graceful := range []bool{true, false} {
		c, server := socket(t, true)
		h := &peer{}
		conns := serve(t, tls.Server(server, &tls.Config{Certificates: cert.TLS.Certificates}), mqtt.Options{}, h)
		done := make(chan error, 1)
		acked := make(chan struct{})
		client, _, err := mqtt.Open(tls.Client(c, &tls.Config{InsecureSkipVerify: true}), mqtt.ClientOptions{},
			mqtt.ClientHandler{Closed: func(err error) { done <- err }, Acked: func(id uint16) {
				if id == 500 {
					close(acked)
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		conn := <-conns
		for id := range uint16(500) {
			size := 300
			if id%100 == 0 {
				size = 100_000
			}
			client.Publish(&mqtt.Publish{Topic: "t", Payload: make([]byte, size), QoS: 1, ID: id + 1})
		}
		wait(t, acked)
		if graceful {
			conn.Close(nil)
			if err := <-done; err != io.EOF {
				t.Errorf("%v, want EOF from close_notify", err)
			}
		} else {
			conn.Abort(nil)
			if err := <-done; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v, want a reset", err)
			}
		}
		ended(t, h, conn, mqtt.ErrClosed)
		<-client.Done()
	}
}
