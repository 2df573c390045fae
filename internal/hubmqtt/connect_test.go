package hubmqtt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubmqtt"
	"github.com/nave-hub/nave/internal/mqtt"
)

// raw sends bytes on a new connection.
func (w *world) raw(t *testing.T, b []byte) net.Conn {
	t.Helper()
	nc := w.dial(t)
	nc.SetDeadline(time.Now().Add(limit))
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
	return nc
}

// answer reads until the server closes and compares.
func answer(t *testing.T, nc net.Conn, want ...byte) {
	t.Helper()
	got, err := io.ReadAll(nc)
	if !bytes.Equal(got, want) || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("got % x, %v; want % x and the end", got, err, want)
	}
}

func (w *world) connectPacket(t *testing.T, a *account) []byte {
	o := w.login(t, a)
	return (&mqtt.Connect{ClientID: o.ClientID, Username: o.Username, HasUsername: true, Password: o.Password, HasPassword: true, KeepAlive: 60}).Append(nil)
}

func TestPackets(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-055 first packet is not CONNECT", func(t *testing.T) {
		answer(t, w.raw(t, mqtt.Pingreq{}.Append(nil)))
		w.ended(t, nave.ID{}, "device.connect", fault.DeviceConnectionClosedRemotely)
	})
	t.Run("DEV-056 second CONNECT", func(t *testing.T) {
		a := w.register(t, "", nil)
		p := w.connectPacket(t, a)
		answer(t, w.raw(t, append(p, p...)), 0x20, 2, 0, 0)
		w.ended(t, a.ID, "device.disconnect", fault.DeviceConnectionClosedRemotely)
	})
	t.Run("DEV-057 SUBSCRIBE before CONNACK", func(t *testing.T) {
		a := w.register(t, "", nil)
		p := mqtt.Subscribe{ID: 5, Subs: []mqtt.Subscription{{Filter: "$iothub/twin/res/#", QoS: 1}}}.Append(w.connectPacket(t, a))
		answer(t, w.raw(t, mqtt.Disconnect{}.Append(p)), 0x20, 2, 0, 0, 0x90, 3, 0, 5, 1)
	})
	t.Run("DEV-058 protocol level", func(t *testing.T) {
		answer(t, w.raw(t, (&mqtt.Connect{Protocol: "MQIsdp", Level: 3, ClientID: "d"}).Append(nil)), 0x20, 2, 0, 1)
		answer(t, w.raw(t, (&mqtt.Connect{Protocol: "MQTT", Level: 5, ClientID: "d"}).Append(nil)), 0x20, 2, 0, 1)
		w.await(t, "report", func() bool {
			for _, r := range w.reports {
				if r.why.Code == fault.InvalidProtocolVersion && strings.Contains(r.why.Text, "level 5") {
					return true
				}
			}
			return false
		})
	})
	t.Run("DEV-062 PINGREQ", func(t *testing.T) { w.connect(t, w.register(t, "", nil)).alive() })
	t.Run("DEV-067 QoS 2", func(t *testing.T) {
		a := w.register(t, "", nil)
		nc := w.raw(t, w.connectPacket(t, a))
		head := make([]byte, 4)
		io.ReadFull(nc, head)
		topic := "devices/" + a.Device + "/messages/events/"
		nc.Write(append(append([]byte{0x34, byte(len(topic) + 4), 0, byte(len(topic))}, topic...), 0, 1))
		answer(t, nc)
		w.ended(t, a.ID, "device.disconnect", fault.DeviceConnectionClosedRemotely)
	})
	t.Run("DEV-070 300 KiB", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.publish(a.own()+"messages/events/", strings.Repeat("x", 300<<10), 1, 1)
		d.dropped()
		if e := w.ended(t, a.ID, "device.disconnect", fault.MessageTooLarge); e.Setting != "mqtt.maxPacket" || e.Limit != 300<<10 {
			t.Errorf("reported %v", e)
		}
	})
	t.Run("DEV-070 more than 256 KiB", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.publish(a.own()+"messages/events/", strings.Repeat("x", 257<<10), 1, 1)
		d.dropped()
		w.ended(t, a.ID, "device.disconnect", fault.MessageTooLarge)
	})
	t.Run("DEV-071 255 KiB", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.publish(a.own()+"messages/events/a=b", strings.Repeat("x", 255<<10), 1, 1)
		d.acked(1)
		if e := w.stored(t, a.ID, 1)[0]; len(e.Body) != 255<<10 {
			t.Errorf("%d bytes stored", len(e.Body))
		}
	})
	t.Run("DEV-072 UNSUBSCRIBE of nothing", func(t *testing.T) {
		d := w.connect(t, w.register(t, "", nil))
		d.unsubscribe("foo/bar")
		d.alive()
	})
	t.Run("a probe of the port leaves no report", func(t *testing.T) {
		nc := w.dial(t)
		nc.(*net.TCPConn).CloseWrite()
		answer(t, nc)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.reports {
			if errors.Is(r.why, io.EOF) && r.op == "device.connect" {
				t.Errorf("reported %v", r.why)
			}
		}
	})
}

