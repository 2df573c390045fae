package control

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// value is a parsed JSON value. The text of strings and numbers points into
// the body where it can.
type value struct {
	kind    byte   // one of { [ " 0 t f n
	text    string // a string decoded, a number as it was written
	members []member
	items   []value
}

type member struct {
	name string
	value
}

// member returns the member of an object, nil when it is missing.
func (v *value) member(name string) *value {
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value
		}
	}
	return nil
}

// scanner parses one body (iot-v1 RC-10).
type scanner struct {
	s string
	i int
}

// parse reads a body that must be one JSON value. It answers 4000 with
// empty_body, invalid_encoding, malformed_json, duplicate_key or
// nesting_too_deep.
func parse(body []byte) (v value, err error) {
	s := scanner{s: string(body)}
	s.blank()
	if s.i == len(s.s) {
		return v, refuse(fault.ControlBadRequest, "empty_body", "the request has no body, expected is JSON")
	}
	if !utf8.ValidString(s.s) {
		at := 0
		for r, n := utf8.DecodeRuneInString(s.s); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRuneInString(s.s[at:]) {
			at += n
		}
		return v, s.bad("invalid_encoding", at, "the body is not UTF-8")
	}
	if err := s.value(&v, 1); err != nil {
		return v, err
	}
	if s.blank(); s.i < len(s.s) {
		return v, s.malformed("text follows the JSON value")
	}
	return v, nil
}

func (s *scanner) bad(reason string, at int, text string) *fault.Error {
	e := refuse(fault.ControlBadRequest, reason, "%s", text)
	e.Detail["offset"] = at
	return e
}

func (s *scanner) malformed(text string) error {
	return s.bad("malformed_json", s.i, "the body is not well-formed JSON: "+text)
}

func (s *scanner) blank() {
	for s.i < len(s.s) {
		switch s.s[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.s) {
		return s.s[s.i]
	}
	return 0
}

func (s *scanner) value(v *value, depth int) (err error) {
	s.blank()
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth > nave.MaxControlDepth {
			return s.bad("nesting_too_deep", s.i, "the body is nested deeper than "+strconv.Itoa(nave.MaxControlDepth)+" levels")
		}
		v.kind = c
		s.i++
		if c == '{' {
			return s.object(v, depth)
		}
		return s.array(v, depth)
	case c == '"':
		v.kind = c
		v.text, err = s.text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		v.kind = '0'
		v.text, err = s.number()
		return err
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.s[s.i:], word) {
			s.i += len(word)
			v.kind = word[0]
			return nil
		}
	}
	return s.malformed("a value is missing")
}

func (s *scanner) object(v *value, depth int) error {
	if s.blank(); s.peek() == '}' {
		s.i++
		return nil
	}
	names := map[string]bool(nil)
	for {
		s.blank()
		at := s.i
		if s.peek() != '"' {
			return s.malformed("a member has no name")
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		if names, err = s.unique(v, names, name, at); err != nil {
			return err
		}
		if s.blank(); s.peek() != ':' {
			return s.malformed("a colon is missing")
		}
		s.i++
		if v.members == nil {
			v.members = make([]member, 0, 4)
		}
		v.members = append(v.members, member{name: name})
		if err := s.value(&v.members[len(v.members)-1].value, depth+1); err != nil {
			return err
		}
		if more, err := s.more('}'); err != nil || !more {
			return err
		}
	}
}

// manyNames is the size from which an object's names are looked up in a map.
const manyNames = 16

func (s *scanner) unique(v *value, names map[string]bool, name string, at int) (map[string]bool, error) {
	twice := false
	switch {
	case len(v.members) < manyNames:
		twice = v.member(name) != nil
	case names == nil:
		names = map[string]bool{}
		for i := range v.members {
			names[v.members[i].name] = true
		}
		fallthrough
	default:
		twice = names[name]
		names[name] = true
	}
	if twice {
		return names, s.bad("duplicate_key", at, "a member of the body stands twice in its object")
	}
	return names, nil
}

func (s *scanner) array(v *value, depth int) error {
	if s.blank(); s.peek() == ']' {
		s.i++
		return nil
	}
	for {
		v.items = append(v.items, value{})
		if err := s.value(&v.items[len(v.items)-1], depth+1); err != nil {
			return err
		}
		if more, err := s.more(']'); err != nil || !more {
			return err
		}
	}
}

// more reads what follows a member or element.
func (s *scanner) more(end byte) (bool, error) {
	s.blank()
	switch s.peek() {
	case ',':
		s.i++
		return true, nil
	case end:
		s.i++
		return false, nil
	}
	return false, s.malformed("a comma or the end of an object or array is missing")
}

func (s *scanner) number() (string, error) {
	from := s.i
	for s.i < len(s.s) && strings.IndexByte("+-.eE0123456789", s.s[s.i]) >= 0 {
		s.i++
	}
	text := s.s[from:s.i]
	whole := strings.TrimPrefix(text, "-")
	if !nave.IsNumber(text) || len(whole) > 1 && whole[0] == '0' && whole[1] >= '0' && whole[1] <= '9' {
		s.i = from
		return "", s.malformed("a number is malformed")
	}
	return text, nil
}

// text reads a string; the scanner stands on its opening quote.
func (s *scanner) text() (string, error) {
	s.i++
	from := s.i
	for s.i < len(s.s) {
		switch c := s.s[s.i]; {
		case c == '"':
			s.i++
			return s.s[from : s.i-1], nil
		case c == '\\':
			return s.escaped(from)
		case c < ' ':
			return "", s.malformed("a string holds a control character")
		}
		s.i++
	}
	return "", s.malformed("a string does not end")
}

// escaped reads the rest of a string in which an escape was found.
func (s *scanner) escaped(from int) (string, error) {
	b := []byte(s.s[from:s.i])
	for s.i < len(s.s) {
		c := s.s[s.i]
		switch {
		case c == '"':
			s.i++
			return string(b), nil
		case c < ' ':
			return "", s.malformed("a string holds a control character")
		case c != '\\':
			b = append(b, c)
			s.i++
			continue
		}
		s.i++
		if s.peek() == 'u' {
			r, err := s.unicode()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, r)
			continue
		}
		n := strings.IndexByte(`"\/bfnrt`, s.peek())
		if n < 0 || s.peek() == 0 {
			return "", s.malformed("a string holds an unknown escape")
		}
		b = append(b, "\"\\/\b\f\n\r\t"[n])
		s.i++
	}
	return "", s.malformed("a string does not end")
}

// unicode reads \uXXXX, both of them for a surrogate pair; the scanner stands
// on the first u.
func (s *scanner) unicode() (rune, error) {
	at := s.i - 1
	r, err := s.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if strings.HasPrefix(s.s[s.i:], `\u`) {
		s.i++
		low, err := s.hex()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, s.bad("invalid_encoding", at, "a string holds half of a surrogate pair")
}

func (s *scanner) hex() (rune, error) {
	if s.i+5 > len(s.s) {
		return 0, s.malformed("a string holds a broken escape")
	}
	n, err := strconv.ParseUint(s.s[s.i+1:s.i+5], 16, 16)
	if err != nil {
		return 0, s.malformed("a string holds a broken escape")
	}
	s.i += 5
	return rune(n), nil
}
