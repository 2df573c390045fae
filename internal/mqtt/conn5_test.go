package mqtt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

type packet5 interface{ AppendV5(b []byte) []byte }

// reader reads packets of MQTT 5.0 one by one.
type reader struct {
	nc   net.Conn
	have []byte
}

func (r *reader) next(t testing.TB) any {
	t.Helper()
	for {
		p, n, err := mqtt.ParseV5(r.have)
		if err == nil {
			r.have = r.have[n:]
			return p
		}
		if err != mqtt.ErrShort {
			t.Fatalf("%x: %v", r.have, err)
		}
		b := make([]byte, 4096)
		n, err = r.nc.Read(b)
		if r.have = append(r.have, b[:n]...); err != nil {
			t.Fatalf("%v, with %x", err, r.have)
		}
	}
}

func (r *reader) expect(t testing.TB, want ...any) {
	t.Helper()
	for _, w := range want {
		if got := r.next(t); !reflect.DeepEqual(got, w) {
			t.Fatalf("read %+v, want %+v", got, w)
		}
	}
}

// reason reads a DISCONNECT and the end of the connection.
func (r *reader) reason(t testing.TB, want byte) {
	t.Helper()
	if d, ok := r.next(t).(mqtt.Disconnect); !ok || d.Reason != want {
		t.Fatalf("%+v, want a DISCONNECT with %#x", d, want)
	}
	if n, err := r.nc.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("still open")
	}
}

func write5(t testing.TB, nc net.Conn, packets ...any) {
	t.Helper()
	if _, err := nc.Write(encode5(packets)); err != nil {
		t.Fatal(err)
	}
}

func encode5(packets []any) (b []byte) {
	for _, p := range packets {
		if five, ok := p.(packet5); ok {
			b = five.AppendV5(b)
		} else {
			b = p.(packet).Append(b)
		}
	}
	return b
}

var modern = mqtt.Options{Versions: mqtt.V311 | mqtt.V5}

// dial5 connects raw bytes with MQTT 5.0 and returns the properties of the CONNACK.
func dial5(t testing.TB, o mqtt.Options, h *peer, p *mqtt.Properties) (*reader, *mqtt.Conn, *mqtt.Properties) {
	client, server := socket(t, true)
	o.Versions = mqtt.V311 | mqtt.V5
	conns := serve(t, server, o, h)
	client.SetDeadline(time.Now().Add(patience))
	write(t, client, &mqtt.Connect{Level: 5, ClientID: "d1", Clean: true, KeepAlive: 60, Properties: p})
	r := &reader{nc: client}
	ack, ok := r.next(t).(mqtt.Connack)
	if !ok || ack.Code != mqtt.Success {
		t.Fatalf("%+v", ack)
	}
	conn := <-conns
	if conn.Level() != 5 {
		t.Errorf("level %d", conn.Level())
	}
	return r, conn, ack.Properties
}

func TestGreetingV5(t *testing.T) {
	for _, v := range []struct {
		name string
		o    mqtt.Options
		p    *mqtt.Properties
		want *mqtt.Properties
	}{
		{"defaults", mqtt.Options{}, nil, &mqtt.Properties{MaximumQoS: new(byte(1)), NoRetain: true, NoShared: true, NoSubscriptionID: true, NoWildcards: true,
			ReceiveMaximum: 1024, MaximumPacket: 307204}},
		{"everything", mqtt.Options{Wildcards: true, TopicAliases: 8, MaxUnacked: 70000, MaxPacket: 100, KeepAliveCap: 30 * time.Second},
			&mqtt.Properties{SessionExpiry: new(uint32(60))}, &mqtt.Properties{MaximumQoS: new(byte(1)), NoRetain: true, NoShared: true, NoSubscriptionID: true,
				ReceiveMaximum: 65535, MaximumPacket: 102, AliasMaximum: 8, KeepAlive: new(uint16(20)), SessionExpiry: new(uint32(0))}},
	} {
		t.Run(v.name, func(t *testing.T) {
			h := &peer{}
			r, conn, got := dial5(t, v.o, h, v.p)
			if !reflect.DeepEqual(got, v.want) {
				t.Errorf("CONNACK %+v, want %+v", got, v.want)
			}
			write5(t, r.nc, mqtt.Disconnect{})
			ended(t, h, conn, nil)
		})
	}
}

