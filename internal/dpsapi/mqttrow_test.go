package dpsapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/dpsapi"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/mqtt"
)

// waitForPolls is what refills a device's allowance of polls.
const waitForPolls = 10 * time.Second

const (
	registerTopic = "$dps/registrations/PUT/iotdps-register/?$rid="
	pollTopic     = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid="
	nothing       = "5.0000000000000000.00000000-0000-0000-0000-000000000000"
)

func TestMQTTConnect(t *testing.T) {
	k := open(t)
	d := k.enrol(t, "Connect-1")
	with := func(change func(p *mqtt.Connect)) mqtt.Connack {
		t.Helper()
		p := d.connect()
		change(p)
		m, ack := d.raw(d.dial(d.mqtts), p)
		m.nc.Close()
		return ack
	}
	for name, user := range map[string]string{
		"DPS-035 user name with ClientVersion":            "%s/registrations/Connect-1/api-version=2019-03-31&ClientVersion=x",
		"DPS-036 user name without ClientVersion":         "%s/registrations/Connect-1/api-version=2019-03-31",
		"DPS-037 percent-encoded values":                  "%s/registrations/Connect-1/api-version=2019%%2D03%%2D31&ClientVersion=azure%%2Fpy%%201",
		"DPS-037 ClientVersion first":                     "%s/registrations/Connect-1/ClientVersion=2019-03-31&other=1&api-version=2019-03-31",
		"DPS-035 ID in another case than the client id's": "%s/Registrations/connect-1/api-version=2019-03-31",
	} {
		t.Run(name, func(t *testing.T) {
			if ack := with(func(p *mqtt.Connect) { p.Username = fmt.Sprintf(user, k.scope) }); ack != (mqtt.Connack{}) {
				t.Errorf("%+v", ack)
			}
		})
	}
	t.Run("DPS-038 clean session 0, twice", func(t *testing.T) {
		for range 2 {
			if ack := with(func(p *mqtt.Connect) { p.Clean = false }); ack != (mqtt.Connack{}) {
				t.Errorf("%+v", ack)
			}
		}
	})
	t.Run("DPS-035 a will is ignored", func(t *testing.T) {
		if ack := with(func(p *mqtt.Connect) { p.Will = &mqtt.Will{Topic: "any", Payload: []byte("x"), QoS: 1} }); ack != (mqtt.Connack{}) {
			t.Errorf("%+v", ack)
		}
	})
	t.Run("DPS-039 unknown scope", func(t *testing.T) {
		if ack := with(func(p *mqtt.Connect) { p.Username = "0ne99999999/registrations/Connect-1/api-version=2019-03-31" }); ack.Code != mqtt.NotAuthorized {
			t.Errorf("%+v", ack)
		}
	})
	for _, user := range []string{"", "nonsense", "/registrations/a/api-version=2019-03-31", "%s/registrations/Connect-1", "%s/registrations/Connect-1/api-version=banana",
		"%s/devices/Connect-1/api-version=2019-03-31"} {
		t.Run("DPS-040 user name "+user, func(t *testing.T) {
			if ack := with(func(p *mqtt.Connect) { p.Username = strings.Replace(user, "%s", k.scope, 1) }); ack.Code != mqtt.BadCredentials {
				t.Errorf("%+v", ack)
			}
		})
	}
	t.Run("DPS-040 client id of another registration", func(t *testing.T) {
		if ack := with(func(p *mqtt.Connect) { p.ClientID = "other" }); ack.Code != mqtt.BadIdentifier {
			t.Errorf("%+v", ack)
		}
	})
	t.Run("DPS-040 MQTT 5.0", func(t *testing.T) {
		p := d.connect()
		p.Level = 5
		if _, ack := d.raw(d.dial(d.mqtts), p); ack.Code != mqtt.BadProtocol {
			t.Errorf("%+v", ack)
		}
	})
}

