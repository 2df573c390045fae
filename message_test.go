package nave_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func TestParseTime(t *testing.T) {
	base := time.Date(2024, 3, 1, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2024-03-01T10:00:00Z":            base,
		"2024-03-01T10:00:00":             base,
		"2024-03-01T11:30:00+01:30":       base,
		"2024-03-01T11:00:00+0100":        base,
		"2024-03-01T09:00:00-01":          base,
		"2024-03-01T10:00Z":               base,
		"20240301T100000Z":                base,
		"2024-03-01":                      base.Add(-10 * time.Hour),
		"2024-03-01T10:00:00.1Z":          base.Add(100 * time.Millisecond),
		"2024-03-01T10:00:00.1234567Z":    base.Add(123456700),
		"2024-03-01T10:00:00.1234567899Z": base.Add(123456700),
		"2024-03-01T10:00:00.123+00:00":   base.Add(123 * time.Millisecond),
		"0001-01-01T00:00:00Z":            {},
	} {
		if got, err := nave.ParseTime(text); err != nil || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "now", "2024-02-30T10:00:00Z", "2024-03-01T25:00:00Z", "1709287200", "2024-03-01T10:00:00Zx", strings.Repeat("9", 500)} {
		_, err := nave.ParseTime(text)
		wantFault(t, err, fault.ArgumentInvalid, "is no time")
	}
	if got := nave.Format(base.Add(time.Microsecond)); got != "2024-03-01T10:00:00.0000010Z" {
		t.Error(got)
	}
}

func TestMessageSizeAndProperties(t *testing.T) {
	m := nave.Message{Body: make([]byte, 10), System: nave.System{MessageID: "id", Ack: nave.AckFull, Expiry: noon}}
	m.SetApp("k", "old", true)
	m.SetApp("e", "", false)
	m.SetApp("k", "new!", true)
	if v, ok := m.AppValue("k"); v != "new!" || !ok || len(m.App) != 2 {
		t.Errorf("%+v", m.App)
	}
	if _, ok := m.AppValue("absent"); ok {
		t.Error("absent property found")
	}
	if got := m.Size(); got != 10+2+4+28+5+1 {
		t.Errorf("size %d", got)
	}
}

func TestCheckD2C(t *testing.T) {
	at := func(n int) *nave.Message {
		return &nave.Message{Body: make([]byte, n-4), System: nave.System{MessageID: "ab;'"}}
	}
	wantFault(t, at(262144).CheckD2C(&limits), nil, "")
	wantFault(t, at(262145).CheckD2C(&limits), fault.MessageTooLarge, "limit 262144, setting d2c.maxSize, observed 262145")
	for id, part := range map[string]string{"MessageIdForE2E*-:.+%_#?!(),=@;$'": "", strings.Repeat("x", 128): "", strings.Repeat("x", 129): "observed 129", "a b": "position 2", "ä": "'ä'", "{": "brace"} {
		code := fault.ArgumentInvalid
		if part == "" {
			code = nil
		}
		wantFault(t, (&nave.Message{System: nave.System{MessageID: id}}).CheckD2C(&limits), code, part)
		wantFault(t, (&nave.Message{System: nave.System{CorrelationID: id}}).CheckD2C(&limits), code, part)
	}
	wantFault(t, (&nave.Message{App: []nave.Property{{Name: "größe €", Value: "\x00"}}}).CheckD2C(&limits), nil, "")
}

func TestCheckC2D(t *testing.T) {
	app := func(name, value string) *nave.Message {
		return &nave.Message{App: []nave.Property{{name, value, true}}}
	}
	expiry := func(d time.Duration) *nave.Message { return &nave.Message{System: nave.System{Expiry: noon.Add(d)}} }
	both := app("a b", "")
	both.Body = make([]byte, 65536)
	for _, c := range []struct {
		name string
		m    *nave.Message
		code *fault.Code
		part string
	}{
		{"64 KiB", &nave.Message{Body: make([]byte, 65536)}, nil, ""},
		{"size comes first", both, fault.MessageTooLarge, "limit 65536, setting c2d.maxSize, observed 65539"},
		{"token characters", app("aZ09!#$%&'*+-.^_`|~", "!~9"), nil, ""},
		{"empty value", app("k", ""), nil, ""},
		{"empty name", app("", "v"), fault.ArgumentInvalid, "empty name"},
		{"blank in a name", app("a b", "v"), fault.ArgumentInvalid, "position 2"},
		{"NUL in a value", app("a", "\x00"), fault.ArgumentInvalid, `value of property "a"`},
		{"slash in a name", app("a/2", "1"), fault.ArgumentInvalid, "'/' at position 2"},
		{"blank and UTF-8 in a value", app("a", "1/2 ü"), nil, ""},
		{"non-ASCII", app("ä", ""), fault.ArgumentInvalid, "'ä'"},
		{"no expiry", &nave.Message{}, nil, ""},
		{"expiry now", expiry(0), fault.InvalidMessageExpiryTime, "not after now"},
		{"expiry soon", expiry(time.Second), nil, ""},
		{"expiry in two days", expiry(48 * time.Hour), nil, ""},
		{"expiry later", expiry(48*time.Hour + time.Second), fault.InvalidMessageExpiryTime, "limit 48h0m0s, setting c2d.maxTtl"},
	} {
		t.Run(c.name, func(t *testing.T) { wantFault(t, c.m.CheckC2D(noon, &limits), c.code, c.part) })
	}
}

func TestSetApp(t *testing.T) {
	var m nave.Message
	for _, p := range []nave.Property{{"Key", "1", true}, {"other", "2", true}, {"kEY", "3", false}, {"Größe", "4", true}, {"grÖße", "5", true}} {
		m.SetApp(p.Name, p.Value, p.HasValue)
	}
	if want := []nave.Property{{"kEY", "3", false}, {"other", "2", true}, {"grÖße", "5", true}}; !slices.Equal(m.App, want) {
		t.Errorf("%+v, want %+v", m.App, want)
	}
}

func TestDropForged(t *testing.T) {
	m := nave.Message{App: []nave.Property{{"a", "1", true}, {"iothub-connection-module-id", "x", true}, {"DT-dataschema", "y", true}, {"iothub-creation-time-utc", "2", true}}}
	before := m.App
	m.DropForged()
	if want := []nave.Property{{"a", "1", true}, {"iothub-creation-time-utc", "2", true}}; !slices.Equal(m.App, want) {
		t.Errorf("%+v, want %+v", m.App, want)
	}
	if before[1].Name != "iothub-connection-module-id" {
		t.Error("the list that was handed over has changed")
	}
}

func TestAck(t *testing.T) {
	for text, want := range map[string]nave.Ack{"": nave.AckNone, "none": nave.AckNone, "Positive": nave.AckPositive, "negative": nave.AckNegative, "FULL": nave.AckFull} {
		if got, err := nave.ParseAck(text); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	_, err := nave.ParseAck("all")
	wantFault(t, err, fault.ArgumentInvalid, `"all"`)
	for ack, want := range map[nave.Ack][2]bool{"": {}, nave.AckNone: {}, nave.AckPositive: {true, false}, nave.AckNegative: {false, true}, nave.AckFull: {true, true}} {
		for _, o := range []nave.Outcome{nave.Expired, nave.DeliveryCountExceeded, nave.Rejected, nave.Purged} {
			if ack.Wants(nave.Success) != want[0] || ack.Wants(o) != want[1] {
				t.Errorf("%q wants %s wrongly", ack, o)
			}
		}
	}
}
