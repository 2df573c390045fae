package controlapi_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/mqtt"
)

// versions runs f with both protocol levels.
func versions(t *testing.T, f func(t *testing.T, level byte)) {
	t.Run("3.1.1", func(t *testing.T) { f(t, 4) })
	t.Run("5.0", func(t *testing.T) { f(t, 5) })
}

const (
	i0 = `{"message_id":"m-1","value":"21.5","value_received_at":"2026-05-01T11:59:58Z"}`
	k0 = `{"message_id":"k-1","value":"1.0","value_received_at":"2026-05-01T11:59:58Z"`
)

func refusedWith(t *testing.T, err error, level, classic, modern byte) {
	t.Helper()
	var r *mqtt.RefusedError
	want := classic
	if level == 5 {
		want = modern
	}
	if !errors.As(err, &r) || r.Code != want {
		t.Errorf("%v, want %#x", err, want)
	}
}

func TestMQTTConnect(t *testing.T) {
	b := openBroker(t)
	versions(t, func(t *testing.T, level byte) {
		d := b.device(t)
		token := d.token(t)
		password := d.credential(t, token)
		refused := func(t *testing.T, o mqtt.ClientOptions, classic, modern byte) {
			t.Helper()
			_, err := b.open(o, mqtt.ClientHandler{})
			refusedWith(t, err, level, classic, modern)
		}
		t.Run("IOT-172 CONNECT with the issued tuple", func(t *testing.T) {
			l := d.connectWith(t, level, password)
			if !d.now(t).Online() {
				t.Error("not online")
			}
			p := l.Properties()
			if level == 5 && (p == nil || p.ReceiveMaximum != 20 || p.MaximumPacket != 8195 || *p.MaximumQoS != 1 || !p.NoRetain || !p.NoShared || !p.NoWildcards) {
				t.Errorf("CONNACK %+v", p)
			}
		})
		t.Run("IOT-173 CONNECT with another client id", func(t *testing.T) {
			o := d.tuple(level, password)
			o.ClientID = b.device(t).id
			refused(t, o, mqtt.BadCredentials, mqtt.BadUserOrPassword)
			o.Username = o.ClientID
			refused(t, o, mqtt.BadCredentials, mqtt.BadUserOrPassword)
		})
		t.Run("IOT-174 CONNECT with the OAuth token as password", func(t *testing.T) {
			refused(t, d.tuple(level, token), mqtt.BadCredentials, mqtt.BadUserOrPassword)
			refused(t, d.tuple(level, ""), mqtt.BadCredentials, mqtt.BadUserOrPassword)
		})
		t.Run("IOT-176 CONNECT with a will", func(t *testing.T) {
			o := d.tuple(level, password)
			o.Will = &mqtt.Will{Topic: d.feedTopic(t, d.S1), Payload: []byte(i0)}
			refused(t, o, mqtt.NotAuthorized, mqtt.Denied)
		})
		t.Run("two live credentials", func(t *testing.T) {
			d := b.device(t)
			first := d.credential(t, d.token(t))
			second := d.credential(t, d.token(t))
			a := d.connectWith(t, level, first)
			c := d.connectWith(t, level, second) // a client id is connected once
			a.ended(t, mqtt.TakenOver)
			third := d.credential(t, d.token(t))
			c.quiet(t)
			d.connectWith(t, level, third).quiet(t)
			refused(t, d.tuple(level, first), mqtt.BadCredentials, mqtt.BadUserOrPassword)
		})
		t.Run("devices that may not", func(t *testing.T) {
			for name, change := range map[string]func(*nave.ControlDevice){"inactive": func(d *nave.ControlDevice) { d.Inactive = true },
				"disabled": func(d *nave.ControlDevice) { d.Disabled = true }, "without mqtt": func(d *nave.ControlDevice) { d.Protocols = []string{"https"} }} {
				d := b.device(t)
				password := d.credential(t, d.token(t))
				l := d.connectWith(t, level, password)
				if _, err := b.control.Change(t.Context(), d.id, func(d *nave.ControlDevice) error { change(d); return nil }); err != nil {
					t.Fatal(err)
				}
				l.ended(t, mqtt.Denied)
				_, err := b.open(d.tuple(level, password), mqtt.ClientHandler{})
				if name == "disabled" { // which ends the credentials, too
					refusedWith(t, err, level, mqtt.BadCredentials, mqtt.BadUserOrPassword)
				} else {
					refusedWith(t, err, level, mqtt.NotAuthorized, mqtt.Denied)
				}
			}
		})
	})
}

