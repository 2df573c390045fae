package simapi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// maxIssues is how many mistakes of a request are listed (connectivity-api
// ER-6).
const maxIssues = 50

// issues collects the mistakes of one request.
type issues struct {
	all   []sim.Issue
	count int
}

func (i *issues) add(one sim.Issue) {
	if i.count++; len(i.all) < maxIssues {
		i.all = append(i.all, one)
	}
}

func (i *issues) body(pointer, code, detail string) {
	i.add(sim.Issue{In: "body", Pointer: pointer, Code: code, Detail: detail})
}

func (i *issues) query(parameter, code, detail string) {
	i.add(sim.Issue{In: "query", Parameter: parameter, Code: code, Detail: detail})
}

// err returns validation_failed with the issues, nil when there are none.
func (i *issues) err() error {
	if i.count == 0 {
		return nil
	}
	noun, place := "problems", "request body"
	if i.count == 1 {
		noun = "problem"
	}
	if i.all[0].In == "query" {
		place = "query"
	}
	text := fmt.Sprintf("%d %s in the %s.", i.count, noun, place)
	if i.count == 1 {
		text += " " + i.all[0].Detail
	}
	e := fault.SIMValidationFailed.New("%s", text)
	e.Detail = map[string]any{sim.DetailIssues: i.all}
	return e
}

// object says whether v is an object, and reports members that are not known
// (connectivity-api HT-11).
func (i *issues) object(v *value, pointer string, known ...string) bool {
	if v.kind != '{' {
		i.body(pointer, "invalid_type", "Must be an object.")
		return false
	}
	for _, m := range v.members {
		if !slices.Contains(known, m.name) {
			i.body(at(pointer, m.name), "unknown_member", "Unknown member.")
		}
	}
	return true
}

// list says whether v is an array.
func (i *issues) list(v *value, pointer string) bool {
	if v.kind != '[' {
		i.body(pointer, "invalid_type", "Must be an array.")
		return false
	}
	return true
}

// text reads a string member; ok is false when it is missing or wrong, which is
// reported. A member that need not be there is "" then.
func (i *issues) text(v *value, pointer, name string, needed bool) (text string, ok bool) {
	m := v.member(name)
	switch {
	case m == nil && needed:
		i.body(at(pointer, name), "required", "Must be given.")
		return "", false
	case m == nil:
		return "", true
	}
	return i.asText(m, at(pointer, name))
}

// asText reads a string. A number is told apart, because it loses digits
// (connectivity-api ID-1).
func (i *issues) asText(v *value, pointer string) (string, bool) {
	switch v.kind {
	case '"':
		if strings.Contains(v.text, "\x00") { // no database takes it
			i.body(pointer, "special_character", "The character U+0000 is not allowed.")
			return "", false
		}
		return v.text, true
	case '0':
		i.body(pointer, "not_a_string", "Must be a string: a number of this length loses digits.")
	default:
		i.body(pointer, "not_a_string", "Must be a string.")
	}
	return "", false
}

// texts reads a member that is a list of strings of at most 256 characters.
func (i *issues) texts(v *value, pointer, name string) (all []string) {
	m := v.member(name)
	if m == nil || !i.list(m, at(pointer, name)) {
		return nil
	}
	for n := range m.items {
		text, ok := i.asText(&m.items[n], atItem(at(pointer, name), n))
		if ok && len(text) > 1024 {
			i.body(atItem(at(pointer, name), n), "too_long", "At most 256 characters are allowed.")
		}
		all = append(all, text)
	}
	return all
}

// flag reads a Boolean member, false when it is missing.
func (i *issues) flag(v *value, pointer, name string) bool {
	m := v.member(name)
	if m == nil {
		return false
	}
	if m.kind != 't' && m.kind != 'f' {
		i.body(at(pointer, name), "invalid_type", "Must be true or false.")
	}
	return m.kind == 't'
}
