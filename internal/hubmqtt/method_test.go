package hubmqtt_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

const allMethods = "$iothub/methods/POST/#"

// rid returns what stands behind the only "=" of a request topic.
func rid(topic string) string { return topic[strings.LastIndexByte(topic, '=')+1:] }

// callee returns a new device that listens for all methods.
func (w *world) callee(t *testing.T) (*account, *device) {
	t.Helper()
	a := w.register(t, "", nil)
	d := w.connect(t, a)
	d.subscribe(allMethods, 1)
	return a, d
}

type result struct {
	reply *nave.Reply
	err   error
}

func (w *world) invoke(a *account, c nave.Call) <-chan result {
	done := make(chan result, 1)
	go func() {
		r, err := w.back.Invoke(w.ctx, a.ID, c)
		done <- result{r, err}
	}()
	return done
}

func TestMethodAnswer(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-110 request", func(t *testing.T) {
		a, d := w.callee(t)
		done := w.invoke(a, nave.Call{Method: "reboot", Payload: []byte(`{"in":5}`)})
		p := d.next()
		if p.QoS != 0 || p.Retain || p.Dup || string(p.Payload) != `{"in":5}` || p.Topic != "$iothub/methods/POST/reboot/?$rid="+rid(p.Topic) || rid(p.Topic) == "" {
			t.Errorf("got %+v", p)
		}
		d.publish("$iothub/methods/res/200/?$rid="+rid(p.Topic), "", 0, 0)
		if r := <-done; r.err != nil || r.reply.Status != 200 || r.reply.Payload != nil {
			t.Errorf("%+v", r)
		}
	})
	for _, c := range []struct {
		name, status, body string
		qos                byte
		want               int
	}{
		{"DEV-111 answer", "200", `{"ok":true}`, 0, 200},
		{"DEV-112 status 404 and null", "404", `null`, 0, 404},
		{"DEV-113 answer with QoS 1", "200", `"x"`, 1, 200},
		{"negative status", "-7", `1`, 0, -7},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, d := w.callee(t)
			done := w.invoke(a, nave.Call{Method: "m"})
			d.publish("$iothub/methods/res/"+c.status+"/?$rid="+rid(d.next().Topic), c.body, c.qos, uint16(c.qos)*5)
			if r := <-done; r.err != nil || r.reply.Status != c.want || string(r.reply.Payload) != c.body {
				t.Errorf("%+v", r)
			}
			if c.qos == 1 {
				d.acked(5)
			}
		})
	}
	t.Run("DEV-114 unknown rid", func(t *testing.T) {
		_, d := w.callee(t)
		d.publish("$iothub/methods/res/200/?$rid=unknown", "1", 1, 5)
		d.acked(5)
		d.quiet()
	})
}

func TestMethodReach(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-115 no response", func(t *testing.T) {
		t.Parallel()
		a, d := w.callee(t)
		done := w.invoke(a, nave.Call{Method: "m", Timeout: 5 * time.Second})
		late := rid(d.next().Topic)
		if r := <-done; !errors.Is(r.err, fault.GatewayTimeout) || fault.GatewayTimeout.ID != 504101 {
			t.Errorf("%+v", r)
		}
		d.publish("$iothub/methods/res/200/?$rid="+late, "1", 1, 5)
		d.acked(5)
	})
	t.Run("DEV-116 not connected, not subscribed", func(t *testing.T) {
		a := w.register(t, "", nil)
		if r := <-w.invoke(a, nave.Call{Method: "m"}); !errors.Is(r.err, fault.DeviceNotOnline) {
			t.Errorf("not connected: %+v", r)
		}
		d := w.connect(t, a)
		if r := <-w.invoke(a, nave.Call{Method: "m"}); !errors.Is(r.err, fault.DeviceNotOnline) {
			t.Errorf("not subscribed: %+v", r)
		}
		d.subscribe("$iothub/methods/POST/other/#", 0)
		if r := <-w.invoke(a, nave.Call{Method: "m"}); !errors.Is(r.err, fault.DeviceNotOnline) {
			t.Errorf("subscribed to another method: %+v", r)
		}
		done := w.invoke(a, nave.Call{Method: "m", Connect: limit})
		d.subscribe(allMethods, 0)
		d.publish("$iothub/methods/res/1/?$rid="+rid(d.next().Topic), "", 0, 0)
		if r := <-done; r.err != nil || r.reply.Status != 1 {
			t.Errorf("waiting for the subscription: %+v", r)
		}
	})
	t.Run("DEV-117 after UNSUBSCRIBE", func(t *testing.T) {
		a, d := w.callee(t)
		d.unsubscribe(allMethods)
		if r := <-w.invoke(a, nave.Call{Method: "m"}); !errors.Is(r.err, fault.DeviceNotOnline) {
			t.Errorf("%+v", r)
		}
		d.quiet()
	})
}

func TestMethodPayload(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-118 no payload", func(t *testing.T) {
		a, d := w.callee(t)
		done := w.invoke(a, nave.Call{Method: "m"})
		p := d.next()
		if string(p.Payload) != "null" {
			t.Errorf("got %q", p.Payload)
		}
		d.publish("$iothub/methods/res/200/?$rid="+rid(p.Topic), "", 0, 0)
		<-done
	})
	t.Run("DEV-119 quotes in the payload", func(t *testing.T) {
		a, d := w.callee(t)
		const payload = `"a \"quoted\" \u00e4 text"`
		done := w.invoke(a, nave.Call{Method: "m", Payload: []byte(payload)})
		p := d.next()
		if string(p.Payload) != payload {
			t.Errorf("got %s", p.Payload)
		}
		d.publish("$iothub/methods/res/200/?$rid="+rid(p.Topic), payload, 0, 0)
		if r := <-done; string(r.reply.Payload) != payload {
			t.Errorf("%+v", r)
		}
	})
	t.Run("DEV-120 ten in parallel", func(t *testing.T) {
		a, d := w.callee(t)
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() {
				body := fmt.Sprint(n)
				r, err := w.back.Invoke(w.ctx, a.ID, nave.Call{Method: "m", Payload: []byte(body)})
				if err != nil || string(r.Payload) != body {
					t.Errorf("%d: %v, %v", n, r, err)
				}
			})
		}
		rids := map[string]bool{}
		for range 10 {
			p := d.next()
			rids[rid(p.Topic)] = true
			d.publish("$iothub/methods/res/200/?$rid="+rid(p.Topic), string(p.Payload), 0, 0)
		}
		all.Wait()
		if len(rids) != 10 {
			t.Errorf("rids %v", rids)
		}
	})
	t.Run("the connection ends before the answer", func(t *testing.T) {
		a, d := w.callee(t)
		done := w.invoke(a, nave.Call{Method: "m"})
		d.next()
		d.Kill()
		if r := <-done; r.err == nil {
			t.Errorf("%+v", r)
		}
	})
}
