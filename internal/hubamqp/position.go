package hubamqp

import (
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
)

// selector is the name and descriptor of the one filter that readers set.
const selector = "apache.org:selector-filter:string"

const annotationPrefix = "amqp.annotation."

// parseFilter returns where a reader starts, given the filters of its source;
// without a selector at the first event (service-api 4.4). The selector's value
// is a string, described or not.
func parseFilter(filters amqp.Map) (nave.Position, error) {
	v, ok := filters.Find(selector)
	if !ok {
		return nave.Position{}, nil
	}
	if d, described := v.(amqp.Described); described {
		v = d.Value
	}
	text, ok := amqp.Text(v)
	if !ok {
		return nave.Position{}, fault.ArgumentInvalid.New("the filter %s is no string", selector)
	}
	return parsePosition(text)
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
	switch {
	case n < 0 || n == 0 && inclusive:
		return nave.Position{}
	case inclusive:
		return nave.Position{At: n}
	case n == 0:
		return nave.Position{At: 1}
	}
	return nave.Position{After: n}
}

func badPosition(text string) error {
	return fault.ArgumentInvalid.New("the selector %q is not understood, expected is for example amqp.annotation.x-opt-sequence-number > '5'", brief(text))
}
