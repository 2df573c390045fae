package hubhttp

import (
	"net/http"
	"slices"
	"strings"
)

// Routes returns verb and path of every route.
func Routes() (all []string) {
	for _, entries := range table {
		for _, e := range entries {
			all = append(all, e.verb+" "+e.path)
		}
	}
	slices.Sort(all)
	return all
}

// RouteOf returns the route that a request takes, "" for none.
func RouteOf(r *http.Request) string {
	c := &call{w: discard{}, r: r}
	if c.find() != nil {
		return ""
	}
	return c.op()
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// The parsers that fuzz targets and unit tests reach.
var (
	Split       = split
	ParseBatch  = parseBatch
	ParseBulk   = parseBulk
	ParseMethod = parseMethod
	ParseKeys   = func(b []byte) error { _, _, err := parseRegenerate(b); return err }
	Parameters  = parameters
)

// Join is the inverse of Split.
func Join(segments []string, escape func(string) string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + escape(s))
	}
	return b.String()
}
