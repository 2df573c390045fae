package amqp

import (
	"encoding/hex"
	"time"
)

// The Go types of AMQP values, as decoded into an any and accepted by
// [AppendValue]:
//
//	null nil          boolean bool      ubyte uint8    ushort uint16
//	uint uint32       ulong uint64      byte int8      short int16
//	int int32         long int64        float float32  double float64
//	char Char         timestamp Timestamp              uuid UUID
//	binary []byte     string string     symbol Symbol
//	decimal32/64/128  Decimal32, Decimal64, Decimal128
//	list []any        map Map           array Array    described Described
//
// The mapping is one to one, so that a value taken from a peer and sent back
// keeps its AMQP type.

// Symbol is an AMQP symbol: ASCII text from a constrained domain (1.6.21).
type Symbol string

// Char is an AMQP char: one Unicode code point (1.6.16).
type Char rune

// Timestamp is an AMQP timestamp: milliseconds since the Unix epoch (1.6.17).
type Timestamp int64

// UUID is an AMQP uuid in network byte order (1.6.18).
type UUID [16]byte

// Decimal32 is an IEEE 754 decimal32, kept as its four bytes (1.6.13).
type Decimal32 [4]byte

// Decimal64 is an IEEE 754 decimal64, kept as its eight bytes (1.6.14).
type Decimal64 [8]byte

// Decimal128 is an IEEE 754 decimal128, kept as its sixteen bytes (1.6.15).
type Decimal128 [16]byte

// Described is a value with a descriptor, usually a uint64 or a Symbol (1.3).
type Described struct{ Descriptor, Value any }

// Array holds values of one AMQP type (1.6.24): Code is the constructor its
// elements had on the wire, Descriptor is nil unless they are described.
type Array struct {
	Code       byte
	Descriptor any
	Items      []any
}

// Pair is one entry of a Map.
type Pair struct{ Key, Value any }

// Map is an AMQP map in wire order (1.6.23); nil stands for an absent map.
type Map []Pair

// Get returns the value of the first entry whose key is the string or symbol key, or nil.
func (m Map) Get(key string) any {
	v, _ := m.Find(key)
	return v
}

// Find is Get with a report whether the key exists.
func (m Map) Find(key string) (any, bool) {
	for i := range m {
		switch k := m[i].Key.(type) {
		case Symbol:
			if string(k) == key {
				return m[i].Value, true
			}
		case string:
			if k == key {
				return m[i].Value, true
			}
		}
	}
	return nil, false
}

// NewTimestamp rounds t down to milliseconds.
func NewTimestamp(t time.Time) Timestamp { return Timestamp(t.UnixMilli()) }

// Time returns t in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String returns the usual 8-4-4-4-12 hexadecimal form in lower case.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// ParseUUID reads the 8-4-4-4-12 form; ok is false for anything else.
func ParseUUID(s string) (u UUID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	raw, err := hex.DecodeString(s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36])
	if err != nil {
		return u, false
	}
	return UUID(raw), true
}

// Text returns the text of a string or symbol value; ok is false for every other type.
func Text(v any) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Symbol:
		return string(v), true
	}
	return "", false
}

// Int returns any of the eight integer types as an int64; ok is false for other
// types and for a ulong that does not fit.
func Int(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint64:
		return int64(v), v <= 1<<63-1
	case int8:
		return int64(v), true
	case int16:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}