func TestAcceptV5(t *testing.T) {
	will := func(qos byte) []byte {
		return (&mqtt.Connect{Level: 5, ClientID: "d", Will: &mqtt.Will{Topic: "w", QoS: qos}}).Append(nil)
	}
	for _, v := range []struct {
		name string
		send []byte
		code byte
		want error
	}{
		{"extended authentication", (&mqtt.Connect{Level: 5, Properties: &mqtt.Properties{AuthMethod: "SCRAM"}}).Append(nil), mqtt.BadAuthMethod, mqtt.ErrAuthMethod},
		{"property twice", []byte("\x10\x15\x00\x04MQTT\x05\x00\x00\x3c\x06\x21\x00\x01\x21\x00\x01\x00\x02d1"), mqtt.ProtocolViolation, mqtt.ErrProtocol},
		{"cut off", []byte("\x10\x0f\x00\x04MQTT\x05\x00\x00\x3c\x00\x00\x03d1"), mqtt.MalformedPacket, mqtt.ErrProtocol},
		{"will with QoS 2", will(2), mqtt.QoSUnsupported, mqtt.ErrProtocol},
	} {
		t.Run(v.name, func(t *testing.T) {
			client, server := socket(t, true)
			write(t, client, raw(v.send))
			result := make(chan error, 1)
			go func() {
				_, _, err := mqtt.Accept(server, modern)
				result <- err
			}()
			if ack, ok := (&reader{nc: client}).next(t).(mqtt.Connack); !ok || ack.Code != v.code {
				t.Errorf("%+v, want %#x", ack, v.code)
			}
			closedSocket(t, client)
			client.Close()
			if err := <-result; !errors.Is(err, v.want) {
				t.Errorf("%v, want %v", err, v.want)
			}
		})
	}
}

type raw []byte

func (r raw) Append(b []byte) []byte { return append(b, r...) }

