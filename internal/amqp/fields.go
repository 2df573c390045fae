package amqp

import "fmt"

// fields reads the fields of a composite in order (1.4). Fields behind the end
// of the list and null fields yield the default; unknown further fields are
// ignored, so that later revisions of the protocol can add some.
type fields struct {
	decoder
	n int
}

// descriptor reads the descriptor of a described value as a number; zero stands for unknown ones.
func (d *decoder) descriptor() uint64 {
	if d.byte() != codeDescribed && d.err == nil {
		d.fail(fmt.Errorf("%w: descriptor expected", ErrDecode))
	}
	switch code := d.byte(); code {
	case codeUlong8:
		return uint64(d.byte())
	case codeUlong0:
		return 0
	case codeUlong:
		return d.u64()
	case codeSymbol8, codeSymbol32:
		return symbolic[string(d.take(d.length(code == codeSymbol32)))]
	default:
		d.unknown(code)
		return 0
	}
}

// composite opens the list of a composite whose descriptor has been read.
func (d *decoder) composite() (f fields) {
	switch code := d.byte(); code {
	case codeList0:
		f.decoder = decoder{left: d.left, alias: d.alias, err: d.err}
	case codeList8, codeList32:
		f.decoder, f.n = d.open(code == codeList32, 1)
	default:
		d.unknown(code)
	}
	if d.err == nil && f.err != nil {
		d.fail(f.err)
	}
	f.err = d.err
	return f
}

// end hands the budget and the error back to the decoder around the composite.
func (d *decoder) end(f *fields) error {
	d.left = f.left
	if f.err != nil {
		d.fail(f.err)
	}
	return d.err
}

// code reads the constructor of the next field; ok is false for an absent or null one.
func (f *fields) code() (c byte, ok bool) {
	if f.n == 0 || f.err != nil {
		return 0, false
	}
	f.n--
	c = f.byte()
	return c, f.err == nil && c != codeNull
}

func (f *fields) wrong(c byte) {
	f.fail(fmt.Errorf("%w: field with constructor 0x%02x", ErrDecode, c))
}

func (f *fields) boolean(def bool) bool {
	switch c, ok := f.code(); {
	case !ok:
		return def
	case c == codeTrue:
		return true
	case c == codeFalse:
		return false
	case c == codeBool:
		return f.bit()
	default:
		f.wrong(c)
		return def
	}
}

// uint reads a uint field and whether it is present.
func (f *fields) uint(def uint32) (v uint32, present bool) {
	c, ok := f.code()
	if !ok {
		return def, false
	}
	switch c {
	case codeUint0:
		return 0, true
	case codeUint8:
		return uint32(f.byte()), true
	case codeUint:
		return f.u32(), true
	}
	f.wrong(c)
	return def, false
}

func (f *fields) uint32(def uint32) uint32 { v, _ := f.uint(def); return v }

func (f *fields) ulong(def uint64) uint64 {
	c, ok := f.code()
	if !ok {
		return def
	}
	switch c {
	case codeUlong0:
		return 0
	case codeUlong8:
		return uint64(f.byte())
	case codeUlong:
		return f.u64()
	}
	f.wrong(c)
	return def
}

func (f *fields) ushort(def uint16) (v uint16, present bool) {
	c, ok := f.code()
	if !ok {
		return def, false
	}
	if c != codeUshort {
		f.wrong(c)
		return def, false
	}
	return f.u16(), true
}

func (f *fields) ubyte(def uint8) uint8 {
	c, ok := f.code()
	if !ok {
		return def
	}
	if c != codeUbyte {
		f.wrong(c)
		return def
	}
	return f.byte()
}

// bytes reads a field of the variable kinds; the result points into the frame.
func (f *fields) bytes(code8 byte) (p []byte, present bool) {
	c, ok := f.code()
	if !ok {
		return nil, false
	}
	if c&0xef != code8 {
		f.wrong(c)
		return nil, false
	}
	p = f.take(f.length(c != code8))
	return p, f.err == nil
}

func (f *fields) str() string {
	p, _ := f.bytes(codeString8)
	return f.utf8(p)
}

func (f *fields) symbol() Symbol {
	p, _ := f.bytes(codeSymbol8)
	return Symbol(p)
}

