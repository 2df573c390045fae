package amqp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var values = []struct {
	hex string
	v   any
}{
	{"40", nil}, {"41", true}, {"42", false},
	{"50 ff", uint8(255)}, {"60 0100", uint16(256)},
	{"43", uint32(0)}, {"52 ff", uint32(255)}, {"70 00000100", uint32(256)},
	{"44", uint64(0)}, {"53 01", uint64(1)}, {"80 0000000000000100", uint64(256)},
	{"51 80", int8(-128)}, {"61 8000", int16(-32768)},
	{"54 ff", int32(-1)}, {"71 000000c8", int32(200)}, {"71 80000000", int32(math.MinInt32)},
	{"55 7f", int64(127)}, {"81 0000000000000080", int64(128)},
	{"72 3fc00000", float32(1.5)}, {"82 3ff8000000000000", 1.5},
	{"73 0001f600", Char('😀')}, {"83 0000000000000001", Timestamp(1)},
	{"74 01020304", Decimal32{1, 2, 3, 4}}, {"84 0102030405060708", Decimal64{1, 2, 3, 4, 5, 6, 7, 8}},
	{"94 000102030405060708090a0b0c0d0e0f", Decimal128{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
	{"98 000102030405060708090a0b0c0d0e0f", UUID{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
	{"a0 00", []byte{}}, {"a0 02 0102", []byte{1, 2}}, {"a1 00", ""}, {"a1 03 e282ac", "€"}, {"a3 03 616263", Symbol("abc")},
	{"45", []any{}}, {"c0 04 02 52 05 41", []any{uint32(5), true}},
	{"c1 01 00", Map{}}, {"c1 08 04 a3 01 6b 40 51 01 41", Map{{Symbol("k"), nil}, {int8(1), true}}},
	{"e0 06 02 a3 01 61 01 62", Array{Code: codeSymbol8, Items: []any{Symbol("a"), Symbol("b")}}},
	{"e0 0b 02 70 00000001 00000002", nil}, // wrong size, below
	{"00 53 24 45", Described{uint64(0x24), []any{}}},
	{"00 a3 01 78 a1 01 79", Described{Symbol("x"), "y"}},
	{"e0 08 02 00 53 10 50 01 02", nil},
	{"e0 07 02 00 53 10 50 01 02", Array{Code: codeUbyte, Descriptor: uint64(0x10), Items: []any{uint8(1), uint8(2)}}},
}

func TestValues(t *testing.T) {
	for _, c := range values {
		b := unhex(t, c.hex)
		v, n, err := ParseValue(b)
		if c.v == nil && c.hex != "40" {
			if !errors.Is(err, ErrDecode) {
				t.Errorf("%s: %v, want an error", c.hex, v)
			}
			continue
		}
		if err != nil || n != len(b) || !reflect.DeepEqual(v, c.v) {
			t.Errorf("%s: %#v %d %v, want %#v", c.hex, v, n, err, c.v)
			continue
		}
		if got, err := AppendValue(nil, v); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%#v: % x %v, want % x", v, got, err, b)
		}
		for i := range b {
			if _, _, err := ParseValue(b[:i:i]); !errors.Is(err, ErrDecode) {
				t.Errorf("%s cut to %d: no error", c.hex, i)
			}
		}
	}
}

// Other encodings of the same values, which peers use although longer.
func TestLongForms(t *testing.T) {
	for _, c := range []struct {
		hex string
		v   any
	}{
		{"56 01", true}, {"56 00", false}, {"70 00000000", uint32(0)}, {"80 0000000000000001", uint64(1)},
		{"71 ffffffff", int32(-1)}, {"81 0000000000000001", int64(1)}, {"b0 00000001 07", []byte{7}},
		{"b1 00000001 61", "a"}, {"b3 00000001 61", Symbol("a")}, {"d0 00000005 00000001 40", []any{nil}},
		{"d1 00000006 00000002 41 42", Map{{true, false}}},
		{"f0 00000007 00000002 50 01 02", Array{Code: codeUbyte, Items: []any{uint8(1), uint8(2)}}},
	} {
		v, _, err := ParseValue(unhex(t, c.hex))
		if err != nil || !reflect.DeepEqual(v, c.v) {
			t.Errorf("%s: %#v %v", c.hex, v, err)
		}
	}
}

func TestArraysKeepTheirConstructor(t *testing.T) {
	for _, h := range []string{
		"e0 0a 02 70 00000001 00000002", "e0 04 02 54 01 ff", "e0 0a 02 71 00000001 ffffffff", "e0 04 02 56 01 00",
		"e0 08 01 b1 00000002 6162", "e0 12 02 81 0000000000000001 ffffffffffffffff", "e0 05 01 c0 02 01 40",
		"e0 04 02 53 00 05", "e0 0b 01 d0 00000005 00000001 40",
	} {
		b := unhex(t, h)
		v, _, err := ParseValue(b)
		if err != nil {
			t.Errorf("%s: %v", h, err)
			continue
		}
		if got, err := AppendValue(nil, v); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: % x %v", h, got, err)
		}
	}
}

func TestHostileValues(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("d0 00ffffff 00000001 ", n) }
	for name, h := range map[string]string{
		"list count beyond the bytes":     "d0 00000004 ffffffff",
		"map count beyond the bytes":      "d1 00000004 fffffffe",
		"map with odd count":              "c1 02 01 40",
		"array of nothing, four billion":  "f0 00000005 ffffffff 40",
		"array of empty lists, too many":  "f0 00000005 00100000 45",
		"array size beyond":               "f0 ffffffff 00000001 40",
		"binary length beyond":            "b0 7fffffff 00",
		"string not UTF-8":                "a1 02 c328",
		"boolean 2":                       "56 02",
		"unknown constructor":             "5f 00",
		"unknown variable":                "a2 00",
		"unknown compound":                "c3 01 00",
		"content beyond size":             "c0 02 01 50 01",
		"size beyond content":             "c0 05 01 50 01 40 40",
		"nested lists that do not fit":    nest(40),
		"described without end":           strings.Repeat("00", 64),
		"array of described of described": "e0 05 01 00 40 00 40",
	} {
		if v, _, err := ParseValue(unhex(t, h)); !errors.Is(err, ErrDecode) {
			t.Errorf("%s: %v %v", name, v, err)
		}
	}
}

// Each nested list claims as many elements as there are bytes; the budget keeps
// that from multiplying.
func TestNestedCountsDoNotMultiply(t *testing.T) {
	var b []byte
	const size = 60000
	for d := range 20 {
		left := size - 9*d
		b = append(b, codeList32, 0, 0, byte((left-5)>>8), byte(left-5), 0, 0, byte((left-9)>>8), byte(left-9))
	}
	b = append(b, bytes.Repeat([]byte{codeNull}, size-len(b))...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		ParseValue(b)
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 10; got > 2<<20 {
		t.Errorf("%d bytes allocated for a frame of %d", got, size)
	}
}

func TestDepth(t *testing.T) {
	v := any("x")
	for range maxDepth {
		v = []any{v}
	}
	b, _ := AppendValue(nil, v)
	if _, _, err := ParseValue(b); err != nil {
		t.Error(err)
	}
	b, _ = AppendValue(nil, []any{v})
	if _, _, err := ParseValue(b); !errors.Is(err, errDepth) {
		t.Error(err)
	}
}

func TestUnsupportedGoType(t *testing.T) {
	for _, v := range []any{struct{}{}, []any{struct{}{}}, Map{{1, struct{}{}}}, Array{Code: codeUbyte, Items: []any{"x"}}} {
		if _, err := AppendValue(nil, v); err == nil {
			t.Errorf("%T: no error", v)
		}
	}
}

func TestSmallThings(t *testing.T) {
	u, ok := ParseUUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
	if !ok || u.String() != "00010203-0405-0607-0809-0a0b0c0d0e0f" || u[15] != 15 {
		t.Error(u, ok)
	}
	for _, bad := range []string{"", "00010203-0405-0607-0809-0a0b0c0d0e0", "00010203-0405-0607-0809-0a0b0c0d0e0g", "00010203+0405-0607-0809-0a0b0c0d0e0f"} {
		if _, ok := ParseUUID(bad); ok {
			t.Errorf("%q passes", bad)
		}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 6789000, time.UTC)
	if got := NewTimestamp(now).Time(); !got.Equal(now.Truncate(time.Millisecond)) {
		t.Error(got)
	}
	m := Map{{Symbol("a"), 1}, {"b", 2}}
	if m.Get("a") != 1 || m.Get("b") != 2 || m.Get("c") != nil {
		t.Error(m)
	}
	if _, ok := Int(uint64(math.MaxUint64)); ok {
		t.Error("too large a ulong")
	}
	for _, v := range []any{uint8(7), uint16(7), uint32(7), uint64(7), int8(7), int16(7), int32(7), int64(7)} {
		if n, ok := Int(v); n != 7 || !ok {
			t.Errorf("%T", v)
		}
	}
}
