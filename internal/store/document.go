package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nave-hub/nave"
)

// docText returns the document as JSON; a nil document is {}.
func docText(d nave.Doc) (string, error) {
	if len(d) == 0 {
		return "{}", nil
	}
	b, err := appendValue(make([]byte, 0, 256), d)
	return string(b), err
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case json.Number:
		if v == "" {
			v = "0"
		}
		return append(b, v...), nil
	case nave.Doc:
		return appendObject(b, v)
	case map[string]any:
		return appendObject(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendValue(b, e); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return b, fmt.Errorf("store: a document holds a %T: %w", v, err)
	}
	return append(b, text...), nil
}

func appendObject(b []byte, d map[string]any) ([]byte, error) {
	b = append(b, '{')
	first := true
	for name, v := range d {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, name), ':')
		var err error
		if b, err = appendValue(b, v); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			var text bytes.Buffer
			e := json.NewEncoder(&text)
			e.SetEscapeHTML(false)
			e.Encode(s) // of a string into memory cannot fail
			return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func metaText(m *nave.Meta) string { return string(appendMeta(make([]byte, 0, 256), m)) }

func appendMeta(b []byte, m *nave.Meta) []byte {
	b = strconv.AppendInt(append(b, `{"t":`...), ticks(m.Updated), 10)
	if m.Version != 0 {
		b = strconv.AppendInt(append(b, `,"v":`...), m.Version, 10)
	}
	if len(m.Keys) > 0 {
		b = append(b, `,"k":`...)
		sep := byte('{')
		for name, sub := range m.Keys {
			b = append(appendString(append(b, sep), name), ':')
			b = appendMeta(b, sub)
			sep = ','
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// parser reads JSON that this package wrote. Reading a twin is the larger part
// of a patch, and encoding/json takes several times as long.
type parser struct {
	text  string
	at    int
	depth int
}

// maxNesting bounds recursion in damaged documents.
const maxNesting = 1000

func parseDoc(text string) (nave.Doc, error) {
	p := parser{text: text}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	d, ok := v.(nave.Doc)
	if !ok || p.peek() != 0 {
		return nil, errDocument
	}
	return d, nil
}

// peek skips blanks and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return c
		}
	}
	return 0
}

func (p *parser) value() (any, error) {
	switch c := p.peek(); {
	case c == '{':
		d := nave.Doc{}
		err := p.object(func(name string) (err error) { d[name], err = p.value(); return err })
		return d, err
	case c == '[':
		return p.array()
	case c == '"':
		return p.str()
	case c == '-' || c >= '0' && c <= '9':
		return p.number(), nil
	}
	for _, w := range []struct {
		text string
		v    any
	}{{"true", true}, {"false", false}, {"null", nil}} {
		if strings.HasPrefix(p.text[p.at:], w.text) {
			p.at += len(w.text)
			return w.v, nil
		}
	}
	return nil, errDocument
}

// object reads names and calls member before each value.
func (p *parser) object(member func(name string) error) error {
	if p.depth++; p.depth > maxNesting || p.peek() != '{' {
		return errDocument
	}
	p.at++
	if p.peek() == '}' {
		p.at++
		p.depth--
		return nil
	}
	for {
		if p.peek() != '"' {
			return errDocument
		}
		name, err := p.str()
		if err != nil {
			return err
		}
		if p.peek() != ':' {
			return errDocument
		}
		p.at++
		if err := member(name); err != nil {
			return err
		}
		if done, err := p.next('}'); done || err != nil {
			return err
		}
	}
}

func (p *parser) array() (any, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errDocument
	}
	p.at++
	all := []any{}
	if p.peek() == ']' {
		p.at++
		p.depth--
		return all, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
		if done, err := p.next(']'); done || err != nil {
			return all, err
		}
	}
}

// next reads the comma, or the end of an object or array.
func (p *parser) next(end byte) (done bool, err error) {
	switch c := p.peek(); c {
	case ',':
		p.at++
		return false, nil
	case end:
		p.at++
		p.depth--
		return true, nil
	}
	return false, errDocument
}

func (p *parser) str() (string, error) {
	start := p.at + 1
	plain := true
	for i := start; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			if plain {
				return p.text[start:i], nil
			}
			var s string
			err := json.Unmarshal([]byte(p.text[start-1:i+1]), &s)
			return s, err
		case c == '\\':
			plain = false
			i++
		}
	}
	return "", errDocument
}

func (p *parser) number() json.Number {
	start := p.at
	for p.at < len(p.text) && strings.IndexByte("+-.0123456789Ee", p.text[p.at]) >= 0 {
		p.at++
	}
	return json.Number(p.text[start:p.at])
}

func parseMeta(text string) (nave.Meta, error) {
	p := parser{text: text}
	var m nave.Meta
	err := p.meta(&m)
	if err == nil && p.peek() != 0 {
		err = errDocument
	}
	return m, err
}

func (p *parser) meta(m *nave.Meta) error {
	return p.object(func(name string) error {
		switch name {
		case "t":
			n, err := p.integer()
			m.Updated = moment(n)
			return err
		case "v":
			n, err := p.integer()
			m.Version = n
			return err
		case "k":
			m.Keys = map[string]*nave.Meta{}
			return p.object(func(name string) error {
				sub := &nave.Meta{}
				m.Keys[name] = sub
				return p.meta(sub)
			})
		}
		_, err := p.value()
		return err
	})
}

func (p *parser) integer() (int64, error) {
	p.peek()
	return strconv.ParseInt(string(p.number()), 10, 64)
}
