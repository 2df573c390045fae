package hubhttp

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// route is one operation. In path, {d} is a device id, {m} a module id and any
// other name in braces one segment of text; the rest is literal.
type route struct {
	verb, path string
	do         func(*call) error
}

// side says who may call a route and which error body is the default there.
type side uint8

const (
	serviceSide side = iota // body form A
	messageSide             // a service's, form B (service-api 2.2)
	deviceSide              // a device's own, form A always (device-protocols 0.4)
	uploadSide              // a device's own, form B
)

func (s side) device() bool { return s == deviceSide || s == uploadSide }

// entry is a route made ready for matching.
type entry struct {
	route
	side     side
	segments []string
	literals int
}

// table holds the entries by number of segments, those with more literals
// first, so that /devices/query comes before /devices/{d} (service-api 2.16).
var table = func() map[int][]*entry {
	all := map[int][]*entry{}
	for _, g := range []struct {
		side   side
		routes []route
	}{
		{serviceSide, deviceRoutes}, {serviceSide, moduleRoutes}, {serviceSide, bulkRoutes}, {serviceSide, twinRoutes},
		{messageSide, methodRoutes}, {serviceSide, c2dRoutes}, {serviceSide, feedbackRoutes}, {serviceSide, statisticsRoutes},
		{deviceSide, eventRoutes}, {deviceSide, receiveRoutes},
		{serviceSide, unbuiltRoutes}, {messageSide, unbuiltTwinRoutes}, {uploadSide, unbuiltUploadRoutes}, {deviceSide, unbuiltScopeRoutes},
	} {
		for _, r := range g.routes {
			e := &entry{route: r, side: g.side, segments: strings.Split(r.path[1:], "/")}
			for _, segment := range e.segments {
				if segment[0] != '{' {
					e.literals++
				}
			}
			all[len(e.segments)] = append(all[len(e.segments)], e)
		}
	}
	for _, entries := range all {
		slices.SortStableFunc(entries, func(a, b *entry) int { return cmp.Compare(b.literals, a.literals) })
	}
	return all
}()

// matches says whether the decoded segments fit; literals are compared without
// case, an id is never empty.
func (e *entry) matches(segments []string) bool {
	for i, want := range e.segments {
		if want[0] == '{' {
			if segments[i] == "" {
				return false
			}
		} else if !strings.EqualFold(want, segments[i]) {
			return false
		}
	}
	return true
}

// split cuts a raw path into segments and decodes each once; '+' stays. The
// slash at the end does not count.
func split(raw string) ([]string, error) {
	segments := strings.Split(strings.TrimSuffix(strings.TrimPrefix(raw, "/"), "/"), "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return nil, fault.GenericBadRequest.Wrap(err, "segment %d of the path has a broken percent escape", i+1)
		}
		if !utf8.ValidString(decoded) {
			return nil, fault.GenericBadRequest.New("segment %d of the path is not UTF-8 once decoded", i+1)
		}
		segments[i] = decoded
	}
	return segments, nil
}

// find sets route, segments and ids of the call. GenericNotFound: no such
// path; GenericMethodNotAllowed: the path has other verbs.
func (c *call) find() (err error) {
	c.query = parameters(c.r.URL.RawQuery)
	if c.segments, err = split(c.r.URL.EscapedPath()); err != nil {
		return err
	}
	verb := c.r.Method
	// service-api 2.1: one SDK cannot send the verb PATCH.
	if verb == http.MethodPost && strings.EqualFold(c.r.Header.Get("X-HTTP-Method-Override"), http.MethodPatch) {
		verb = http.MethodPatch
	}
	var verbs []string
	for _, e := range table[len(c.segments)] {
		if !e.matches(c.segments) || c.fixed != nil && e.side.device() {
			continue
		}
		if e.verb == verb {
			c.route = e
			c.bind()
			return nil
		}
		verbs = append(verbs, e.verb)
	}
	if verbs == nil {
		return fault.GenericNotFound.New("the hub has no path %s", brief(c.r.URL.Path))
	}
	slices.Sort(verbs)
	allowed := strings.Join(slices.Compact(verbs), ", ")
	c.w.Header()["Allow"] = []string{allowed}
	return fault.GenericMethodNotAllowed.New("%s does not have the verb %s, allowed are %s", brief(c.r.URL.Path), brief(verb), allowed)
}

// bind takes ids and other parameters from the segments.
func (c *call) bind() {
	for i, name := range c.route.segments {
		switch name {
		case "{d}":
			c.on.Device = c.segments[i]
		case "{m}":
			c.on.Module = c.segments[i]
		default:
			if name[0] == '{' {
				c.name = c.segments[i]
			}
		}
	}
}

// op names the operation for log and report.
func (c *call) op() string {
	if c.route == nil {
		return c.r.Method
	}
	return c.route.verb + " " + c.route.path
}

// brief keeps foreign text in errors and logs short.
func brief(text string) string {
	if len(text) <= nave.MaxID {
		return text
	}
	return strings.ToValidUTF8(text[:nave.MaxID], "") + "…"
}
