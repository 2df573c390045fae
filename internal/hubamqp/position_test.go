package hubamqp

import (
	"fmt"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
)

func TestParsePosition(t *testing.T) {
	for text, want := range map[string]nave.Position{
		"amqp.annotation.x-opt-offset > '-1'":                        {},
		"amqp.annotation.x-opt-offset > '@latest'":                   {Latest: true},
		"amqp.annotation.x-opt-offset >= \"@LATEST\"":                {Latest: true},
		"amqp.annotation.x-opt-offset > '1234'":                      {From: 1235},
		"amqp.annotation.x-opt-offset >= 1234":                       {From: 1234},
		"AMQP.Annotation.X-Opt-Sequence-Number>'5'":                  {From: 6},
		"amqp.annotation.x-opt-sequence-number >= '0'":               {},
		"amqp.annotation.x-opt-sequence-number > '0'":                {From: 1},
		"amqp.annotation.x-opt-enqueued-time > '1609459200000'":      {Since: time.UnixMilli(1609459200001).UTC()},
		"amqp.annotation.x-opt-enqueued-time >= '1609459200000'":     {Since: time.UnixMilli(1609459200000).UTC()},
		"amqp.annotation.x-opt-enqueued-time > '-62135596800000'":    {},
		"  amqp.annotation.x-opt-offset   >   '9223372036854775807'": {From: 1<<63 - 1},
	} {
		if got, err := parsePosition(text); got != want || err != nil {
			t.Errorf("%s: %+v %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ">", "amqp.annotation.x-opt-offset = '1'", "amqp.annotation.x-opt-offset > ''", "amqp.annotation.x-opt-offset > '1",
		"x-opt-offset > '1'", "amqp.annotation.x-opt-offset > '9223372036854775808'", "amqp.annotation.x-opt-enqueued-time > '@latest'"} {
		if got, err := parsePosition(text); err == nil {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
	for _, v := range []any{int32(1), amqp.Described{Descriptor: amqp.Symbol(selector), Value: int32(1)}} {
		if _, err := parseFilter(amqp.Map{{Key: amqp.Symbol(selector), Value: v}}); err == nil {
			t.Error("a number is taken for a selector")
		}
	}
}

// A filter is what its descriptor says, whatever it is called.
func TestParseFilter(t *testing.T) {
	const text = "amqp.annotation.x-opt-offset > '7'"
	want := nave.Position{From: 8}
	for n, f := range []amqp.Pair{
		{Key: amqp.Symbol(selector), Value: text},
		{Key: amqp.Symbol(selector), Value: amqp.Described{Descriptor: selectorCode, Value: text}},
		{Key: amqp.Symbol("selector"), Value: amqp.Described{Descriptor: amqp.Symbol(selector), Value: text}},
		{Key: amqp.Symbol("mine"), Value: amqp.Described{Descriptor: selectorCode, Value: text}},
	} {
		other := amqp.Pair{Key: amqp.Symbol("other"), Value: amqp.Described{Descriptor: amqp.Symbol("other"), Value: "amqp.annotation.x-opt-offset > '1'"}}
		if got, err := parseFilter(amqp.Map{other, f}); got != want || err != nil {
			t.Errorf("%d: %+v %v, want %+v", n, got, err, want)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("amqp.annotation.x-opt-offset > '-1'")
	f.Add("amqp.annotation.x-opt-enqueued-time >= '1609459200000'")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePosition(text)
		if err != nil && p != (nave.Position{}) {
			t.Errorf("%q gives %+v and %v", text, p, err)
		}
		if p.From < 0 {
			t.Errorf("%q gives %+v", text, p)
		}
	})
}

func TestParseDevicebound(t *testing.T) {
	for to, want := range map[string]string{
		"/devices/d1/messages/devicebound":                      "[d1]",
		"devices/d1/messages/deviceBound":                       "[d1]",
		"/Devices/d1/Modules/m1/Messages/DeviceBound":           "[d1/m1]",
		"/devices/a%2Bb/messages/devicebound":                   "[a+b a%2Bb]",
		"/devices/a+b/messages/devicebound":                     "[a+b]",
		"/devices/100%/messages/devicebound":                    "[100%]",
		"amqps://hub.test:5671/devices/d1/messages/devicebound": "[d1]",
		"/devices/d%201/modules/m%231/messages/devicebound":     "[d 1/m#1 d%201/m%231]",
		"":                               "[]",
		"/devices//messages/devicebound": "[]",
		"/devices/d1/messages":           "[]",
		"/devices/d1/messages/events":    "[]",
		"/devices/d1/modules//messages/devicebound": "[]",
		"/devices/d1/things/m/messages/devicebound": "[]",
	} {
		if got := fmt.Sprint(parseDevicebound(to)); got != want {
			t.Errorf("%q: %s, want %s", to, got, want)
		}
	}
}

func FuzzParseDevicebound(f *testing.F) {
	f.Add("/devices/a%2Bb/modules/m/messages/devicebound")
	f.Add("amqps://h/devices/d1/messages/devicebound")
	f.Fuzz(func(t *testing.T, to string) {
		for _, id := range parseDevicebound(to) {
			if id.Device == "" {
				t.Errorf("%q names a device without id", to)
			}
		}
	})
}

// TestAppendEvent: what is written can be read, without garbage on the way for
// an event without properties.
func TestAppendEvent(t *testing.T) {
	e := &nave.Event{Message: nave.Message{Body: []byte("body"), System: nave.System{To: "/devices/d/messages/events"}}, Source: nave.Telemetry,
		From: nave.ID{Device: "d"}, Generation: "g", Auth: "{}", Enqueued: time.UnixMilli(1000), Seq: 4096}
	m := &metrics{seq: 4095, retrieved: time.UnixMilli(2000)}
	m.include(e)
	b := appendEvent(nil, e, m)
	got, err := amqp.ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := got.DeliveryAnnotations; d.Get("last_enqueued_sequence_number") != int64(4096) || d.Get("last_enqueued_time_utc") != amqp.Timestamp(1000) {
		t.Errorf("delivery annotations are %v", d)
	}
	if got.MessageAnnotations.Get("x-opt-offset") != "4096" || string(got.Data[0]) != "body" || got.Properties.To != "/devices/d/messages/events" {
		t.Errorf("message is %+v", got)
	}
	n := 1.0
	for try := 0; try < 10 && n > 0; try++ { // what the runtime allocates meanwhile counts too
		n = min(n, testing.AllocsPerRun(100, func() { b = appendEvent(b[:0], e, m) }))
	}
	if n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}