func TestRefuseV5(t *testing.T) {
	for _, v := range []struct {
		name       string
		level      byte
		code       byte
		text, want string
	}{
		{"3.1.1 code to 5.0", 5, mqtt.NotAuthorized, "", "\x20\x03\x00\x87\x00"},
		{"5.0 code with text", 5, mqtt.BadUserOrPassword, "no", "\x20\x08\x00\x86\x05\x1f\x00\x02no"},
		{"5.0 code to 3.1.1", 4, mqtt.BadUserOrPassword, "no", "\x20\x02\x00\x04"},
		{"DEV-058 protocol level 5 where only 3.1.1 is served", 5, mqtt.BadProtocol, "", "\x20\x02\x00\x01"},
	} {
		t.Run(v.name, func(t *testing.T) {
			client, server := socket(t, true)
			write(t, client, &mqtt.Connect{Level: v.level, ClientID: "d1"})
			s, c, err := mqtt.Accept(server, modern)
			if err != nil || c.Level != v.level {
				t.Fatal(c, err)
			}
			done := make(chan error, 1)
			go func() { done <- s.RefuseText(v.code, v.text) }()
			if got, err := io.ReadAll(client); string(got) != v.want || err != nil {
				t.Errorf("%x, %v; want %x", got, err, v.want)
			}
			client.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLevel5In311: whoever writes level 5 into a packet of 3.1.1 gets an answer
// that can be read.
func TestLevel5In311(t *testing.T) {
	t.Run("DEV-058 level 5 in the form of 3.1.1", func(t *testing.T) {
		client, server := socket(t, true)
		if _, err := client.Write([]byte("\x10\x14\x00\x04MQTT\x05\xc2\x00\x3c\x00\x02d1\x00\x01u\x00\x01p")); err != nil {
			t.Fatal(err)
		}
		_, c, err := mqtt.Accept(server, modern)
		if err != mqtt.ErrVersion || c.Level != 5 || c.ClientID != "" {
			t.Error(c, err)
		}
		if got, err := io.ReadAll(client); string(got) != "\x20\x02\x00\x01" || err != nil {
			t.Errorf("%x, %v", got, err)
		}
	})
}

func TestDisconnectV5(t *testing.T) {
	sub := []mqtt.Subscription{{Filter: "a"}}
	for _, v := range []struct {
		name   string
		send   any
		reason byte
		want   error
	}{
		{"second CONNECT", &mqtt.Connect{Level: 5}, mqtt.ProtocolViolation, mqtt.ErrProtocol},
		{"QoS 2", &mqtt.Publish{Topic: "t", QoS: 2, ID: 1}, mqtt.QoSUnsupported, mqtt.ErrProtocol},
		{"too large", &mqtt.Publish{Topic: "t", Payload: make([]byte, 300<<10)}, mqtt.PacketTooLarge, mqtt.ErrTooLarge},
		{"subscription identifier", mqtt.Subscribe{ID: 1, Subs: sub, Properties: &mqtt.Properties{SubscriptionIDs: []uint32{1}}}, mqtt.NoSubscriptionIDs, mqtt.ErrProtocol},
		{"subscription identifier in PUBLISH", &mqtt.Publish{Topic: "t", Properties: &mqtt.Properties{SubscriptionIDs: []uint32{1}}}, mqtt.ProtocolViolation, mqtt.ErrProtocol},
		{"topic alias", &mqtt.Publish{Topic: "t", Properties: &mqtt.Properties{Alias: 3}}, mqtt.TopicAliasInvalid, mqtt.ErrProtocol},
		{"topic alias that was not set", &mqtt.Publish{Properties: &mqtt.Properties{Alias: 1}}, mqtt.ProtocolViolation, mqtt.ErrProtocol},
		{"AUTH", raw("\xf0\x00"), mqtt.ProtocolViolation, mqtt.ErrProtocol},
		{"PINGREQ with a body", raw("\xc0\x01\x00"), mqtt.MalformedPacket, mqtt.ErrProtocol},
		{"wildcard in PUBLISH", &mqtt.Publish{Topic: "a/#"}, mqtt.ProtocolViolation, mqtt.ErrProtocol},
		{"session expiry that came late", mqtt.Disconnect{Properties: &mqtt.Properties{SessionExpiry: new(uint32(5))}}, 0, mqtt.ErrProtocol},
	} {
		t.Run(v.name, func(t *testing.T) {
			h := &peer{publish: func(*mqtt.Publish, mqtt.Ack) error { t.Error("handled"); return nil }}
			r, conn, _ := dial5(t, mqtt.Options{TopicAliases: 2}, h, nil)
			go r.nc.Write(encode5([]any{v.send}))
			if v.reason != 0 {
				r.reason(t, v.reason)
			} else {
				closedSocket(t, r.nc)
			}
			r.nc.Close()
			ended(t, h, conn, v.want)
		})
	}
}

func TestCloseV5(t *testing.T) {
	named := &mqtt.ReasonError{Code: mqtt.TakenOver, Text: "elsewhere"}
	for _, v := range []struct {
		name   string
		cause  error
		reason byte
	}{
		{"named", named, mqtt.TakenOver}, {"none", nil, mqtt.AdministrativeAction},
		{"shutting down", context.Canceled, mqtt.ShuttingDown}, {"any other", errors.New("any"), mqtt.Unspecified},
	} {
		t.Run(v.name, func(t *testing.T) {
			h := &peer{}
			r, conn, _ := dial5(t, mqtt.Options{}, h, nil)
			conn.Publish(&mqtt.Publish{Topic: "last", Payload: []byte{1}})
			conn.Close(v.cause)
			r.expect(t, &mqtt.Publish{Topic: "last", Payload: []byte{1}})
			r.reason(t, v.reason)
			r.nc.Close()
			if err := <-h.ended; v.cause != nil && err != v.cause {
				t.Error(err)
			}
		})
	}
	t.Run("with a will from the client", func(t *testing.T) {
		h := &peer{}
		r, _, _ := dial5(t, mqtt.Options{}, h, nil)
		write5(t, r.nc, mqtt.Disconnect{Reason: mqtt.WithWill, Properties: &mqtt.Properties{Reason: "bye"}})
		closedSocket(t, r.nc)
		var e *mqtt.ReasonError
		if err := <-h.ended; !errors.As(err, &e) || e.Code != mqtt.WithWill || e.Text != "bye" {
			t.Error(err)
		}
	})
}

func TestKeepAliveV5(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &peer{}
		client, server := net.Pipe()
		conns := serve(t, server, modern, h)
		write(t, client, &mqtt.Connect{Level: 5, ClientID: "d1", KeepAlive: 10})
		r := &reader{nc: client}
		r.next(t)
		begin := time.Now()
		r.reason(t, mqtt.KeepAliveTimeout)
		if d := time.Since(begin); d < 15*time.Second || d > 16*time.Second {
			t.Error(d)
		}
		ended(t, h, <-conns, mqtt.ErrKeepAlive)
	})
}

// TestAckRefuse: refusals keep their place among the acknowledgements.
func TestAckRefuse(t *testing.T) {
	const n = 200
	t.Run("5.0", func(t *testing.T) {
		acks := make(chan mqtt.Ack, n)
		h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error { acks <- ack; return nil }}
		r, conn, _ := dial5(t, mqtt.Options{}, h, nil)
		go func() {
			var all []mqtt.Ack
			for range n {
				all = append(all, <-acks)
			}
			for i, a := range slices.Backward(all) {
				if i%3 == 0 {
					a.Refuse(byte(0x80 + i%16))
					a.Done()
				} else {
					a.Done()
				}
			}
		}()
		for id := range uint16(n) {
			write5(t, r.nc, &mqtt.Publish{Topic: "t", QoS: 1, ID: id + 1})
		}
		for i := range n {
			want := mqtt.Puback{ID: uint16(i + 1)}
			if i%3 == 0 {
				want.Reason = byte(0x80 + i%16)
			}
			r.expect(t, want)
		}
		write5(t, r.nc, mqtt.Disconnect{})
		ended(t, h, conn, nil)
	})
	t.Run("3.1.1 has no refusal", func(t *testing.T) {
		h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error { ack.Refuse(mqtt.Denied); return nil }}
		client, conn := dial(t, true, mqtt.Options{}, h)
		write(t, client, &mqtt.Publish{Topic: "t", QoS: 1, ID: 1})
		closedSocket(t, client)
		client.Close()
		var e *mqtt.ReasonError
		if err := <-h.ended; !errors.As(err, &e) || e.Code != mqtt.Denied {
			t.Error(err)
		}
		<-conn.Done()
	})
}

