package controlapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
)

const (
	root    = "/iot/v1/"
	devices = root + "devices/"
)

// route is one endpoint of iot-v1 4. {…} in path is one segment that is not
// empty.
type route struct {
	verb, path string
	scope      string // "": no bearer token is looked at
	runtime    string // transport that must be enabled (iot-v1 BT-7)
	do         func(*call) error
}

// routes are all endpoints.
var routes = []*route{
	{"POST", "/oauth/token", "", "", (*call).issueToken},
	{"POST", "/oauth/revoke", "", "", (*call).revokeToken},
	{"GET", devices + "{d}/bootstrap", control.ScopeCatalog, "", (*call).showBootstrap},
	{"GET", devices + "{d}/commands", control.ScopeCatalog, "", (*call).listCommands},
	{"GET", devices + "{d}/commands/{s}", control.ScopeCatalog, "", (*call).showCommand},
	{"GET", devices + "{d}/sensors", control.ScopeCatalog, "", (*call).listSensors},
	{"GET", devices + "{d}/sensors/{s}", control.ScopeCatalog, "", (*call).showSensor},
	{"GET", devices + "{d}/desired-states", control.ScopeDesired, control.HTTPS, (*call).listDesired},
	{"POST", devices + "{d}/feed-data", control.ScopeFeed, control.HTTPS, (*call).feedOne},
	{"POST", devices + "{d}/feed-data/batches", control.ScopeFeed, control.HTTPS, (*call).feedBatch},
	{"GET", devices + "{d}/mqtt", control.ScopeCatalog, "", (*call).showMQTT},
	{"POST", root + "mqtt-credentials", control.ScopeMQTT, control.MQTT, (*call).issueCredential},
	{"GET", root + "schemas/{s}", "", "", (*call).showSchema},
}

// match compares a path with the route's and returns the values of {…}.
func (r *route) match(path string) (args [2]string, ok bool) {
	n, pattern := 0, r.path
	for {
		literal, rest, more := strings.Cut(pattern, "{")
		if !more {
			return args, path == literal
		}
		if !strings.HasPrefix(path, literal) {
			return args, false
		}
		path = path[len(literal):]
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if end == 0 {
			return args, false
		}
		args[n], path = path[:end], path[end:]
		n++
		_, pattern, _ = strings.Cut(rest, "}")
	}
}

// find sets the route (step 1): 4004 for an unknown path, 405 for a wrong
// method.
func (c *call) find() error {
	path := c.r.URL.EscapedPath()
	verb := c.r.Method
	if verb == http.MethodHead {
		verb = http.MethodGet
	}
	var allowed []string
	for _, r := range routes {
		args, ok := r.match(path)
		if !ok {
			continue
		}
		if r.verb == verb {
			c.route, c.args = r, args
			return nil
		}
		if allowed = append(allowed, r.verb); r.verb == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	if allowed == nil {
		return control.NoResource("endpoint", "there is no such endpoint")
	}
	slices.Sort(allowed)
	c.w.Header()["Allow"] = []string{strings.Join(allowed, ", ")}
	e := control.Refuse(fault.ControlBadRequest, "method_not_allowed", "the endpoint does not have this method")
	e.Detail[statusKey] = http.StatusMethodNotAllowed
	return e
}

// op names the operation for log and report.
func (c *call) op() string {
	if c.route == nil {
		return c.r.Method
	}
	return c.route.verb + " " + c.route.path
}

// oauth says whether the path is one of the OAuth endpoints, which have no
// envelope (iot-v1 G-6).
func (c *call) oauth() bool { return strings.HasPrefix(c.r.URL.Path, "/oauth/") }