func TestTopicsRefused(t *testing.T) {
	t.Parallel()
	w := open(t)
	for _, c := range []struct {
		name, topic string
		want        *fault.Code
	}{
		{"DEV-068 foo/bar", "foo/bar", fault.ArgumentInvalid},
		{"DEV-069 another device", "devices/other/messages/events/", fault.IotHubUnauthorized},
		{"no rid", "$iothub/twin/GET/", fault.ArgumentInvalid},
		{"expiry", "devices/%s/messages/events/$.exp=x", fault.ArgumentInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.register(t, "", nil)
			d := w.connect(t, a)
			d.publish(strings.Replace(c.topic, "%s", a.Device, 1), "x", 1, 1)
			d.dropped()
			w.ended(t, a.ID, "device.disconnect", c.want)
		})
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	w := open(t)
	clean := func(o *mqtt.ClientOptions) { o.Clean = true }
	bound := func(a *account) string { return a.own() + "messages/devicebound/#" }
	t.Run("DEV-059 first time", func(t *testing.T) {
		if w.connect(t, w.register(t, "", nil)).present {
			t.Error("session present")
		}
	})
	t.Run("DEV-060 after subscribing", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.subscribe(bound(a), 1, "$iothub/methods/POST/#", 0, "$iothub/twin/PATCH/properties/desired/#", 0)
		w.leave(t, a, d)
		if err := w.back.SendToDevice(w.ctx, &nave.C2D{On: a.ID, Message: nave.Message{Body: []byte("kept")}}); err != nil {
			t.Fatal(err)
		}
		d = w.connect(t, a)
		if !d.present {
			t.Error("no session present")
		}
		if p := d.next(); string(p.Payload) != "kept" || p.QoS != 1 {
			t.Errorf("got %+v", p)
		}
		if _, err := w.back.PatchTwin(w.ctx, a.ID, nave.Patch{Desired: nave.Doc{"a": true}}, "", 1); err != nil {
			t.Fatal(err)
		}
		if p := d.next(); !strings.HasPrefix(p.Topic, "$iothub/twin/PATCH/properties/desired/") {
			t.Errorf("got %s", p.Topic)
		}
		go func() {
			p := d.next()
			d.publish("$iothub/methods/res/200/?$rid="+p.Topic[strings.LastIndex(p.Topic, "=")+1:], "1", 0, 0)
		}()
		if r, err := w.back.Invoke(w.ctx, a.ID, nave.Call{Method: "m"}); err != nil || r.Status != 200 {
			t.Errorf("%v, %v", r, err)
		}
	})
	t.Run("DEV-061 CleanSession", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.subscribe(bound(a), 1)
		w.leave(t, a, d)
		d = w.connect(t, a, clean)
		if d.present {
			t.Error("session present although CleanSession was asked for")
		}
		d.subscribe(bound(a), 1)
		w.leave(t, a, d)
		if w.connect(t, a).present {
			t.Error("session present although the last connection was clean")
		}
	})
	t.Run("a restored session can be called as soon as CONNACK is there", func(t *testing.T) {
		a, d := w.callee(t)
		for range 20 {
			w.leave(t, a, d)
			d = w.connect(t, a)
			done := w.invoke(a, nave.Call{Method: "m"})
			select {
			case p := <-d.in:
				d.publish("$iothub/methods/res/200/?$rid="+rid(p.Topic), "", 0, 0)
				if r := <-done; r.err != nil {
					t.Fatal(r.err)
				}
			case r := <-done:
				t.Fatal(r.err)
			}
		}
	})
	t.Run("an unsubscribed filter is not restored", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.subscribe(bound(a), 1, "$iothub/methods/POST/#", 0)
		d.unsubscribe("$iothub/methods/POST/#")
		w.leave(t, a, d)
		d = w.connect(t, a)
		if _, err := w.back.Invoke(w.ctx, a.ID, nave.Call{Method: "m"}); fault.From(err).Code != fault.DeviceNotOnline {
			t.Errorf("invoke gave %v", err)
		}
		d.quiet()
	})
}