func TestMQTT(t *testing.T) {
	hook := newWebhook(t, `{"iotHubHostName":"hub-b.test"}`)
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("DPS-041 DPS-042 DPS-043 SUBSCRIBE", func(t *testing.T) {
		m, _ := k.enrol(t, "mqtt-1").bare()
		m.subscribe("#", 1, 0x80)
		m.subscribe("$dps/registrations/res/+/x", 1, 0x80)
		m.subscribe("devices/mqtt-1/messages/devicebound/#", 0, 0x80)
		m.subscribe("$dps/registrations/res/#", 2, 1)
		m.subscribe("$dps/registrations/res/#", 0, 0)
		m.subscribe("$dps/registrations/res/#", 1, 1)
		m.send(&mqtt.Unsubscribe{ID: 77, Filters: []string{"$dps/registrations/res/#", "other"}})
		if p := m.read(); fmt.Sprint(p) != fmt.Sprint(mqtt.Unsuback{ID: 77}) && fmt.Sprint(p) != fmt.Sprint(&mqtt.Unsuback{ID: 77}) {
			t.Errorf("%+v", p)
		}
	})
	t.Run("DPS-044 DPS-046 DPS-050 DPS-051 register with QoS 1", func(t *testing.T) {
		d := k.enrol(t, "mqtt-2")
		m := d.mqtt()
		for range 20 { // publish wants the PUBACK first, reply checks QoS and id
			m.publish(registerTopic+"R", `{"registrationId":"mqtt-2"}`)
			topic, a := m.reply()
			if topic != "$dps/registrations/res/202/?$rid=R&retry-after=3" || a.get("status") != "assigning" || !operationID.MatchString(a.get("operationId")) {
				t.Fatalf("%s %s", topic, a.raw)
			}
		}
		a := m.outcome("")
		if a.code != 200 || a.get("status") != "assigned" || a.get("registrationState.deviceId") != "mqtt-2" {
			t.Errorf("%d %s", a.code, a.raw)
		}
	})
	t.Run("DPS-045 register with QoS 0", func(t *testing.T) {
		m := k.enrol(t, "mqtt-3").mqtt()
		m.send(&mqtt.Publish{Topic: registerTopic + "1", Payload: []byte("{}")})
		if topic, a := m.reply(); a.code != 202 {
			t.Errorf("%s %s", topic, a.raw)
		}
	})
	t.Run("DPS-047 empty payload", func(t *testing.T) { k.enrol(t, "mqtt-4").mqtt().register("").want(202, 0) })
	t.Run("DPS-048 only a payload member", func(t *testing.T) {
		d := k.enrol(t, "mqtt-5", hook.custom)
		d.mqtt().register(`{"payload":{"a":[1,2.50]}}`).want(202, 0)
		if body := <-hook.asked; !strings.Contains(body, `"payload":{"a":[1,2.50]}`) {
			t.Errorf("the webhook got %s", body)
		}
	})
	t.Run("DPS-049 rid is echoed byte for byte", func(t *testing.T) {
		m := k.enrol(t, "mqtt-6").mqtt()
		for _, rid := range []string{"9f1e0a3c-77d1-4f6e-b0ce-1d3a86a4d3a1", "1", "abc%20d", "Ünïcode", "a b", ""} {
			m.publish(registerTopic+rid, "")
			if topic, _ := m.reply(); topic != "$dps/registrations/res/202/?$rid="+rid+"&retry-after=3" {
				t.Errorf("rid %q: %s", rid, topic)
			}
		}
	})
}

func TestMQTTErrors(t *testing.T) {
	k := open(t)
	t.Run("DPS-052 payloads of polls", func(t *testing.T) {
		d := k.enrol(t, "mqtt-7")
		m := d.mqtt()
		operation := m.outcome("").get("operationId")
		d.pass(waitForPolls)
		for _, payload := range []string{" ", "", `{"registrationId":"mqtt-7"}`, "{}"} {
			m.poll(operation, payload).want(200, 0)
		}
	})
	t.Run("DPS-053 unknown operation", func(t *testing.T) {
		k.enrol(t, "mqtt-8").mqtt().poll(nothing, " ").want(404, 404203).errorForm()
	})
	t.Run("DPS-054 wrong token", func(t *testing.T) {
		d := k.enrol(t, "mqtt-9").withKey(someKey)
		d.mqtt().register("").want(401, 401002)
		d.key = ""
		d.mqtt().register("").want(401, 401002)
	})
	t.Run("DPS-055 unknown registration id with a certificate", func(t *testing.T) {
		k.device(t, "mqtt-10").withCert(selfSigned(t, "mqtt-10")).mqtt().register("").want(401, 401002)
	})
	t.Run("DPS-057 register with tpm", func(t *testing.T) {
		k.enrol(t, "mqtt-11").mqtt().register(`{"tpm":{"endorsementKey":"AAAA"}}`).want(400, 400004)
	})
	t.Run("DPS-058 wrong method word", func(t *testing.T) {
		m := k.enrol(t, "mqtt-12").mqtt()
		m.ask("POST/iotdps-register", "").want(405, 405000)
		m.ask("PUT/iotdps-get-operationstatus", "").want(405, 405000)
		m.ask("GET/iotdps-unheard-of", "").want(404, 404000)
	})
}

