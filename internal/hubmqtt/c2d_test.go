package hubmqtt_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubmqtt"
	"github.com/nave-hub/nave/internal/mqtt"
)

func (w *world) command(t *testing.T, a *account, m nave.Message) {
	t.Helper()
	if err := w.back.SendToDevice(w.ctx, &nave.C2D{On: a.ID, Message: m}); err != nil {
		t.Fatal(err)
	}
}

func text(body string) nave.Message { return nave.Message{Body: []byte(body)} }

// pending waits until so many messages are queued or locked.
func (w *world) pending(t *testing.T, a *account, want int) {
	t.Helper()
	w.watch(t, a, fmt.Sprintf("%d messages pending", want), func(i *nave.Identity) bool { return i.Pending == want })
}

func (a *account) bound() string { return a.own() + "messages/devicebound/#" }

// receiver returns a new device that listens for messages with QoS 1.
func (w *world) receiver(t *testing.T) (*account, *device) {
	t.Helper()
	a := w.register(t, "", nil)
	d := w.connect(t, a)
	d.subscribe(a.bound(), 1)
	return a, d
}

func TestCommandSubscription(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-092 subscribe, then pending messages", func(t *testing.T) {
		a := w.register(t, "", nil)
		w.command(t, a, text("1"))
		w.command(t, a, text("2"))
		nc := w.raw(t, mqtt.Subscribe{ID: 3, Subs: []mqtt.Subscription{{Filter: a.bound(), QoS: 1}}}.Append(w.connectPacket(t, a)))
		head := make([]byte, 10)
		if _, err := io.ReadFull(nc, head); err != nil || string(head) != "\x20\x02\x00\x00\x90\x03\x00\x03\x01\x32" {
			t.Fatalf("CONNACK, SUBACK 1, PUBLISH should come first, got % x, %v", head, err)
		}
	})
	t.Run("DEV-093 QoS 2", func(t *testing.T) {
		a := w.register(t, "", nil)
		if codes := w.connect(t, a).subscribe(a.bound(), 2); codes[0] != 1 {
			t.Errorf("granted %v", codes)
		}
	})
	t.Run("DEV-094 three filters", func(t *testing.T) {
		a := w.register(t, "", nil)
		codes := w.connect(t, a).subscribe(a.bound(), 1, "$iothub/methods/POST/#", 0, "$iothub/twin/res/#", 2)
		if len(codes) != 3 || codes[0] != 1 || codes[1] != 0 || codes[2] != 1 {
			t.Errorf("granted %v", codes)
		}
	})
	t.Run("DEV-095 sent before the first subscribe ever", func(t *testing.T) {
		a := w.register(t, "", nil)
		w.command(t, a, text("early"))
		d := w.connect(t, a)
		d.quiet()
		d.subscribe(a.bound(), 1)
		if p := d.next(); string(p.Payload) != "early" || p.QoS != 1 || p.ID == 0 || p.Dup || p.Retain {
			t.Errorf("got %+v", p)
		}
	})
}

func TestCommandContent(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-096 properties", func(t *testing.T) {
		a, d := w.receiver(t)
		m := text("x")
		m.System.MessageID, m.System.ContentType = "7", "text/plain; charset=utf-8"
		m.SetApp("name", "value", true)
		w.command(t, a, m)
		p := d.next()
		bag, ok := strings.CutPrefix(p.Topic, a.own()+"messages/devicebound/%24.")
		if !ok || !strings.Contains(bag, "%24.to=") || strings.HasSuffix(bag, "/") || !strings.Contains(bag, "text%2Fplain%3B%20charset") || !strings.HasSuffix(bag, "&name=value") {
			t.Errorf("topic %s", p.Topic)
		}
	})
	t.Run("DEV-097 letter case of to", func(t *testing.T) {
		a, d := w.receiver(t)
		m := text("x")
		m.System.To = "/devices/" + a.Device + "/messages/deviceBound"
		w.command(t, a, m)
		if p := d.next(); !strings.Contains(p.Topic, "%24.to=%2Fdevices%2F"+a.Device+"%2Fmessages%2FdeviceBound") {
			t.Errorf("topic %s", p.Topic)
		}
	})
	t.Run("DEV-098 no property", func(t *testing.T) {
		a, d := w.receiver(t)
		w.command(t, a, text("x"))
		if p := d.next(); !strings.Contains(p.Topic, "&%24.to=") { // behind the id that the hub has made
			t.Errorf("topic %s", p.Topic)
		}
	})
	t.Run("DEV-099 expiry", func(t *testing.T) {
		a, d := w.receiver(t)
		m := text("x")
		m.System.Expiry = w.now().Add(time.Hour).Truncate(time.Second)
		w.command(t, a, m)
		want := "%24.exp=" + strings.ReplaceAll(m.System.Expiry.UTC().Format("2006-01-02T15:04:05"), ":", "%3A") + ".0000000Z"
		if p := d.next(); !strings.Contains(p.Topic, want) {
			t.Errorf("topic %s lacks %s", p.Topic, want)
		}
	})
}

