package hubamqp_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/navetest"
)

const desiredAddress = "/notifications/twin/properties/desired"

// twinPair is the two twin links of a device.
type twinPair struct {
	requests, responses *thread
}

func (p *party) twin(d *navetest.Device, a ...attachment) *twinPair {
	p.t.Helper()
	return &twinPair{p.sender(at(d, "/twin"), a...), p.receiver(at(d, "/twin"), a...)}
}

func twinMessage(t testing.TB, id any, operation, resource, body string, more ...amqp.Pair) []byte {
	m := &amqp.Message{Properties: &amqp.Properties{CorrelationID: id}, Data: [][]byte{[]byte(body)},
		MessageAnnotations: amqp.Map{{Key: amqp.Symbol("operation"), Value: operation}}}
	if resource != "" {
		m.MessageAnnotations = append(m.MessageAnnotations, amqp.Pair{Key: amqp.Symbol("resource"), Value: resource})
	}
	m.MessageAnnotations = append(m.MessageAnnotations, more...)
	return encoded(t, m)
}

// ask sends a request and returns the response with its status.
func (w *twinPair) ask(id any, operation, resource, body string, more ...amqp.Pair) (int32, *amqp.Message) {
	t := w.requests.t
	t.Helper()
	w.requests.accepted(twinMessage(t, id, operation, resource, body, more...))
	in, m := w.responses.next()
	if !in.Settled || len(in.Tag()) != 16 || m.Properties == nil || m.Properties.CorrelationID != id || m.HasValue || len(m.Data) != 1 {
		t.Fatalf("settled %v, tag %x, %+v", in.Settled, in.Tag(), m)
	}
	in.Accept()
	status, ok := m.MessageAnnotations.Get("status").(int32)
	if !ok {
		t.Fatalf("status %#v", m.MessageAnnotations)
	}
	return status, m
}

