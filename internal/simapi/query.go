package simapi

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// pair is one parameter of a query, decoded.
type pair struct{ name, value string }

// parseQuery decodes a query (FI-13). Empty parts between & are skipped.
func parseQuery(raw string) (all []pair, err error) {
	if strings.Contains(raw, ";") {
		return nil, fault.SIMMalformedQuery.New("The query has a semicolon that is not percent-encoded.")
	}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, v, _ := strings.Cut(part, "=")
		var p pair
		if p.name, err = url.QueryUnescape(name); err == nil {
			p.value, err = url.QueryUnescape(v)
		}
		if err != nil {
			return nil, fault.SIMMalformedQuery.New("The query has a percent sequence that cannot be decoded.")
		}
		if !utf8.ValidString(p.name) || !utf8.ValidString(p.value) {
			return nil, fault.SIMMalformedQuery.New("The query is not UTF-8.")
		}
		all = append(all, p)
	}
	return all, nil
}

// query is a query whose parameters are taken one after the other; done reports
// those that nobody took.
type query struct {
	pairs  []pair
	issues issues
}

// query decodes the request's query.
func (c *call) query() (*query, error) {
	all, err := parseQuery(c.r.URL.RawQuery)
	return &query{pairs: all}, err
}

// noQuery is step 10 of operations without parameters.
func (c *call) noQuery() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	return q.done()
}

// take removes the parameter and returns its value; ok is false when it is
// missing or repeated, which is reported.
func (q *query) take(name string) (v string, ok bool) {
	n := 0
	rest := q.pairs[:0]
	for _, p := range q.pairs {
		if p.name != name {
			rest = append(rest, p)
			continue
		}
		n++
		v = p.value
	}
	q.pairs = rest
	if n > 1 {
		q.issues.query(name, "repeated_parameter", "The parameter stands in the query more than once.")
	}
	return v, n == 1
}

// done reports what is left (FI-12) and returns the refusal of all mistakes.
func (q *query) done() error {
	seen := map[string]bool{}
	for _, p := range q.pairs {
		if !seen[p.name] {
			q.issues.query(shown(p.name), "unknown_parameter", "There is no such parameter.")
		}
		seen[p.name] = true
	}
	return q.issues.err()
}

var numberForm = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)

// paging takes pageSize and pageNumber (connectivity-api 7).
func (q *query) paging() (p sim.Paging) {
	p = sim.Paging{Number: q.number("pageNumber", 1, 0), Size: q.number("pageSize", sim.DefaultPageSize, sim.MaxPageSize)}
	return p
}

// number takes a positive number; most 0 does not limit it.
func (q *query) number(name string, otherwise, most int) int {
	text, ok := q.take(name)
	if !ok {
		return otherwise
	}
	n, _ := strconv.Atoi(text)
	switch {
	case !numberForm.MatchString(text):
		q.issues.query(name, "invalid_value", "Must be a whole number of 1 to 9 digits without a leading zero.")
	case most > 0 && n > most:
		q.issues.query(name, "out_of_range", "The greatest value is "+strconv.Itoa(most)+".")
	default:
		return n
	}
	return otherwise
}

// sortKeys are the members that lists of products can be sorted by.
var sortKeys = []string{"id", "status", "iccid", "startDate"}

// sort takes the sort parameter (LS-4).
func (q *query) sort() (keys []sim.SortKey) {
	text, ok := q.take("sort")
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		name, descending := strings.CutPrefix(part, "-")
		if !contains(sortKeys, name) || seen[name] {
			q.issues.query("sort", "invalid_value", "Must be a list of id, status, iccid and startDate, each once, with - before it for descending.")
			return nil
		}
		seen[name] = true
		keys = append(keys, sim.SortKey{Name: name, Descending: descending})
	}
	return keys
}

// word takes a parameter that must be one of the words.
func (q *query) word(name, otherwise string, words ...string) string {
	text, ok := q.take(name)
	if !ok {
		return otherwise
	}
	if !contains(words, text) {
		q.issues.query(name, "invalid_value", "Must be one of "+strings.Join(words, ", ")+".")
		return otherwise
	}
	return text
}

// time takes a time of RFC 3339, zero when it is missing. A plus sign that was
// not encoded has become a blank; a time has no other place for one.
func (q *query) time(name string) time.Time {
	text, ok := q.take(name)
	if !ok {
		return time.Time{}
	}
	at, err := parseTime(text)
	if err != nil {
		q.issues.query(name, "invalid_value", "Must be a time of RFC 3339, such as 2026-03-01T12:00:00Z.")
	}
	return at
}

func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err == nil && (at.Year() < 1970 || at.Year() > 9999) {
		err = strconv.ErrRange
	}
	return at.UTC(), err
}

// span takes from and to.
func (q *query) span() (from, to time.Time) {
	from, to = q.time("from"), q.time("to")
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		q.issues.query("from", "invalid_value", "Must be before to.")
	}
	return from, to
}

func contains(all []string, s string) bool {
	for _, one := range all {
		if one == s {
			return true
		}
	}
	return false
}