func TestCommandDelivery(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-101 PUBACK completes", func(t *testing.T) {
		a, d := w.receiver(t)
		w.command(t, a, text("x"))
		d.next()
		w.pending(t, a, 0)
		d.Kill()
		d = w.connect(t, a)
		d.quiet()
	})
	t.Run("QoS 0 completes by itself", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.subscribe(a.bound(), 0)
		w.command(t, a, text("x"))
		if p := d.next(); p.QoS != 0 {
			t.Errorf("got %+v", p)
		}
		w.pending(t, a, 0)
	})
	t.Run("DEV-102 no PUBACK", func(t *testing.T) {
		a := w.register(t, "", nil)
		manual := func(o *mqtt.ClientOptions) { o.ManualAck = true }
		d := w.connect(t, a, manual)
		d.subscribe(a.bound(), 1)
		for _, body := range []string{"1", "2", "3"} {
			w.command(t, a, text(body))
		}
		for range 3 {
			if p := d.next(); p.Dup {
				t.Error("DUP at the first delivery")
			}
		}
		d.quiet()
		d.Kill()
		d = w.connect(t, a, manual)
		for _, body := range []string{"1", "2", "3"} {
			p := d.next()
			if !p.Dup || string(p.Payload) != body {
				t.Errorf("got %s, DUP %v; want %s again", p.Payload, p.Dup, body)
			}
			d.Ack(p.ID)
		}
		w.pending(t, a, 0)
	})
	t.Run("DEV-103 empty body", func(t *testing.T) {
		a, d := w.receiver(t)
		w.command(t, a, text(""))
		if p := d.next(); len(p.Payload) != 0 {
			t.Errorf("got %q", p.Payload)
		}
	})
	t.Run("DEV-104 64 KiB", func(t *testing.T) {
		a, d := w.receiver(t)
		for range 20 {
			w.command(t, a, text(strings.Repeat("x", 64<<10)))
		}
		for range 20 {
			if p := d.next(); len(p.Payload) != 64<<10 {
				t.Errorf("got %d bytes", len(p.Payload))
			}
		}
	})
	t.Run("DEV-105 the 51st message", func(t *testing.T) {
		a := w.register(t, "", nil)
		for n := range 50 {
			w.command(t, a, text(fmt.Sprint(n)))
		}
		if err := w.back.SendToDevice(w.ctx, &nave.C2D{On: a.ID}); fault.From(err).Code != fault.DeviceMaximumQueueDepthExceeded {
			t.Errorf("the 51st gave %v", err)
		}
		d := w.connect(t, a)
		d.subscribe(a.bound(), 1)
		for n := range 50 {
			if p := d.next(); string(p.Payload) != fmt.Sprint(n) {
				t.Fatalf("got %s, want %d", p.Payload, n)
			}
		}
		w.pending(t, a, 0)
	})
}

