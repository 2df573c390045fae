package hubmqtt_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

const (
	twinResponses = "$iothub/twin/res/#"
	desiredUpdate = "$iothub/twin/PATCH/properties/desired/#"
	reportTopic   = "$iothub/twin/PATCH/properties/reported/?$rid="
)

type document struct{ Desired, Reported map[string]any }

// get reads the twin and checks its topic.
func (d *device) get(id string) (doc document) {
	d.t.Helper()
	d.publish("$iothub/twin/GET/?$rid="+id, " ", 0, 0)
	p := d.next()
	if p.Topic != "$iothub/twin/res/200/?$rid="+id || p.QoS != 0 {
		d.t.Fatalf("got %s", p.Topic)
	}
	if err := json.Unmarshal(p.Payload, &doc); err != nil {
		d.t.Fatal(err)
	}
	return doc
}

// report patches the reported properties and returns their version.
func (d *device) report(patch string) string {
	d.t.Helper()
	d.publish(reportTopic+"p", patch, 0, 0)
	p := d.next()
	version, ok := strings.CutPrefix(p.Topic, "$iothub/twin/res/204/?$rid=p&$version=")
	if !ok || len(p.Payload) != 0 {
		d.t.Fatalf("patch %s: got %s %s", patch, p.Topic, p.Payload)
	}
	return version
}

// refuse wants an error response to a patch.
func (d *device) refuse(rid, patch string, status int, want *fault.Code) {
	d.t.Helper()
	d.publish(reportTopic+rid, patch, 0, 0)
	p := d.next()
	rid, _, _ = strings.Cut(rid, "&")
	var body struct {
		ErrorCode                         int
		TrackingID, Message, TimestampUTC string
	}
	if err := json.Unmarshal(p.Payload, &body); err != nil {
		d.t.Fatalf("%v in %s", err, p.Payload)
	}
	if p.Topic != fmt.Sprintf("$iothub/twin/res/%d/?$rid=%s", status, rid) || body.ErrorCode != want.ID || body.Message == "" || body.TrackingID == "" || !strings.HasSuffix(body.TimestampUTC, "Z") {
		d.t.Fatalf("got %s %s; want status %d and %v", p.Topic, p.Payload, status, want)
	}
	if !strings.Contains(string(p.Payload), `"errorCode":`) || !strings.Contains(string(p.Payload), `"message":`) {
		d.t.Fatalf("members of %s", p.Payload)
	}
}

// reporter returns a new device that listens for twin responses.
func (w *world) reporter(t *testing.T) (*account, *device) {
	t.Helper()
	a := w.register(t, "", nil)
	d := w.connect(t, a)
	d.subscribe(twinResponses, 0)
	return a, d
}

