package hubmqtt_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubmqtt"
	"github.com/nave-hub/nave/internal/mqtt"
)

// sent publishes with QoS 1 and returns what was stored.
func (w *world) sent(t *testing.T, a *account, topic string) *nave.Event {
	t.Helper()
	d := w.connect(t, a)
	d.publish(a.own()+topic, "x", 1, 9)
	d.acked(9)
	return w.stored(t, a.ID, 1)[0]
}

func value(t *testing.T, e *nave.Event, name, want string) {
	t.Helper()
	if got, ok := e.AppValue(name); !ok || got != want {
		t.Errorf("%s is %q, %v; want %q", name, got, ok, want)
	}
}

func TestTelemetry(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-073 events topic", func(t *testing.T) { w.sent(t, w.register(t, "", nil), "messages/events/") })
	t.Run("DEV-074 no slash", func(t *testing.T) { w.sent(t, w.register(t, "", nil), "messages/events") })
	t.Run("DEV-075 ten pipelined", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		for n := range uint16(10) {
			d.publish(a.own()+"messages/events/", string('0'+rune(n)), 1, 100-n)
		}
		for n := range uint16(10) {
			d.acked(100 - n)
		}
		for n, e := range w.stored(t, a.ID, 10) {
			if string(e.Body) != string('0'+rune(n)) {
				t.Errorf("event %d is %s", n, e.Body)
			}
		}
	})
	t.Run("DEV-076 QoS 0", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.publish(a.own()+"messages/events/", "x", 0, 0)
		w.stored(t, a.ID, 1)
		d.quiet()
	})
	t.Run("DEV-077 empty payload", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.publish(a.own()+"messages/events/", "", 1, 1)
		d.acked(1)
		if e := w.stored(t, a.ID, 1)[0]; len(e.Body) != 0 {
			t.Errorf("stored %q", e.Body)
		}
	})
}

func TestBagStored(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-078 properties", func(t *testing.T) {
		e := w.sent(t, w.register(t, "", nil), "messages/events/%24.mid=1&%24.cid=2&%24.ct=application%2Fjson&%24.ce=utf-8&k=v%20w")
		if s := e.System; s.MessageID != "1" || s.CorrelationID != "2" || s.ContentType != "application/json" || s.ContentEncoding != "utf-8" {
			t.Errorf("system properties %+v", s)
		}
		value(t, e, "k", "v w")
	})
	for _, c := range []struct{ name, bag, key, want string }{
		{"DEV-079 user property first", "k=v&%24.mid=1", "k", "v"},
		{"DEV-080 unescaped dollar", "$.mid=1&k=v", "k", "v"},
		{"DEV-081 raw value", "$.mid=1&a=b/c%", "a", "b/c%"},
		{"DEV-082 trailing slash", "$.mid=1&a=b/", "a", "b"},
		{"DEV-083 no equals sign", "$.mid=1&a", "a", ""},
		{"DEV-084 plus", "$.mid=1&a=b+c", "a", "b+c"},
		{"DEV-085 first key", "$.mid=1&%26ey1=%3Dal1", "&ey1", "=al1"},
		{"DEV-085 second key", "$.mid=1&K%2Fy2=V%40l2", "K/y2", "V@l2"},
		{"DEV-085 third key", "$.mid=1&Ke%3F3=Va%253", "Ke?3", "Va%3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := w.sent(t, w.register(t, "", nil), "messages/events/"+c.bag)
			value(t, e, c.key, c.want)
			if e.System.MessageID != "1" || len(e.App) != 1 {
				t.Errorf("stored %+v", e)
			}
		})
	}
}

func TestSystemProperties(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-086 component", func(t *testing.T) {
		if e := w.sent(t, w.register(t, "", nil), "messages/events/%24.sub=thermostat1"); e.System.Subject != "thermostat1" {
			t.Errorf("dt-subject is %q", e.System.Subject)
		}
	})
	t.Run("DEV-087 output", func(t *testing.T) {
		if e := w.sent(t, w.register(t, "gate/way", nil), "messages/events/%24.on=output1/"); e.System.Output != "output1" {
			t.Errorf("output is %q", e.System.Output)
		}
	})
	t.Run("DEV-088 security message", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.publish(a.own()+"messages/events/%24.ifid=urn:azureiot:Security:SecurityAgent:1", "secret", 1, 1)
		d.acked(1)
		d.publish(a.own()+"messages/events/", "open", 1, 2)
		d.acked(2)
		if e := w.stored(t, a.ID, 1)[0]; string(e.Body) != "open" {
			t.Errorf("stored %q", e.Body)
		}
	})
	t.Run("DEV-089 RETAIN", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		if err := d.Publish(&mqtt.Publish{Topic: a.own() + "messages/events/", QoS: 1, ID: 1, Retain: true, Dup: true}); err != nil {
			t.Fatal(err)
		}
		d.acked(1)
		e := w.stored(t, a.ID, 1)[0]
		value(t, e, "mqtt-retain", "true")
		value(t, e, "mqtt-dup", "true")
	})
	t.Run("DEV-090 stamps", func(t *testing.T) {
		before := time.Now().Add(-time.Second)
		e := w.sent(t, w.register(t, "stamp/module", nil), "messages/events/")
		if e.From != (nave.ID{Device: "stamp", Module: "module"}) || e.Generation == "" || e.Source != nave.Telemetry || e.Enqueued.Before(before) ||
			!strings.HasPrefix(e.Auth, `{"scope":"module","type":"sas"`) {
			t.Errorf("stored %+v", e)
		}
	})
	t.Run("DEV-091 property of the hub", func(t *testing.T) {
		a := w.register(t, "", nil)
		e := w.sent(t, a, "messages/events/iothub-connection-device-id=other&k=v&IoTHub-Message-Source=x&dt-dataschema=y")
		if e.From != a.ID || e.Source != nave.Telemetry || e.Model != "" || len(e.App) != 1 {
			t.Errorf("stored %+v", e)
		}
		value(t, e, "k", "v")
	})
}

func TestDeviceFault(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *hub.Options, _ *hubmqtt.Options) { o.DeviceFaults = true })
	for _, kind := range []string{"KillTcp", "ShutDownMqtt", "InvokeThrottling"} {
		request := func(t *testing.T, delay string) (*account, *device) {
			a := w.register(t, "", nil)
			d := w.connect(t, a)
			d.publish(a.own()+"messages/events/AzIoTHub_FaultOperationType="+kind+"&AzIoTHub_FaultOperationDelayInSecs="+delay+"&AzIoTHub_FaultOperationCloseReason=boom", "x", 1, 1)
			return a, d
		}
		t.Run(kind+" is not acknowledged, others are until it strikes", func(t *testing.T) {
			a, d := request(t, "3600")
			d.publish(a.own()+"messages/events/", "x", 1, 2)
			d.acked(2)
			d.quiet()
		})
		t.Run(kind+" strikes", func(t *testing.T) {
			a, d := request(t, "0.05")
			d.dropped()
			if e := w.reported(t, a.ID, "device.disconnect"); !strings.Contains(e.Text, "boom") {
				t.Errorf("reported %v", e)
			}
			w.connect(t, a).alive()
		})
	}
}