func TestCommandFilters(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-107 UNSUBSCRIBE", func(t *testing.T) {
		a, d := w.receiver(t)
		d.unsubscribe(a.bound())
		w.command(t, a, text("later"))
		d.quiet()
		d.subscribe(a.bound(), 1)
		if p := d.next(); string(p.Payload) != "later" {
			t.Errorf("got %q", p.Payload)
		}
	})
	t.Run("DEV-108 module", func(t *testing.T) {
		for n, filter := range []string{"messages/devicebound/#", "#"} {
			a := w.register(t, fmt.Sprintf("dev108/mod%d", n), nil)
			d := w.connect(t, a)
			if codes := d.subscribe(a.own()+filter, 1); codes[0] != 1 {
				t.Errorf("granted %v", codes)
			}
			w.command(t, a, text("x"))
			if p := d.next(); !strings.HasPrefix(p.Topic, a.own()+"messages/devicebound/%24.") {
				t.Errorf("topic %s", p.Topic)
			}
		}
	})
	t.Run("DEV-109 another device's messages", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		if _, err := d.Subscribe(d.context(), mqtt.Subscription{Filter: "devices/other/messages/devicebound/#"}); err == nil {
			t.Error("granted")
		}
		d.dropped()
		w.ended(t, a.ID, "device.disconnect", fault.IotHubUnauthorized)
	})
	t.Run("too many filters", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		for n := range 10 {
			d.subscribe(fmt.Sprintf("$iothub/methods/POST/m%d/#", n), 0)
		}
		d.subscribe("$iothub/methods/POST/m5/#", 1) // known already
		if _, err := d.Subscribe(d.context(), mqtt.Subscription{Filter: "$iothub/twin/res/#"}); err == nil {
			t.Error("granted an eleventh")
		}
		d.dropped()
		if e := w.ended(t, a.ID, "device.disconnect", fault.ArgumentInvalid); e.Setting != "mqtt.maxSubscriptions" || e.Limit != 10 {
			t.Errorf("reported %v", e)
		}
	})
	t.Run("a message whose properties fit into no topic is rejected", func(t *testing.T) {
		a, d := w.receiver(t)
		m := text("x")
		m.SetApp("p", strings.Repeat("%", 30000), true)
		w.command(t, a, m)
		w.command(t, a, text("next"))
		if p := d.next(); string(p.Payload) != "next" {
			t.Errorf("got %q", p.Payload)
		}
		w.ended(t, a.ID, "c2d.deliver", fault.MessageTooLarge)
		w.pending(t, a, 0)
	})
}

func TestFeedback(t *testing.T) {
	t.Parallel()
	w := open(t)
	outcome := func(t *testing.T, id string) nave.Outcome {
		t.Helper()
		ctx := (&device{t: t}).context()
		for {
			batch, err := w.back.NextFeedback(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.back.SettleFeedback(ctx, batch.Lock, true); err != nil {
				t.Fatal(err)
			}
			w.offset.Add(int64(16 * time.Second)) // the pause between batches
			for _, r := range batch.Records {
				if r.OriginalMessageID == id {
					return r.Status
				}
			}
		}
	}
	t.Run("DEV-100 ack full", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.subscribe(a.bound(), 1)
		m := text("x")
		m.System.MessageID, m.System.Ack = "full", nave.AckFull
		w.command(t, a, m)
		if p := d.next(); !strings.Contains(p.Topic, "&iothub-ack=full") {
			t.Errorf("topic %s", p.Topic)
		}
		if got := outcome(t, "full"); got != nave.Success {
			t.Errorf("feedback %s", got)
		}
	})
	t.Run("DEV-106 past its expiry", func(t *testing.T) {
		a := w.register(t, "", nil)
		m := text("x")
		m.System.MessageID, m.System.Ack, m.System.Expiry = "late", nave.AckNegative, w.now().Add(time.Minute)
		w.command(t, a, m)
		w.offset.Add(int64(2 * time.Minute))
		d := w.connect(t, a)
		d.subscribe(a.bound(), 1)
		if got := outcome(t, "late"); got != nave.Expired {
			t.Errorf("feedback %s", got)
		}
		d.quiet()
	})
}

func TestSubscribeFailure(t *testing.T) {
	t.Parallel()
	w := open(t, func(_ *hub.Options, o *hubmqtt.Options) { o.SubscribeFailure = true })
	t.Run("DEV-109 answered with 0x80", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		if codes := d.subscribe("devices/other/messages/devicebound/#", 1, a.bound(), 1); codes[0] != 0x80 || codes[1] != 1 {
			t.Errorf("codes %x", codes)
		}
		d.alive()
		w.ended(t, a.ID, "mqtt.subscribe", fault.IotHubUnauthorized)
	})
}

func TestBasicTier(t *testing.T) {
	t.Parallel()
	w := open(t, func(o *hub.Options, _ *hubmqtt.Options) {
		g, err := gate.New(t.Context(), gate.Options{Hub: host, Tier: gate.Tier{SKU: "B1", Units: 1}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		o.Gate = g
	})
	a := w.register(t, "", nil)
	d := w.connect(t, a)
	if codes := d.subscribe(a.bound(), 1); codes[0] != 0x80 {
		t.Errorf("codes %x", codes)
	}
	w.ended(t, a.ID, "mqtt.subscribe", fault.OperationNotAvailableInCurrentTier)
	d.publish(a.own()+"messages/events/", "x", 1, 1)
	d.acked(1)
}