func TestMQTTResend(t *testing.T) {
	k := open(t)
	t.Run("DPS-059 foreign topics close the connection", func(t *testing.T) {
		d := k.enrol(t, "mqtt-13")
		for _, topic := range []string{"devices/x/messages/events/", "$dps/registrations/PUT/iotdps-register/"} {
			m := d.mqtt()
			m.send(&mqtt.Publish{Topic: topic})
			m.gone()
		}
	})
	t.Run("DPS-060 DUP resend of the register", func(t *testing.T) {
		d := k.enrol(t, "mqtt-14")
		m := d.mqtt()
		p := &mqtt.Publish{Topic: registerTopic + "7", Payload: []byte("{}"), QoS: 1, ID: 9}
		m.send(p)
		m.read()
		_, first := m.reply()
		d.finished(first.get("operationId"), func() *answer { return m.poll(first.get("operationId"), " ") })
		p.Dup = true
		m.send(p)
		m.read()
		topic, again := m.reply()
		if again.get("operationId") != first.get("operationId") || topic != "$dps/registrations/res/202/?$rid=7&retry-after=3" {
			t.Errorf("%s %s, first %s", topic, again.raw, first.raw)
		}
	})
	t.Run("DPS-060 resend on another connection while it runs", func(t *testing.T) {
		w := newWebhook(t, `{"iotHubHostName":"hub-b.test"}`)
		w.hold = make(chan struct{})
		defer close(w.hold)
		k := open(t, func(s *setup) { s.service.Web = w.Client() })
		d := k.enrol(t, "mqtt-15", w.custom)
		first := d.mqtt().register("{}")
		<-w.asked
		m := d.mqtt()
		m.send(&mqtt.Publish{Topic: registerTopic + "7", Payload: []byte("{}"), QoS: 1, ID: 9, Dup: true})
		m.read()
		if _, again := m.reply(); again.get("operationId") != first.get("operationId") {
			t.Errorf("%s, first %s", again.raw, first.raw)
		}
	})
	t.Run("DPS-061 two operations in flight", func(t *testing.T) {
		d := k.enrol(t, "mqtt-16")
		m := d.mqtt()
		var b []byte
		for n := range uint16(8) {
			topic := registerTopic + fmt.Sprint("r", n)
			if n%2 == 1 {
				topic = pollTopic + fmt.Sprint("r", n) + "&operationId=" + nothing
			}
			b = (&mqtt.Publish{Topic: topic, QoS: 1, ID: n + 1}).Append(b)
		}
		if _, err := m.nc.Write(b); err != nil {
			t.Fatal(err)
		}
		inFlight(m, 8)
	})
	t.Run("DPS-035 lookup over MQTT", func(t *testing.T) {
		d := k.enrol(t, "mqtt-17")
		m := d.mqtt()
		m.ask("GET/iotdps-get-registration", "").want(404, 404202)
		m.outcome("")
		if a := m.ask("GET/iotdps-get-registration", "").want(200, 0); a.get("status") != "assigned" || a.body["registrationState"] != nil {
			t.Errorf("%s", a.raw)
		}
	})
}

// inFlight reads n answers, each behind its PUBACK, under rids r0 to rn-1.
func inFlight(m *mqttPeer, n int) {
	m.t.Helper()
	acked, answered := 0, 0
	for answered < n {
		switch p := m.read().(type) {
		case *mqtt.Publish:
			code := 202
			if answered%2 == 1 {
				code = 404
			}
			if want := fmt.Sprintf("$dps/registrations/res/%d/?$rid=r%d", code, answered); !strings.HasPrefix(p.Topic, want) || acked <= answered {
				m.t.Fatalf("%s after %d PUBACKs, want %s", p.Topic, acked, want)
			}
			answered++
		default:
			acked++
		}
	}
}

