package nave_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func nest(levels int, open, shut string) string {
	return `{"r":` + strings.Repeat(open, levels) + "1" + strings.Repeat(shut, levels) + "}"
}

func TestDocRules(t *testing.T) {
	key := func(k string) string { b, _ := json.Marshal(map[string]int{k: 1}); return string(b) }
	text := func(n int) string { return `{"s":"` + strings.Repeat("x", n) + `"}` }
	for _, c := range []struct{ name, doc, refused string }{
		{"ten objects", nest(10, `{"a":`, "}"), ""},
		{"eleven objects", nest(11, `{"a":`, "}"), "twin.maxDepth"},
		{"ten arrays", nest(10, "[", "]"), ""},
		{"eleven arrays", nest(11, "[", "]"), "twin.maxDepth"},
		{"mixed", nest(5, `[{"a":`, "}]"), ""},
		{"mixed too deep", nest(6, `[{"a":`, "}]"), "limit 10, setting twin.maxDepth, observed 11"},
		{"key of 1024 bytes", key(strings.Repeat("ä", 512)), ""},
		{"key of 1025 bytes", key(strings.Repeat("k", 1025)), "limit 1024, setting twin.maxKey, observed 1025"},
		{"empty key", key(""), `x[""]: the key is empty`},
		{"blank", key("a b"), "' '"},
		{"no-break space", key("a\u00a0b"), "white space"},
		{"dot", key("a.b"), "'.'"},
		{"dollar", key("a$b"), "'$'"},
		{"hash", key("#"), "'#'"},
		{"tabulator", key("\t"), `'\t'`},
		{"delete", key("\x7f"), "byte 0"},
		{"C1", key("a\u0085"), "byte 1"},
		{"unicode key", key("größe/€-😀"), ""},
		{"path", `{"b":{"c":[{"d e":1}]},"z":{"$":1}}`, `x.b.c[0]["d e"]: `},
		{"string of 4096", text(4096), ""},
		{"string of 4097", text(4097), "observed 4097"},
		{"least integer", `{"n":-4503599627370496}`, ""},
		{"below it", `{"n":-4503599627370497}`, "twin.integer, observed -4503599627370497"},
		{"greatest integer", `{"n":4503599627370495}`, ""},
		{"huge integer", `{"n":99999999999999999999999999}`, "twin.integer"},
		{"double beyond", `{"n":4503599627370496.0,"m":1e300}`, ""},
		{"no double", `{"n":1e400}`, "does not fit into a double"},
		{"null", `{"n":null,"o":{"p":null}}`, ""},
		{"null in array", `{"l":[1,null]}`, "x.l[1]: null"},
		{"null in object in array", `{"l":[{"a":null}]}`, "x.l[0].a: null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := mustDoc(t, c.doc).Check("x")
			if c.refused == "" && err != nil {
				t.Fatal(err)
			}
			if c.refused != "" && (!errors.Is(err, fault.ArgumentInvalid) || !strings.Contains(err.Error(), c.refused)) {
				t.Fatalf("%v, want ArgumentInvalid with %q", err, c.refused)
			}
		})
	}
}

func TestDocSize(t *testing.T) {
	for doc, want := range map[string]int{
		`{"a":1,"bc":"xyz","d":{"e":true}}`:     20,
		`{}`:                                    0,
		`{"ä":"€😀"}`:                            3,
		`{"a":"\u0001\u007f\u0085b"}`:           2,
		`{"a":[1,true,"x",{"b":2.5}],"n":null}`: 1 + 8 + 4 + 1 + 9 + 1,
	} {
		if got := mustDoc(t, doc).Size(); got != want {
			t.Errorf("%s has size %d, want %d", doc, got, want)
		}
	}
}

func TestSizeLimitOnlyStopsGrowth(t *testing.T) {
	chunk := func(k, c string) nave.Doc { return nave.Doc{k: strings.Repeat(c, 4095)} }
	twin := nave.NewTwin(nave.ID{Device: "d"})
	for _, k := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		apply(t, twin, nave.Patch{Reported: chunk(k, "x")})
	}
	if n := twin.Reported.Data.Size(); n != limits.Reported {
		t.Fatalf("size %d", n)
	}
	_, err := twin.Apply(nave.Patch{Reported: nave.Doc{"i": "x"}}, noon, &limits)
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != fault.MessageTooLarge || e.Setting != "twin.maxReported" || e.Limit != 32768 || e.Observed != 32770 {
		t.Fatalf("growth: %v", err)
	}
	small := limits
	small.Reported = 100
	if _, err := twin.Apply(nave.Patch{Reported: chunk("a", "y")}, noon, &small); err != nil {
		t.Errorf("same size above the limit: %v", err)
	}
	if _, err := twin.Apply(nave.Patch{Reported: nave.Doc{"a": nil}}, noon, &small); err != nil {
		t.Errorf("shrinking: %v", err)
	}
}

func TestWeightlessTextIsBounded(t *testing.T) {
	twin := nave.NewTwin(nave.ID{Device: "d"})
	list := make([]any, 200_000)
	for i := range list {
		list[i] = []any{}
	}
	if _, err := twin.Apply(nave.Patch{Reported: nave.Doc{"a": list}}, noon, &limits); !errors.Is(err, fault.MessageTooLarge) {
		t.Errorf("%v, want MessageTooLarge", err)
	}
}

func TestSizeLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawDoc(0, true).Draw(t, "a"), drawDoc(0, true).Draw(t, "b")
		both := nave.Doc{"k": a, "l": []any{b, "x"}}
		if got, want := both.Size(), a.Size()+b.Size()+3; got != want {
			t.Fatalf("size %d of the whole, %d of the parts", got, want)
		}
	})
}

func TestRefusedPatchChangesNothing(t *testing.T) {
	bad := []any{json.Number("4503599627370496"), []any{nil}, nave.Doc{"a b": true}, strings.Repeat("x", 4097), nave.Doc{"": true}}
	rapid.Check(t, func(t *rapid.T) {
		twin := nave.NewTwin(nave.ID{Device: "d"})
		if _, err := twin.Apply(nave.Patch{Desired: drawDoc(0, false).Draw(t, "stored")}, noon, &limits); err != nil {
			t.Fatal(err)
		}
		before := string(view(twin))
		p := nave.Patch{Tags: nave.Doc{"t": "new"}, Desired: drawDoc(0, true).Draw(t, "patch"), Reported: nave.Doc{"r": true}}
		p.Desired["bad"] = rapid.SampledFrom(bad).Draw(t, "bad")
		_, err := twin.Apply(p, noon, &limits)
		if !errors.Is(err, fault.ArgumentInvalid) || string(view(twin)) != before {
			t.Fatalf("%v; now %s, before %s", err, view(twin), before)
		}
	})
}
