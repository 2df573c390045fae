package dpsapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/gate"
)

func TestAMQPConnect(t *testing.T) {
	k := open(t)
	t.Run("DPS-062 certificate without SASL header", func(t *testing.T) {
		c := selfSigned(t, "amqp-1")
		k.enrolCert(t, "amqp-1", c)
		d := k.device(t, "amqp-1").withCert(c)
		if a := d.amqp().outcome(""); a.get("status") != "assigned" {
			t.Errorf("%s", a.raw)
		}
		for _, mechanism := range []string{amqp.External, amqp.Anonymous} {
			d.amqpOn(d.dial(d.amqps), amqp.ClientOptions{Mechanism: mechanism}).ask(registerMessage(""))
		}
	})
	t.Run("DPS-063 SASL PLAIN", func(t *testing.T) {
		if a := k.enrol(t, "amqp-2").amqp().outcome(""); a.get("status") != "assigned" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-064 SASL PLAIN with a wrong token", func(t *testing.T) {
		p := k.enrol(t, "amqp-3").withKey(someKey).amqp()
		e, a := p.rejected(registerMessage(""))
		if a.want(0, 401002); e.Condition != amqp.UnauthorizedAccess || e.Info != nil {
			t.Errorf("%+v", e)
		}
		a.errorForm()
	})
	t.Run("DPS-064 SASL that cannot be", func(t *testing.T) {
		d := k.enrol(t, "amqp-4")
		for name, o := range map[string]amqp.ClientOptions{
			"unknown scope":       {Mechanism: amqp.Plain, Response: []byte("\x000ne99999999/registrations/amqp-4\x00" + d.token())},
			"no registration":     {Mechanism: amqp.Plain, Response: []byte("\x00amqp-4@sas.hub\x00" + d.token())},
			"no token":            {Mechanism: amqp.Plain, Response: []byte("\x00" + d.resource() + "\x00")},
			"not three parts":     {Mechanism: amqp.Plain, Response: []byte("x")},
			"EXTERNAL, no cert":   {Mechanism: amqp.External},
			"unheard-of":          {Mechanism: "SCRAM"},
			"TPM without its EK":  {Mechanism: "TPM", Response: []byte("\x00" + k.scope + "\x00amqp-4\x00")},
			"TPM, unknown scope":  {Mechanism: "TPM", Response: []byte("\x000ne99999999\x00amqp-4\x00EK")},
			"TPM, broken control": {Mechanism: "TPM", Response: []byte{0x85, 1, 2}},
		} {
			if _, err := amqp.Open(within(t), d.dial(d.amqps), o); err == nil || !strings.Contains(err.Error(), "outcome 1") {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("DPS-064 neither token nor certificate", func(t *testing.T) {
		d := k.device(t, "amqp-5")
		for _, mechanism := range []string{"", amqp.Anonymous} {
			c, err := amqp.Open(within(t), d.dial(d.amqps), amqp.ClientOptions{Mechanism: mechanism})
			if err == nil {
				<-c.Done()
				err = c.Err()
			}
			var e *amqp.Error
			if !errors.As(err, &e) || e.Condition != amqp.UnauthorizedAccess {
				t.Fatal(err)
			}
			newAnswer(t, 0, []byte(e.Description)).want(0, 401002).errorForm()
		}
	})
	t.Run("DPS-123 mechanisms in their order", func(t *testing.T) {
		nc := k.device(t, "amqp-6").dial(k.amqps)
		nc.Write([]byte("AMQP\x03\x01\x00\x00"))
		var b []byte
		for len(b) < 16 || !strings.Contains(string(b), "ANONYMOUS") {
			part := make([]byte, 512)
			n, err := nc.Read(part)
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, part[:n]...)
		}
		at := -1
		for _, name := range []string{"PLAIN", "TPM", "EXTERNAL", "ANONYMOUS"} {
			if n := strings.Index(string(b), name); n <= at {
				t.Errorf("%s is at %d of %q", name, n, b)
			} else {
				at = n
			}
		}
	})
}

func TestAMQPLinks(t *testing.T) {
	k := open(t)
	t.Run("DPS-065 addresses", func(t *testing.T) {
		d := k.enrol(t, "link:1")
		for _, form := range []string{"%s/registrations/link:1", "/%s/registrations/link:1", "amqps://dps.test/%s/registrations/link:1", "%s/registrations/link%%3A1"} {
			p := d.open(d.dial(d.amqps), d.sasl())
			address := fmt.Sprintf(form, k.scope)
			if err := errors.Join(p.attachIn(address), p.attachOut(address)); err != nil {
				t.Fatal(err)
			}
			p.ask(registerMessage(""))
		}
	})
	t.Run("DPS-065 links in the other order", func(t *testing.T) {
		d := k.enrol(t, "link-2")
		p := d.open(d.dial(d.amqps), d.sasl())
		if err := p.attachOut(d.resource()); err != nil {
			t.Fatal(err)
		}
		p.send(registerMessage(""))
		if st := p.outcomeOf(); st != (amqp.Accepted{}) {
			t.Errorf("%+v", st)
		}
		if err := p.attachIn(d.resource()); err != nil {
			t.Fatal(err)
		}
		p.reply()
	})
	t.Run("DPS-065 links in two sessions", func(t *testing.T) {
		d := k.enrol(t, "link-3")
		p := d.open(d.dial(d.amqps), d.sasl())
		if err := p.attachIn(d.resource()); err != nil {
			t.Fatal(err)
		}
		p.session = p.conn.Begin()
		if err := p.attachOut(d.resource()); err != nil {
			t.Fatal(err)
		}
		p.ask(registerMessage(""))
	})
	t.Run("DPS-065 answers wait for credit", func(t *testing.T) {
		d := k.enrol(t, "link-4")
		p := d.open(d.dial(d.amqps), d.sasl())
		p.in = &amqp.Link{Name: "in", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: d.resource()}, SndMode: amqp.SettleMixed, ManualCredit: true,
			OnDelivery: func(d *amqp.Delivery) { p.got <- d; d.Accept() }}
		if err := errors.Join(p.session.Attach(within(t), p.in), p.attachOut(d.resource())); err != nil {
			t.Fatal(err)
		}
		p.send(registerMessage(""))
		if st := p.outcomeOf(); st != (amqp.Accepted{}) {
			t.Errorf("%+v", st)
		}
		p.in.Grant(1)
		p.reply()
	})
	t.Run("DPS-066 address of another registration", func(t *testing.T) {
		d := k.enrol(t, "link-5")
		p := d.open(d.dial(d.amqps), d.sasl())
		for address, want := range map[string]amqp.Symbol{
			k.scope + "/registrations/other":      amqp.UnauthorizedAccess,
			"0ne99999999/registrations/link-5":    amqp.UnauthorizedAccess,
			"devices/link-5/messages/devicebound": amqp.NotFound,
			"":                                    amqp.NotFound,
		} {
			for _, err := range []error{p.attachIn(address), p.attachOut(address)} {
				var e *amqp.Error
				if !errors.As(err, &e) || e.Condition != want {
					t.Fatalf("%q: %v, want %s", address, err, want)
				}
				newAnswer(t, 0, []byte(e.Description)).errorForm()
			}
		}
		x := k.device(t, "link-6").withCert(selfSigned(t, "link-6"))
		p = x.open(x.dial(x.amqps), amqp.ClientOptions{})
		var e *amqp.Error
		if err := p.attachIn(k.scope + "/registrations/other"); !errors.As(err, &e) || e.Condition != amqp.UnauthorizedAccess {
			t.Error(err)
		}
		if err := p.attachIn("0ne99999999/registrations/link-6"); !errors.As(err, &e) || e.Condition != amqp.NotFound {
			t.Error(err)
		}
		if err := p.attachIn(x.resource()); err != nil {
			t.Error(err)
		}
		if err := p.attachOut(k.scope + "/registrations/other"); !errors.As(err, &e) || e.Condition != amqp.UnauthorizedAccess {
			t.Error(err)
		}
	})
}

func TestAMQPModes(t *testing.T) {
	k := open(t)
	t.Run("DPS-065 settle modes", func(t *testing.T) {
		d := k.enrol(t, "link-7")
		for _, snd := range []uint8{amqp.SettleUnsettled, amqp.SettleSettled, amqp.SettleMixed} {
			p := d.open(d.dial(d.amqps), d.sasl())
			settled := make(chan bool, 1)
			p.in = &amqp.Link{Name: "in", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: d.resource()}, SndMode: snd,
				OnDelivery: func(d *amqp.Delivery) { settled <- d.Settled; p.got <- d; d.Accept() }}
			p.out = p.sender(d.resource())
			p.out.SndMode = snd
			if err := errors.Join(p.session.Attach(within(t), p.in), p.session.Attach(within(t), p.out)); err != nil {
				t.Fatal(err)
			}
			p.send(registerMessage(""))
			p.reply()
			if got := <-settled; got != (snd != amqp.SettleUnsettled) {
				t.Errorf("mode %d: settled %t", snd, got)
			}
		}
	})
	t.Run("DPS-072 an error of a request sent settled", func(t *testing.T) {
		d := k.enrol(t, "link-8")
		p := d.open(d.dial(d.amqps), d.sasl())
		gone := make(chan error, 1)
		p.out = p.sender(d.resource())
		p.out.SndMode = amqp.SettleSettled
		p.out.OnDetach = func(cause error, _ []*amqp.Out) { gone <- cause }
		if err := p.session.Attach(within(t), p.out); err != nil {
			t.Fatal(err)
		}
		p.send(registerMessage(`{"registrationId":"other"}`))
		var e *amqp.Error
		if err := <-gone; !errors.As(err, &e) || !strings.Contains(e.Description, "400202") {
			t.Error(err)
		}
	})
	t.Run("DPS-077 api-version of links", func(t *testing.T) {
		d := k.enrol(t, "link-9")
		p := d.open(d.dial(d.amqps), d.sasl())
		p.d = d.withVersion("banana")
		var e *amqp.Error
		if err := p.attachIn(d.resource()); !errors.As(err, &e) || e.Condition != "com.microsoft:argument-error" || !strings.Contains(e.Description, "400001") {
			t.Error(err)
		}
		bare := &amqp.Link{Name: "a", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: d.resource()}, OnDelivery: func(d *amqp.Delivery) { p.got <- d; d.Accept() }}
		p.out = p.sender(d.resource())
		p.out.Answer = nil
		if err := errors.Join(p.session.Attach(within(t), bare), p.session.Attach(within(t), p.out)); err != nil {
			t.Fatal(err)
		}
		p.ask(registerMessage(""))
	})
	t.Run("DPS-065 what waits for credit is bounded", func(t *testing.T) {
		d := k.enrol(t, "link-10")
		p := d.open(d.dial(d.amqps), d.sasl())
		if err := p.attachOut(d.resource()); err != nil {
			t.Fatal(err)
		}
		b, _ := registerMessage("").Append(nil)
		for ctx := within(t); p.conn.Err() == nil; {
			if _, err := p.out.Send(b, nil, 0, false, nil); errors.Is(err, amqp.ErrDetached) {
				break
			}
			select {
			case <-p.outcomes:
			case <-p.credit:
			case <-p.conn.Done():
			case <-ctx.Done():
				t.Fatal("the connection goes on")
			}
		}
		<-p.conn.Done()
		var e *amqp.Error
		if !errors.As(p.conn.Err(), &e) || e.Condition != amqp.ResourceLimitExceeded {
			t.Error(p.conn.Err())
		}
	})
}