// subscribeAll asks for the answers.
var subscribeAll = &mqtt.Subscribe{ID: 1, Subs: []mqtt.Subscription{{Filter: "$dps/registrations/res/#", QoS: 1}}}

// peer opens a connection and sends nothing on it.
func (d *device) peer() *mqttPeer {
	d.t.Helper()
	return &mqttPeer{t: d.t, d: d, nc: d.dial(d.mqtts)}
}

// bare connects without a subscription.
func (d *device) bare() (*mqttPeer, mqtt.Connack) {
	d.t.Helper()
	return d.raw(d.dial(d.mqtts), d.connect())
}

func TestMQTTThrottle(t *testing.T) {
	k := open(t, func(s *setup) { s.settings.Limits = dps.SettingsLimits{Registrations: 1} })
	k.freeze()
	t.Run("DPS-056 DPS-266 throttled register", func(t *testing.T) {
		m := k.enrol(t, "throttle-1").mqtt()
		m.register("").want(202, 0)
		second := k.enrol(t, "throttle-2")
		m = second.mqtt()
		m.register("").want(429, 429001).errorForm() // ask wants the hint in the topic
		if a := second.register("").want(429, 429001); a.header.Get("Retry-After") == "" {
			t.Errorf("%v", a.header)
		}
		k.pass(time.Minute)
		m.register("").want(202, 0)
	})
}

func TestMQTTHeldAnswers(t *testing.T) {
	k := open(t)
	t.Run("DPS-041 answers wait for the SUBSCRIBE", func(t *testing.T) {
		m, _ := k.enrol(t, "held-1").bare()
		m.publish(registerTopic+"1", "")
		m.publish(pollTopic+"2&operationId="+nothing, "")
		m.subscribe("$dps/registrations/res/#", 1, 1)
		if topic, a := m.reply(); a.code != 202 || !strings.Contains(topic, "$rid=1") {
			t.Errorf("%s %s", topic, a.raw)
		}
		if topic, a := m.reply(); a.code != 404 || !strings.Contains(topic, "$rid=2") {
			t.Errorf("%s %s", topic, a.raw)
		}
	})
	t.Run("DPS-041 too many answers without a subscription", func(t *testing.T) {
		m, _ := k.enrol(t, "held-2").bare()
		var b []byte
		for range 40 {
			b = (&mqtt.Publish{Topic: "$dps/registrations/GET/unheard-of/?$rid=1"}).Append(b)
		}
		m.nc.Write(b)
		m.gone()
	})
	t.Run("DPS-046 a subscription with QoS 0 gets QoS 0", func(t *testing.T) {
		m, _ := k.enrol(t, "held-3").bare()
		m.subscribe("$dps/registrations/res/#", 0, 0)
		m.publish(registerTopic+"1", "")
		if p, ok := m.read().(*mqtt.Publish); !ok || p.QoS != 0 {
			t.Errorf("%+v", p)
		}
	})
	t.Run("DPS-046 answers without PUBACK are bounded", func(t *testing.T) {
		m := k.enrol(t, "held-4").mqtt()
		p := &mqtt.Publish{Topic: "$dps/registrations/GET/unheard-of/?$rid=1"}
		var b []byte
		for range 1000 {
			b = p.Append(b)
		}
		go m.nc.Write(b)
		for n := range 1000 {
			if got, ok := m.read().(*mqtt.Publish); !ok || got.QoS != 1 {
				t.Fatalf("answer %d is %+v", n, got)
			}
		}
		m.send(p)
		m.gone()
	})
	t.Run("DPS-059 a packet that is too large", func(t *testing.T) {
		m := k.enrol(t, "held-5").mqtt()
		go m.nc.Write((&mqtt.Publish{Topic: registerTopic + "1", Payload: make([]byte, 110<<10)}).Append(nil))
		m.gone()
	})
}