// TestReceiveMaximum: the client's limit holds back what comes later, in order, and ours ends a connection that passes it.
func TestReceiveMaximum(t *testing.T) {
	t.Run("the client's", func(t *testing.T) {
		h := &peer{}
		r, conn, _ := dial5(t, mqtt.Options{}, h, &mqtt.Properties{ReceiveMaximum: 2})
		var all []any
		for id := range uint16(6) {
			p := &mqtt.Publish{Topic: "t", Payload: []byte{byte(id)}, QoS: 1, ID: id + 1}
			if id == 3 {
				p.QoS, p.ID = 0, 0
			}
			all = append(all, p)
			if err := conn.Publish(p); err != nil {
				t.Fatal(err)
			}
		}
		r.expect(t, all[:2]...)
		write5(t, r.nc, mqtt.Pingreq{})
		r.expect(t, mqtt.Pingresp{}) // and nothing before it
		write5(t, r.nc, mqtt.Puback{ID: 1})
		r.expect(t, all[2:4]...)
		write5(t, r.nc, mqtt.Puback{ID: 3}, mqtt.Puback{ID: 2, Reason: mqtt.Unspecified}, mqtt.Pingreq{})
		r.expect(t, all[4], all[5], mqtt.Pingresp{})
		conn.Close(nil)
		r.reason(t, mqtt.AdministrativeAction)
		r.nc.Close()
		ended(t, h, conn, mqtt.ErrClosed)
	})
	t.Run("ours", func(t *testing.T) {
		h := &peer{publish: func(*mqtt.Publish, mqtt.Ack) error { return nil }}
		r, conn, _ := dial5(t, mqtt.Options{MaxUnacked: 3}, h, nil)
		for id := range uint16(4) {
			write5(t, r.nc, &mqtt.Publish{Topic: "t", QoS: 1, ID: id + 1})
		}
		r.reason(t, mqtt.ReceiveExceeded)
		r.nc.Close()
		ended(t, h, conn, mqtt.ErrProtocol)
	})
}