func (f *fields) timestamp() Timestamp {
	c, ok := f.code()
	if !ok {
		return 0
	}
	if c != codeTimestamp {
		f.wrong(c)
		return 0
	}
	return Timestamp(f.u64())
}

// value reads a field of any type.
func (f *fields) value() any {
	if f.n == 0 || f.err != nil {
		return nil
	}
	f.n--
	return f.any(1)
}

// mapping reads a map field; nil when absent.
func (f *fields) mapping() Map {
	v := f.value()
	m, ok := v.(Map)
	if v != nil && !ok {
		f.fail(fmt.Errorf("%w: map expected", ErrDecode))
	}
	return m
}

// symbols reads a field that holds one symbol or an array of them (1.4, "multiple").
func (f *fields) symbols() []Symbol {
	switch v := f.value().(type) {
	case nil:
		return nil
	case Symbol:
		return []Symbol{v}
	case Array:
		out := make([]Symbol, 0, len(v.Items))
		for _, it := range v.Items {
			s, ok := it.(Symbol)
			if !ok {
				break
			}
			out = append(out, s)
		}
		if len(out) == len(v.Items) {
			return out
		}
	}
	f.fail(fmt.Errorf("%w: symbols expected", ErrDecode))
	return nil
}

// composer writes the fields of a composite. done leaves trailing nulls out;
// whole writes all n fields, for the performatives, where a client of Event Hubs
// counts on them being there.
type composer struct {
	b         []byte
	mark      int
	n, used   int // fields written; of these, up to the last that is not null
	untilUsed int
}

func compose(b []byte, descriptor byte) composer {
	b = append(b, codeDescribed, codeUlong8, descriptor)
	b, mark := openCompound(b)
	return composer{b: b, mark: mark, untilUsed: len(b)}
}

func (c *composer) done() []byte {
	if c.used == 0 {
		return append(c.b[:c.mark], codeList0)
	}
	return closeCompound(c.b[:c.untilUsed], c.mark, c.used, codeList8, codeList32)
}

func (c *composer) whole(n int) []byte {
	for c.n < n {
		c.null()
	}
	return closeCompound(c.b, c.mark, n, codeList8, codeList32)
}

func (c *composer) null() { c.b = append(c.b, codeNull); c.n++ }

func (c *composer) set(b []byte) {
	c.b = b
	c.n++
	c.used, c.untilUsed = c.n, len(b)
}

func (c *composer) uint(v uint32)   { c.set(appendUint(c.b, v)) }
func (c *composer) boolean(v bool)  { c.set(appendBool(c.b, v)) }
func (c *composer) ushort(v uint16) { c.set(append(c.b, codeUshort, byte(v>>8), byte(v))) }
func (c *composer) ubyte(v uint8)   { c.set(append(c.b, codeUbyte, v)) }

func (c *composer) ulong(v uint64) {
	if v == 0 {
		c.null()
		return
	}
	c.set(appendUlong(c.b, v))
}

// flag writes true, and null for the default false.
func (c *composer) flag(v bool) {
	if !v {
		c.null()
		return
	}
	c.boolean(v)
}

func (c *composer) uintIf(v uint32, present bool) {
	if !present {
		c.null()
		return
	}
	c.uint(v)
}

func (c *composer) str(s string) {
	if s == "" {
		c.null()
		return
	}
	c.set(appendString(c.b, s))
}

func (c *composer) symbol(s Symbol) {
	if s == "" {
		c.null()
		return
	}
	c.set(appendSymbol(c.b, s))
}

func (c *composer) binary(p []byte) {
	if p == nil {
		c.null()
		return
	}
	c.set(appendBinary(c.b, p))
}

func (c *composer) symbols(v []Symbol) {
	if len(v) == 0 {
		c.null()
		return
	}
	c.set(appendSymbols(c.b, v))
}

func (c *composer) timestamp(t Timestamp) {
	if t == 0 {
		c.null()
		return
	}
	c.set(appendTimestamp(c.b, t))
}

// value writes a value of any type; one without an AMQP type becomes null.
func (c *composer) value(v any) {
	if v == nil {
		c.null()
		return
	}
	n := len(c.b)
	b, err := appendAny(c.b, v)
	if err != nil {
		c.b = b[:n]
		c.null()
		return
	}
	c.set(b)
}

func (c *composer) mapping(m Map) {
	if m == nil {
		c.null()
		return
	}
	c.value(m)
}
