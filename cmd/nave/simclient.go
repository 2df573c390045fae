package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// simClient calls the connectivity API as the operator, through the console.
type simClient struct {
	*client

	// Set by env.sims, then read only:
	Tenant   string `json:"tenant"`
	Endpoint string `json:"endpoint"` // where applications call
	CAFile   string `json:"caFile"`
}

// sims returns the way to the connectivity API of the hub.
func (e *env) sims(ctx context.Context) (*simClient, error) {
	c, err := e.operator(ctx)
	if err != nil {
		return nil, err
	}
	s := &simClient{client: c}
	return s, c.askHub(ctx, http.MethodGet, "/connectivity", nil, s)
}

// Roots of the two APIs in the console.
const (
	simRoot = "/api/connectivity/v1/"
	appRoot = "/api/applications/v1/"
)

// simRequest is one call; path is escaped and begins with a slash.
type simRequest struct {
	method, path string
	query        url.Values
	body         any
	prefer       string
	apps         bool // application access management
}

func (s *simClient) call(ctx context.Context, q simRequest, out any) error {
	root := simRoot
	if q.apps {
		root = appRoot
	}
	at := s.base + root + url.PathEscape(s.Tenant) + q.path
	if len(q.query) > 0 {
		at += "?" + q.query.Encode()
	}
	r, err := s.newRequest(ctx, q.method, at, q.body)
	if err != nil {
		return err
	}
	if q.prefer != "" {
		r.Header.Set("Prefer", q.prefer)
	}
	return s.do(r, out)
}

// show calls and prints the answer as JSON when that is wanted; told says
// whether it did.
func (s *simClient) show(ctx context.Context, q simRequest, out any) (told bool, err error) {
	var raw json.RawMessage
	if err := s.call(ctx, q, &raw); err != nil {
		return false, err
	}
	if out != nil && len(raw) > 0 {
		if err := json.Unmarshal(raw, out); err != nil {
			return false, trouble("Check that the address is one of a nave console.", "the answer can't be read: %w", err)
		}
	}
	if s.e.json() && len(raw) > 0 {
		return true, s.e.printRaw(raw)
	}
	return false, nil
}

// simCall is show for a command that calls once.
func (e *env) simCall(ctx context.Context, q simRequest, out any) (s *simClient, told bool, err error) {
	if s, err = e.sims(ctx); err != nil {
		return nil, false, err
	}
	told, err = s.show(ctx, q, out)
	return s, told, err
}

// simPath returns the path of a product and what is below it.
func simPath(id string, below ...string) string {
	path := "/product"
	for _, part := range append([]string{id}, below...) {
		path += "/" + url.PathEscape(part)
	}
	return path
}

var iccidText = regexp.MustCompile(`^89[0-9]{16,20}$`)

// product returns the id of the SIM that a person has named: by a product id, or
// by its ICCID.
func (s *simClient) product(ctx context.Context, name string) (string, error) {
	for _, suffix := range []string{"-simCard", "-terminal"} {
		name = strings.TrimSuffix(name, suffix)
	}
	if !iccidText.MatchString(name) {
		return name, nil
	}
	var found simList
	err := s.call(ctx, simRequest{method: http.MethodGet, path: "/product", query: url.Values{"iccid": {name}, "pageSize": {"10"}}}, &found)
	switch {
	case err != nil:
		return "", err
	case len(found.Entities) == 0:
		return "", trouble("'nave sim list' shows which there are.", "no SIM has the ICCID %s", name)
	case len(found.Entities) > 1:
		return "", trouble("Name one by its product id.", "%d platforms have a SIM with the ICCID %s: %s and %s", len(found.Entities), name, found.Entities[0].ID, found.Entities[1].ID)
	}
	return found.Entities[0].ID, nil
}

// envelopeAnswer is what surrounds every list.
type envelopeAnswer struct {
	Statistics struct {
		Page  int `json:"currentPage"`
		Count int `json:"count"`
		Total int `json:"totalCount"`
	} `json:"statistics"`
	Errors []simProblem `json:"errors"`
}

// simProblem is an error of the API.
type simProblem struct {
	Type    string `json:"@type"`
	Code    string `json:"code"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Trace   string `json:"traceId"`
	Product string `json:"productId"`
	Issues  []struct {
		Pointer   string `json:"pointer"`
		Parameter string `json:"parameter"`
		Detail    string `json:"detail"`
	} `json:"errors"`
}

// text tells what is wrong, with the places where it is.
func (p *simProblem) text() string {
	text := p.Detail
	for n, i := range p.Issues {
		if n == 5 {
			text += fmt.Sprintf(" And %d more.", len(p.Issues)-n)
			break
		}
		text += " " + i.Parameter + i.Pointer + ": " + i.Detail
	}
	return text
}

// readProblem reads an error of the connectivity API; false when the body is none.
func (f *failure) readProblem(body []byte) bool {
	var p simProblem
	if json.Unmarshal(body, &p) != nil || p.Type != "problem" {
		return false
	}
	f.text, f.tracking = p.text(), p.Trace
	for c := range fault.All() {
		if c.Family == fault.SIM && c.Name == p.Code {
			f.code = c
		}
	}
	return true
}
