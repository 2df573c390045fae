package hubamqp

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
)

// The one filter that readers set: its name, which is also its descriptor, and
// the number that some write in place of that.
const (
	selector            = "apache.org:selector-filter:string"
	selectorCode uint64 = 0x0000468c00000004
)

const annotationPrefix = "amqp.annotation."

// parseFilter returns where a reader starts, given the filters of its source;
// without a selector at the first event (service-api 4.4). The selector's value
// is a string; what is not described as one goes by its name.
func parseFilter(filters amqp.Map) (nave.Position, error) {
	v, ok := findSelector(filters)
	if !ok {
		return nave.Position{}, nil
	}
	text, ok := amqp.Text(v)
	if !ok {
		return nave.Position{}, fault.ArgumentInvalid.New("the filter %s is no string", selector)
	}
	return parsePosition(text)
}

// findSelector returns the value of the selector. Clients choose the name of a
// filter, Proton's Selector for one calls it selector; the descriptor says what
// it is.
func findSelector(filters amqp.Map) (any, bool) {
	for i := range filters {
		d, ok := filters[i].Value.(amqp.Described)
		if name, _ := amqp.Text(d.Descriptor); ok && (name == selector || d.Descriptor == any(selectorCode)) {
			return d.Value, true
		}
	}
	v, ok := filters.Find(selector)
	if d, described := v.(amqp.Described); described {
		v = d.Value
	}
	return v, ok
}

// parsePosition reads NAME > 'VALUE' or NAME >= 'VALUE'; case and blanks do not
// matter, nor does the absence of quotes.
func parsePosition(text string) (nave.Position, error) {
	name, value, ok := strings.Cut(text, ">")
	value, inclusive := strings.CutPrefix(value, "=")
	value = strings.TrimSpace(value)
	if n := len(value); n >= 2 && value[0] == value[n-1] && (value[0] == '\'' || value[0] == '"') {
		value = value[1 : n-1]
	}
	name = strings.ToLower(strings.TrimSpace(name))
	name, known := strings.CutPrefix(name, annotationPrefix)
	if !ok || !known {
		return nave.Position{}, badPosition(text)
	}
	switch name {
	case "x-opt-offset", "x-opt-sequence-number":
		if strings.EqualFold(value, "@latest") {
			return nave.Position{Latest: true}, nil
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nave.Position{}, badPosition(text)
		}
		return numbered(n, inclusive), nil
	case "x-opt-enqueued-time", "x-opt-enqueuedtimeutc":
		ms, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nave.Position{}, badPosition(text)
		}
		// Readers know times in milliseconds: behind one is from the next on.
		if !inclusive {
			ms++
		}
		if ms <= 0 {
			return nave.Position{}, nil
		}
		return nave.Position{Since: time.UnixMilli(ms).UTC()}, nil
	}
	return nave.Position{}, badPosition(text)
}

func numbered(n int64, inclusive bool) nave.Position {
	if !inclusive && n < math.MaxInt64 {
		n++
	}
	return nave.Position{From: max(n, 0)}
}

func badPosition(text string) error {
	return fault.ArgumentInvalid.New("the selector %q is not understood, expected is for example amqp.annotation.x-opt-sequence-number > '5'", brief(text))
}
