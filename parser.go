package nave

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/fault"
)

// maxNesting bounds the recursion of the parser: sections nest to MaxDepth and
// requests wrap them into a few objects more.
const maxNesting = 32

// parser reads strict JSON (RFC 8259 with unique names). It stays at the first
// byte that does not fit.
type parser struct {
	s string
	i int
}

func newParser(b []byte) (parser, error) {
	p := parser{s: string(b)}
	if utf8.ValidString(p.s) {
		return p, nil
	}
	for n, r := range p.s {
		if r == utf8.RuneError && !strings.HasPrefix(p.s[n:], "\uFFFD") {
			p.i = n
			break
		}
	}
	return p, fault.IotHubFormatError.New("JSON %s: expected UTF-8, found the byte 0x%02X", p.where(), p.s[p.i])
}

func (p *parser) where() string {
	line := 1 + strings.Count(p.s[:p.i], "\n")
	column := p.i - strings.LastIndexByte(p.s[:p.i], '\n')
	return fmt.Sprintf("at offset %d (line %d, column %d)", p.i, line, column)
}

func (p *parser) want(what string) error {
	found := "the end of the text"
	if p.i < len(p.s) {
		found = naming(p.s[p.i:])
	}
	return fault.IotHubFormatError.New("JSON %s: expected %s, found %s", p.where(), what, found)
}

// naming spells out the characters that error texts may not hold.
func naming(s string) string {
	switch s[0] {
	case '{':
		return "an opening brace"
	case '}':
		return "a closing brace"
	case ';':
		return "a semicolon"
	}
	r, _ := utf8.DecodeRuneInString(s)
	return fmt.Sprintf("%q", r)
}

// first returns the first character of a text that is not empty.
func first(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	return string(r)
}

// peek returns the byte at the position, 0 at the end; a NUL byte fits nowhere
// either.
func (p *parser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *parser) skip(c byte) bool {
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\r', '\n':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) end() error {
	if p.space(); p.i < len(p.s) {
		return p.want("the end of the text")
	}
	return nil
}

// value reads what stands at the position; a container there is the depth-th
// of its nest.
func (p *parser) value(depth int) (any, error) {
	switch c := p.peek(); {
	case c == '"':
		return p.boxedText()
	case c == '{':
		return p.boxedObject(depth)
	case c == '[':
		return p.array(depth)
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case p.word("true"):
		return true, nil
	case p.word("false"):
		return false, nil
	case p.word("null"):
		return nil, nil
	}
	return nil, p.want("a JSON value")
}

func (p *parser) boxedText() (any, error) {
	s, err := p.text()
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (p *parser) boxedObject(depth int) (any, error) {
	d, err := p.object(depth)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (p *parser) word(w string) bool {
	if !strings.HasPrefix(p.s[p.i:], w) {
		return false
	}
	p.i += len(w)
	return true
}

func (p *parser) enter(depth int) error {
	if depth > maxNesting {
		return fault.ArgumentInvalid.Over("json.maxNesting", maxNesting, depth, "JSON %s nests too deep", p.where())
	}
	p.i++
	p.space()
	return nil
}

func (p *parser) object(depth int) (Doc, error) {
	if err := p.enter(depth); err != nil {
		return nil, err
	}
	d := make(Doc)
	if p.skip('}') {
		return d, nil
	}
	for {
		k, err := p.name()
		if err != nil {
			return nil, err
		}
		if _, twice := d[k]; twice {
			return nil, fault.IotHubFormatError.New("JSON %s: expected a new member name, found %q again", p.where(), brief(k))
		}
		if d[k], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		if more, err := p.more('}', "',' or a closing brace after a member"); !more {
			return d, err
		}
	}
}

func (p *parser) array(depth int) (any, error) {
	if err := p.enter(depth); err != nil {
		return nil, err
	}
	a := []any{}
	if p.skip(']') {
		return a, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
		if more, err := p.more(']', "',' or ']' after an element"); !more {
			if err != nil {
				return nil, err
			}
			return a, nil
		}
	}
}

// name reads a member name and the colon, up to the value.
func (p *parser) name() (string, error) {
	if p.peek() != '"' {
		return "", p.want("a member name in quotes")
	}
	k, err := p.text()
	if err != nil {
		return "", err
	}
	if p.space(); !p.skip(':') {
		return "", p.want("':' after a member name")
	}
	p.space()
	return k, nil
}

// more says whether a comma promises another member or element.
func (p *parser) more(closing byte, what string) (bool, error) {
	p.space()
	switch {
	case p.skip(','):
		p.space()
		return true, nil
	case p.skip(closing):
		return false, nil
	}
	return false, p.want(what)
}

func (p *parser) text() (string, error) {
	start := p.i + 1
	for i := start; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			p.i = i + 1
			return p.s[start:i], nil
		case c == '\\':
			p.i = i
			return p.escaped([]byte(p.s[start:i]))
		case c < ' ':
			p.i = i
			return "", p.want("an escape sequence for a control character")
		}
	}
	p.i = len(p.s)
	return "", p.want("'\"' at the end of a string")
}

// escaped reads on from the first backslash of a string; b is what precedes it.
func (p *parser) escaped(b []byte) (string, error) {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return string(b), nil
		case c < ' ':
			return "", p.want("an escape sequence for a control character")
		case c != '\\':
			b = append(b, c)
			p.i++
		default:
			p.i++
			var err error
			if b, err = p.escape(b); err != nil {
				return "", err
			}
		}
	}
	return "", p.want("'\"' at the end of a string")
}

func (p *parser) escape(b []byte) ([]byte, error) {
	c := p.peek()
	if c == 'u' {
		return p.unicode(b)
	}
	n := strings.IndexByte(`"\/bfnrt`, c)
	if c == 0 || n < 0 {
		return nil, p.want(`one of " \ / b f n r t u after a backslash`)
	}
	p.i++
	return append(b, "\"\\/\b\f\n\r\t"[n]), nil
}

// unicode reads \uXXXX, or both halves of a surrogate pair.
func (p *parser) unicode(b []byte) ([]byte, error) {
	r, err := p.hex()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(r) {
		if !p.skip('\\') || p.peek() != 'u' {
			return nil, p.want("the second half of a surrogate pair")
		}
		low, err := p.hex()
		if err != nil {
			return nil, err
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return nil, fault.IotHubFormatError.New("JSON %s: expected a surrogate pair before this position, found two halves that make no character", p.where())
		}
	}
	return utf8.AppendRune(b, r), nil
}

func (p *parser) hex() (r rune, err error) {
	p.i++
	for range 4 {
		c := p.peek()
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, p.want("four hex digits after \\u")
		}
		p.i++
	}
	return r, nil
}

func (p *parser) number() (any, error) {
	n, err := p.numberText()
	if err != nil {
		return nil, err
	}
	return json.Number(n), nil
}

func (p *parser) numberText() (string, error) {
	start := p.i
	p.skip('-')
	if !p.skip('0') && !p.digits() {
		return "", p.want("a digit")
	}
	if p.skip('.') && !p.digits() {
		return "", p.want("a digit after the decimal point")
	}
	if p.skip('e') || p.skip('E') {
		if !p.skip('+') {
			p.skip('-')
		}
		if !p.digits() {
			return "", p.want("a digit of the exponent")
		}
	}
	return p.s[start:p.i], nil
}

func (p *parser) digits() bool {
	start := p.i
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
	}
	return p.i > start
}

// brief cuts a text that a client sent to what fits into an error.
func brief(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}
