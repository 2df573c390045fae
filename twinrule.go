package nave

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/nave-hub/nave/internal/fault"
)

// Laws of the contents of a twin (hub-semantics 6.2). The settings named in
// errors are twin.maxDepth, twin.maxKey, twin.maxString and twin.integer.
const (
	MaxDepth      = 10         // containers below the root of a section
	MaxKey        = 1024       // bytes of a key
	MaxString     = 4096       // bytes of a string value
	MinInteger    = -(1 << 52) // least number without fraction and exponent
	MaxInteger    = 1<<52 - 1  // greatest one
	storedPerSize = 16         // bytes a section may hold per byte of its size limit
)

// breach is a violated rule; the path grows while the check returns.
type breach struct {
	path            string
	setting         string // empty: a rule without a limit
	limit, observed any
	text            string
}

func (r *breach) fault(section string) error {
	if r.setting == "" {
		return fault.ArgumentInvalid.New("%s%s: %s", section, r.path, r.text)
	}
	return fault.ArgumentInvalid.Over(r.setting, r.limit, r.observed, "%s%s: %s", section, r.path, r.text)
}

// Check answers ArgumentInvalid with the path of the first key, in sorted
// order, that breaks a rule of hub-semantics 6.2; section is the name that
// starts the path. Null is allowed where it deletes a key.
func (d Doc) Check(section string) error {
	if r := checkDoc(d, 0, true); r != nil {
		return r.fault(section)
	}
	return nil
}

// checkDoc goes on after a breach, so that which one is reported does not
// depend on the order of the map.
func checkDoc(d Doc, level int, nulls bool) (first *breach) {
	if r := checkLevel(level); r != nil {
		return r
	}
	var at string
	for k, v := range d {
		if first != nil && k > at {
			continue
		}
		r := checkKey(k)
		if r == nil {
			r = checkValue(v, level+1, nulls)
		}
		if r != nil {
			r.path = step(k) + r.path
			first, at = r, k
		}
	}
	return first
}

func step(k string) string {
	if k == "" || strings.ContainsFunc(k, func(r rune) bool { return r == '.' || unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return "[" + strconv.Quote(brief(k)) + "]"
	}
	return "." + brief(k)
}

func checkLevel(level int) *breach {
	if level <= MaxDepth {
		return nil
	}
	return &breach{setting: "twin.maxDepth", limit: MaxDepth, observed: level, text: "objects and arrays nest too deep"}
}

func checkKey(k string) *breach {
	switch {
	case k == "":
		return &breach{text: "the key is empty"}
	case len(k) > MaxKey:
		return &breach{setting: "twin.maxKey", limit: MaxKey, observed: len(k), text: "the key has too many bytes"}
	}
	for i, r := range k {
		if r > ' ' && r < 0x7f && r != '.' && r != '$' && r != '#' {
			continue
		}
		if r < 0x80 || unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar && k[i] != 0xef {
			return &breach{text: fmt.Sprintf("the key has the character %q at byte %d; not allowed are control characters, white space, '.', '$' and '#'", r, i)}
		}
	}
	return nil
}

// checkValue takes the level that v has if it is a container.
func checkValue(v any, level int, nulls bool) *breach {
	switch v := v.(type) {
	case nil:
		if !nulls {
			return &breach{text: "null stands inside an array; it is allowed only to delete a key"}
		}
	case bool:
	case string:
		if len(v) > MaxString {
			return &breach{setting: "twin.maxString", limit: MaxString, observed: len(v), text: "the string has too many bytes"}
		}
	case json.Number:
		return checkNumber(string(v))
	case Doc:
		return checkDoc(v, level, nulls)
	case []any:
		if r := checkLevel(level); r != nil {
			return r
		}
		for i, e := range v {
			if r := checkValue(e, level+1, false); r != nil {
				r.path = "[" + strconv.Itoa(i) + "]" + r.path
				return r
			}
		}
	default:
		return &breach{text: fmt.Sprintf("a value of type %T has no form in JSON", v)}
	}
	return nil
}

func checkNumber(text string) *breach {
	if strings.ContainsAny(text, ".eE") {
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return &breach{text: fmt.Sprintf("the number %s does not fit into a double", brief(text))}
		}
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err != nil || n < MinInteger || n > MaxInteger {
		limit := fmt.Sprintf("%d … %d", int64(MinInteger), int64(MaxInteger))
		return &breach{setting: "twin.integer", limit: limit, observed: brief(text), text: "the integer is out of range"}
	}
	return nil
}

// Size returns the size of a section by hub-semantics 6.3: characters of keys
// and strings, 8 for a number, 4 for a boolean.
func (d Doc) Size() int { return weigh(d).size }

// weight holds the size by law, and the bytes that the text of the section
// takes about: empty containers, control characters and digits of numbers
// weigh nothing by law.
type weight struct{ size, stored int }

func weigh(d Doc) (w weight) {
	w.doc(d)
	return w
}

func (w *weight) doc(d Doc) {
	w.stored += 2
	for k, v := range d {
		w.size += characters(k)
		w.stored += len(k) + 4
		w.value(v)
	}
}

func (w *weight) value(v any) {
	switch v := v.(type) {
	case bool:
		w.size += 4
		w.stored += 4
	case json.Number:
		w.size += 8
		w.stored += len(v)
	case string:
		w.size += characters(v)
		w.stored += len(v) + 2
	case Doc:
		w.doc(v)
	case []any:
		w.stored += 2
		for _, e := range v {
			w.stored++
			w.value(e)
		}
	}
}

// characters counts code points other than C0 and C1 controls.
func characters(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == 0x7f || c&0xc0 == 0x80:
		case c == 0xc2 && i+1 < len(s) && s[i+1] < 0xa0:
		default:
			n++
		}
	}
	return n
}

// checkGrowth answers MessageTooLarge when a write made a section greater than
// its limit; shrinking is always allowed (hub-semantics 6.3).
func checkGrowth(section, setting string, limit int, before, after Doc) error {
	w := weigh(after)
	if w.size > limit && w.size > before.Size() {
		return fault.MessageTooLarge.Over(setting, limit, w.size, "%s would be too large", section)
	}
	if most := limit * storedPerSize; w.stored > most && w.stored > weigh(before).stored {
		return fault.MessageTooLarge.Over(setting, most, w.stored, "the text of %s would be too large, though its size by keys and values is %d", section, w.size)
	}
	return nil
}
