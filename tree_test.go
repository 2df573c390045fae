package nave_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func mustDoc(t testing.TB, text string) nave.Doc {
	t.Helper()
	d, err := nave.ParseDoc([]byte(text))
	if err != nil {
		t.Fatalf("ParseDoc(%s): %v", text, err)
	}
	return d
}

func TestParseDocKeepsValues(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                   `{}`,
		" {\"b\":1 ,\n\"a\" : [ ] } ":          `{"a":[],"b":1}`,
		`{"n":1.50,"e":-1E+2,"z":-0}`:          `{"e":-1E+2,"n":1.50,"z":-0}`,
		`{"t":true,"f":false,"x":null}`:        `{"f":false,"t":true,"x":null}`,
		`{"s":"\u00e4\"\\\/\b\f\n\r\t\u0001"}`: `{"s":"ä\"\\/\b\f\n\r\t\u0001"}`,
		`{"p":"\ud83d\ude00<&>"}`:              `{"p":"😀<&>"}`,
		`{"a":{"c":[1,{"d":[[]]}]}}`:           `{"a":{"c":[1,{"d":[[]]}]}}`,
	} {
		if got := string(mustDoc(t, text).Append(nil)); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestParseDocRefuses(t *testing.T) {
	for text, part := range map[string]string{
		``:                         "found the end of the text",
		`[]`:                       "expected the opening brace",
		`null`:                     "expected the opening brace",
		`{"a":1,"a":2}`:            `found "a" again`,
		`{"a":{"b":1,"\u0062":2}}`: `found "b" again`,
		"{\"a\":\"\xff\"}":         "offset 6 (line 1, column 7): expected UTF-8, found the byte 0xFF",
		"{\n\"a\":\n  x}":          "offset 9 (line 3, column 3): expected a JSON value, found 'x'",
		`{"a":01}`:                 "expected ',' or a closing brace",
		`{"a":1.}`:                 "a digit after the decimal point",
		`{"a":1e}`:                 "a digit of the exponent",
		`{"a":-}`:                  "expected a digit",
		`{"a":+1}`:                 "expected a JSON value",
		`{"a":NaN}`:                "expected a JSON value",
		`{"a":1,}`:                 "expected a member name",
		`{"a":[1,]}`:               "expected a JSON value",
		`{"a":[1}`:                 "expected ',' or ']'",
		`{a:1}`:                    "expected a member name",
		`{"a" 1}`:                  "expected ':'",
		`{"a":"`:                   "at the end of a string",
		"{\"a\":\"\n\"}":           "an escape sequence for a control character",
		"{\"a\":\"\\t\n\"}":        "an escape sequence for a control character",
		`{"a":"\x"}`:               "after a backslash",
		`{"a":"\u12g4"}`:           "four hex digits",
		`{"a":"\ud800"}`:           "second half of a surrogate pair",
		`{"a":"\ud800\u0041"}`:     "two halves",
		`{"a":"\udc00\udc00"}`:     "two halves",
		`{"a":1}{`:                 "expected the end of the text, found an opening brace",
		"\ufeff{}":                 "expected the opening brace",
	} {
		_, err := nave.ParseDoc([]byte(text))
		if !errors.Is(err, fault.IotHubFormatError) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want IotHubFormatError with %q", text, err, part)
		}
	}
}

func TestParseNestingIsBounded(t *testing.T) {
	nested := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	mustDoc(t, nested(31))
	for _, n := range []int{32, 1_000_000} {
		if _, err := nave.ParseDoc([]byte(nested(n))); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%d levels: %v, want ArgumentInvalid", n, err)
		}
	}
}

func TestParseValue(t *testing.T) {
	v, err := nave.ParseValue([]byte(` [1,"a",null,{"b":true}] `))
	if err != nil || string(nave.AppendValue(nil, v)) != `[1,"a",null,{"b":true}]` {
		t.Fatalf("%v, %v", v, err)
	}
	if v, err := nave.ParseValue([]byte("null")); v != nil || err != nil {
		t.Fatalf("null: %v, %v", v, err)
	}
	if v, err := nave.ParseValue([]byte("[1")); v != nil || err == nil {
		t.Fatalf("[1: %v, %v", v, err)
	}
}

func TestDocCloneAndEqual(t *testing.T) {
	d := mustDoc(t, `{"a":{"b":[1,{"c":2}]},"n":null}`)
	c := d.Clone()
	if !c.Equal(d) || !nave.Doc(nil).Equal(nave.Doc(nil).Clone()) {
		t.Fatal("a clone differs")
	}
	c["a"].(nave.Doc)["b"].([]any)[1].(nave.Doc)["c"] = json.Number("3")
	if c.Equal(d) || string(d.Append(nil)) != `{"a":{"b":[1,{"c":2}]},"n":null}` {
		t.Fatal("a change to the clone shows in the original, or is not seen")
	}
	if mustDoc(t, `{"a":1}`).Equal(mustDoc(t, `{"a":[1]}`)) || mustDoc(t, `{"a":{}}`).Equal(mustDoc(t, `{"a":1}`)) {
		t.Fatal("values of different kinds are equal")
	}
}

func TestParseAppendParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDoc(0, true).Draw(t, "doc")
		b := d.Append(nil)
		back, err := nave.ParseDoc(b)
		if err != nil || !back.Equal(d) {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

// drawDoc draws a document that keeps the rules for twins.
func drawDoc(level int, nulls bool) *rapid.Generator[nave.Doc] {
	return rapid.Custom(func(t *rapid.T) nave.Doc {
		d := nave.Doc{}
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			d[rapid.StringMatching(`[a-cÄ]{1,2}`).Draw(t, "key")] = drawValue(t, level+1, nulls)
		}
		return d
	})
}

func drawValue(t *rapid.T, level int, nulls bool) any {
	switch n := rapid.IntRange(0, 6).Draw(t, "kind"); {
	case n == 0 && nulls:
		return nil
	case n == 1:
		return rapid.Bool().Draw(t, "bool")
	case n == 2:
		return rapid.String().Draw(t, "text")
	case n == 3 && level < 5:
		return drawDoc(level, nulls).Draw(t, "object")
	case n == 4 && level < 5:
		a := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			a = append(a, drawValue(t, level+1, false))
		}
		return a
	}
	return json.Number(rapid.SampledFrom([]string{"0", "-1", "1.50", "1e3", "4503599627370495"}).Draw(t, "number"))
}

func FuzzParseDoc(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,2.5e-3,"x\u0041",null,true]}`, `{"a":{"a":1},"b":"\ud83d\ude00"}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := nave.ParseDoc(b)
		valid := jsontext.Value(b).IsValid() && jsontext.Value(b).Kind() == '{'
		if err == nil != valid && !errors.Is(err, fault.ArgumentInvalid) {
			t.Fatalf("%q: %v, another parser says valid %t", b, err, valid)
		}
		if err != nil {
			return
		}
		text := d.Append(nil)
		back, err := nave.ParseDoc(text)
		if err != nil || !back.Equal(d) {
			t.Fatalf("%q became %q: %v", b, text, err)
		}
	})
}
