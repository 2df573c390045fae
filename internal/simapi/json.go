package simapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/fault"
)

// value is a parsed JSON value.
type value struct {
	kind    jsontext.Kind // n f t " 0 { [
	text    string        // a string decoded, a number as it was written
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

// Limits of a body. A list of the contract has at most 1,000 entries, so a body
// with more values than maxValues fails validation whatever it is.
const (
	maxDepth  = 16
	maxValues = 20_000
)

// parser builds the tree of one body.
type parser struct {
	d    *jsontext.Decoder
	left int    // values that may still be built
	full string // pointer of the value that was one too many
}

// parse reads a body that must be one JSON value in UTF-8 without repeated
// names. It answers malformed_json with the offset, or validation_failed for
// more values than any list of the contract may have.
func parse(body []byte) (v value, err error) {
	if len(bytes.TrimLeft(body, " \t\r\n")) == 0 {
		return v, fault.SIMMalformedJson.New("The body is empty; JSON is needed.")
	}
	p := parser{d: jsontext.NewDecoder(bytes.NewReader(body)), left: maxValues}
	if err := p.value(&v); err != nil {
		return v, malformed(err)
	}
	if _, err := p.d.ReadToken(); err != io.EOF {
		if err == nil {
			err = fmt.Errorf("text follows the value before offset %d", p.d.InputOffset())
		}
		return v, malformed(err)
	}
	if p.left < 0 {
		var i issues
		i.body(p.full, "too_many", "The body has more values than any request may have.")
		return v, i.err()
	}
	return v, nil
}

var errDeep = errors.New("it is nested deeper than " + strconv.Itoa(maxDepth) + " levels")

func malformed(err error) error {
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		return fault.SIMMalformedJson.Wrap(err, "The body is not JSON in UTF-8: %v at byte offset %d.", s.Err, s.ByteOffset)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fault.SIMMalformedJson.Wrap(err, "The body is not JSON: it ends early.")
	}
	return fault.SIMMalformedJson.Wrap(err, "The body is not JSON: %v.", err)
}

func (p *parser) value(v *value) error {
	v.kind = p.d.PeekKind()
	switch v.kind {
	case '{', '[':
		if p.d.StackDepth() >= maxDepth {
			return errDeep
		}
		return p.open(v)
	}
	t, err := p.d.ReadToken()
	if err != nil {
		return err
	}
	if v.kind == '"' || v.kind == '0' {
		v.text = t.String()
	}
	return nil
}

// open reads an object or array.
func (p *parser) open(v *value) error {
	if _, err := p.d.ReadToken(); err != nil {
		return err
	}
	for k := p.d.PeekKind(); k != '}' && k != ']'; k = p.d.PeekKind() {
		if p.left--; p.left < 0 {
			if err := p.skip(v); err != nil {
				return err
			}
			continue
		}
		if v.kind == '[' {
			v.items = append(v.items, value{})
			if err := p.value(&v.items[len(v.items)-1]); err != nil {
				return err
			}
			continue
		}
		name, err := p.d.ReadToken()
		if err != nil {
			return err
		}
		m := member{name: name.String()}
		if err := p.value(&m.value); err != nil {
			return err
		}
		v.members = append(v.members, m)
	}
	_, err := p.d.ReadToken()
	return err
}

// skip reads what is not built any more, to see that it is JSON.
func (p *parser) skip(v *value) error {
	if p.full == "" {
		p.full = string(p.d.StackPointer())
		if v.kind == '[' {
			p.full = atItem(strings.TrimSuffix(p.full, "/"+strconv.Itoa(len(v.items)-1)), len(v.items))
		}
	}
	if v.kind == '{' {
		if _, err := p.d.ReadToken(); err != nil {
			return err
		}
	}
	return p.d.SkipValue()
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// at returns the pointer of a member or item below the pointer.
func at(pointer, name string) string { return pointer + "/" + escapePointer.Replace(name) }

func atItem(pointer string, n int) string { return pointer + "/" + strconv.Itoa(n) }