func TestMQTTExpiry(t *testing.T) {
	versions(t, func(t *testing.T, level byte) {
		b := openBroker(t)
		d := b.device(t)
		t.Run("IOT-177 connection older than expires_in", func(t *testing.T) {
			password := d.credential(t, d.token(t))
			l := d.connectWith(t, level, password)
			b.pass(3599 * time.Second)
			l.quiet(t)
			b.pass(time.Second)
			l.ended(t, mqtt.MaximumConnectTime)
			_, err := b.open(d.tuple(level, password), mqtt.ClientHandler{})
			refusedWith(t, err, level, mqtt.BadCredentials, mqtt.BadUserOrPassword)
			d.connect(t, level).quiet(t)
		})
	})
}

func TestMQTTPublish(t *testing.T) {
	b := openBroker(t)
	versions(t, func(t *testing.T, level byte) {
		d := b.device(t)
		l := d.connect(t, level)
		topic := d.feedTopic(t, d.S1)
		outer := t
		var id float64
		t.Run("IOT-178 publish on the topic of S1", func(t *testing.T) {
			id = accepted(t, l.publish(t, topic, i0), "created")
		})
		t.Run("IOT-179 same publish", func(t *testing.T) {
			if again := accepted(t, l.publish(t, topic, i0), "idempotent"); again != id {
				t.Errorf("feed_data_id %v, want %v", again, id)
			}
		})
		t.Run("IOT-180 value changed", func(t *testing.T) {
			details := rejected(t, l.publish(t, topic, strings.Replace(i0, "21.5", "21.6", 1)), "conflict", false)
			if details["reason"] != "message_conflict" || details["feed_data_id"] != id {
				t.Error(details)
			}
		})
		t.Run("IOT-181 payload {", func(t *testing.T) {
			a := l.publish(t, topic, "{")
			rejected(t, a, "bad_request", false)
			if a["message_id"] != nil {
				t.Error(a["message_id"])
			}
		})
		t.Run("IOT-182 payload without value", func(t *testing.T) {
			a := l.publish(t, topic, `{"message_id":"m-2","value_received_at":"2026-05-01T11:59:58Z"}`)
			if rejected(t, a, "validation_failed", false)["errors"] == nil || a["message_id"] != "m-2" {
				t.Error(a)
			}
		})
		t.Run("IOT-183 payload with sensor_id", func(t *testing.T) {
			a := l.publish(t, topic, `{"message_id":"m-3","sensor_id":"`+d.S2+`","value":"1","value_received_at":"2026-05-01T11:59:58Z"}`)
			accepted(t, a, "created")
			if !warned(a, "unknown_field") {
				t.Error(a)
			}
		})
		t.Run("IOT-184 payload of 4097 bytes", func(t *testing.T) {
			pad := func(size int) string {
				head := `{"message_id":"m-4","value":"1","value_received_at":"2026-05-01T11:59:57Z"`
				return head + strings.Repeat(" ", size-len(head)-1) + "}"
			}
			details := rejected(t, l.publish(t, topic, pad(4097)), "payload_too_large", false)
			if details["max_bytes"] != 4096.0 {
				t.Error(details)
			}
			accepted(t, l.publish(t, topic, pad(4096)), "created")
		})
		t.Run("IOT-186 publish with retain", func(t *testing.T) {
			a := l.publish(t, topic, strings.Replace(i0, "m-1", "m-5", 1), func(p *mqtt.Publish) { p.Retain = true })
			accepted(t, a, "created")
			if !warned(a, "retain_ignored") {
				t.Error(a)
			}
			l = d.connect(outer, level)
			l.quiet(t)
		})
		t.Run("IOT-187 publish with QoS 0", func(t *testing.T) {
			accepted(t, l.publish(t, topic, strings.Replace(i0, "m-1", "m-6", 1), func(p *mqtt.Publish) { p.QoS = 0 }), "created")
			l.quiet(t)
		})
	})
	t.Run("IOT-185 MQTT 5 content type", func(t *testing.T) {
		d := b.device(t)
		l := d.connect(t, 5)
		as := func(kind string) func(*mqtt.Publish) {
			return func(p *mqtt.Publish) { p.Properties = &mqtt.Properties{ContentType: kind} }
		}
		for _, kind := range []string{"text/plain", "application/json; charset=latin1", "/"} {
			rejected(t, l.publish(t, d.feedTopic(t, d.S1), i0, as(kind)), "unsupported_media_type", false)
		}
		accepted(t, l.publish(t, d.feedTopic(t, d.S1), i0, as("application/json; charset=UTF-8")), "created")
	})
	t.Run("a topic alias stands for the topic", func(t *testing.T) {
		d := b.device(t)
		l := d.connect(t, 5)
		topic := d.feedTopic(t, d.S1)
		l.publish(t, topic, i0, func(p *mqtt.Publish) { p.Properties = &mqtt.Properties{Alias: 1} })
	})
}

