package dps

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// condition is a node of a query: AND and OR over two others, or a comparison
// of the member at path with values.
type condition struct {
	op          string // AND, OR, =, !=, <, >, <=, >=, IN, STARTSWITH
	left, right *condition
	path        []string
	values      []any // string, float64 or bool
}

// match says whether the condition holds for a document; of a member that is
// not there, or of another type than the literal, no comparison holds.
func (c *condition) match(doc any) bool {
	switch c.op {
	case "AND":
		return c.left.match(doc) && c.right.match(doc)
	case "OR":
		return c.left.match(doc) || c.right.match(doc)
	}
	v, ok := lookup(doc, c.path)
	if !ok {
		return false
	}
	fold := c.names("registrationId") || c.names("enrollmentGroupId")
	return slices.ContainsFunc(c.values, func(want any) bool { return c.holds(v, want, fold) })
}

// names says whether the condition is about the top-level member.
func (c *condition) names(member string) bool {
	return len(c.path) == 1 && strings.EqualFold(c.path[0], member)
}

// holds compares one value with one literal; ids compare without case.
func (c *condition) holds(v, want any, fold bool) bool {
	if c.op == "STARTSWITH" {
		text, ok := v.(string)
		prefix, _ := want.(string)
		if fold {
			text, prefix = key(text), key(prefix)
		}
		return ok && strings.HasPrefix(text, prefix)
	}
	order, ok := compare(v, want, fold)
	if !ok {
		return false
	}
	switch c.op {
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case ">":
		return order > 0
	case "<=":
		return order <= 0
	case ">=":
		return order >= 0
	}
	return order == 0
}

// compare orders two values of the same type.
func compare(v, want any, fold bool) (order int, ok bool) {
	switch w := want.(type) {
	case string:
		t, ok := v.(string)
		if fold {
			t, w = key(t), key(w)
		}
		return cmp.Compare(t, w), ok
	case bool:
		b, ok := v.(bool)
		if b == w {
			return 0, ok
		}
		if w {
			return -1, ok
		}
		return 1, ok
	case float64:
		switch n := v.(type) {
		case float64:
			return cmp.Compare(n, w), true
		case json.Number:
			f, err := n.Float64()
			return cmp.Compare(f, w), err == nil
		}
	}
	return 0, false
}

// lookup follows the path through objects. Names are those of the document or,
// where it has none spelled so, one that differs in case only.
func lookup(doc any, path []string) (any, bool) {
	for _, name := range path {
		object, ok := doc.(map[string]any)
		if !ok {
			return nil, false
		}
		next, ok := object[name]
		if !ok {
			if next, ok = folded(object, name); !ok {
				return nil, false
			}
		}
		doc = next
	}
	return doc, true
}

// folded finds the member in any case; of several the first in order.
func folded(object map[string]any, name string) (v any, ok bool) {
	found := ""
	for k := range object {
		if strings.EqualFold(k, name) && (!ok || k < found) {
			found, ok = k, true
		}
	}
	return object[found], ok
}

// mentions says whether a comparison is about the top-level member or what is
// below it.
func (c *condition) mentions(member string) bool {
	switch {
	case c == nil:
		return false
	case c.left != nil:
		return c.left.mentions(member) || c.right.mentions(member)
	}
	return strings.EqualFold(c.path[0], member)
}

// only returns the id that a matching document must have, when the query says
// so: member = 'id', alone or with AND.
func (c *condition) only(member string) (id string, ok bool) {
	if c == nil {
		return "", false
	}
	switch {
	case c.op == "AND":
		if id, ok = c.left.only(member); ok {
			return id, true
		}
		return c.right.only(member)
	case c.op == "=" && c.names(member):
		id, ok = c.values[0].(string)
		return id, ok
	}
	return "", false
}
