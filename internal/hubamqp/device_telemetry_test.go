package hubamqp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	az "github.com/Azure/go-amqp"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/navetest"
)

// batch encodes messages as one of format 0x80013700.
func batch(t testing.TB, envelope amqp.Map, inner ...*amqp.Message) []byte {
	m := &amqp.Message{ApplicationProperties: envelope}
	for _, i := range inner {
		m.Data = append(m.Data, encoded(t, i))
	}
	return encoded(t, m)
}

const batchFormat = 0x80013700

func text(s string) *amqp.Message { return &amqp.Message{Data: [][]byte{[]byte(s)}} }

// sending connects a new device that sends telemetry.
func sending(t *testing.T, k *navetest.Kit) (*navetest.Device, *thread) {
	names.Lock()
	names.n++
	d := k.Device(fmt.Sprint("d", names.n))
	names.Unlock()
	return d, device(t, k, d).sender(events(d))
}

func TestTelemetry(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	t.Run("DEV-168 message with properties", func(t *testing.T) {
		d, l := sending(t, k)
		l.accepted(encoded(t, &amqp.Message{
			Properties: &amqp.Properties{MessageID: "mid", CorrelationID: uint64(77), UserID: []byte("me"), ContentType: "application/json", ContentEncoding: "utf-8"},
			ApplicationProperties: amqp.Map{{Key: "a", Value: "b"}, {Key: "n", Value: int32(-5)}, {Key: "t", Value: true}, {Key: "iothub-connection-device-id", Value: "liar"},
				{Key: "iothub-creation-time-utc", Value: "2026-01-01T00:00:00Z"}},
			Data: [][]byte{[]byte(`{"x":`), []byte(`1}`)}}))
		e := stored(k, d, 1)[0]
		s := e.System
		if string(e.Body) != `{"x":1}` || s.MessageID != "mid" || s.CorrelationID != "77" || s.UserID != "me" || s.ContentType != "application/json" ||
			s.ContentEncoding != "utf-8" || s.Created != "2026-01-01T00:00:00Z" || e.From != d.ID || len(e.App) != 3 {
			t.Errorf("%+v", e)
		}
		for name, want := range map[string]string{"a": "b", "n": "-5", "t": "true"} {
			if v, _ := e.AppValue(name); v != want {
				t.Errorf("%s is %q", name, v)
			}
		}
		l.accepted(encoded(t, &amqp.Message{Value: "as a string"}))
		l.accepted(nil)
		l.rejected([]byte{0, 0x53, 0x75}, "com.microsoft:argument-error")
		l.rejected(encoded(t, &amqp.Message{Sequence: [][]any{{"x"}}}), "com.microsoft:argument-error")
	})
	t.Run("DEV-169 max-message-size", func(t *testing.T) {
		if _, l := sending(t, k); l.PeerMax != 262144 {
			t.Errorf("%d", l.PeerMax)
		}
	})
	t.Run("DEV-170 batch of three", func(t *testing.T) {
		d, l := sending(t, k)
		l.accepted(batch(t, amqp.Map{{Key: "not", Value: "inherited"}}, text("one"), &amqp.Message{Data: [][]byte{[]byte("two")}, ApplicationProperties: amqp.Map{{Key: "n", Value: "2"}}}, text("three")), batchFormat)
		all := stored(k, d, 3)
		for i, want := range []string{"one", "two", "three"} {
			if string(all[i].Body) != want || i != 1 && len(all[i].App) != 0 {
				t.Errorf("%d: %s %v", i, all[i].Body, all[i].App)
			}
		}
		l.rejected(batch(t, nil, text("good"), &amqp.Message{Value: uint64(1)}), "com.microsoft:argument-error", batchFormat)
		l.accepted(batch(t, nil), batchFormat)
	})
	t.Run("DEV-171 five messages of 64536 bytes", func(t *testing.T) {
		d, l := sending(t, k)
		one := text(strings.Repeat("x", 64536))
		l.accepted(batch(t, nil, one, one, one, one), batchFormat)
		l.accepted(batch(t, nil, one), batchFormat)
		if n := len(stored(k, d, 5)); n != 5 {
			t.Errorf("%d", n)
		}
	})
}