func TestMQTTDenied(t *testing.T) {
	b := openBroker(t)
	versions(t, func(t *testing.T, level byte) {
		t.Run("IOT-188 publish on a topic of D2", func(t *testing.T) {
			d, other := b.device(t), b.device(t)
			l := d.connect(t, level)
			if err := l.Publish(&mqtt.Publish{Topic: other.feedTopic(t, other.S1), Payload: []byte(i0), QoS: 1, ID: 1}); err != nil {
				t.Fatal(err)
			}
			if level == 5 {
				if reason := await(t, l.refused); reason != mqtt.Denied {
					t.Errorf("PUBACK %#x", reason)
				}
				l.quiet(t)
			} else {
				l.ended(t, 0)
			}
			for _, who := range []*device{d, other} {
				if items, err := b.control.History(t.Context(), who.id, who.S1, 0, 10); err != nil || len(items) > 0 {
					t.Errorf("%d items, %v", len(items), err)
				}
			}
		})
		t.Run("IOT-189 subscribe to #", func(t *testing.T) {
			d := b.device(t)
			l := d.connect(t, level)
			for _, filter := range []string{"#", "+", "iot/v1/devices/" + d.id + "/#", "$share/g/" + d.ackTopic(), b.device(t).ackTopic(), d.feedTopic(t, d.S1)} {
				l.subscribe(t, filter, l.denied())
			}
		})
		t.Run("IOT-190 without iot:mqtt:ack:read", func(t *testing.T) {
			d := b.device(t)
			l := d.connectWith(t, level, d.credential(t, d.token(t, control.ScopeMQTT, control.ScopeMQTTFeed)))
			l.subscribe(t, d.ackTopic(), l.denied())
			l.subscribe(t, d.desiredTopic(t, d.C1), l.denied())
			l.Publish(&mqtt.Publish{Topic: d.feedTopic(t, d.S1), Payload: []byte(i0), QoS: 1, ID: 1})
			await(t, l.pubacks)
			l.quiet(t)
			if items, err := b.control.History(t.Context(), d.id, d.S1, 0, 10); err != nil || len(items) != 1 {
				t.Errorf("%d items, %v", len(items), err)
			}
		})
		t.Run("a packet of more than twice the payload limit", func(t *testing.T) {
			d := b.device(t)
			l := d.connect(t, level)
			l.Publish(&mqtt.Publish{Topic: d.feedTopic(t, d.S1), Payload: make([]byte, 8300), QoS: 1, ID: 1})
			if level == 4 {
				l.ended(t, 0)
				return
			}
			l.quiet(t) // the client keeps to the limit that CONNACK announced
			nc, err := tls.Dial("tcp", "127.0.0.1:"+b.port, b.tls)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(patience))
			raw := (&mqtt.Connect{Level: 5, ClientID: d.id, HasUsername: true, Username: d.id, HasPassword: true, Password: []byte(d.credential(t, d.token(t))), Clean: true}).Append(nil)
			raw = (&mqtt.Publish{Topic: d.feedTopic(t, d.S1), Payload: make([]byte, 8300), QoS: 1, ID: 1}).AppendV5(raw)
			go nc.Write(raw)
			got, _ := io.ReadAll(nc)
			_, n, err := mqtt.ParseV5(got)
			if err != nil {
				t.Fatalf("%x: %v", got, err)
			}
			if end, _, err := mqtt.ParseV5(got[n:]); err != nil || end.(mqtt.Disconnect).Reason != mqtt.PacketTooLarge {
				t.Errorf("%+v, %v", end, err)
			}
		})
	})
}