func TestPeerMaximumPacket(t *testing.T) {
	h := &peer{}
	r, conn, _ := dial5(t, mqtt.Options{}, h, &mqtt.Properties{MaximumPacket: 64})
	if err := conn.Publish(&mqtt.Publish{Topic: "t", Payload: make([]byte, 60)}); !errors.Is(err, mqtt.ErrTooLarge) {
		t.Errorf("66 bytes: %v", err)
	}
	fits := &mqtt.Publish{Topic: "t", Payload: make([]byte, 58)}
	if err := conn.Publish(fits); err != nil {
		t.Error(err)
	}
	r.expect(t, fits)
	conn.Close(&mqtt.ReasonError{Code: mqtt.Denied, Text: string(bytes.Repeat([]byte("long"), 50))})
	r.expect(t, mqtt.Disconnect{Reason: mqtt.Denied})
	r.nc.Close()
	<-conn.Done()
}

// TestClientV5 runs client and server of the engine against each other.
func TestClientV5(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		full := &mqtt.Properties{UTF8: true, ContentType: "application/json", ResponseTopic: "r", Correlation: []byte{1, 2}, Expiry: new(uint32(60)),
			User: []mqtt.UserProperty{{Name: "a", Value: "b"}, {Name: "a", Value: "c"}}}
		var conn *mqtt.Conn
		ready, settled := make(chan struct{}), make(chan struct{})
		h := &peer{subscribe: func(subs []mqtt.Subscription) ([]byte, error) { return []byte{1, mqtt.Denied, mqtt.FilterInvalid}, nil },
			acked: func(uint16) { close(settled) }}
		h.publish = func(p *mqtt.Publish, ack mqtt.Ack) error {
			<-ready
			switch {
			case p.Topic == "denied":
				ack.Refuse(mqtt.Denied)
				return nil
			case p.Properties == nil || p.Properties.Alias == 0:
				t.Errorf("%+v", p)
			}
			ack.Done()
			back := *p.Properties
			back.Alias = 0
			return conn.Publish(&mqtt.Publish{Topic: "down/" + p.Topic, Payload: p.Payload, QoS: 1, ID: 9, Properties: &back})
		}
		c, server := socket(t, loopback)
		o := modern
		o.TopicAliases, o.Wildcards = 4, true
		conns := serve(t, server, o, h)
		got, refused, acked := make(chan mqtt.Publish, 9), make(chan byte, 9), make(chan uint16, 9)
		closed := make(chan error, 1)
		client, _, err := mqtt.Open(c, mqtt.ClientOptions{Level: 5, ClientID: "d1", Clean: true, KeepAlive: 60, Properties: &mqtt.Properties{ReceiveMaximum: 10}},
			mqtt.ClientHandler{Message: func(p *mqtt.Publish) { got <- *p }, Refused: func(_ uint16, reason byte) { refused <- reason },
				Acked: func(id uint16) { acked <- id }, Closed: func(err error) { closed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		if p := client.Properties(); p == nil || p.AliasMaximum != 4 || p.NoWildcards {
			t.Errorf("%+v", p)
		}
		conn = <-conns
		close(ready)
		codes, err := client.Subscribe(t.Context(), mqtt.Subscription{Filter: "down/#", QoS: 1}, mqtt.Subscription{Filter: "b"}, mqtt.Subscription{Filter: "c"})
		if err != nil || !slices.Equal(codes, []byte{1, mqtt.Denied, mqtt.FilterInvalid}) {
			t.Fatal(codes, err)
		}
		p := *full
		p.Alias = 2
		client.Publish(&mqtt.Publish{Topic: "up", Payload: []byte("hi"), QoS: 1, ID: 1, Properties: &p})
		if m := <-got; m.Topic != "down/up" || string(m.Payload) != "hi" || !reflect.DeepEqual(m.Properties, full) {
			t.Fatalf("%+v with %+v", m, m.Properties)
		}
		<-acked
		wait(t, settled)
		client.Publish(&mqtt.Publish{Topic: "denied", QoS: 1, ID: 2})
		if reason := <-refused; reason != mqtt.Denied {
			t.Errorf("%#x", reason)
		}
		if err := client.Unsubscribe(t.Context(), "down/#"); err != nil {
			t.Error(err)
		}
		if err := client.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		conn.Close(&mqtt.ReasonError{Code: mqtt.QuotaExceeded, Text: "enough"})
		var e *mqtt.ReasonError
		if err := <-closed; !errors.As(err, &e) || e.Code != mqtt.QuotaExceeded || e.Text != "enough" {
			t.Error(err)
		}
		<-client.Done()
		<-conn.Done()
	})
}

// TestUnsubackV5: what was not subscribed to, or not granted, is said to be so.
func TestUnsubackV5(t *testing.T) {
	h := &peer{subscribe: func([]mqtt.Subscription) ([]byte, error) { return []byte{1, mqtt.Denied}, nil }}
	r, conn, _ := dial5(t, mqtt.Options{}, h, nil)
	write5(t, r.nc, mqtt.Subscribe{ID: 1, Subs: []mqtt.Subscription{{Filter: "a", QoS: 1}, {Filter: "b"}}}, mqtt.Unsubscribe{ID: 2, Filters: []string{"a", "b", "c"}},
		mqtt.Unsubscribe{ID: 3, Filters: []string{"a"}})
	none := mqtt.NoSubscription
	r.expect(t, mqtt.Suback{ID: 1, Codes: []byte{1, mqtt.Denied}}, mqtt.Unsuback{ID: 2, Codes: []byte{0, none, none}}, mqtt.Unsuback{ID: 3, Codes: []byte{none}})
	write5(t, r.nc, mqtt.Disconnect{})
	ended(t, h, conn, nil)
}

// TestAliasV5: a topic is named once and stands for itself afterwards, and may be replaced.
func TestAliasV5(t *testing.T) {
	topics := make(chan string, 9)
	h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error { topics <- p.Topic; ack.Done(); return nil }}
	r, conn, _ := dial5(t, mqtt.Options{TopicAliases: 2}, h, nil)
	alias := func(n uint16, topic string) *mqtt.Publish {
		return &mqtt.Publish{Topic: topic, Payload: []byte("x"), Properties: &mqtt.Properties{Alias: n}}
	}
	write5(t, r.nc, alias(1, "a"), alias(2, "b"), alias(1, ""), alias(2, ""), alias(1, "c"), alias(1, ""))
	for _, want := range []string{"a", "b", "a", "b", "c", "c"} {
		if got := <-topics; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	write5(t, r.nc, mqtt.Disconnect{})
	ended(t, h, conn, nil)
}

// TestOldClientOnModernServer: 3.1.1 stays as it is where both are allowed.
func TestOldClientOnModernServer(t *testing.T) {
	h := &peer{subscribe: func([]mqtt.Subscription) ([]byte, error) { return []byte{mqtt.Denied, 1}, nil }}
	client, conn := dial(t, true, modern, h)
	if conn.Level() != 4 {
		t.Error(conn.Level())
	}
	write(t, client, mqtt.Subscribe{ID: 1, Subs: []mqtt.Subscription{{Filter: "a"}, {Filter: "b", QoS: 1}}}, &mqtt.Publish{Topic: "t", QoS: 1, ID: 1})
	expectAnywhere(t, client, mqtt.Puback{ID: 1}, mqtt.Suback{ID: 1, Codes: []byte{mqtt.SubFailure, 1}})
	conn.Close(&mqtt.ReasonError{Code: mqtt.Denied})
	closedSocket(t, client)
	client.Close()
	<-h.ended
	<-conn.Done()
}
