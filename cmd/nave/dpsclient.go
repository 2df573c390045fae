package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/fault"
)

// dpsVersion is what requests to the service API of a provisioning service ask
// for.
const dpsVersion = "2021-10-01"

// dpsClient calls a provisioning service: through the console of its node, or
// over HTTPS with its service connection string.
type dpsClient struct{ *client }

// dps returns the way to the provisioning service that the flags name.
func (e *env) dps(ctx context.Context) (*dpsClient, error) {
	if e.login == "" {
		at, err := e.findConsole()
		if err != nil {
			return nil, err
		}
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 2 * forgetParallel
		return &dpsClient{&client{http: &http.Client{Transport: t}, base: strings.TrimRight(at.URL, "/"), token: at.Token, e: e}}, nil
	}
	c, err := e.direct()
	var f *failure
	if errors.As(err, &f) && f.usage {
		f.fix = "Copy the string from 'nave dps show'."
	}
	if err != nil {
		return nil, err
	}
	return &dpsClient{c}, nil
}

// api calls the service API and reads the answer into out unless that is nil.
// header has names and values; empty values are left away.
func (c *dpsClient) api(ctx context.Context, method, path string, query url.Values, body, out any, header ...string) (http.Header, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("api-version", dpsVersion)
	at := c.base + path
	if c.login == nil {
		at = c.base + "/api/dps/rest" + path
	}
	r, err := c.newRequest(ctx, method, at+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	if c.login != nil {
		r.Host = c.login.HostName // where a gateway is dialled
	}
	answer, err := c.send(r)
	var f *failure
	if c.login != nil && errors.As(err, &f) && f.code != nil && f.code.Family == fault.Hub {
		return nil, trouble("Copy the string of the provisioning service from 'nave dps show'.", "%s answers as a hub, not as a provisioning service: %w", c.host, err)
	}
	if err != nil {
		return nil, err
	}
	return answer.Header, decode(answer, out)
}

// pages returns the items of a listing, at most top of them unless that is 0,
// and whether there are more.
func (c *dpsClient) pages(ctx context.Context, method, path string, query url.Values, body any, top int) (all []json.RawMessage, more bool, err error) {
	all = []json.RawMessage{}
	for token := ""; ; {
		size := pageSize
		if top > 0 {
			size = min(size, top-len(all))
		}
		var page []json.RawMessage
		h, err := c.api(ctx, method, path, query, body, &page, "x-ms-max-item-count", strconv.Itoa(size), "x-ms-continuation", token)
		if err != nil {
			return nil, false, err
		}
		all, token = append(all, page...), h.Get("x-ms-continuation")
		if token == "" || top > 0 && len(all) >= top {
			return all, token != "", nil
		}
	}
}

// pageSize is the most that a page may hold (dps 3.6).
const pageSize = 1000

// write puts a resource. Without an etag it creates, or replaces what is there.
func (c *dpsClient) write(ctx context.Context, path string, body any, etag string, out any) error {
	if etag == "" {
		var before struct {
			ETag string `json:"etag"`
		}
		_, err := c.api(ctx, http.MethodGet, path, nil, nil, &before)
		if err != nil && !isMissing(err) {
			return err
		}
		etag = before.ETag
	}
	if etag != "" {
		etag = quoted(etag)
	}
	_, err := c.api(ctx, http.MethodPut, path, nil, body, out, "If-Match", etag)
	return err
}

// isMissing says whether the service knows no such thing.
func isMissing(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.code != nil && f.code.HTTP == http.StatusNotFound
}

// dpsAnswer is what the console says of the provisioning service.
type dpsAnswer struct {
	Host          string          `json:"host"`
	Endpoint      string          `json:"globalEndpoint"`
	Scope         string          `json:"idScope"`
	Service       string          `json:"service,omitempty"`
	Enrollments   int             `json:"enrollments"`
	Groups        int             `json:"enrollmentGroups"`
	Registrations int             `json:"registrations"`
	Hubs          []linkedHubText `json:"hubs"`
	CAFile        string          `json:"caFile,omitempty"`
}

// about returns what there is to know of the service. A service of --login
// tells its host, scope and hubs.
func (c *dpsClient) about(ctx context.Context) (*dpsAnswer, error) {
	out := &dpsAnswer{}
	if c.login == nil {
		return out, c.ask(ctx, http.MethodGet, "/api/dps", nil, out)
	}
	var s struct {
		Host  string          `json:"serviceOperationsHostName"`
		Point string          `json:"deviceProvisioningHostName"`
		Scope string          `json:"idScope"`
		Hubs  []linkedHubText `json:"iotHubs"`
	}
	_, err := c.api(ctx, http.MethodGet, "/settings", nil, nil, &s)
	return &dpsAnswer{Host: cmp.Or(s.Host, c.host), Endpoint: cmp.Or(s.Point, s.Host, c.host), Scope: s.Scope, Hubs: s.Hubs}, err
}

// completeDPS offers names that ask finds at the service.
func (e *env) completeDPS(ask func(ctx context.Context, c *dpsClient) []string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmp.Or(cmd.Context(), context.Background()), completeTimeout)
		defer cancel()
		if len(args) > 0 || e.settle(cmd) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := e.dps(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := slices.DeleteFunc(ask(ctx, c), func(n string) bool { return !strings.HasPrefix(n, start) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// ids returns a member of each item, for completion.
func ids(all []json.RawMessage, member string) (names []string) {
	for _, raw := range all {
		var v map[string]any
		if json.Unmarshal(raw, &v) == nil {
			if name, ok := v[member].(string); ok {
				names = append(names, name)
			}
		}
	}
	return names
}
