package hubamqp

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
)

func FuzzTelemetry(f *testing.F) {
	m := amqp.Message{Properties: &amqp.Properties{MessageID: amqp.UUID{1}, UserID: []byte("u")}, Data: [][]byte{[]byte("a"), []byte("b")},
		ApplicationProperties: amqp.Map{{Key: "a", Value: "b"}, {Key: "n", Value: 1.5}}, MessageAnnotations: amqp.Map{{Key: amqp.Symbol("dt-subject"), Value: "s"}}}
	one, err := m.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one)
	f.Add(amqp.AppendData(amqp.AppendData(nil, one), one))
	f.Add([]byte{0, 0x53, 0x77, 0x40})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMessage(b); err == nil {
			if n := m.Size(); n > 64*len(b)+64 {
				t.Errorf("%d bytes became a message of %d", len(b), n)
			}
		} else if fault.From(err).Code != fault.ArgumentInvalid {
			t.Errorf("%v", err)
		}
		if _, err := parseBatch(b); err != nil && fault.From(err).Code != fault.ArgumentInvalid {
			t.Errorf("%v", err)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"$cbs", "/devices/d/messages/events", "amqps://h:5671/devices/d%41/modules/m/twin", "messages/events/$management",
		"hub/ConsumerGroups/g/Partitions/0", "://", "/devices/%zz/twin"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := parseAddress(text)
		if (len(a.ids) > 0) != (a.to >= telemetryEndpoint && a.to <= methodEndpoint) {
			t.Errorf("%q: %+v", text, a)
		}
		for _, id := range a.ids {
			if id.Device == "" || strings.Contains(a.ids[0].Device, "/") {
				t.Errorf("%q: %+v", text, a)
			}
		}
	})
}

func TestAddress(t *testing.T) {
	d, m := nave.ID{Device: "d"}, nave.ID{Device: "d", Module: "m"}
	for text, want := range map[string]address{
		"$CBS":                                {to: tokenEndpoint},
		"/devices/d/messages/events":          {to: telemetryEndpoint, ids: []nave.ID{d}},
		"devices/d/modules/m/messages/events": {to: telemetryEndpoint, ids: []nave.ID{m}},
		"amqps://x:5671/devices/d/methods/DeviceBound":  {to: methodEndpoint, ids: []nave.ID{d}},
		"/devices/%64/twin":                             {to: twinEndpoint, ids: []nave.ID{{Device: "%64"}, d}},
		"/messages/deviceBound":                         {to: sendEndpoint},
		"/messages/serviceBound/feedback":               {to: feedbackEndpoint},
		"messages/servicebound/fileuploadnotifications": {to: notificationEndpoint},
		"$management":                                   {to: managementEndpoint},
		"hub/$management":                               {to: managementEndpoint},
		"messages/events/$management":                   {to: eventEndpoint, entity: "messages/events"},
		"messages/events/ConsumerGroups/g/Partitions/1": {to: eventEndpoint, entity: "messages/events", group: "g", partition: "1"},
		"hub/consumergroups/$Default/partitions/3":      {to: eventEndpoint, entity: "hub", group: "$Default", partition: "3"},
		"":                         {},
		"/devices//twin":           {},
		"/devices/d/modules//twin": {},
		"/devices/d/other":         {},
		"messages/other":           {},
	} {
		got := parseAddress(text)
		if got.to != want.to || got.entity != want.entity || got.group != want.group || got.partition != want.partition || len(got.ids) != len(want.ids) {
			t.Errorf("%q: %+v", text, got)
			continue
		}
		for i := range want.ids {
			if got.ids[i] != want.ids[i] {
				t.Errorf("%q: %+v", text, got.ids)
			}
		}
	}
}

// What a sender says about when it made a message reaches who reads it.
func TestCreationTime(t *testing.T) {
	at := amqp.Timestamp(1600000000123)
	sent, err := (&amqp.Message{Properties: &amqp.Properties{To: "/devices/d/messages/devicebound", CreationTime: at}, Data: [][]byte{{1}}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	creation := func(b []byte, err error) amqp.Timestamp {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		m, err := amqp.ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		return m.Properties.CreationTime
	}
	m, err := parseMessage(sent)
	if err != nil {
		t.Fatal(err)
	}
	if got := creation(appendEvent(nil, &nave.Event{Message: *m, Source: nave.Telemetry}, nil), nil); got != at {
		t.Errorf("a reader of events gets %d, want %d", got, at)
	}
	c, _, err := readC2D(&amqp.Delivery{Payload: sent, Size: len(sent)}, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if got := creation(appendCommand(nil, c, amqp.UUID{})); got != at {
		t.Errorf("a device gets %d, want %d", got, at)
	}
	m.System.Created = "yesterday"
	if got := creation(appendEvent(nil, &nave.Event{Message: *m, Source: nave.Telemetry}, nil), nil); got != 0 {
		t.Errorf("a text that is no time becomes %d", got)
	}
}

// A text is shortened between characters, as AMQP strings are UTF-8.
func TestBrief(t *testing.T) {
	for n := range 4 {
		if got := brief(strings.Repeat("x", 97+n) + "ü€😀"); !utf8.ValidString(got) || len(got) < 97 {
			t.Errorf("%q", got)
		}
	}
}