func desire(t testing.TB, k *navetest.Kit, d *navetest.Device, body string) {
	t.Helper()
	doc, err := nave.ParseDoc([]byte(body))
	if err == nil {
		_, err = k.Backend.PatchTwin(context.Background(), d.ID, nave.Patch{Desired: doc}, "", len(body))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTwin(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	d := k.Device("twin1")
	p := device(t, k, d)
	w := p.twin(d)
	t.Run("DEV-188 PUT", func(t *testing.T) {
		if status, _ := w.ask("Put1", "PUT", desiredAddress, " "); status != 200 {
			t.Error(status)
		}
	})
	t.Run("DEV-189 GET", func(t *testing.T) {
		status, m := w.ask("Get1", "GET", "", " ")
		var doc struct{ Desired, Reported map[string]any }
		if err := json.Unmarshal(m.Data[0], &doc); status != 200 || err != nil || doc.Desired["$version"] == nil || doc.Reported["$version"] == nil {
			t.Errorf("%d %s", status, m.Data[0])
		}
	})
	t.Run("DEV-190 GET with a uuid", func(t *testing.T) {
		if status, _ := w.ask(amqp.UUID{9, 8}, "GET", "", ""); status != 200 {
			t.Error(status)
		}
	})
	t.Run("DEV-191 PATCH", func(t *testing.T) {
		status, m := w.ask("Patch1", "PATCH", "/properties/reported", `{"a":1}`)
		if v, ok := m.MessageAnnotations.Get("version").(int64); status != 200 || !ok || v != 2 {
			t.Errorf("%d %#v", status, m.MessageAnnotations)
		}
	})
	t.Run("DEV-192 PATCH with a stale version", func(t *testing.T) {
		for _, v := range []any{int32(1), int64(1), nil} {
			if status, _ := w.ask("Patch2", "PATCH", "/properties/reported", `{"a":2}`, amqp.Pair{Key: amqp.Symbol("version"), Value: v}); status != 200 {
				t.Error(status)
			}
		}
	})
	t.Run("DEV-193 PATCH with a bad key", func(t *testing.T) {
		for _, body := range []string{`{"a.b":1}`, `{"a":`, `[]`} {
			status, m := w.ask("Patch3", "PATCH", "/properties/reported", body)
			var e struct {
				Code int    `json:"errorCode"`
				ID   string `json:"trackingId"`
			}
			if err := json.Unmarshal(m.Data[0], &e); status != 400 || err != nil || e.Code/1000 != 400 || e.ID == "" {
				t.Errorf("%d %s", status, m.Data[0])
			}
		}
		if status, _ := w.ask("x", "POST", "", ""); status != 400 {
			t.Error(status)
		}
	})
	t.Run("DEV-195 desired change", func(t *testing.T) {
		desire(t, k, d, `{"speed":5}`)
		in, m := w.responses.next()
		v, ok := m.MessageAnnotations.Get("version").(int64)
		if !ok || m.Properties != nil && m.Properties.CorrelationID != nil || m.MessageAnnotations.Get("status") != nil || !in.Settled {
			t.Errorf("%+v", m)
		}
		var doc map[string]any
		if err := json.Unmarshal(m.Data[0], &doc); err != nil || doc["speed"] != 5.0 || doc["$version"] != float64(v) {
			t.Errorf("%s", m.Data[0])
		}
	})
	t.Run("DEV-194 DELETE", func(t *testing.T) {
		if status, _ := w.ask("Delete1", "DELETE", desiredAddress, " "); status != 200 {
			t.Error(status)
		}
		desire(t, k, d, `{"speed":6}`)
		if _, m := w.ask("Get2", "GET", "", ""); !strings.Contains(string(m.Data[0]), `"speed":6`) {
			t.Errorf("%s", m.Data[0])
		}
		w.responses.quiet()
	})
}

func TestTwinPairs(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	t.Run("DEV-199 correlation id of a pair", func(t *testing.T) {
		d := k.Device("twin2")
		p := device(t, k, d)
		pair := func(id string) attachment {
			return attachment{snd: amqp.SettleMixed, session: p.Begin(), props: amqp.Map{{Key: amqp.Symbol("com.microsoft:channel-correlation-id"), Value: "twin:" + id}}}
		}
		one, two := pair("one"), pair("two")
		a, b := p.twin(d, one), p.twin(d, two)
		if status, _ := a.ask("A", "GET", "", ""); status != 200 {
			t.Error(status)
		}
		if status, _ := b.ask("B", "PUT", desiredAddress, ""); status != 200 {
			t.Error(status)
		}
		desire(t, k, d, `{"x":1}`)
		b.responses.next()
		a.responses.quiet()
		t.Run("the same twice", func(t *testing.T) {
			one.session = p.Begin()
			p.refused(amqp.RoleSender, at(d, "/twin"), "com.microsoft:link-creation-conflict", one)
		})
	})
	t.Run("requests before the receiver is there", func(t *testing.T) {
		d := k.Device("twin4")
		p := device(t, k, d)
		requests := p.sender(at(d, "/twin"))
		requests.accepted(twinMessage(t, amqp.UUID{4}, "PUT", desiredAddress, ""))
		requests.accepted(twinMessage(t, "G", "GET", "", ""))
		responses := p.receiver(at(d, "/twin"))
		for _, id := range []any{amqp.UUID{4}, "G"} {
			if _, m := responses.next(); m.Properties.CorrelationID != id {
				t.Errorf("%+v", m.Properties)
			}
		}
		desire(t, k, d, `{"y":1}`)
		responses.next()
	})
	t.Run("a receiver without credit", func(t *testing.T) {
		d := k.Device("twin3")
		p := device(t, k, d)
		w := p.twin(d, attachment{snd: amqp.SettleMixed, manual: true})
		w.requests.accepted(twinMessage(t, "G", "GET", "", ""))
		w.responses.quiet()
		w.responses.Grant(1)
		w.responses.next()
	})
}

type callback struct {
	reply *nave.Reply
	err   error
}

func invoke(k *navetest.Kit, d *navetest.Device, c nave.Call) chan callback {
	done := make(chan callback, 1)
	go func() {
		r, err := k.Backend.Invoke(context.Background(), d.ID, c)
		done <- callback{r, err}
	}()
	return done
}

func TestMethods(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	for name, who := range map[string]string{"device": "meth1", "module": "meth2/mod"} {
		t.Run(name, func(t *testing.T) {
			d := k.Device(who)
			p := device(t, k, d)
			replies, requests := p.sender(at(d, "/methods/devicebound")), p.receiver(at(d, "/methods/devicebound"))
			var in *amqp.Delivery
			var m *amqp.Message
			var done chan callback
			t.Run("DEV-196 call", func(t *testing.T) {
				done = invoke(k, d, nave.Call{Method: "reboot", Payload: json.RawMessage(`{"in":3}`), Connect: patience})
				in, m = requests.next()
				if _, ok := m.Properties.CorrelationID.(amqp.UUID); !ok || m.ApplicationProperties.Get("IoThub-methodname") != "reboot" ||
					len(m.Data) != 1 || string(m.Data[0]) != `{"in":3}` || !in.Settled {
					t.Errorf("%+v", m)
				}
			})
			t.Run("DEV-197 response", func(t *testing.T) {
				reply := func(id any, status any) []byte {
					return encoded(t, &amqp.Message{Properties: &amqp.Properties{CorrelationID: id}, Data: [][]byte{[]byte(`{"ok":true}`)},
						ApplicationProperties: amqp.Map{{Key: "IoThub-status", Value: status}}})
				}
				replies.accepted(reply(amqp.UUID{1}, int32(1)))
				replies.rejected(reply(m.Properties.CorrelationID, "200"), "com.microsoft:argument-error")
				replies.put(reply(m.Properties.CorrelationID, int32(201)), 0, true)
				r := <-done
				if r.err != nil || r.reply.Status != 201 || string(r.reply.Payload) != `{"ok":true}` {
					t.Errorf("%+v %v", r.reply, r.err)
				}
				done = invoke(k, d, nave.Call{Method: "again"})
				_, m = requests.next()
				replies.accepted(reply(m.Properties.CorrelationID.(amqp.UUID).String(), int64(202)))
				if r := <-done; r.err != nil || r.reply.Status != 202 {
					t.Errorf("%+v %v", r.reply, r.err)
				}
			})
			t.Run("DEV-198 receiver detached", func(t *testing.T) {
				done := invoke(k, d, nave.Call{Method: "open"})
				_, m := requests.next()
				requests.Detach(nil)
				<-requests.gone
				replies.accepted(encoded(t, &amqp.Message{Properties: &amqp.Properties{CorrelationID: m.Properties.CorrelationID},
					ApplicationProperties: amqp.Map{{Key: "IoThub-status", Value: int32(200)}}}))
				if r := <-done; r.err != nil || r.reply.Payload != nil {
					t.Errorf("%+v %v", r.reply, r.err)
				}
				if r := <-invoke(k, d, nave.Call{Method: "reboot"}); !errors.Is(r.err, fault.DeviceNotOnline) {
					t.Errorf("%v", r.err)
				}
				done = invoke(k, d, nave.Call{Method: "late", Connect: patience})
				again := p.receiver(at(d, "/methods/devicebound"))
				again.next()
				again.Detach(nil)
				replies.Detach(nil)
				if r := <-done; !errors.Is(r.err, fault.GatewayTimeout) {
					t.Errorf("%v", r.err)
				}
			})
		})
	}
}
