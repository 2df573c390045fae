package simapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/sim"
)

// reply answers v as JSON that must not be kept.
func (c *call) reply(status int, v any) error {
	h := c.w.Header()
	h.Set("Content-Type", jsonType)
	h.Set("Cache-Control", "no-store")
	c.write(status, encode(v))
	return nil
}

// created answers 201 with the address of what was made.
func (c *call) created(href string, v any) error {
	c.w.Header().Set("Location", href)
	return c.reply(http.StatusCreated, v)
}

// tracked answers 202 with the address of what to follow (SC-13).
func (c *call) tracked(href string, v any) error {
	c.w.Header().Set("Location", href)
	c.w.Header().Set("Retry-After", pollAfter)
	return c.reply(http.StatusAccepted, v)
}

// pollAfter is the pause between two looks at something that is under way.
const pollAfter = "2"

// moving are the times that are those of the request itself, without anything
// having changed: until when usage was counted, and when a sound platform was
// last heard of.
var moving = regexp.MustCompile(`"endDateTime":"[^"]*"\},"counterType":"USED"|"state":"OK","lastSuccess":"[^"]*"`)

// cacheable answers b, or 304 when the caller has it already (HT-13). The tag is
// made of seed, which leaves out what differs in every answer.
func (c *call) cacheable(b, seed []byte) error {
	sum := sha256.Sum256(moving.ReplaceAll(seed, []byte(`""`)))
	tag := `W/"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	h := c.w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache")
	if matches(c.r.Header["If-None-Match"], tag) {
		c.empty(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", jsonType)
	c.write(http.StatusOK, b)
	return nil
}

// matches compares weakly (RFC 9110 13.1.2).
func matches(all []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for one := range strings.SplitSeq(strings.Join(all, ","), ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// statistics of an envelope (LS-3).
type statistics struct {
	CurrentPage int `json:"currentPage"`
	PageSize    int `json:"pageSize"`
	Count       int `json:"count"`
	TotalCount  int `json:"totalCount"`
}

type link struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// envelope is the form of every list.
type envelope struct {
	Entities   []jsontext.Value `json:"entities"`
	Statistics statistics       `json:"statistics"`
	Links      []link           `json:"links"`
	Errors     []*sim.Problem   `json:"errors"`
	Warnings   []sim.Warning    `json:"warnings,omitempty"`
}

// list returns an envelope of the page with total entities in all.
func list[T any](c *call, p sim.Paging, total int, all []T) *envelope {
	e := &envelope{Entities: make([]jsontext.Value, 0, len(all)), Errors: []*sim.Problem{}}
	for _, v := range all {
		e.Entities = append(e.Entities, encode(v))
	}
	e.Statistics = statistics{p.Number, p.Size, len(all), total}
	e.Links = c.links(p, total)
	return e
}

// links returns self, first, prev, next and last as far as they exist (PG-6).
func (c *call) links(p sim.Paging, total int) []link {
	last := max(1, (total+p.Size-1)/p.Size)
	self := c.base() + "/" + strings.Join(escaped(c.place.rest), "/")
	all := []link{{"self", self + querySuffix(safeQuery(c.r.URL.RawQuery))}}
	if c.r.Method == http.MethodPost {
		return all
	}
	to := func(kind string, page int) {
		all = append(all, link{kind, self + querySuffix(withPage(c.r.URL.RawQuery, page))})
	}
	if total > 0 {
		to("first", 1)
	}
	if p.Number > 1 && total > 0 {
		to("prev", min(p.Number-1, last))
	}
	if p.Number < last {
		to("next", p.Number+1)
	}
	if total > 0 {
		to("last", last)
	}
	return all
}

func querySuffix(q string) string {
	if q == "" {
		return ""
	}
	return "?" + q
}

// withPage returns the query as it was sent, but with the page number.
func withPage(raw string, page int) string {
	var parts []string
	for part := range strings.SplitSeq(raw, "&") {
		if name, _, _ := strings.Cut(part, "="); part != "" && name != "pageNumber" {
			parts = append(parts, safeQuery(part))
		}
	}
	return strings.Join(append(parts, "pageNumber="+strconv.Itoa(page)), "&")
}

// safeQuery encodes bytes that a URI cannot have; net/http lets them pass.
func safeQuery(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		if c := raw[i]; c > ' ' && c < 0x7f && !strings.ContainsRune(`<>"\^{|}`+"`", rune(c)) {
			b.WriteByte(c)
		} else {
			const digits = "0123456789ABCDEF"
			b.WriteString(string([]byte{'%', digits[c>>4], digits[c&15]}))
		}
	}
	return b.String()
}

// show answers a list with its headers (LS-7).
func (c *call) show(e *envelope) error {
	h := c.w.Header()
	h.Set("X-Total-Count", strconv.Itoa(e.Statistics.TotalCount))
	h.Set("X-Result-Count", strconv.Itoa(e.Statistics.Count))
	var all []string
	for _, l := range e.Links {
		all = append(all, "<"+l.URL+`>; rel="`+l.Type+`"`)
	}
	h.Set("Link", strings.Join(all, ", "))
	c.warnAbout(e.Warnings)
	b := encode(e)
	if c.r.Method == http.MethodPost {
		h.Set("Content-Type", jsonType)
		h.Set("Cache-Control", "no-store")
		c.write(http.StatusOK, b)
		return nil
	}
	// Trace ids and times of problems, and ids of the request, differ every time.
	seed := bytes.ReplaceAll(encode(envelope{Entities: e.Entities, Statistics: e.Statistics, Links: e.Links, Warnings: e.Warnings}), []byte(c.id), nil)
	for _, p := range e.Errors {
		seed = append(seed, p.Code+p.Detail...)
	}
	return c.cacheable(b, seed)
}

// warnAbout sets the header of FI-15. Parameters in warnings are names of ours.
func (c *call) warnAbout(all []sim.Warning) {
	var items []string
	for _, w := range all {
		if w.Parameter == "" {
			items = append(items, w.Code)
		} else {
			items = append(items, w.Code+`;param="`+w.Parameter+`"`)
		}
	}
	if items != nil {
		c.w.Header().Set("Hub-Warning", strings.Join(items, ", "))
	}
}

// project returns the members of a JSON object that are named, in their order.
func project(object []byte, names []string) jsontext.Value {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	d.ReadToken()
	out := []byte{'{'}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			break
		}
		key := name.String()
		v, err := d.ReadValue()
		if err != nil {
			break
		}
		if !contains(names, key) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out, _ = jsontext.AppendQuote(out, key)
		out = append(append(out, ':'), v...)
	}
	return append(out, '}')
}
