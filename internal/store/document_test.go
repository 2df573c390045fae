package store

import (
	"testing"
	"time"

	"github.com/nave-hub/nave"
)

// TestDamage cuts stored forms at every byte: an error, never a panic or a
// value.
func TestDamage(t *testing.T) {
	doc, err := docText(nave.Doc{"a": nave.Doc{"b\"": []any{true, nil, "x\\"}}})
	if err != nil {
		t.Fatal(err)
	}
	meta := metaText(&nave.Meta{Updated: time.Unix(1, 0), Version: 2, Keys: map[string]*nave.Meta{"a": {Version: 1}}})
	for i := range doc {
		if d, err := parseDoc(doc[:i]); err == nil {
			t.Errorf("%s gave %v", doc[:i], d)
		}
	}
	for i := range meta {
		if _, err := parseMeta(meta[:i]); err == nil {
			t.Errorf("%s was read", meta[:i])
		}
	}
	for _, text := range []string{"[]", "{}x", `{"a":}`, `{"a" 1}`, `{,}`, `{"a":1,}`, "null", `{"a":[1 2]}`} {
		if d, err := parseDoc(text); err == nil {
			t.Errorf("%s gave %v", text, d)
		}
	}
	deep := make([]byte, 100_000)
	for i := range deep {
		deep[i] = '['
	}
	if _, err := parseDoc(`{"a":` + string(deep)); err == nil {
		t.Error("endless nesting was read")
	}
	head := appendHead(nil, &nave.Message{App: []nave.Property{{Name: "name", Value: "value", HasValue: true}}})
	for i := 1; i < len(head); i++ {
		var m nave.Message
		if err := parseHead(head[:i], &m, time.Time{}); err == nil && i != 6 {
			t.Errorf("%q gave %+v", head[:i], m)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0).UTC(), time.Date(2026, 1, 2, 3, 4, 5, 678901200, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999900, time.UTC)} {
		if got := moment(ticks(at)); !got.Equal(at) {
			t.Errorf("%s became %s", at, got)
		}
	}
}
