package simapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
)

// content says which bodies a route takes.
type content uint8

const (
	none     content = iota // a body is not looked at
	needed                  // JSON
	optional                // empty or an empty object
	patch                   // the four types of HT-6
	merge                   // a merge patch
)

// types are the content types of each kind of body.
var types = map[content][]string{
	needed:   {"application/json"},
	optional: {"application/json"},
	patch:    {"application/json-patch+json", "application/json-patch-query+json", "application/merge-patch+json", "application/json"},
	merge:    {"application/merge-patch+json", "application/json"},
}

// route is one endpoint. Of path each segment that begins with { is a value;
// the value may be empty (HT-2).
type route struct {
	verb, path  string
	api, access string // permission
	content     content
	do          func(*call) error
}

const (
	apiC = oauth.APIConnectivity
	apiP = oauth.APIPlatforms
	apiA = oauth.APIApplications
	ro   = oauth.ReadOnly
	rw   = oauth.ReadWrite
)

// routes are the endpoints below {base} (connectivity-api 6) and those of
// application access management (2.1). A path without values comes before one
// with values that it would fit, too.
var routes = map[kind][]*route{
	connectivity: {
		{"GET", "product", apiC, ro, none, (*call).listProducts},
		{"POST", "product", apiP, rw, needed, (*call).importSIMs},
		{"POST", "product/find", apiC, ro, needed, (*call).findProducts},
		{"GET", "product/{id}", apiC, ro, none, (*call).showProduct},
		{"PATCH", "product/{id}", apiC, rw, patch, (*call).changeProduct},
		{"GET", "product/{id}/usage", apiC, ro, none, (*call).showUsage},
		{"GET", "product/{id}/dataSession", apiC, ro, none, (*call).listDataSessions},
		{"GET", "product/{id}/sms", apiC, ro, none, (*call).listMessages},
		{"POST", "product/{id}/sms", apiC, rw, needed, (*call).sendMessage},
		{"GET", "product/{id}/sms/{sms}", apiC, ro, none, (*call).showMessage},
		{"GET", "product/{id}/location", apiC, ro, none, (*call).showLocation},
		{"GET", "product/{id}/history", apiC, ro, none, (*call).listHistory},
		{"POST", "product/{id}/reset", apiC, rw, optional, (*call).resetProduct},
		{"GET", "product/{id}/device", apiC, ro, none, (*call).showLink},
		{"PUT", "product/{id}/device", apiC, rw, needed, (*call).putLink},
		{"DELETE", "product/{id}/device", apiC, rw, none, (*call).deleteLink},
		{"GET", "monitor", apiC, ro, none, (*call).listMonitors},
		{"GET", "monitor/{id}", apiC, ro, none, (*call).showMonitor},
		{"GET", "task", apiC, ro, none, (*call).listTasks},
		{"POST", "task/productStatusChange", apiC, rw, needed, (*call).startTask},
		{"GET", "task/{id}", apiC, ro, none, (*call).showTask},
		{"GET", "productOffering", apiP, ro, none, (*call).listOfferings},
		{"POST", "productOffering", apiP, rw, needed, (*call).createOffering},
		{"GET", "productOffering/{id}", apiP, ro, none, (*call).showOffering},
		{"PATCH", "productOffering/{id}", apiP, rw, merge, (*call).changeOffering},
		{"GET", "platform", apiP, ro, none, (*call).listPlatforms},
		{"POST", "platform", apiP, rw, needed, (*call).createPlatform},
		{"GET", "platform/{account}", apiP, ro, none, (*call).showPlatform},
		{"PUT", "platform/{account}", apiP, rw, needed, (*call).putPlatform},
		{"DELETE", "platform/{account}", apiP, rw, none, (*call).deletePlatform},
		{"POST", "platform/{account}/check", apiP, rw, optional, (*call).checkPlatform},
		{"POST", "platform/{account}/synchronise", apiP, rw, optional, (*call).synchronisePlatform},
	},
	applications: {
		{"GET", "api", apiA, ro, none, (*call).listAPIs},
		{"GET", "application", apiA, ro, none, (*call).listApps},
		{"POST", "application", apiA, rw, needed, (*call).createApp},
		{"GET", "application/{id}", apiA, ro, none, (*call).showApp},
		{"PATCH", "application/{id}", apiA, rw, merge, (*call).changeApp},
		{"DELETE", "application/{id}", apiA, rw, none, (*call).deleteApp},
		{"POST", "application/{id}/credential", apiA, rw, optional, (*call).addCredential},
		{"POST", "application/{id}/credential/{client}/refresh", apiA, rw, optional, (*call).refreshCredential},
		{"DELETE", "application/{id}/credential/{client}", apiA, rw, none, (*call).deleteCredential},
	},
}

// match compares segments with the route's and returns the values.
func (r *route) match(rest []string) (ids [2]string, ok bool) {
	n, at := 0, 0
	for want := range strings.SplitSeq(r.path, "/") {
		if at == len(rest) {
			return ids, false
		}
		switch {
		case want[0] == '{':
			ids[n] = rest[at]
			n++
		case want != rest[at]:
			return ids, false
		}
		at++
	}
	return ids, at == len(rest)
}

// find is step 6: endpoint_not_found, method_not_allowed. OPTIONS is answered
// here, and route stays nil.
func (c *call) find() error {
	verb := c.r.Method
	if verb == http.MethodHead {
		verb = http.MethodGet
	}
	var allowed []string
	path := ""
	for _, r := range c.routes() {
		ids, ok := r.match(c.place.rest)
		if !ok || path != "" && r.path != path {
			continue
		}
		path = r.path
		if r.verb == verb {
			c.route, c.ids = r, ids
			return nil
		}
		if allowed = append(allowed, r.verb); r.verb == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	if allowed == nil {
		return fault.SIMEndpointNotFound.New("There is no such endpoint. Compare the path with the description of the API.")
	}
	allowed = append(allowed, http.MethodOptions)
	slices.Sort(allowed)
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	if verb == http.MethodOptions {
		c.empty(http.StatusNoContent)
		return nil
	}
	return fault.SIMMethodNotAllowed.New("The resource does not have the method %s. It has %s.", shown(c.r.Method), strings.Join(allowed, ", "))
}

// shown cuts what a caller has sent for a text.
func shown(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

// op names the operation for the log.
func (c *call) op() string {
	if c.route == nil {
		return c.r.Method
	}
	return c.route.verb + " " + c.route.path
}
