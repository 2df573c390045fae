package dpsapi

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// route is one operation of the service API. {…} in path is one segment that is
// not empty and becomes one of the call's args; the rest is literal, compared
// without case.
type route struct {
	verb, path string
	right      dps.Right
	do         func(*call) error
}

// entry is a route made ready for matching.
type entry struct {
	route
	segments []string
	literals int
}

// groups are the routes of all nouns; a noun's file declares its own.
var groups = [][]route{enrollmentRoutes, groupRoutes, registrationRoutes, certificateRoutes, linkedHubRoutes, instanceRoutes,
	bundleRoutes, caRoutes, credentialRoutes, registryRoutes, deviceRecordRoutes, groupRecordRoutes, deviceGroupRoutes, settingsRoutes, recordRoutes}

// table holds the entries by number of segments, those with more literals
// first, so that /enrollments/query comes before /enrollments/{id}; nouns are
// the first segments.
var table, nouns = func() (map[int][]*entry, map[string]bool) {
	all, nouns := map[int][]*entry{}, map[string]bool{}
	for _, g := range groups {
		for _, r := range g {
			e := &entry{route: r, segments: strings.Split(r.path[1:], "/")}
			for _, s := range e.segments {
				if s[0] != '{' {
					e.literals++
				}
			}
			nouns[strings.ToLower(e.segments[0])] = true
			all[len(e.segments)] = append(all[len(e.segments)], e)
		}
	}
	for _, entries := range all {
		slices.SortStableFunc(entries, func(a, b *entry) int { return cmp.Compare(b.literals, a.literals) })
	}
	return all, nouns
}()

// isNoun says whether paths of the service API start with the segment.
func isNoun(segment string) bool { return nouns[strings.ToLower(segment)] }

// match returns the values of {…} when the decoded segments fit.
func (e *entry) match(segments []string) (args []string, ok bool) {
	for i, want := range e.segments {
		switch {
		case want[0] == '{':
			if segments[i] == "" {
				return nil, false
			}
			args = append(args, segments[i])
		case !strings.EqualFold(want, segments[i]):
			return nil, false
		}
	}
	return args, true
}

// split cuts a raw path into segments and decodes each once; one slash at the
// end does not count (dps 1.2, 3.2).
func split(raw string) ([]string, error) {
	segments := strings.Split(strings.TrimSuffix(strings.TrimPrefix(raw, "/"), "/"), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return nil, fault.DPSGenericBadRequest.Wrap(err, "segment %d of the path has a broken percent escape", i+1)
		}
		if !utf8.ValidString(decoded) {
			return nil, fault.DPSGenericBadRequest.New("segment %d of the path is not UTF-8 once decoded", i+1)
		}
		segments[i] = decoded
	}
	return segments, nil
}

// find sets route and args: GenericNotFound for a path that leads nowhere,
// GenericMethodNotAllowed for one with other verbs or with an id missing (dps
// 5.2).
func (c *call) find() error {
	var verbs []string
	for _, e := range table[len(c.segments)] {
		args, ok := e.match(c.segments)
		switch {
		case !ok:
			continue
		case e.verb == c.r.Method:
			c.route, c.args = e, args
			return nil
		}
		verbs = append(verbs, e.verb)
	}
	if verbs == nil {
		return c.nowhere()
	}
	return c.notAllowed(verbs)
}

// allowed sets the header Allow of the answer.
func (c *call) allowed(verbs []string) {
	slices.Sort(verbs)
	c.allow = strings.Join(slices.Compact(verbs), ", ")
}

func (c *call) notAllowed(verbs []string) error {
	c.allowed(verbs)
	return fault.DPSGenericMethodNotAllowed.New("%s does not take %s, but %s", brief(c.r.URL.Path), brief(c.r.Method), c.allow)
}

// nowhere tells a path that only lacks an id at its end from one that nobody
// knows.
func (c *call) nowhere() error {
	longer := append(slices.Clone(c.segments), "id")
	var verbs []string
	for _, e := range table[len(longer)] {
		if _, ok := e.match(longer); ok && e.segments[len(longer)-1][0] == '{' {
			verbs = append(verbs, e.verb)
		}
	}
	if verbs != nil && c.r.Method != http.MethodOptions {
		c.allowed(verbs)
		return fault.DPSGenericMethodNotAllowed.New("an id is missing in the path %s, with one it takes %s", brief(c.r.URL.Path), c.allow)
	}
	return fault.DPSGenericNotFound.New("the path %q leads nowhere", brief(c.r.URL.Path))
}
