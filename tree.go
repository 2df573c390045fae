package nave

import (
	"encoding/json"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// ParseDoc reads one JSON object: names unique, UTF-8 valid, at most 32
// containers in one another. Numbers keep their text. It answers
// IotHubFormatError with the position of the first defect and what was
// expected there (hub-semantics 6.5), or ArgumentInvalid when nested too deep.
// The strings of the result share one copy of b.
func ParseDoc(b []byte) (Doc, error) {
	p, err := newParser(b)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.peek() != '{' {
		return nil, p.want("the opening brace of a JSON object")
	}
	d, err := p.object(1)
	if err != nil {
		return nil, err
	}
	return d, p.end()
}

// ParseValue reads one JSON value of any kind under the rules of ParseDoc; nil
// stands for null.
func ParseValue(b []byte) (any, error) {
	p, err := newParser(b)
	if err != nil {
		return nil, err
	}
	p.space()
	v, err := p.value(1)
	if err != nil {
		return nil, err
	}
	return v, p.end()
}

// Append appends the object as compact JSON, names sorted by bytes, so that
// equal documents have equal text.
func (d Doc) Append(b []byte) []byte {
	var names [32]string
	return appendDoc(b, d, names[:0])
}

// AppendValue appends one value of a Doc as Append does.
func AppendValue(b []byte, v any) []byte {
	var names [32]string
	return appendValue(b, v, names[:0])
}

// Clone returns a copy that shares nothing that can change.
func (d Doc) Clone() Doc {
	if d == nil {
		return nil
	}
	c := make(Doc, len(d))
	for k, v := range d {
		c[k] = cloneValue(v)
	}
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case Doc:
		return v.Clone()
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = cloneValue(v[i])
		}
		return c
	}
	return v
}

// Equal says whether both hold the same members with the same values; numbers
// are compared as text.
func (d Doc) Equal(e Doc) bool {
	if len(d) != len(e) {
		return false
	}
	for k, v := range d {
		if w, ok := e[k]; !ok || !equalValue(v, w) {
			return false
		}
	}
	return true
}

func equalValue(v, w any) bool {
	switch v := v.(type) {
	case Doc:
		w, ok := w.(Doc)
		return ok && v.Equal(w)
	case []any:
		w, ok := w.([]any)
		return ok && slices.EqualFunc(v, w, equalValue)
	}
	switch w.(type) {
	case Doc, []any:
		return false
	}
	return v == w
}

func appendDoc(b []byte, d Doc, names []string) []byte {
	b = append(b, '{')
	b = appendMembers(b, d, names)
	return append(b, '}')
}

// appendMembers uses the free end of names as scratch, so a whole tree is
// sorted in one buffer.
func appendMembers(b []byte, d Doc, names []string) []byte {
	start := len(names)
	for k := range d {
		names = append(names, k)
	}
	mine := names[start:]
	slices.Sort(mine)
	for i, k := range mine {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, k), ':')
		b = appendValue(b, d[k], names)
	}
	return b
}

func appendValue(b []byte, v any, names []string) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		if v {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case string:
		return appendText(b, v)
	case json.Number:
		return append(b, v...)
	case Doc:
		return appendDoc(b, v, names)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, e, names)
		}
		return append(b, ']')
	}
	panic("nave: a Doc holds a value of a type that its comment does not list")
}

// appendText quotes s; nearly every text of a twin is plain ASCII.
func appendText(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b, _ = jsontext.AppendQuote(b, s)
			return b
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// member starts the next member of the object at the end of b.
func member(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func memberText(b []byte, name, text string) []byte {
	return appendText(member(b, name), text)
}

// memberOrNull writes null for the empty text.
func memberOrNull(b []byte, name, text string) []byte {
	if text == "" {
		return append(member(b, name), "null"...)
	}
	return memberText(b, name, text)
}

// memberIfSet writes nothing for the empty text.
func memberIfSet(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return memberText(b, name, text)
}