func TestAMQPRequests(t *testing.T) {
	hook := newWebhook(t, "{}")
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("DPS-067 DPS-069 DPS-070 register without correlation-id", func(t *testing.T) {
		p := k.enrol(t, "req-1").amqp()
		p.send(registerMessage(`{"registrationId":"req-1"}`))
		if st := p.outcomeOf(); st != (amqp.Accepted{}) {
			t.Errorf("%+v", st)
		}
		m, a := p.reply() // reply wants exactly one data section
		if m.Properties != nil && m.Properties.CorrelationID != nil {
			t.Errorf("%+v", m.Properties)
		}
		if a.get("status") != "assigning" || !operationID.MatchString(a.get("operationId")) {
			t.Errorf("%s", a.raw)
		}
		want := fmt.Sprint(amqp.Map{{Key: "retry-after", Value: int32(3)}, {Key: "Retry-After", Value: int32(3)}})
		if got := fmt.Sprint(m.ApplicationProperties); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		for _, p := range m.ApplicationProperties {
			if _, ok := p.Value.(int32); !ok {
				t.Errorf("%v is %T", p.Key, p.Value)
			}
		}
	})
	t.Run("DPS-068 correlation-id is copied in its type", func(t *testing.T) {
		p := k.enrol(t, "req-2").amqp()
		uuid, _ := amqp.ParseUUID("9f1e0a3c-77d1-4f6e-b0ce-1d3a86a4d3a1")
		for _, id := range []any{"text", uint64(7), uuid, []byte{1, 2}} {
			m := registerMessage("")
			m.Properties = &amqp.Properties{CorrelationID: id}
			p.send(m)
			p.outcomeOf()
			answer, _ := p.reply()
			if got := answer.Properties.CorrelationID; fmt.Sprintf("%T %v", got, got) != fmt.Sprintf("%T %v", id, id) {
				t.Errorf("%T %v, want %T %v", got, got, id, id)
			}
		}
	})
	t.Run("DPS-071 bodies of status requests", func(t *testing.T) {
		d := k.enrol(t, "req-3")
		p := d.amqp()
		operation := p.outcome("").get("operationId")
		d.pass(waitForPolls)
		for _, change := range []func(m *amqp.Message){
			func(m *amqp.Message) { m.Data = nil },
			func(m *amqp.Message) { m.Data, m.HasValue = nil, true },
			func(m *amqp.Message) { m.Data, m.HasValue, m.Value = nil, true, "" },
			func(m *amqp.Message) { m.Data = [][]byte{[]byte("{}")} },
		} {
			m := pollMessage(operation)
			change(m)
			if a := p.ask(m); a.get("status") != "assigned" {
				t.Errorf("%s", a.raw)
			}
		}
	})
	t.Run("DPS-067 bodies of register requests", func(t *testing.T) {
		p := k.enrol(t, "req-4").amqp()
		for _, change := range []func(m *amqp.Message){
			func(m *amqp.Message) { m.Data, m.HasValue = nil, true },
			func(m *amqp.Message) { m.Data, m.HasValue, m.Value = nil, true, `{}` },
			func(m *amqp.Message) { m.Data = [][]byte{[]byte(`{"registra`), []byte(`tionId":"req-4"}`)} },
			func(m *amqp.Message) {
				m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: "iotdps-forceRegistration", Value: true})
			},
			func(m *amqp.Message) {
				m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: "iotdps-forceRegistration", Value: "true"})
			},
		} {
			m := registerMessage("")
			change(m)
			p.ask(m)
		}
	})
}

