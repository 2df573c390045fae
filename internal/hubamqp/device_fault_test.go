package hubamqp_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/navetest"
)

func asked(kind, delay, duration string) amqp.Map {
	return amqp.Map{{Key: "AzIoTHub_FaultOperationType", Value: kind}, {Key: "AzIoTHub_FaultOperationCloseReason", Value: "boom"},
		{Key: "AzIoTHub_FaultOperationDelayInSecs", Value: delay}, {Key: "AzIoTHub_FaultOperationDurationInSecs", Value: duration}}
}

// wish is the message that asks for a fault.
func wish(t testing.TB, kind, delay, duration string) []byte {
	return encoded(t, &amqp.Message{ApplicationProperties: asked(kind, delay, duration), Data: [][]byte{[]byte("x")}})
}

// begin connects a new device that sends telemetry.
func begin(t *testing.T, k *navetest.Kit) (*navetest.Device, *party, *thread) {
	names.Lock()
	names.n++
	d := k.Device(fmt.Sprint("f", names.n))
	names.Unlock()
	p := device(t, k, d)
	return d, p, p.sender(events(d))
}

func TestPlayedFaults(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t, withFaults)
	t.Run("DEV-234 KillTcp", func(t *testing.T) {
		_, p, l := begin(t, k)
		l.accepted(wish(t, "KillTcp", "0.2", "5"))
		var own *amqp.Error
		if err := p.ended(); err == nil || errors.As(err, &own) {
			t.Errorf("%v, want a reset", err)
		}
		for _, f := range p.tap.frames(t) {
			if f.code == 0x18 {
				t.Error("CLOSE was sent")
			}
		}
	})
	t.Run("DEV-236 ShutDownAmqp", func(t *testing.T) {
		_, p, l := begin(t, k)
		l.accepted(wish(t, "ShutDownAmqp", "0", "5"))
		wantCondition(t, p.ended(), amqp.ConnectionForced)
	})
	t.Run("DEV-237 KillAmqpConnection", func(t *testing.T) {
		_, p, l := begin(t, k)
		l.accepted(wish(t, "KillAmqpConnection", "0", "5"))
		wantCondition(t, p.ended(), amqp.ConnectionForced)
	})
	t.Run("DEV-238 KillAmqpSession", func(t *testing.T) {
		d, other := k.Device("f238"), k.Device("f238b")
		p := device(t, k, d, other)
		l, o := p.sender(events(d)), p.sender(events(other))
		l.accepted(wish(t, "KillAmqpSession", "0", "5"))
		l.detached(amqp.InternalError)
		o.accepted(data("fine"))
		ended := 0
		for _, f := range p.tap.frames(t) {
			if f.code == 0x17 {
				ended++
			}
		}
		if ended != 1 {
			t.Errorf("%d sessions ended", ended)
		}
		p.sender(events(d)).accepted(data("again"))
		t.Run("a shared session", func(t *testing.T) {
			s := attachment{snd: amqp.SettleMixed, session: p.Begin()}
			l, o := p.sender(events(d), s), p.sender(events(other), s)
			l.accepted(wish(t, "KillAmqpSession", "0", "5"))
			l.detached(amqp.InternalError)
			o.accepted(data("fine"))
		})
	})
}