func TestTelemetryLimits(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	t.Run("DEV-172 300 KiB", func(t *testing.T) {
		_, l := sending(t, k)
		l.PeerMax = 0 // this client does not look
		for _, size := range []int{300 << 10, 255<<10 + 10000} {
			e := l.rejected(data(strings.Repeat("x", size)), amqp.MessageSizeExceeded)
			if !strings.HasPrefix(e.Description, "Message size is ") || !strings.HasSuffix(e.Description, "bytes which is greater than the max size 262144 bytes allowed.") {
				t.Error(e.Description)
			}
		}
		l.accepted(encoded(t, &amqp.Message{Data: [][]byte{bytes.Repeat([]byte("x"), 255<<10)}, ApplicationProperties: amqp.Map{{Key: "name", Value: "value"}}}))
		l.rejected(batch(t, nil, text(strings.Repeat("x", 140<<10)), text(strings.Repeat("x", 140<<10))), amqp.MessageSizeExceeded, batchFormat)
	})
	t.Run("DEV-173 3000 KiB", func(t *testing.T) {
		_, l := sending(t, k)
		l.PeerMax = 0
		l.rejected(data(strings.Repeat("x", 3000<<10)), amqp.MessageSizeExceeded)
		l.accepted(data("after"))
	})
	t.Run("DEV-174 settled", func(t *testing.T) {
		d, l := sending(t, k)
		l.put(data("settled"), 0, true)
		stored(k, d, 1)
		if len(l.out) != 0 {
			t.Error("a disposition came")
		}
	})
	t.Run("DEV-175 dt-subject", func(t *testing.T) {
		d, l := sending(t, k)
		l.accepted(encoded(t, &amqp.Message{Data: [][]byte{nil}, MessageAnnotations: amqp.Map{{Key: amqp.Symbol("dt-subject"), Value: "thermostat"}}}))
		if e := stored(k, d, 1)[0]; e.System.Subject != "thermostat" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("DEV-151 3000 transfers", func(t *testing.T) {
		d, l := sending(t, k)
		go func() {
			for i := range 6000 {
				l.put(data(fmt.Sprint(i)), 0, false)
			}
		}()
		for range 6000 {
			if st := l.outcome(); st != (amqp.Accepted{}) {
				t.Fatalf("%#v", st)
			}
		}
		all := stored(k, d, 6000)
		for i, e := range all {
			if string(e.Body) != fmt.Sprint(i) {
				t.Fatalf("event %d is %s", i, e.Body)
			}
		}
	})
	t.Run("DEV-200 correlation id of a device", func(t *testing.T) {
		d := k.Device("java")
		p := device(t, k, d)
		p.sender(events(d), attachment{snd: amqp.SettleMixed, props: amqp.Map{{Key: amqp.Symbol("com.microsoft:channel-correlation-id"), Value: "java"}}}).accepted(data("x"))
	})
	t.Run("model id", func(t *testing.T) {
		d := k.Device("plug")
		p := device(t, k, d)
		p.receiver(commands(d))
		l := p.sender(events(d), attachment{snd: amqp.SettleMixed, props: amqp.Map{{Key: amqp.Symbol("com.microsoft:model-id"), Value: "dtmi:com:x;1"}}})
		l.accepted(data("x"))
		if e := stored(k, d, 1)[0]; e.Model != "dtmi:com:x;1" {
			t.Errorf("model %q", e.Model)
		}
		v, err := k.Backend.Twin(context.Background(), d.ID)
		if err != nil || v.Twin.Model != "dtmi:com:x;1" {
			t.Errorf("%+v %v", v, err)
		}
	})
}

func TestForeignClient(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	d := k.Device("foreign")
	nc, err := tls.Dial("tcp", k.Node.Address("amqp"), k.TLS())
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	conn, err := az.NewConn(ctx, nc, &az.ConnOptions{SASLType: az.SASLTypePlain("foreign@sas.hub", d.Token()), MaxFrameSize: 4096, HostName: navetest.Host})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.NewSender(ctx, events(d), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Send(ctx, az.NewMessage(bytes.Repeat([]byte("y"), 100000)), nil); err != nil {
		t.Fatal(err)
	}
	if e := stored(k, d, 1)[0]; len(e.Body) != 100000 {
		t.Errorf("%d bytes", len(e.Body))
	}
	in, err := s.NewReceiver(ctx, commands(d), &az.ReceiverOptions{Credit: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("DEV-148 60 KiB in frames of 4096", func(t *testing.T) {
		body := bytes.Repeat([]byte("z"), 60<<10)
		sendTo(t, k, d, &nave.C2D{Message: nave.Message{Body: body}})
		m, err := in.Receive(ctx, nil)
		if err != nil || !bytes.Equal(m.GetData(), body) || len(m.DeliveryTag) != 16 {
			t.Fatalf("%v %v", m, err)
		}
		if err := in.AcceptMessage(ctx, m); err != nil {
			t.Fatal(err)
		}
		emptied(t, k, d)
	})
}

// TestOldClaims moves the clock.
func TestOldClaims(t *testing.T) {
	t.Parallel()
	t.Run("DEV-046 renewed token", func(t *testing.T) {
		t.Parallel()
		k := navetest.Start(t)
		d := k.Device("renewer")
		p := join(t, k)
		cbs := p.desk()
		cbs.ok(d.TokenFor(time.Minute))
		l := p.sender(events(d))
		k.Clock.Add(5 * time.Minute)
		cbs.ok(d.Token())
		k.Clock.Add(5 * time.Minute)
		// The hub looks at proofs every second; whoever has no renewed one goes first.
		witness := k.Device("witness")
		w := join(t, k)
		w.desk().ok(witness.TokenFor(-3 * time.Minute))
		wl := w.sender(events(witness))
		k.Clock.Add(3 * time.Minute)
		wl.detached(amqp.UnauthorizedAccess)
		l.accepted(data("still here"))
	})
	t.Run("DEV-047 token that was not renewed", func(t *testing.T) {
		t.Parallel()
		k := navetest.Start(t)
		d, other := k.Device("lazy"), k.Device("other")
		p := join(t, k)
		cbs := p.desk()
		cbs.ok(d.TokenFor(time.Minute))
		cbs.ok(other.Token())
		l, c, o := p.sender(events(d)), p.receiver(commands(d)), p.sender(events(other))
		k.Clock.Add(5 * time.Minute)
		l.accepted(data("in the grace"))
		k.Clock.Add(2 * time.Minute)
		l.detached(amqp.UnauthorizedAccess)
		c.detached(amqp.UnauthorizedAccess)
		o.accepted(data("fine"))
		p.refused(amqp.RoleSender, events(d), amqp.UnauthorizedAccess)
		cbs.ok(d.Token())
		p.sender(events(d)).accepted(data("back"))
	})
	t.Run("PLAIN cannot be renewed", func(t *testing.T) {
		t.Parallel()
		k := navetest.Start(t)
		d := k.Device("plain")
		p := join(t, k, plain("plain@sas.hub", d.TokenFor(time.Minute)))
		p.sender(events(d))
		k.Clock.Add(7 * time.Minute)
		wantCondition(t, p.ended(), amqp.UnauthorizedAccess)
	})
	t.Run("service without renewal", func(t *testing.T) {
		t.Parallel()
		k := navetest.Start(t)
		p := join(t, k)
		p.desk().ok(k.Policy("service"))
		l := p.sender("/messages/devicebound")
		k.Clock.Add(66 * time.Minute)
		l.detached(amqp.UnauthorizedAccess)
	})
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	t.Run("DEV-050 second connection", func(t *testing.T) {
		d := k.Device("twice")
		one := device(t, k, d)
		old, kept := one.sender(events(d)), one.receiver(commands(d))
		two := device(t, k, d)
		now := two.sender(events(d))
		old.detached("com.microsoft:link-creation-conflict")
		now.accepted(data("new"))
		kept.attached()
		two.receiver(at(d, "/twin"))
		one.sender(at(d, "/twin"))
		again := one.sender(events(d))
		now.detached("com.microsoft:link-creation-conflict")
		again.accepted(data("back"))
		// In one session the later link of a kind replaces the earlier.
		third := one.sender(events(d), attachment{snd: amqp.SettleMixed, session: again.Session()})
		again.detached("com.microsoft:link-creation-conflict")
		third.accepted(data("third"))
	})
	t.Run("DEV-051 disabled", func(t *testing.T) {
		expelled(t, k, "off", func(d *navetest.Device) error {
			off := nave.Disabled
			_, err := k.Backend.Put(context.Background(), d.ID, &nave.IdentityPatch{Status: &off}, "*")
			return err
		}, amqp.UnauthorizedAccess)
	})
	t.Run("DEV-052 deleted", func(t *testing.T) {
		expelled(t, k, "gone", func(d *navetest.Device) error { return k.Backend.Delete(context.Background(), d.ID, "") }, amqp.NotFound)
	})
	t.Run("graceful shutdown", func(t *testing.T) {
		var p, q *party
		t.Run("a node that ends", func(inner *testing.T) {
			k := navetest.Start(inner)
			d := k.Device("last")
			p, q = device(t, k, d), join(t, k)
			p.sender(events(d)).accepted(data("x"))
		})
		wantCondition(t, p.ended(), amqp.ConnectionForced)
		wantCondition(t, q.ended(), amqp.ConnectionForced)
	})
}

func expelled(t *testing.T, k *navetest.Kit, name string, change func(*navetest.Device) error, condition amqp.Symbol) {
	d, mod, other := k.Device(name), k.Device(name+"/m"), k.Device(name+"2")
	p := device(t, k, d, mod, other)
	l, c, m, o := p.sender(events(d)), p.receiver(commands(d)), p.sender(events(mod)), p.sender(events(other))
	if err := change(d); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []*thread{l, c, m} {
		gone.detached(condition)
	}
	o.accepted(data("fine"))
	p.refused(amqp.RoleSender, events(d), map[bool]amqp.Symbol{true: amqp.NotFound, false: amqp.UnauthorizedAccess}[condition == amqp.NotFound])
}