func TestMQTTLimits(t *testing.T) {
	versions(t, func(t *testing.T, level byte) {
		b := openBroker(t)
		d := b.device(t)
		l := d.connect(t, level)
		topic := d.feedTopic(t, d.S1)
		t.Run("IOT-191 51 publishes at once", func(t *testing.T) {
			for n := range 51 {
				l.Publish(&mqtt.Publish{Topic: topic, Payload: []byte(strings.Replace(i0, "m-1", fmt.Sprint("b-", n), 1)), QoS: 1, ID: uint16(n + 1)})
			}
			count := map[any]int{}
			for range 51 {
				a := await(t, l.acks)
				if count[a["status"]]++; a["status"] == "rejected" {
					details := rejected(t, a, "rate_limited", true)
					if wait, _ := details["retry_after"].(float64); wait < 1 || details["limit"] != "mqtt_feed" || a["message_id"] != "b-50" {
						t.Error(a)
					}
				}
			}
			for range 51 {
				await(t, l.pubacks)
			}
			l.last = 51
			if count["created"] != 50 || count["rejected"] != 1 {
				t.Error(count)
			}
			b.pass(10 * time.Second)
		})
		t.Run("IOT-192 store unavailable", func(t *testing.T) {
			rule, err := b.Hub.InjectFault(gate.Rule{Device: d.id, Op: "control.feed", Code: 5003, Family: fault.Control})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Hub.RemoveFault(rule.ID)
			details := rejected(t, l.publish(t, topic, i0), "service_unavailable", true)
			if wait, _ := details["retry_after"].(float64); wait < 1 || details["reason"] != "storage_unavailable" {
				t.Error(details)
			}
		})
		t.Run("IOT-193 store back, same payload", func(t *testing.T) {
			accepted(t, l.publish(t, topic, i0), "created")
		})
	})
}