func TestAMQPErrors(t *testing.T) {
	hook := newWebhook(t, `{}`)
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("DPS-072 errors", func(t *testing.T) {
		p := k.enrol(t, "req-5").amqp()
		for _, c := range []struct {
			m         *amqp.Message
			condition amqp.Symbol
			code      int
		}{
			{registerMessage(`{"registrationId":"other"}`), "com.microsoft:argument-error", 400202},
			{registerMessage(`nonsense`), "com.microsoft:argument-error", 400012},
			{pollMessage(nothing), amqp.NotFound, 404203},
			{pollMessage(""), "com.microsoft:argument-error", 400005},
			{&amqp.Message{ApplicationProperties: registerMessage("").ApplicationProperties, Sequence: [][]any{{"x"}}}, "com.microsoft:argument-error", 400012},
			{registerMessage(strings.Repeat(" ", 97<<10)), "amqp:link:message-size-exceeded", 413001},
		} {
			e, a := p.rejected(c.m)
			if a.want(0, c.code); e.Condition != c.condition || e.Info != nil {
				t.Errorf("%d: %+v", c.code, e)
			}
			a.errorForm()
		}
		p.ask(registerMessage("")) // the link goes on
	})
	t.Run("DPS-073 DPS-074 DPS-266 errors that pass", func(t *testing.T) {
		p := k.enrol(t, "req-6").amqp()
		for code, condition := range map[int]amqp.Symbol{429001: "com.microsoft:device-container-throttled", 500001: amqp.InternalError, 503001: amqp.InternalError,
			504000: amqp.InternalError} {
			clear := k.inject(t, gate.Rule{Op: "dps.register", Code: code, After: 9 * time.Second})
			e, a := p.rejected(registerMessage(""))
			clear()
			if a.want(0, code); e.Condition != condition || e.Info.Get("Retry-After") != int32(9) || e.Info.Get("retry-after") != int32(9) {
				t.Errorf("%d: %+v", code, e)
			}
		}
		p.ask(registerMessage(""))
	})
	t.Run("DPS-075 unknown operation type", func(t *testing.T) {
		p := k.enrol(t, "req-7").amqp()
		for _, kind := range []any{"iotdps-else", int32(1)} {
			_, a := p.rejected(&amqp.Message{ApplicationProperties: amqp.Map{{Key: "iotdps-operation-type", Value: kind}}, Data: [][]byte{{}}})
			a.want(0, 400004)
		}
		_, a := p.rejected(&amqp.Message{Data: [][]byte{{}}})
		a.want(0, 400004)
	})
	t.Run("DPS-076 a failed operation is a normal message", func(t *testing.T) {
		hook.status.Store(500)
		defer hook.status.Store(200)
		a := k.enrol(t, "req-8", hook.custom).amqp().outcome("")
		if a.code != 200 || a.get("status") != "failed" || a.get("registrationState.errorCode") != "400207" {
			t.Errorf("%s", a.raw)
		}
		a = k.enrol(t, "req-9", func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled }).amqp().outcome("")
		if a.code != 200 || a.get("status") != "disabled" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-071 lookup", func(t *testing.T) {
		p := k.enrol(t, "req-10").amqp()
		m := &amqp.Message{ApplicationProperties: amqp.Map{{Key: "iotdps-operation-type", Value: "iotdps-get-registration"}}, HasValue: true}
		if e, a := p.rejected(m); e.Condition != amqp.NotFound || a.get("errorCode") != "404202" {
			t.Errorf("%+v", e)
		}
		p.outcome("")
		if a := p.ask(m); a.get("status") != "assigned" || a.body["registrationState"] != nil {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-072 a message that cannot be decoded", func(t *testing.T) {
		p := k.enrol(t, "req-11").amqp()
		p.sendRaw([]byte{0, 0x53, 0x99, 0x40})
		r, ok := p.outcomeOf().(amqp.Rejected)
		if !ok || !strings.Contains(r.Error.Description, "400000") {
			t.Errorf("%+v", r)
		}
	})
}

