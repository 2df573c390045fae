package amqp

import "fmt"

// SectionKind is the descriptor of a message section (3.2).
type SectionKind uint8

// The sections of a message, in the order they may come.
const (
	SectionHeader                SectionKind = 0x70
	SectionDeliveryAnnotations   SectionKind = 0x71
	SectionMessageAnnotations    SectionKind = 0x72
	SectionProperties            SectionKind = 0x73
	SectionApplicationProperties SectionKind = 0x74
	SectionData                  SectionKind = 0x75
	SectionSequence              SectionKind = 0x76
	SectionValue                 SectionKind = 0x77
	SectionFooter                SectionKind = 0x78
)

// Section is one section of an encoded message: Value is the encoded value
// after the descriptor and points into the message.
type Section struct {
	Kind  SectionKind
	Value Raw
}

// Sections walks over an encoded message without decoding the sections. Next
// returns false at the end or at an error, which Err then returns.
type Sections struct {
	rest []byte
	last SectionKind
	err  error
}

// NewSections starts a walk over the encoded message b.
func NewSections(b []byte) Sections { return Sections{rest: b} }

// Err returns what ended the walk early; it matches ErrDecode.
func (w *Sections) Err() error { return w.err }

// Next returns the next section.
func (w *Sections) Next() (s Section, ok bool) {
	if len(w.rest) == 0 || w.err != nil {
		return s, false
	}
	d := decoder{b: w.rest}
	desc := d.descriptor()
	switch {
	case d.err != nil:
	case desc < uint64(SectionHeader) || desc > uint64(SectionFooter):
		d.fail(fmt.Errorf("%w: message section with descriptor 0x%x", ErrDecode, desc))
	case !follows(w.last, SectionKind(desc)):
		d.fail(fmt.Errorf("%w: section 0x%x after 0x%x", ErrDecode, desc, uint8(w.last)))
	}
	body := d.b
	d.skip(0)
	if d.err != nil {
		w.err, w.rest = d.err, nil
		return s, false
	}
	s = Section{SectionKind(desc), Raw(body[: len(body)-len(d.b) : len(body)-len(d.b)])}
	w.last, w.rest = s.Kind, d.b
	return s, true
}

// follows reports whether a section may come after another: in order, each
// once, but for data and sequences; one kind of body only.
func follows(last, next SectionKind) bool {
	if last == next {
		return next == SectionData || next == SectionSequence
	}
	body := func(k SectionKind) bool { return k >= SectionData && k <= SectionValue }
	return next > last && !(body(last) && body(next))
}

// Data returns the bytes of a data section; ok is false for other sections.
func (s Section) Data() (p []byte, ok bool) {
	if s.Kind != SectionData {
		return nil, false
	}
	return s.Value.Bytes()
}

// Properties decodes a properties section; UserID points into the message.
func (s Section) Properties() (p Properties, err error) {
	d := decoder{b: s.Value, left: maxPerformValues, alias: true}
	f := d.composite()
	p.parse(&f)
	return p, d.end(&f)
}

// Map decodes an annotations, application-properties or footer section.
func (s Section) Map() (Map, error) {
	d := decoder{b: s.Value, left: maxValues, alias: true}
	v := d.any(0)
	m, ok := v.(Map)
	if d.err == nil && !ok && v != nil {
		d.fail(fmt.Errorf("%w: section 0x%x is not a map", ErrDecode, uint8(s.Kind)))
	}
	return m, d.err
}

// Each calls f for the entries of a map section, undecoded and in order, until
// f returns false.
func (s Section) Each(f func(key, value Raw) bool) error {
	d := decoder{b: s.Value, left: maxValues}
	code := d.byte()
	if code == codeNull {
		return d.err
	}
	if code != codeMap8 && code != codeMap32 {
		d.unknown(code)
		return d.err
	}
	in, n := d.open(code == codeMap32, 1)
	for i := 0; i+1 < n && in.err == nil; i += 2 {
		k := in.raw()
		v := in.raw()
		if in.err == nil && !f(k, v) {
			return nil
		}
	}
	if n%2 != 0 {
		in.fail(errSize)
	}
	d.close(&in)
	return d.err
}

// Raw is one encoded value.
type Raw []byte

// Text returns the bytes of a string or symbol, not copied.
func (r Raw) Text() (p []byte, ok bool) {
	return r.variable(codeString8, codeSymbol8)
}

// Bytes returns the bytes of a binary, not copied.
func (r Raw) Bytes() (p []byte, ok bool) {
	return r.variable(codeBinary8, codeBinary8)
}

func (r Raw) variable(one, other byte) (p []byte, ok bool) {
	if len(r) < 2 {
		return nil, false
	}
	switch r[0] {
	case one, other:
		return r[2:], true
	case one | 0x10, other | 0x10:
		if len(r) >= 5 {
			return r[5:], true
		}
	}
	return nil, false
}

// Value decodes r; binaries point into it.
func (r Raw) Value() (any, error) {
	v, _, err := ParseValue(r)
	return v, err
}

// raw cuts the next value off d.
func (d *decoder) raw() Raw {
	p := d.b
	d.skip(0)
	if d.err != nil {
		return nil
	}
	return Raw(p[: len(p)-len(d.b) : len(p)-len(d.b)])
}

// skip passes over one value. What is inside a compound is not checked.
func (d *decoder) skip(depth int) {
	code := d.byte()
	if d.err != nil {
		return
	}
	if code == codeDescribed {
		if depth >= maxDepth {
			d.fail(errDepth)
			return
		}
		d.skip(depth + 1)
		d.skip(depth + 1)
		return
	}
	switch w := code >> 4; w {
	case 4, 5, 6, 7, 8, 9:
		d.take(leastWidth(code))
	case 0xa, 0xc, 0xe:
		d.take(d.length(false))
	case 0xb, 0xd, 0xf:
		d.take(d.length(true))
	default:
		d.unknown(code)
	}
}
