package hubamqp_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/navetest"
	nodes "github.com/nave-hub/nave/internal/node"
)

// to addresses a device or module.
func to(id string) string {
	device, module, is := strings.Cut(id, "/")
	if is {
		return "/devices/" + device + "/modules/" + module + "/messages/devicebound"
	}
	return "/devices/" + device + "/messages/devicebound"
}

func command(address, body string, app ...string) *amqp.Message {
	m := &amqp.Message{Properties: &amqp.Properties{To: address}, Data: [][]byte{[]byte(body)}}
	for n := 0; n+1 < len(app); n += 2 {
		m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: app[n], Value: app[n+1]})
	}
	return m
}

// rejection wants a rejected outcome and returns its error and the number in
// its text.
func rejection(t testing.TB, st amqp.State) (e *amqp.Error, code int) {
	t.Helper()
	r, ok := st.(amqp.Rejected)
	if !ok || r.Error == nil {
		t.Fatalf("the outcome is %T %v", st, st)
	}
	var body struct{ ErrorCode int }
	if err := json.Unmarshal([]byte(r.Error.Description), &body); err != nil {
		t.Errorf("the description is %q: %v", r.Error.Description, err)
	}
	if id, _ := r.Error.Info.Get("com.microsoft:tracking-id").(string); id == "" {
		t.Errorf("the error has no tracking id")
	}
	if n := r.Error.Info.Get("com.microsoft:error-code"); n != int32(body.ErrorCode) || !strings.HasSuffix(r.Error.Description, `,"info":null}`) {
		t.Errorf("the error's code is %v, the description %s", n, r.Error.Description)
	}
	return r.Error, body.ErrorCode
}

func wantRejected(t testing.TB, st amqp.State, condition amqp.Symbol, code int) {
	t.Helper()
	if e, n := rejection(t, st); e.Condition != condition || n != code {
		t.Errorf("rejected with %s %d, want %s %d", e.Condition, n, condition, code)
	}
}

func wantAccepted(t testing.TB, st amqp.State) {
	t.Helper()
	if st != (amqp.Accepted{}) {
		t.Fatalf("the outcome is %T %v", st, st)
	}
}