func TestPlayedLinkFaults(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t, withFaults)
	t.Run("DEV-239 token links", func(t *testing.T) {
		d := k.Device("f239")
		p := join(t, k)
		cbs := p.desk()
		cbs.ok(d.Token())
		l := p.sender(events(d))
		l.accepted(wish(t, "KillAmqpCBSLinkReq", "0", "5"))
		cbs.requests.detached(amqp.DetachForced)
		l.accepted(wish(t, "KillAmqpCBSLinkResp", "0", "5"))
		cbs.replies.detached(amqp.DetachForced)
		l.accepted(data("fine"))
		p.desk().ok(d.Token())
	})
	t.Run("DEV-240 telemetry and command links", func(t *testing.T) {
		d, p, l := begin(t, k)
		for _, kind := range []string{"KillAmqpC2DLink", "KillAmqpc2dLink"} {
			c := p.receiver(commands(d))
			l.accepted(wish(t, kind, "0", "5"))
			c.detached(amqp.DetachForced)
		}
		l.accepted(wish(t, "KillAmqpD2CLink", "0", "5"))
		l.detached(amqp.DetachForced)
		p.sender(events(d)).accepted(data("again"))
	})
	t.Run("DEV-241 twin and method links", func(t *testing.T) {
		d, p, l := begin(t, k)
		for kind, link := range map[string]func() *thread{
			"KillAmqpTwinLinkReq":    func() *thread { return p.sender(at(d, "/twin")) },
			"KillAmqpTwinLinkResp":   func() *thread { return p.receiver(at(d, "/twin")) },
			"KillAmqpMethodReqLink":  func() *thread { return p.receiver(at(d, "/methods/devicebound")) },
			"KillAmqpMethodRespLink": func() *thread { return p.sender(at(d, "/methods/devicebound")) },
		} {
			n := link()
			l.accepted(wish(t, kind, "0", "5"))
			n.detached(amqp.DetachForced)
			link()
		}
		if status, _ := p.twin(d).ask("x", "GET", "", ""); status != 200 {
			t.Error(status)
		}
	})
	t.Run("DEV-242 InvokeThrottling", func(t *testing.T) { refuses(t, "InvokeThrottling", "com.microsoft:device-container-throttled") })
	t.Run("DEV-243 InvokeMaxMessageQuota", func(t *testing.T) { refuses(t, "InvokeMaxMessageQuota", amqp.ResourceLimitExceeded) })
	t.Run("DEV-244 InvokeAuthError", func(t *testing.T) { refuses(t, "InvokeAuthError", amqp.UnauthorizedAccess) })
	t.Run("DEV-247 properties on the envelope", func(t *testing.T) {
		_, p, l := begin(t, k)
		l.accepted(batch(t, asked("ShutDownAmqp", "0", "5"), text("one")), batchFormat)
		wantCondition(t, p.ended(), amqp.ConnectionForced)
	})
}

// refuses checks a fault that lasts: sends are rejected while it does, the twin
// works, and afterwards everything does.
func refuses(t *testing.T, kind string, condition amqp.Symbol) {
	k := navetest.Start(t, withFaults)
	d, other := k.Device("refused"), k.Device("other")
	p := device(t, k, d, other)
	l, o, w := p.sender(events(d)), p.sender(events(other)), p.twin(d)
	l.accepted(wish(t, kind, "0", "300"))
	l.rejected(data("x"), condition)
	o.accepted(data("another device"))
	if status, _ := w.ask("x", "PATCH", "/properties/reported", `{"a":1}`); status != 200 {
		t.Errorf("twin patch: %d", status)
	}
	k.Clock.Add(301 * time.Second)
	l.accepted(data("over"))
	l.attached()
}

func TestInjectedFaults(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	d := k.Device("dev1")
	p := device(t, k, d)
	l := p.sender(events(d))
	for code, condition := range map[int]amqp.Symbol{403001: "com.microsoft:iot-hub-suspended", 403002: amqp.ResourceLimitExceeded,
		429001: "com.microsoft:device-container-throttled", 500001: amqp.InternalError, 503001: amqp.InternalError} {
		inject(t, k, code, "telemetry.send")
		l.rejected(data("x"), condition)
	}
	inject(t, k, 500001, "twin.get")
	if status, m := p.twin(d).ask("x", "GET", "", ""); status != 500 || len(m.Data[0]) == 0 {
		t.Errorf("%d %s", status, m.Data[0])
	}
	inject(t, k, 429001, "device.connect")
	other := k.Device("dev2")
	device(t, k, other).refused(amqp.RoleSender, events(other), "com.microsoft:device-container-throttled")
	l.accepted(data("over"))
}

// inject makes the next operation fail with the code.
func inject(t testing.TB, k *navetest.Kit, code int, op string) {
	t.Helper()
	if _, err := k.Hub.InjectFault(hub.Rule{Op: op, Code: code, Count: 1}); err != nil {
		t.Fatal(err)
	}
}
