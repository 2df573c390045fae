package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
)

// AppendValue appends the encoding of v, in the shortest form of its type, and
// fails for Go types outside the table at Symbol. Arrays keep their constructor.
func AppendValue(b []byte, v any) ([]byte, error) { return appendAny(b, v) }

// appendAny is a flat table of the Go types.
func appendAny(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, codeNull), nil
	case bool:
		return appendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case Symbol:
		return appendSymbol(b, v), nil
	case []byte:
		return appendBinary(b, v), nil
	case uint8:
		return append(b, codeUbyte, v), nil
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, codeUshort), v), nil
	case uint32:
		return appendUint(b, v), nil
	case uint64:
		return appendUlong(b, v), nil
	case int8:
		return append(b, codeByte, byte(v)), nil
	case int16:
		return binary.BigEndian.AppendUint16(append(b, codeShort), uint16(v)), nil
	case int32:
		return appendInt(b, v), nil
	case int64:
		return appendLong(b, v), nil
	case int:
		return appendLong(b, int64(v)), nil
	case Timestamp:
		return appendTimestamp(b, v), nil
	case UUID:
		return append(append(b, codeUUID), v[:]...), nil
	case []any:
		return appendList(b, v)
	case Map:
		return appendMap(b, v)
	case Array:
		return appendArray(b, v)
	case Described:
		b, err := appendAny(append(b, codeDescribed), v.Descriptor)
		if err != nil {
			return b, err
		}
		return appendAny(b, v.Value)
	default:
		return appendRare(b, v)
	}
}

func appendRare(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case float32:
		return binary.BigEndian.AppendUint32(append(b, codeFloat), math.Float32bits(v)), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, codeDouble), math.Float64bits(v)), nil
	case Char:
		return binary.BigEndian.AppendUint32(append(b, codeChar), uint32(v)), nil
	case Decimal32:
		return append(append(b, codeDecimal32), v[:]...), nil
	case Decimal64:
		return append(append(b, codeDecimal64), v[:]...), nil
	case Decimal128:
		return append(append(b, codeDecimal128), v[:]...), nil
	case []Symbol:
		return appendSymbols(b, v), nil
	case []string:
		a := Array{Code: codeString32, Items: make([]any, len(v))}
		for i := range v {
			a.Items[i] = v[i]
		}
		return appendArray(b, a)
	}
	return append(b, codeNull), fmt.Errorf("amqp: no AMQP type for %T", v)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, codeTrue)
	}
	return append(b, codeFalse)
}

func appendUint(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(b, codeUint0)
	case v <= 0xff:
		return append(b, codeUint8, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, codeUint), v)
}

func appendUlong(b []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(b, codeUlong0)
	case v <= 0xff:
		return append(b, codeUlong8, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, codeUlong), v)
}

func appendInt(b []byte, v int32) []byte {
	if v >= -128 && v <= 127 {
		return append(b, codeInt8, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, codeInt), uint32(v))
}

func appendLong(b []byte, v int64) []byte {
	if v >= -128 && v <= 127 {
		return append(b, codeLong8, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, codeLong), uint64(v))
}

func appendTimestamp(b []byte, v Timestamp) []byte {
	return binary.BigEndian.AppendUint64(append(b, codeTimestamp), uint64(v))
}

func appendLength(b []byte, code8, code32 byte, n int) []byte {
	if n <= 0xff {
		return append(b, code8, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, code32), uint32(n))
}

func appendString(b []byte, s string) []byte {
	return append(appendLength(b, codeString8, codeString32, len(s)), s...)
}

func appendSymbol(b []byte, s Symbol) []byte {
	return append(appendLength(b, codeSymbol8, codeSymbol32, len(s)), s...)
}

func appendBinary(b []byte, p []byte) []byte {
	return append(appendLength(b, codeBinary8, codeBinary32, len(p)), p...)
}

// openCompound reserves room for the wide form of a compound; closeCompound
// fills it in, or moves the body forward into the short form.
func openCompound(b []byte) (_ []byte, mark int) {
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0), len(b)
}

