package dpsapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// TestFacts holds the facts of dps 0.1 that show on the wire of the device API.
func TestFacts(t *testing.T) {
	factsOfAnswers(t)
	factsOfErrors(t)
}

func factsOfAnswers(t *testing.T) {
	hook := newWebhook(t, `{"iotHubHostName":"hub-a.test"}`)
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("fact 1: register answers 202, also when the outcome is known", func(t *testing.T) {
		d := k.enrol(t, "fact-1")
		for range 3 {
			if a := d.register("").want(202, 0); a.get("status") != "assigning" {
				t.Errorf("%s", a.raw)
			}
			d.assigned("")
		}
	})
	t.Run("fact 2: PUBACK first, no session, QoS 1 with an id", func(t *testing.T) {
		d := k.enrol(t, "fact-2")
		for range 10 {
			p := d.connect()
			p.Clean = false
			m, ack := d.raw(d.dial(d.mqtts), p)
			if ack.Present || ack.Code != 0 {
				t.Errorf("%+v", ack)
			}
			m.subscribe("$dps/registrations/res/#", 1, 1)
			m.register("") // publish and reply look at the order, QoS and id
			m.nc.Close()
		}
	})
	t.Run("fact 3: the grammar of response topics", func(t *testing.T) {
		d := k.enrol(t, "fact-3")
		m := d.mqtt()
		operation := m.outcome("").get("operationId")
		k.pass(waitForPolls)
		for request, want := range map[string]string{
			registerTopic + "x":                               "$dps/registrations/res/202/?$rid=x&retry-after=3",
			pollTopic + "x&operationId=" + operation:          "$dps/registrations/res/200/?$rid=x",
			pollTopic + "x&operationId=" + nothing:            "$dps/registrations/res/404/?$rid=x",
			"$dps/registrations/POST/iotdps-register/?$rid=x": "$dps/registrations/res/405/?$rid=x",
		} {
			m.publish(request, " ")
			if topic, _ := m.reply(); topic != want {
				t.Errorf("%s, want %s", topic, want)
			}
		}
	})
	t.Run("fact 4: both spellings of retry-after on AMQP", func(t *testing.T) {
		p := k.enrol(t, "fact-4").amqp()
		p.send(registerMessage(""))
		p.outcomeOf()
		m, _ := p.reply()
		for _, key := range []string{"retry-after", "Retry-After"} {
			if v, ok := m.ApplicationProperties.Get(key).(int32); !ok || v < 2 || v > 300 {
				t.Errorf("%s is %v", key, m.ApplicationProperties.Get(key))
			}
		}
	})
	t.Run("fact 5: payload is an object or absent", func(t *testing.T) {
		d := k.enrol(t, "fact-5", hook.custom)
		if a := d.assigned(""); hasMember(a.body["registrationState"].(map[string]any), "payload") {
			t.Errorf("%s", a.raw)
		}
		hook.answer.Store(`{"iotHubHostName":"hub-a.test","payload":{"a":1}}`)
		if _, ok := d.assigned("").at("registrationState.payload").(map[string]any); !ok {
			t.Error("payload is no object")
		}
	})
}

func factsOfErrors(t *testing.T) {
	hook := newWebhook(t, `{}`)
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("fact 6: failed and disabled are answers, not errors", func(t *testing.T) {
		hook.status.Store(403)
		d := k.enrol(t, "fact-6", hook.custom)
		for status, d := range map[string]*device{"failed": d, "disabled": k.enrol(t, "fact-6b", func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled })} {
			for _, a := range []*answer{d.outcome(""), d.mqtt().outcome(""), d.amqp().outcome("")} {
				if a.code != 200 || a.get("status") != status || a.get("operationId") == "" || a.get("registrationState.status") != status {
					t.Errorf("%d %s", a.code, a.raw)
				}
			}
		}
	})
	t.Run("fact 8: AMQP errors are JSON with six digits in the description", func(t *testing.T) {
		p := k.enrol(t, "fact-8").withKey(someKey).amqp()
		_, a := p.rejected(registerMessage("")) // rejected looks at the digits
		a.want(0, 401002)
	})
	t.Run("fact 9: paths and tokens of WebSockets", func(t *testing.T) {
		d := k.enrol(t, "fact-9")
		for _, path := range []string{"/$iothub/websocket", "/mqtt", "/"} {
			for _, token := range []string{"mqtt", "MQTT", "Mqtt"} { // socket looks at the echo
				d.mqttOn(d.socket(path, token)).nc.Close()
			}
			d.amqpOn(d.socket(path, "AMQPWSB10"), d.sasl()).conn.Close(nil)
		}
	})
	t.Run("fact 10: spellings of tokens", func(t *testing.T) {
		d := k.enrol(t, "fact-10")
		for _, sr := range []string{d.resource(), strings.ReplaceAll(d.resource(), "/", "%2F"), strings.ReplaceAll(d.resource(), "/", "%2f")} {
			for _, skn := range []string{"", "&skn=", "&skn=registration"} {
				f := sas(t, d.key, sr, k.now().Add(time.Hour))
				token := "SharedAccessSignature " + strings.Join(f[:], "&") + skn
				d.http("PUT", d.path("/register"), "", "Authorization: "+token).want(202, 0)
				p := d.connect()
				p.Password = []byte(token)
				m, _ := d.raw(d.dial(d.mqtts), p)
				m.subscribe("$dps/registrations/res/#", 1, 1)
				m.register("").want(202, 0)
				o := amqp.ClientOptions{Mechanism: amqp.Plain, Response: []byte("\x00" + d.resource() + "\x00" + token)}
				d.amqpOn(d.dial(d.amqps), o).ask(registerMessage(""))
			}
		}
	})
	t.Run("fact 11: two segments in SASL TPM", func(t *testing.T) {
		v := newTPM(t, 0)
		d := k.enrolTPM(t, "fact-11", v)
		x := &exchange{t: t, v: v, d: d}
		d.amqpOn(d.dial(d.amqps), x.options())
		x.check()
	})
}