func TestTwin(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-121 GET", func(t *testing.T) {
		_, d := w.reporter(t)
		doc := d.get("1")
		if doc.Desired["$version"] != 1.0 || doc.Reported["$version"] != 1.0 || doc.Desired["$metadata"] != nil || doc.Reported["$metadata"] != nil {
			t.Errorf("%+v", doc)
		}
	})
	t.Run("DEV-122 request ids", func(t *testing.T) {
		_, d := w.reporter(t)
		for _, id := range []string{"0f8fad5b-d9cb-469f-a165-70867728950e", "65535", strings.Repeat("long ", 50), "a/b%20+#"} {
			d.get(id)
		}
	})
	t.Run("DEV-123 PATCH", func(t *testing.T) {
		a, d := w.reporter(t)
		if v := d.report(`{"a":1}`); v != "2" {
			t.Errorf("version %s", v)
		}
		v, err := w.back.Twin(w.ctx, a.ID)
		if err != nil || v.Twin.Reported.Data["a"] != json.Number("1") {
			t.Errorf("%+v, %v", v, err)
		}
	})
	for _, c := range []struct{ name, first, second, want string }{
		{"DEV-124 null removes", `{"a":1,"b":2}`, `{"a":null}`, `{"b":2,"$version":3}`},
		{"DEV-125 objects merge", `{"o":{"a":1,"p":{"x":1}}}`, `{"o":{"b":2,"p":{"y":2}}}`, `{"o":{"a":1,"b":2,"p":{"x":1,"y":2}},"$version":3}`},
		{"DEV-126 arrays replace", `{"a":[1,{"b":2}]}`, `{"a":[3]}`, `{"a":[3],"$version":3}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, d := w.reporter(t)
			d.report(c.first)
			d.report(c.second)
			var want map[string]any
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if got := d.get("g").Reported; !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestTwinRefusal(t *testing.T) {
	t.Parallel()
	w := open(t)
	for _, c := range []struct {
		name, rid, patch string
		status           int
		want             *fault.Code
	}{
		{"DEV-127 invalid JSON", "r", `{"a":`, 400, fault.IotHubFormatError},
		{"DEV-127 not an object", "r", `5`, 400, fault.IotHubFormatError},
		{"DEV-128 key with dollar", "r", `{"ok":1,"a$b":1}`, 400, fault.ArgumentInvalid},
		{"DEV-128 key with dot", "r", `{"ok":1,"a":{"b.c":1}}`, 400, fault.ArgumentInvalid},
		{"DEV-130 stale version", "r&$version=0", `{"ok":1}`, 412, fault.PreconditionFailed},
		{"DEV-131 above 32 KiB", "r", `{"a":["` + strings.Repeat("x", 4000) + strings.Repeat(`","`+strings.Repeat("x", 4000), 9) + `"]}`, 413, fault.MessageTooLarge},
		{"DEV-140 error as Node sees it", "r", `nonsense`, 400, fault.IotHubFormatError},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, d := w.reporter(t)
			d.refuse(c.rid, c.patch, c.status, c.want)
			if doc := d.get("g"); len(doc.Reported) != 1 || doc.Reported["$version"] != 1.0 {
				t.Errorf("stored %v", doc.Reported)
			}
		})
	}
}

func TestTwinRequests(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-129 current version", func(t *testing.T) {
		_, d := w.reporter(t)
		d.publish(reportTopic+"r&$version=1", `{"a":1}`, 0, 0)
		if p := d.next(); p.Topic != "$iothub/twin/res/204/?$rid=r&$version=2" {
			t.Errorf("got %s %s", p.Topic, p.Payload)
		}
	})
	t.Run("DEV-132 QoS 1", func(t *testing.T) {
		_, d := w.reporter(t)
		d.publish(reportTopic+"r", `{"a":1}`, 1, 7)
		d.acked(7)
		d.next()
		d.publish(reportTopic+"r", `{`, 1, 8)
		d.acked(8)
		d.next()
		d.publish("$iothub/twin/GET/?$rid=g", "", 1, 9)
		d.acked(9)
		d.next()
	})
	t.Run("no response without subscription", func(t *testing.T) {
		_, d := w.reporter(t)
		d.unsubscribe(twinResponses)
		d.publish(reportTopic+"r", `{"a":1}`, 1, 7)
		d.acked(7)
		d.quiet()
		d.subscribe("$iothub/twin/res/400/#", 0)
		d.publish("$iothub/twin/GET/?$rid=g", "", 0, 0)
		d.quiet()
		d.publish(reportTopic+"r", `{`, 0, 0)
		if p := d.next(); p.Topic != "$iothub/twin/res/400/?$rid=r" {
			t.Errorf("got %s", p.Topic)
		}
	})
	t.Run("DEV-138 a hundred GETs", func(t *testing.T) {
		_, d := w.reporter(t)
		for n := range 100 {
			d.publish(fmt.Sprintf("$iothub/twin/GET/?$rid=%d", n), "", 0, 0)
		}
		for n := range 100 {
			if p := d.next(); p.Topic != fmt.Sprintf("$iothub/twin/res/200/?$rid=%d", n) {
				t.Fatalf("got %s, want rid %d", p.Topic, n)
			}
		}
	})
	t.Run("DEV-139 module", func(t *testing.T) {
		a := w.register(t, "dev139/mod", nil)
		d := w.connect(t, a)
		d.subscribe(twinResponses, 0)
		d.report(`{"m":true}`)
		if doc := d.get("g"); doc.Reported["m"] != true {
			t.Errorf("%+v", doc)
		}
		if v, err := w.back.Twin(w.ctx, a.Parent()); err != nil || len(v.Twin.Reported.Data) != 0 {
			t.Errorf("the device's twin: %+v, %v", v, err)
		}
	})
}

func (w *world) patch(t testing.TB, a *account, desired nave.Doc) {
	t.Helper()
	if _, err := w.back.PatchTwin(w.ctx, a.ID, nave.Patch{Desired: desired}, "", 10); err != nil {
		t.Fatal(err)
	}
}

func TestDesired(t *testing.T) {
	t.Parallel()
	w := open(t)
	start := func(t *testing.T, qos int) (*account, *device) {
		t.Helper()
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		d.subscribe(twinResponses, 0, desiredUpdate, qos)
		return a, d
	}
	notified := func(t *testing.T, p mqtt.Publish, version int, body string) {
		t.Helper()
		if p.Topic != fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", version) || string(p.Payload) != body {
			t.Errorf("got %s %s, want version %d and %s", p.Topic, p.Payload, version, body)
		}
	}
	t.Run("DEV-133 notification", func(t *testing.T) {
		for qos := range 2 {
			a, d := start(t, qos)
			w.patch(t, a, nave.Doc{"a": json.Number("5")})
			p := d.next()
			notified(t, p, 2, `{"a":5,"$version":2}`)
			if int(p.QoS) != qos {
				t.Errorf("QoS %d, granted was %d", p.QoS, qos)
			}
		}
	})
	t.Run("DEV-134 null", func(t *testing.T) {
		a, d := start(t, 0)
		w.patch(t, a, nave.Doc{"a": true, "b": false})
		d.next()
		w.patch(t, a, nave.Doc{"a": nil})
		notified(t, d.next(), 3, `{"a":null,"$version":3}`)
		if doc := d.get("g"); len(doc.Desired) != 2 || doc.Desired["b"] != false {
			t.Errorf("%+v", doc)
		}
	})
	t.Run("DEV-135 offline", func(t *testing.T) {
		a, d := start(t, 1)
		w.leave(t, a, d)
		w.patch(t, a, nave.Doc{"a": true})
		d = w.connect(t, a)
		d.quiet()
		if doc := d.get("g"); doc.Desired["a"] != true {
			t.Errorf("%+v", doc)
		}
	})
	t.Run("DEV-136 UNSUBSCRIBE", func(t *testing.T) {
		a, d := start(t, 1)
		d.unsubscribe(desiredUpdate)
		w.patch(t, a, nave.Doc{"a": true})
		d.quiet()
	})
	t.Run("DEV-137 GET during a burst", func(t *testing.T) {
		a, d := start(t, 0)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := range 100 {
				w.patch(t, a, nave.Doc{"n": json.Number(strconv.Itoa(n))})
			}
		}()
		for n := range 100 {
			d.publish(fmt.Sprintf("$iothub/twin/GET/?$rid=%d", n), "", 0, 0)
		}
		<-done
		d.alive()
		shown := 0.0
		for len(d.in) > 0 {
			p := <-d.in
			var doc document
			if strings.HasPrefix(p.Topic, "$iothub/twin/res/") {
				if err := json.Unmarshal(p.Payload, &doc); err != nil {
					t.Fatal(err)
				}
				shown = max(shown, doc.Desired["$version"].(float64))
				continue
			}
			if v, err := strconv.ParseFloat(rid(p.Topic), 64); err != nil || v <= shown {
				t.Fatalf("%s after a GET that showed %v", p.Topic, shown)
			}
		}
	})
}