func closeCompound(b []byte, mark, count int, code8, code32 byte) []byte {
	body := len(b) - mark - 9
	if body+1 <= 0xff && count <= 0xff {
		b[mark], b[mark+1], b[mark+2] = code8, byte(body+1), byte(count)
		copy(b[mark+3:], b[mark+9:])
		return b[:mark+3+body]
	}
	b[mark] = code32
	binary.BigEndian.PutUint32(b[mark+1:], uint32(body+4))
	binary.BigEndian.PutUint32(b[mark+5:], uint32(count))
	return b
}

func appendList(b []byte, v []any) (_ []byte, err error) {
	if len(v) == 0 {
		return append(b, codeList0), nil
	}
	b, mark := openCompound(b)
	for i := range v {
		if b, err = appendAny(b, v[i]); err != nil {
			return b[:mark], err
		}
	}
	return closeCompound(b, mark, len(v), codeList8, codeList32), nil
}

func appendMap(b []byte, v Map) (_ []byte, err error) {
	b, mark := openCompound(b)
	for i := range v {
		if b, err = appendAny(b, v[i].Key); err == nil {
			b, err = appendAny(b, v[i].Value)
		}
		if err != nil {
			return b[:mark], err
		}
	}
	return closeCompound(b, mark, 2*len(v), codeMap8, codeMap32), nil
}

func appendSymbols(b []byte, v []Symbol) []byte {
	b, mark := openCompound(b)
	b = append(b, codeSymbol32)
	for _, s := range v {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return closeCompound(b, mark, len(v), codeArray8, codeArray32)
}

func appendArray(b []byte, a Array) (_ []byte, err error) {
	b, mark := openCompound(b)
	if a.Descriptor != nil {
		if b, err = appendAny(append(b, codeDescribed), a.Descriptor); err != nil {
			return b[:mark], err
		}
	}
	b = append(b, a.Code)
	for _, v := range a.Items {
		if b, err = appendItem(b, a.Code, v); err != nil {
			return b[:mark], err
		}
	}
	return closeCompound(b, mark, len(a.Items), codeArray8, codeArray32), nil
}

// appendItem appends v without constructor, in the form that code demands.
func appendItem(b []byte, code byte, v any) ([]byte, error) {
	full, err := appendAny(nil, v)
	if err != nil {
		return b, err
	}
	got, body := full[0], full[1:]
	if got == code {
		return append(b, body...), nil
	}
	if wide, ok := widen(got, code, body); ok {
		return append(b, wide...), nil
	}
	return b, fmt.Errorf("amqp: array of 0x%02x cannot hold %T", code, v)
}

// widen rewrites the body of a value from the shortest form to another of the same type.
func widen(got, want byte, body []byte) ([]byte, bool) {
	switch {
	case want == codeUint && (got == codeUint0 || got == codeUint8),
		want == codeUlong && (got == codeUlong0 || got == codeUlong8):
		return pad(body, 0, want), true
	case want == codeInt && got == codeInt8, want == codeLong && got == codeLong8:
		return pad(body, byte(int8(body[0])>>7), want), true
	case want == codeUint8 && got == codeUint0, want == codeUlong8 && got == codeUlong0:
		return []byte{0}, true
	case want == codeBool && (got == codeTrue || got == codeFalse):
		return []byte{codeFalse - got}, true
	case want == got|0x10 && (got>>4 == 0xa):
		return append([]byte{0, 0, 0, body[0]}, body[1:]...), true
	case want == got|0x10 && (got>>4 == 0xc || got>>4 == 0xe):
		wide := binary.BigEndian.AppendUint32(nil, uint32(body[0])+3)
		return append(append(wide, 0, 0, 0, body[1]), body[2:]...), true
	case (want == codeList8 || want == codeList32) && got == codeList0:
		if want == codeList8 {
			return []byte{1, 0}, true
		}
		return []byte{0, 0, 0, 4, 0, 0, 0, 0}, true
	}
	return nil, false
}

func pad(body []byte, fill, want byte) []byte {
	out := make([]byte, leastWidth(want))
	for i := range out {
		out[i] = fill
	}
	copy(out[len(out)-len(body):], body)
	return out
}