func TestWill(t *testing.T) {
	t.Parallel()
	w := open(t)
	will := func(a *account, bag string) func(o *mqtt.ClientOptions) {
		return func(o *mqtt.ClientOptions) {
			o.Will = &mqtt.Will{Topic: a.own() + "messages/events/" + bag, Payload: []byte("gone"), QoS: 1, Retain: true}
		}
	}
	check := func(t *testing.T, a *account) {
		t.Helper()
		e := w.stored(t, a.ID, 1)[0]
		kind, _ := e.AppValue("iothub-MessageType")
		retain, _ := e.AppValue("mqtt-retain")
		x, _ := e.AppValue("a")
		if string(e.Body) != "gone" || kind != "Will" || retain != "true" || x != "b" || e.System.MessageID != "7" || e.Source != nave.Telemetry {
			t.Errorf("stored %+v", e)
		}
	}
	t.Run("DEV-066 socket cut", func(t *testing.T) {
		a := w.register(t, "", nil)
		w.connect(t, a, will(a, "%24.mid=7&a=b")).Kill()
		check(t, a)
		w.ended(t, a.ID, "device.disconnect", fault.DeviceConnectionClosedRemotely)
	})
	t.Run("DEV-063 silence", func(t *testing.T) {
		t.Parallel()
		a := w.register(t, "", nil)
		began := time.Now()
		d := w.connect(t, a, will(a, "%24.mid=7&a=b"), func(o *mqtt.ClientOptions) { o.KeepAlive, o.NoPing = 2, true })
		d.dropped()
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("closed after %v", took)
		}
		check(t, a)
		if e := w.ended(t, a.ID, "device.disconnect", fault.DeviceConnectionClosedRemotely); e.Limit != 3*time.Second || !strings.Contains(e.Text, "keep-alive") {
			t.Errorf("reported %v", e)
		}
	})
	t.Run("DEV-065 DISCONNECT", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a, will(a, ""))
		w.leave(t, a, d)
		d = w.connect(t, a)
		d.publish(a.own()+"messages/events/", "after", 1, 1)
		d.acked(1)
		if e := w.stored(t, a.ID, 1)[0]; string(e.Body) != "after" {
			t.Errorf("stored %q", e.Body)
		}
	})
	t.Run("takeover", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a, will(a, "%24.mid=7&a=b"))
		w.connect(t, a)
		d.dropped()
		check(t, a)
	})
	for name, o := range map[string]*mqtt.Will{
		"other topic":  {Topic: "foo", QoS: 1},
		"other device": {Topic: "devices/other/messages/events/"},
		"twin":         {Topic: "$iothub/twin/GET/?$rid=1"},
		"QoS 2":        {Topic: "devices/%s/messages/events/", QoS: 2},
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			a := w.register(t, "", nil)
			l := w.login(t, a)
			o.Topic = strings.Replace(o.Topic, "%s", a.Device, 1)
			l.Will = o
			w.refused(t, l, 5)
			w.ended(t, a.ID, "device.connect", fault.IotHubUnauthorized)
		})
	}
}

func TestKeepAliveCap(t *testing.T) {
	t.Parallel()
	w := open(t, func(_ *hub.Options, o *hubmqtt.Options) { o.Engine.KeepAliveCap = 3 * time.Second })
	for _, announced := range []uint16{65535, 0} {
		t.Run(fmt.Sprintf("DEV-064 keep-alive %d, with a cap of 3 s in place of 1767 s", announced), func(t *testing.T) {
			t.Parallel()
			a := w.register(t, "", nil)
			w.connect(t, a, func(o *mqtt.ClientOptions) { o.KeepAlive, o.NoPing = announced, true }).dropped()
			if e := w.ended(t, a.ID, "device.disconnect", fault.DeviceConnectionClosedRemotely); e.Setting != "mqtt.keepAliveCap" || e.Limit != 3*time.Second {
				t.Errorf("reported %v", e)
			}
		})
	}
}