func TestServiceConnection(t *testing.T) {
	k := navetest.Start(t)
	plain := func(user, password string) func(*amqp.ClientOptions) {
		return func(o *amqp.ClientOptions) {
			o.Mechanism, o.Response = amqp.Plain, []byte("\x00"+user+"\x00"+password)
		}
	}
	t.Run("SVC-201 bare AMQP header, then CBS", func(t *testing.T) {
		service(t, k).sender("/messages/devicebound")
	})
	t.Run("SVC-202 ANONYMOUS and MSSBCBS then CBS, PLAIN with a token", func(t *testing.T) {
		for _, mechanism := range []string{amqp.Anonymous, amqp.MSSBCBS} {
			b := dialBack(t, k, func(o *amqp.ClientOptions) { o.Mechanism = mechanism })
			b.put(k.Policy("service"))
			b.sender("/messages/devicebound")
		}
		dialBack(t, k, plain("service@sas.root.hub", k.Policy("service"))).sender("/messages/devicebound")
	})
	t.Run("SVC-203 PLAIN with a wrong password", func(t *testing.T) {
		if _, err := tryBack(t, k, plain("service@sas.root.hub", strings.Replace(k.Policy("service"), "sig=", "sig=AAAA", 1))); err == nil || !strings.Contains(err.Error(), "SASL outcome 1") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("SVC-204 PLAIN with a policy's key", func(t *testing.T) {
		p, _ := k.Hub.Policy("iothubowner")
		dialBack(t, k, plain("iothubowner", p.Primary)).receiver("hub/ConsumerGroups/$Default/Partitions/0")
		if _, err := tryBack(t, k, plain("iothubowner", cred.NewKey())); err == nil {
			t.Error("another key is let in")
		}
	})
	t.Run("a deleted token carries no link", func(t *testing.T) {
		b := dialBack(t, k)
		cbs := b.node("$cbs")
		cbs.put(k.Policy("service"))
		f := b.receiver(feedbackAddress)
		if status, text := cbs.put("", func(m *amqp.Message) { m.ApplicationProperties[0].Value = "delete-token" }); status != 200 {
			t.Errorf("the answer is %d %s", status, text)
		}
		_, err := b.trySender("/messages/devicebound")
		if e := condition(t, err); e.Condition != amqp.UnauthorizedAccess {
			t.Errorf("condition is %v", e)
		}
		if e := ended(t, f.gone); e.Condition != amqp.UnauthorizedAccess {
			t.Errorf("the link that was there ended with %v", e)
		}
	})
	t.Run("SVC-210 attach before any token", func(t *testing.T) {
		_, err := dialBack(t, k).trySender("/messages/devicebound")
		if e := condition(t, err); e.Condition != amqp.UnauthorizedAccess {
			t.Errorf("condition is %v", e)
		}
	})
	t.Run("SVC-211 attach with a policy that lacks the right", func(t *testing.T) {
		b := dialBack(t, k)
		b.node("$cbs").put(k.Policy("registryRead"))
		_, err := b.trySender("/messages/devicebound")
		if e := condition(t, err); e.Condition != amqp.UnauthorizedAccess {
			t.Errorf("condition is %v", e)
		}
	})
	t.Run("SVC-213 WebSocket", func(t *testing.T) {
		nc, err := tls.Dial("tcp", k.Node.Address("https"), k.TLS())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		fmt.Fprintf(nc, "GET /$iothub/websocket?iothub-no-client-cert=true HTTP/1.1\r\nHost: hub.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: AMQPWSB10\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || r.StatusCode != 101 || r.Header.Get("Sec-WebSocket-Protocol") != "AMQPWSB10" {
			t.Fatalf("answer is %v %v", r, err)
		}
		// A binary message with the AMQP header, masked with zeros.
		nc.Write(append([]byte{0x82, 0x88, 0, 0, 0, 0}, "AMQP\x00\x01\x00\x00"...))
		var head [10]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil || string(head[2:]) != "AMQP\x00\x01\x00\x00" {
			t.Errorf("answer is %q %v", head, err)
		}
	})
	t.Run("SVC-214 unknown address", func(t *testing.T) {
		_, err := service(t, k).trySender("/messages/nope")
		if e := condition(t, err); e.Condition != amqp.NotFound {
			t.Errorf("condition is %v", e)
		}
	})
}

func TestServiceTokens(t *testing.T) {
	k := navetest.Start(t)
	expired := func() string {
		p, _ := k.Hub.Policy("service")
		token, err := cred.Sign(k.Hub.Host(), p.Primary, "service", k.Clock.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	t.Run("CBS correlation", func(t *testing.T) {
		n := dialBack(t, k).node("$cbs")
		for name, id := range map[string]any{"SVC-205 uuid": amqp.UUID{1, 2, 3}, "SVC-206 ulong": uint64(7), "SVC-207 none": nil, "string": "s"} {
			t.Run(name, func(t *testing.T) {
				r := n.ask(&amqp.Message{Properties: &amqp.Properties{MessageID: id, ReplyTo: "replies"}, Value: k.Policy("service"),
					ApplicationProperties: amqp.Map{{Key: "operation", Value: "put-token"}, {Key: "type", Value: "servicebus.windows.net:sastoken"}, {Key: "name", Value: "hub.test"}}})
				if r.Properties.CorrelationID != id {
					t.Errorf("correlation-id is %T %v", r.Properties.CorrelationID, r.Properties.CorrelationID)
				}
			})
		}
	})
	t.Run("SVC-208 good token", func(t *testing.T) {
		if status, text := dialBack(t, k).node("$cbs").put(k.Policy("service")); status != 200 || text == "" {
			t.Errorf("answer is %d %q", status, text)
		}
	})
	t.Run("SVC-209 expired token", func(t *testing.T) {
		b := dialBack(t, k)
		n := b.node("$cbs")
		if status, text := n.put(expired()); status != 401 || text == "" {
			t.Errorf("answer is %d %q", status, text)
		}
		if status, _ := n.put(k.Policy("service")); status != 200 {
			t.Errorf("a good token gets %d then", status)
		}
	})
}

func TestServiceTokenExpiry(t *testing.T) {
	k := navetest.Start(t)
	k.Device("d1")
	p, _ := k.Hub.Policy("service")
	short, err := cred.Sign(k.Hub.Host(), p.Primary, "service", k.Clock.Now().Add(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("SVC-212 a second token before the first expires", func(t *testing.T) {
		renewed, lapsed := dialBack(t, k), dialBack(t, k)
		renewed.put(short)
		lapsed.put(short)
		stays, ends := renewed.sender("/messages/devicebound"), lapsed.sender("/messages/devicebound")
		renewed.put(k.Policy("service"))
		k.Clock.Add(20 * time.Minute)
		if e := ended(t, ends.gone); e.Condition != amqp.UnauthorizedAccess {
			t.Errorf("the other link ends with %v", e)
		}
		wantAccepted(t, stays.message(command(to("d1"), "x")))
	})
}

// receive takes the next message of a device.
func receive(t *testing.T, k *navetest.Kit, d *navetest.Device) *nave.C2D {
	t.Helper()
	c, err := line(t, d, k).Receive(t.Context(), 0)
	if err != nil || c == nil {
		t.Fatalf("received %v %v", c, err)
	}
	return c
}

func TestSendToDevice(t *testing.T) {
	k := navetest.Start(t)
	b := service(t, k)
	s := b.sender("/messages/devicebound")
	d1 := k.Device("d1")
	t.Run("SVC-215 no message-id, empty body, offline device", func(t *testing.T) {
		wantAccepted(t, s.message(command(to("d1"), "")))
		r := k.REST("GET", "/devices/d1", "")
		if !strings.Contains(string(r.Body), `"cloudToDeviceMessageCount":1`) {
			t.Errorf("device is %s", r.Body)
		}
		if c := receive(t, k, d1); len(c.Body) != 0 || len(c.System.MessageID) != 36 || c.System.To != to("d1") {
			t.Errorf("message is %+v", c)
		}
	})
	t.Run("SVC-216 to missing", func(t *testing.T) {
		for _, address := range []string{"", "/devices//messages/devicebound", "/devices/d1/messages/events", "d1"} {
			wantRejected(t, s.message(command(address, "x")), amqp.NotAllowed, 400003)
		}
	})
	t.Run("SVC-217 unknown device", func(t *testing.T) {
		wantRejected(t, s.message(command(to("none"), "x")), amqp.NotFound, 404001)
		wantRejected(t, s.message(command(to("d1/none"), "x")), amqp.NotFound, 404010)
	})
	t.Run("SVC-218 51st message", func(t *testing.T) {
		k.Device("full")
		for range 50 {
			wantAccepted(t, s.message(command(to("full"), "x")))
		}
		wantRejected(t, s.message(command(to("full"), "x")), amqp.ResourceLimitExceeded, 403004)
	})
	t.Run("SVC-219 nearly 64 KiB", func(t *testing.T) {
		k.Device("large")
		for _, n := range []int{65000, 65536 - 512} {
			wantAccepted(t, s.message(command(to("large"), strings.Repeat("x", n))))
		}
	})
	t.Run("SVC-220 256000 bytes", func(t *testing.T) {
		wantRejected(t, s.message(command(to("d1"), strings.Repeat("x", 256000))), amqp.MessageSizeExceeded, 413001)
		wantAccepted(t, s.message(command(to("d1"), "after")))
	})
	t.Run("over max-message-size", func(t *testing.T) {
		s := b.sender("/messages/devicebound", func(l *amqp.Link) { l.PeerMax = 0 })
		s.PeerMax = 0 // as a client that does not look
		wantRejected(t, s.message(command(to("d1"), strings.Repeat("x", 2<<20))), amqp.MessageSizeExceeded, 413001)
		wantAccepted(t, s.message(command(to("d1"), "after")))
	})
	t.Run("SVC-221 expiry one hour ago", func(t *testing.T) {
		m := command(to("d1"), "x")
		for _, at := range []time.Duration{-time.Hour, 72 * time.Hour} {
			m.Properties.AbsoluteExpiryTime = amqp.NewTimestamp(k.Clock.Now().Add(at))
			wantRejected(t, s.message(m), "com.microsoft:argument-error", 403009)
		}
	})
}

func TestSendAddresses(t *testing.T) {
	k := navetest.Start(t)
	b := service(t, k)
	s := b.sender("/messages/devicebound")
	k.Device("d1")
	t.Run("SVC-222 absolute address", func(t *testing.T) {
		for _, address := range []string{"amqps://hub.test:5671/messages/deviceBound", "messages/devicebound", "amqps://hub.test/messages/devicebound"} {
			wantAccepted(t, b.sender(address).message(command(to("d1"), "x")))
		}
	})
	t.Run("SVC-223 encoded device id", func(t *testing.T) {
		d := k.Device("a+b")
		wantAccepted(t, s.message(command("/devices/a%2Bb/messages/devicebound", "x")))
		receive(t, k, d)
		wantAccepted(t, s.message(command("/devices/a+b/messages/deviceBound", "x")))
		receive(t, k, d)
		percent := k.Device("100%25")
		wantAccepted(t, s.message(command("/devices/100%25/messages/devicebound", "x")))
		receive(t, k, percent)
	})
	t.Run("SVC-224 module", func(t *testing.T) {
		m := k.Device("d1/m1")
		wantAccepted(t, s.message(command(to("d1/m1"), "for the module")))
		if c := receive(t, k, m); string(c.Body) != "for the module" {
			t.Errorf("message is %+v", c)
		}
	})
}

func TestSendContent(t *testing.T) {
	k := navetest.Start(t)
	s := service(t, k).sender("/messages/devicebound")
	k.Device("d1")
	t.Run("properties", func(t *testing.T) {
		d := k.Device("p")
		m := &amqp.Message{Properties: &amqp.Properties{To: to("p"), MessageID: amqp.UUID{15: 1}, CorrelationID: uint64(9), UserID: []byte("u"),
			ContentType: "text/plain", ContentEncoding: "utf-8"}, Value: "text",
			ApplicationProperties: amqp.Map{{Key: "iothub-ack", Value: "Full"}, {Key: "n", Value: int32(5)}, {Key: "b", Value: true}, {Key: "f", Value: 1.5}, {Key: "s", Value: "ä"}}}
		wantAccepted(t, s.message(m))
		c := receive(t, k, d)
		y := c.System
		if y.MessageID != "00000000-0000-0000-0000-000000000001" || y.CorrelationID != "9" || y.UserID != "u" || y.ContentType != "text/plain" ||
			y.ContentEncoding != "utf-8" || y.Ack != nave.AckFull || string(c.Body) != "text" {
			t.Errorf("message is %+v", c)
		}
		if fmt.Sprint(c.App) != "[{n 5 true} {b true true} {f 1.5 true} {s ä true}]" {
			t.Errorf("properties are %v", c.App)
		}
	})
	t.Run("bad input", func(t *testing.T) {
		wantRejected(t, s.message(command(to("d1"), "x", "iothub-ack", "perhaps")), "com.microsoft:argument-error", 400004)
		wantRejected(t, s.message(command(to("d1"), "x", "näme", "v")), "com.microsoft:argument-error", 400004)
		s.transfer(nil, 0)
		wantRejected(t, s.next(), "com.microsoft:argument-error", 400026)
		s.transfer([]byte{0, 0x53, 0x75, 0xa0}, 0)
		wantRejected(t, s.next(), "com.microsoft:argument-error", 400026)
		s.transfer([]byte{0, 0x53, 0x75, 0xa0, 0}, 0x80013700)
		wantRejected(t, s.next(), amqp.NotImplemented, 404013)
	})
	t.Run("injected", func(t *testing.T) {
		for name, c := range map[string]struct {
			code      int
			condition amqp.Symbol
		}{"SVC-262 server error": {500001, amqp.InternalError}, "SVC-263 suspended": {403001, "com.microsoft:iot-hub-suspended"}} {
			t.Run(name, func(t *testing.T) {
				if _, err := k.Hub.InjectFault(hub.Rule{Op: "c2d.send", Code: c.code, Count: 1}); err != nil {
					t.Fatal(err)
				}
				wantRejected(t, s.message(command(to("d1"), "x")), c.condition, c.code)
				wantAccepted(t, s.message(command(to("d1"), "x")))
			})
		}
	})
	t.Run("order", func(t *testing.T) {
		d := k.Device("order")
		for n := range 40 {
			m, err := command(to("order"), fmt.Sprint(n)).Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			s.transfer(m, 0)
		}
		for range 40 {
			wantAccepted(t, s.next())
		}
		for n := range 40 {
			if c := receive(t, k, d); string(c.Body) != fmt.Sprint(n) {
				t.Fatalf("message %d is %s", n, c.Body)
			}
		}
	})
}

func TestSendQuota(t *testing.T) {
	k := navetest.Start(t, func(c *nodes.Config) { c.Hub.Quota.Enforce, c.Hub.Quota.Daily = true, 1 })
	k.Clock.Freeze(time.Now()) // or the quota begins anew at midnight
	k.Device("d1")
	s := service(t, k).sender("/messages/devicebound")
	t.Run("SVC-265 quota exhausted", func(t *testing.T) {
		wantAccepted(t, s.message(command(to("d1"), "x")))
		wantRejected(t, s.message(command(to("d1"), "x")), "com.microsoft:quota-exceeded", 403002)
	})
}