// TestGoAMQP registers with a client library as it comes.
func TestGoAMQP(t *testing.T) {
	k := open(t)
	d := k.enrol(t, "goamqp-1")
	ctx := within(t)
	nc, err := tls.Dial("tcp", d.amqps, d.tls())
	if err != nil {
		t.Fatal(err)
	}
	c, err := goamqp.NewConn(ctx, nc, &goamqp.ConnOptions{SASLType: goamqp.SASLTypePlain(d.resource(), d.token()), HostName: globalHost})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	session, err := c.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := session.NewReceiver(ctx, d.resource(), &goamqp.ReceiverOptions{Credit: 1})
	if err != nil {
		t.Fatal(err)
	}
	out, err := session.NewSender(ctx, d.resource(), &goamqp.SenderOptions{Properties: map[string]any{"com.microsoft:api-version": apiVersion}})
	if err != nil {
		t.Fatal(err)
	}
	a := newAnswer(t, 202, goAsk(t, ctx, in, out, map[string]any{"iotdps-operation-type": "iotdps-register"}))
	operation := a.get("operationId")
	a = d.finished(operation, func() *answer {
		a := newAnswer(t, 200, goAsk(t, ctx, in, out, map[string]any{"iotdps-operation-type": "iotdps-get-operationstatus", "iotdps-operation-id": operation}))
		if a.get("status") == "assigning" {
			a.code = 202
		}
		return a
	})
	if a.get("status") != "assigned" {
		t.Errorf("%s", a.raw)
	}
}

func goAsk(t *testing.T, ctx context.Context, in *goamqp.Receiver, out *goamqp.Sender, properties map[string]any) []byte {
	t.Helper()
	m := goamqp.NewMessage(nil)
	m.ApplicationProperties = properties
	if err := out.Send(ctx, m, nil); err != nil {
		t.Fatal(err)
	}
	got, err := in.Receive(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.AcceptMessage(ctx, got); err != nil {
		t.Fatal(err)
	}
	return got.GetData()
}
