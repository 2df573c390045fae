package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Limits of one decoded performative or message. They bound what a peer can
// make us allocate: a value costs a few dozen bytes of ours and may cost one
// byte, or inside an array none, of the peer's.
const (
	maxDepth         = 24      // nesting of lists, maps, arrays and descriptors
	maxValues        = 1 << 16 // values in one message or in one call of ParseValue
	maxPerformValues = 1 << 12 // values in one performative
)

// ErrDecode is matched by every error of the parsers in this package.
var ErrDecode = errors.New("amqp: malformed encoding")

var (
	errTruncated = fmt.Errorf("%w: value ends early", ErrDecode)
	errDepth     = fmt.Errorf("%w: nested deeper than %d", ErrDecode, maxDepth)
	errBudget    = fmt.Errorf("%w: too many values", ErrDecode)
	errSize      = fmt.Errorf("%w: size and content of a compound disagree", ErrDecode)
	errUTF8      = fmt.Errorf("%w: string is not UTF-8", ErrDecode)
	errSection   = fmt.Errorf("%w: message section of the wrong type", ErrDecode)
)

// decoder reads values from b. The first error sticks; after it every read
// yields zero values and b is empty.
type decoder struct {
	b     []byte
	err   error
	left  int  // values that may still be decoded
	alias bool // binaries may point into b
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail(errTruncated)
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errTruncated)
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) u16() uint16 {
	if p := d.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// length reads the length or size of a variable or compound constructor and
// checks it against what is left.
func (d *decoder) length(wide bool) int {
	var n uint32
	if wide {
		n = d.u32()
	} else {
		n = uint32(d.byte())
	}
	if uint64(n) > uint64(len(d.b)) {
		d.fail(errTruncated)
		return 0
	}
	return int(n)
}

// any decodes one value with its constructor.
func (d *decoder) any(depth int) any {
	code := d.byte()
	if code == codeDescribed && d.err == nil {
		if depth >= maxDepth {
			d.fail(errDepth)
			return nil
		}
		if d.left -= 2; d.left < 0 {
			d.fail(errBudget)
			return nil
		}
		desc := d.any(depth + 1)
		return d.checked(Described{desc, d.any(depth + 1)})
	}
	return d.value(code, depth)
}

func (d *decoder) checked(v any) any {
	if d.err != nil {
		return nil
	}
	return v
}

// value decodes what follows the constructor code.
func (d *decoder) value(code byte, depth int) any {
	if d.err != nil {
		return nil
	}
	switch code >> 4 {
	case 0xa, 0xb:
		return d.variable(code)
	case 0xc, 0xd:
		return d.compound(code, depth)
	case 0xe, 0xf:
		if code == codeArray8 || code == codeArray32 {
			return d.array(code == codeArray32, depth)
		}
	default:
		return d.checked(d.fixed(code))
	}
	return d.unknown(code)
}

func (d *decoder) unknown(code byte) any {
	d.fail(fmt.Errorf("%w: unknown constructor 0x%02x", ErrDecode, code))
	return nil
}

// fixed is a flat table of the constructors with a fixed width.
func (d *decoder) fixed(code byte) any {
	switch code {
	case codeNull:
		return nil
	case codeTrue:
		return true
	case codeFalse:
		return false
	case codeUint0:
		return uint32(0)
	case codeUlong0:
		return uint64(0)
	case codeList0:
		return []any{}
	case codeUbyte:
		return d.byte()
	case codeByte:
		return int8(d.byte())
	case codeUint8:
		return uint32(d.byte())
	case codeUlong8:
		return uint64(d.byte())
	case codeInt8:
		return int32(int8(d.byte()))
	case codeLong8:
		return int64(int8(d.byte()))
	case codeBool:
		return d.bit()
	case codeUshort:
		return d.u16()
	case codeShort:
		return int16(d.u16())
	case codeUint:
		return d.u32()
	case codeInt:
		return int32(d.u32())
	case codeFloat:
		return math.Float32frombits(d.u32())
	case codeChar:
		return Char(d.u32())
	case codeUlong:
		return d.u64()
	case codeLong:
		return int64(d.u64())
	case codeDouble:
		return math.Float64frombits(d.u64())
	case codeTimestamp:
		return Timestamp(d.u64())
	default:
		return d.wide(code)
	}
}

func (d *decoder) wide(code byte) any {
	switch code {
	case codeDecimal32:
		if p := d.take(4); p != nil {
			return Decimal32(p)
		}
	case codeDecimal64:
		if p := d.take(8); p != nil {
			return Decimal64(p)
		}
	case codeDecimal128:
		if p := d.take(16); p != nil {
			return Decimal128(p)
		}
	case codeUUID:
		if p := d.take(16); p != nil {
			return UUID(p)
		}
	default:
		return d.unknown(code)
	}
	return nil
}

func (d *decoder) bit() bool {
	switch d.byte() {
	case 0:
		return false
	case 1:
		return true
	}
	d.fail(fmt.Errorf("%w: boolean is neither 0 nor 1", ErrDecode))
	return false
}

func (d *decoder) variable(code byte) any {
	switch code {
	case codeBinary8, codeBinary32, codeString8, codeString32, codeSymbol8, codeSymbol32:
	default:
		return d.unknown(code)
	}
	p := d.take(d.length(code >= codeBinary32))
	if d.err != nil {
		return nil
	}
	switch code & 0xf {
	case codeBinary8 & 0xf:
		return d.binary(p)
	case codeString8 & 0xf:
		return d.checked(d.utf8(p))
	default:
		return Symbol(p)
	}
}

func (d *decoder) binary(p []byte) []byte {
	if d.alias {
		return p
	}
	return append(make([]byte, 0, len(p)), p...)
}

func (d *decoder) utf8(p []byte) string {
	if !utf8.Valid(p) {
		d.fail(errUTF8)
		return ""
	}
	return string(p)
}

// open reads size and count of a compound and returns its body as a decoder of
// its own; d continues behind it. unit is the least size of an element.
func (d *decoder) open(wide bool, unit int) (in decoder, count int) {
	body := d.take(d.length(wide))
	in = decoder{b: body, left: d.left, alias: d.alias, err: d.err}
	var n uint32
	if wide {
		n = in.u32()
	} else {
		n = uint32(in.byte())
	}
	switch {
	case in.err != nil:
	case uint64(n)*uint64(unit) > uint64(len(in.b)):
		in.fail(errSize)
	case int64(n) > int64(in.left):
		in.fail(errBudget)
	}
	if in.err != nil {
		return in, 0
	}
	// Paid before anything is made for them, so that nesting cannot multiply.
	in.left -= int(n)
	return in, int(n)
}

// close takes back what in has used up; all of its body must be read.
func (d *decoder) close(in *decoder) {
	d.left = in.left
	if in.err == nil && len(in.b) > 0 {
		in.fail(errSize)
	}
	if in.err != nil {
		d.fail(in.err)
	}
}

func (d *decoder) compound(code byte, depth int) any {
	if depth >= maxDepth {
		d.fail(errDepth)
		return nil
	}
	switch code {
	case codeList8, codeList32:
		return d.checked(d.list(code == codeList32, depth))
	case codeMap8, codeMap32:
		return d.checked(d.mapping(code == codeMap32, depth))
	}
	return d.unknown(code)
}

func (d *decoder) list(wide bool, depth int) []any {
	in, n := d.open(wide, 1)
	v := make([]any, n)
	for i := 0; i < n && in.err == nil; i++ {
		v[i] = in.any(depth + 1)
	}
	d.close(&in)
	return v
}

func (d *decoder) mapping(wide bool, depth int) Map {
	in, n := d.open(wide, 1)
	if n%2 != 0 {
		in.fail(fmt.Errorf("%w: map with an odd number of values", ErrDecode))
		n = 0
	}
	v := make(Map, n/2)
	for i := range v {
		if in.err != nil {
			break
		}
		v[i].Key = in.any(depth + 1)
		v[i].Value = in.any(depth + 1)
	}
	d.close(&in)
	return v
}

func (d *decoder) array(wide bool, depth int) any {
	if depth >= maxDepth {
		d.fail(errDepth)
		return nil
	}
	in, n := d.open(wide, 0)
	a := Array{Code: in.byte()}
	if a.Code == codeDescribed && in.err == nil {
		a.Descriptor = in.any(depth + 1)
		a.Code = in.byte()
	}
	if unit := leastWidth(a.Code); uint64(n)*uint64(unit) > uint64(len(in.b)) {
		in.fail(errSize)
	}
	if a.Code == codeDescribed && in.err == nil {
		in.unknown(a.Code)
	}
	if in.err == nil {
		in.items(&a, n, depth)
	}
	d.close(&in)
	return d.checked(a)
}

func (d *decoder) items(a *Array, n, depth int) {
	a.Items = make([]any, n)
	for i := 0; i < n && d.err == nil; i++ {
		a.Items[i] = d.value(a.Code, depth+1)
	}
}

// leastWidth is the least number of bytes a value with this constructor takes.
func leastWidth(code byte) int {
	return [16]int{0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 1, 4, 1, 4, 1, 4}[code>>4]
}

// ParseValue decodes one value and returns the number of bytes read. Binaries
// point into b. Errors match ErrDecode.
func ParseValue(b []byte) (v any, n int, err error) {
	d := decoder{b: b, left: maxValues, alias: true}
	v = d.any(0)
	if d.err != nil {
		return nil, 0, d.err
	}
	return v, len(b) - len(d.b), nil
}