func TestMQTTDesired(t *testing.T) {
	versions(t, func(t *testing.T, level byte) {
		b := openBroker(t)
		set := func(t *testing.T, d *device, command, value string) *nave.DesiredState {
			t.Helper()
			s, err := b.control.Set(t.Context(), d.id, command, value, "test")
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		d := b.device(t)
		b.pass(-2*time.Minute - 19*time.Second)
		for range 6 {
			set(t, d, d.C1, "0.0")
		}
		g1 := set(t, d, d.C1, "1.0")
		b.pass(2*time.Minute + 19*time.Second)
		l := d.connect(t, level)
		topic := d.desiredTopic(t, d.C1)
		t.Run("IOT-195 G1 pending, device subscribes", func(t *testing.T) {
			l.subscribe(t, topic, 1)
			w := await(t, l.wishes)
			if w["desired_id"] != g1.ID || w["value"] != "1.0" || w["sequence_number"] != 7.0 || w["issued_at"] != "2026-05-01T11:57:41Z" ||
				w["expires_at"] != "2026-05-02T11:57:41Z" || w["topic"] != topic {
				t.Error(w)
			}
			l.quiet(t)
			l.subscribe(t, topic, 1) // each time
			await(t, l.wishes)
			l.quiet(t)
		})
		t.Run("IOT-198 report of A1", func(t *testing.T) {
			accepted(t, l.publish(t, d.feedTopic(t, d.C1), k0+`,"desired_id":"`+g1.ID+`","report_status":"applied","sequence_number":7}`), "created")
			if s, err := b.control.Desired(t.Context(), g1.ID); err != nil || s.Status != nave.DesiredApplied {
				t.Errorf("%+v, %v", s, err)
			}
			l.subscribe(t, topic, 1)
			l.quiet(t)
		})
		t.Run("IOT-196 a person sets C1", func(t *testing.T) {
			s := set(t, d, d.C1, "0.0")
			if w := await(t, l.wishes); w["desired_id"] != s.ID || w["topic"] != topic {
				t.Error(w)
			}
			if err := l.Unsubscribe(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
			set(t, d, d.C1, "1.0")
			l.quiet(t)
		})
		t.Run("IOT-197 two requests while offline", func(t *testing.T) {
			d := b.device(t)
			set(t, d, d.C1, "1.0")
			newer := set(t, d, d.C1, "0.0")
			l := d.connect(t, level)
			l.subscribe(t, d.desiredTopic(t, d.C1), 1)
			if w := await(t, l.wishes); w["desired_id"] != newer.ID {
				t.Error(w)
			}
			l.quiet(t)
		})
	})
}

func TestMQTTEnds(t *testing.T) {
	b := openBroker(t)
	versions(t, func(t *testing.T, level byte) {
		t.Run("IOT-199 subscription ends while connected", func(t *testing.T) {
			d := b.device(t)
			password := d.credential(t, d.token(t))
			l := d.connectWith(t, level, password)
			end := func(inactive bool) {
				if _, err := b.control.Change(t.Context(), d.id, func(d *nave.ControlDevice) error { d.Inactive = inactive; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			end(true)
			l.ended(t, mqtt.Denied)
			_, err := b.open(d.tuple(level, password), mqtt.ClientHandler{})
			refusedWith(t, err, level, mqtt.NotAuthorized, mqtt.Denied)
			if err := d.now(t).Admit(control.MQTT); !errors.Is(err, fault.ControlPaymentRequired) {
				t.Error(err)
			}
			end(false)
			d.connectWith(t, level, password).quiet(t)
		})
		t.Run("IOT-200 S1 removed while connected", func(t *testing.T) {
			d := b.device(t)
			l := d.connect(t, level)
			topic := d.feedTopic(t, d.S1)
			if err := b.control.RemoveSource(t.Context(), d.id, d.S1); err != nil {
				t.Fatal(err)
			}
			details := rejected(t, l.publish(t, topic, i0), "not_found", false)
			if details["resource"] != "sensor" {
				t.Error(details)
			}
		})
		t.Run("a route removed while connected", func(t *testing.T) {
			d := b.device(t)
			l := d.connect(t, level)
			topic := d.feedTopic(t, d.S1)
			move := func(s *nave.ControlSource) error {
				s.Resources = []string{nave.NewControlID("res", noon)}
				return nil
			}
			if err := b.control.ChangeSource(t.Context(), d.id, d.S1, move); err != nil {
				t.Fatal(err)
			}
			if details := rejected(t, l.publish(t, topic, i0), "not_found", false); details["resource"] != "route" {
				t.Error(details)
			}
		})
		t.Run("IOT-201 secret rotated while connected", func(t *testing.T) {
			d := b.device(t)
			l := d.connect(t, level)
			if _, err := b.control.Rotate(t.Context(), d.id); err != nil {
				t.Fatal(err)
			}
			l.ended(t, mqtt.Denied)
		})
		t.Run("IOT-202 token revoked whose credential is in use", func(t *testing.T) {
			d := b.device(t)
			token, other := d.token(t), d.token(t)
			l, stays := d.connectWith(t, level, d.credential(t, token)), d.credential(t, other)
			b.call(t, "/oauth/revoke", "token="+token, form, basic(d.id, d.secret))
			l.ended(t, mqtt.Denied)
			d.connectWith(t, level, stays).quiet(t)
		})
		t.Run("the hub stops", func(t *testing.T) {
			b := openBroker(t)
			d := b.device(t)
			l := d.connect(t, level)
			b.Close()
			l.ended(t, mqtt.ShuttingDown)
		})
		t.Run("presence ends with the connection", func(t *testing.T) {
			b := openBroker(t)
			d := b.device(t)
			l := d.connect(t, level)
			b.pass(5 * time.Minute)
			if !d.now(t).Online() {
				t.Error("offline while connected")
			}
			l.Close()
			<-l.Done()
			for end := time.Now().Add(patience); d.now(t).Online(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("still online")
				}
			}
		})
	})
}