// TestRisks holds the risks of dps 9.2 that show on the wire of the device API.
func TestRisks(t *testing.T) {
	k := open(t, func(s *setup) { s.settings.Limits = dps.SettingsLimits{Registrations: 3} })
	t.Run("risk 1: a body is never the JSON null", func(t *testing.T) {
		d := k.enrol(t, "risk-1")
		for _, a := range []*answer{d.register(""), d.poll(nothing), d.lookup("{}")} {
			if a.body == nil {
				t.Errorf("%s", a.raw)
			}
		}
	})
	k.pass(time.Minute)
	t.Run("risk 4: certificates stay optional, errors come within the protocol", func(t *testing.T) {
		k.device(t, "risk-4").withCert(selfSigned(t, "someone")).register("").want(401, 401002)
		k.enrol(t, "risk-4").withCert(selfSigned(t, "someone")).register("").want(202, 0)
	})
	t.Run("risk 6: registrationState of a failed operation", func(t *testing.T) {
		w := newWebhook(t, "nonsense")
		k := open(t, func(s *setup) { s.service.Web = w.Client() })
		a := k.enrol(t, "risk-6", w.custom).outcome("")
		for _, name := range []string{"registrationId", "status", "errorCode", "errorMessage", "etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"} {
			if a.get("registrationState."+name) == "" {
				t.Errorf("%s is missing in %s", name, a.raw)
			}
		}
	})
	t.Run("risk 9: substatus by api-version", func(t *testing.T) {
		k := open(t)
		d := k.enrol(t, "risk-9")
		d.assigned("")
		if a := d.assigned(""); a.get("registrationState.substatus") != "initialAssignment" {
			t.Errorf("%s", a.raw)
		}
		if a := d.withVersion("2021-06-01").assigned(""); a.get("registrationState.substatus") != "reprovisionedToInitialAssignment" {
			t.Errorf("%s", a.raw)
		}
		d.withVersion(apiVersion).assigned("")
		if state, err := k.Registration(within(t), "risk-9"); err != nil || state.Substatus != dps.SubstatusAgain {
			t.Errorf("%+v, %v", state, err)
		}
	})
	t.Run("risk 10: guesses are throttled", func(t *testing.T) {
		k := open(t)
		k.freeze()
		k.put(t, &dps.Enrollment{GroupID: "risk-10", Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{Primary: cred.NewLongKey(), Secondary: cred.NewLongKey()}}})
		last := 0
		for range 100 {
			if last = k.device(t, "risk-10").withKey(cred.NewKey()).register("").code; last == 429 {
				return
			}
		}
		t.Errorf("100 guesses end with %d", last)
	})
	t.Run("risk 15: a burst is refused with a hint that clients keep", func(t *testing.T) {
		k := open(t, func(s *setup) { s.settings.Limits = dps.SettingsLimits{Registrations: 2} })
		k.freeze()
		m := k.enrol(t, "risk-15").mqtt()
		for range 2 {
			m.register("").want(202, 0)
		}
		m.publish(registerTopic+"1", "")
		topic, a := m.reply()
		a.want(429, 429001)
		var n int
		if _, err := fmt.Sscanf(topic, "$dps/registrations/res/429/?$rid=1&retry-after=%d", &n); err != nil || n < 2 || n > 300 {
			t.Errorf("%s", topic)
		}
		k.pass(time.Duration(n) * time.Second)
		m.register("").want(202, 0)
	})
}

// TestShutdown ends what is open with the process.
func TestShutdown(t *testing.T) {
	k := open(t)
	d := k.enrol(t, "shut-1")
	m, p := d.mqtt(), d.amqp()
	k.shut()
	if _, err := m.tryRead(); err == nil {
		t.Error("a packet from a service that has ended")
	}
	<-p.conn.Done()
	if e, ok := p.conn.Err().(*amqp.Error); !ok || e.Condition != amqp.ConnectionForced {
		t.Error(p.conn.Err())
	}
}