func TestMQTTLifetime(t *testing.T) {
	t.Run("DPS-035 idle connections end", func(t *testing.T) {
		k := open(t, func(s *setup) { s.device = dpsapi.DeviceOptions{Idle: 100 * time.Millisecond, Linger: time.Hour} })
		d := k.enrol(t, "idle-1")
		d.peer().ends(d.connect())
		d = k.enrol(t, "idle-2").withKey(someKey) // what fails does not prolong
		d.peer().ends(d.connect(), subscribeAll, &mqtt.Publish{Topic: registerTopic + "1"})
		d = k.enrol(t, "idle-3")
		nc := d.dial(k.amqps)
		p, err := d.tryOpen(nc, d.sasl())
		if err == nil {
			<-p.conn.Done()
		} else if errors.Is(err, context.DeadlineExceeded) {
			t.Error("the connection stays open")
		}
	})
	t.Run("DPS-035 connections end after the last news", func(t *testing.T) {
		k := open(t, func(s *setup) { s.device = dpsapi.DeviceOptions{Linger: 200 * time.Millisecond} })
		d := k.enrol(t, "linger-1")
		operation := d.assigned("").get("operationId")
		// A refusal would not end it: the time since the connection opened is long.
		for _, p := range d.peer().ends(d.connect(), subscribeAll, &mqtt.Publish{Topic: pollTopic + "1&operationId=" + operation}) {
			if p, ok := p.(*mqtt.Publish); ok && p.Topic != "$dps/registrations/res/200/?$rid=1" {
				t.Errorf("%s", p.Topic)
			}
		}
	})
	t.Run("DPS-035 held answers expire", func(t *testing.T) {
		k := open(t, func(s *setup) { s.device = dpsapi.DeviceOptions{Hold: time.Nanosecond} })
		m, _ := k.enrol(t, "expire-1").bare()
		m.publish(registerTopic+"1", "")
		m.subscribe("$dps/registrations/res/#", 1, 1)
		m.publish(registerTopic+"2", "")
		if topic, _ := m.reply(); !strings.Contains(topic, "$rid=2") {
			t.Errorf("%s", topic)
		}
	})
}

// TestPaho registers with a client library as it comes.
func TestPaho(t *testing.T) {
	k := open(t)
	d := k.enrol(t, "paho-1")
	got := make(chan paho.Message, 10)
	o := paho.NewClientOptions().AddBroker("ssl://" + globalHost + ":8883").SetClientID(d.id).SetUsername(d.username()).SetPassword(d.token()).
		SetTLSConfig(d.tls()).SetProtocolVersion(4).SetAutoReconnect(false)
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return tls.Dial("tcp", d.mqtts, d.tls()) })
	c := paho.NewClient(o)
	done := func(token paho.Token) {
		t.Helper()
		if !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	done(c.Connect())
	defer c.Disconnect(100)
	done(c.Subscribe("$dps/registrations/res/#", 1, func(_ paho.Client, m paho.Message) { got <- m }))
	ask := func(topic string) *answer {
		done(c.Publish(topic, 1, false, ""))
		select {
		case m := <-got:
			var code int
			fmt.Sscanf(m.Topic(), "$dps/registrations/res/%d/", &code)
			return newAnswer(t, code, m.Payload())
		case <-time.After(patience):
			t.Fatal("no answer")
		}
		return nil
	}
	operation := ask(registerTopic+"1").want(202, 0).get("operationId")
	a := d.finished(operation, func() *answer { return ask(pollTopic + "2&operationId=" + operation) })
	if a.code != 200 || a.get("status") != "assigned" {
		t.Errorf("%d %s", a.code, a.raw)
	}
}

// TestMQTTFaults shows errors that pass: they carry a hint, and the same client
// may come again.
func TestMQTTFaults(t *testing.T) {
	k := open(t)
	m := k.enrol(t, "faults-1").mqtt()
	for _, code := range []int{429001, 500001, 503001, 504000} {
		clear := k.inject(t, gate.Rule{Op: "dps.register", Code: code, After: 7 * time.Second})
		rid := m.newRID()
		m.publish(registerTopic+rid, "")
		topic, a := m.reply()
		a.want(code/1000, code).errorForm()
		if want := fmt.Sprintf("$dps/registrations/res/%d/?$rid=%s&retry-after=7", code/1000, rid); topic != want {
			t.Errorf("%s, want %s", topic, want)
		}
		clear()
	}
	m.register("").want(202, 0)
}
