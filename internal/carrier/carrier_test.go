package carrier_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/carrier"
)

// client talks to a carrier as a hub does.
type client struct {
	*testing.T
	*carrier.Carrier
	at, token string
}

func open(t *testing.T, o carrier.Options) *client {
	c := carrier.New(o)
	s := httptest.NewServer(c)
	t.Cleanup(func() { c.Close(); s.Close() })
	x := &client{T: t, Carrier: c, at: s.URL}
	x.renew()
	return x
}

func (x *client) renew() {
	x.Helper()
	resp, err := http.PostForm(x.at+"/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"carrier"}, "client_secret": {"carrier-secret"}})
	if err != nil {
		x.Fatal(err)
	}
	defer resp.Body.Close()
	var token struct {
		Text string `json:"access_token"`
	}
	json.NewDecoder(resp.Body).Decode(&token)
	x.token = token.Text
}

// patience is for what must come, and comes at once unless something is wrong.
const patience = time.Minute

// do returns status and document; a body that is not JSON gives nil, a request
// without an answer fails the test.
func (x *client) do(method, path, body string) (*http.Response, map[string]any) {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.Context(), patience)
	defer cancel()
	resp, doc, err := x.send(ctx, method, path, body)
	if err != nil {
		x.Fatal(err)
	}
	return resp, doc
}

// ignored sends a request, waits until the carrier has acted on it and goes away
// after a while; an answer fails the test.
func (x *client) ignored(method, path, body string, acted func() bool) {
	x.Helper()
	ctx, cancel := context.WithTimeout(x.Context(), patience)
	defer cancel()
	over := make(chan error, 1)
	go func() { _, _, err := x.send(ctx, method, path, body); over <- err }()
	for !acted() {
		select {
		case err := <-over:
			x.Fatalf("%s: nothing was done: %v", x.Profiles(), err)
		case <-time.After(time.Millisecond):
		}
	}
	select {
	case err := <-over:
		x.Errorf("%s is over: %v", x.Profiles(), err)
		return
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		x.Errorf("%s: %v", x.Profiles(), err)
	}
}

func (x *client) send(ctx context.Context, method, path, body string) (*http.Response, map[string]any, error) {
	q, err := http.NewRequestWithContext(ctx, method, x.at+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	q.Header.Set("Authorization", "Bearer "+x.token)
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(q)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var doc map[string]any
	json.Unmarshal(b, &doc)
	return resp, doc, nil
}

const api = "/api/connectivity/v1/far"

func TestAPI(t *testing.T) {
	x := open(t, carrier.Options{SIMs: 25, MaxPage: 10})
	first := "FAR-" + x.SIMs()[0]
	for _, c := range []struct {
		method, path, body string
		status             int
		member             string
		want               any
	}{
		{"GET", api + "/product?pageSize=500&pageNumber=3", "", 200, "entities", 5},
		{"GET", api + "/product?pageSize=10&pageNumber=2", "", 200, "links", 2},
		{"GET", api + "/product?pageSize=x", "", 400, "code", "validation_failed"},
		{"GET", api + "/product/" + first, "", 200, "productRelationship", 3},
		{"GET", api + "/product/" + first + "-simCard", "", 200, "@type", "simCard"},
		{"GET", api + "/product/FAR-1", "", 404, "code", "product_not_found"},
		{"GET", api + "/nothing", "", 404, "code", "endpoint_not_found"},
		{"POST", api + "/product/find", `{"iccidList":["` + x.SIMs()[3] + `","1"]}`, 200, "errors", 1},
		{"PATCH", api + "/product/" + first + "-simCard", `[{"op":"replace","path":"/status","value":"SUSPENDED"}]`, 200, "status", "SUSPENDED"},
		{"PATCH", api + "/product/" + first + "-simCard", `{"status":"ACTIVE"}`, 200, "status", "ACTIVE"},
		{"PATCH", api + "/product/" + first + "-simCard", `{"status":"INVENTORY"}`, 400, "code", "validation_failed"},
		{"GET", api + "/product/" + first + "/usage?granularity=DAY&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z", "", 200, "entities", 1},
		{"POST", api + "/product/" + first + "/sms", `{"payload":"hi"}`, 201, "status", "SUBMITTED"},
		{"GET", api + "/monitor/1", "", 404, "code", "monitor_not_found"},
	} {
		resp, doc := x.do(c.method, c.path, c.body)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: %v %v", c.method, c.path, resp, doc)
			continue
		}
		got := doc[c.member]
		if all, ok := got.([]any); ok {
			got = len(all)
		}
		if got != c.want {
			t.Errorf("%s %s: %s is %v, want %v", c.method, c.path, c.member, got, c.want)
		}
	}
	x.token = "forged"
	if resp, _ := x.do("GET", api+"/product", ""); resp.StatusCode != 401 {
		t.Error("a forged token is accepted")
	}
}

// TestKinds sees every profile act: each shows in the list of requests.
func TestKinds(t *testing.T) {
	x := open(t, carrier.Options{SIMs: 2})
	for _, k := range carrier.Kinds {
		if k.Does == "" || k.Hub == "" {
			t.Errorf("profile %s is not explained", k.Name)
		}
		if k.Name == "healthy" {
			continue
		}
		text := k.Name
		if k.Value == "time" {
			text += "=10ms"
		}
		if err := x.Choose(text); err != nil {
			t.Fatal(err)
		}
		x.Put(x.SIMs()[0], "ACTIVE")
		x.Forget()
		before := x.token
		method, path, body := "GET", api+"/product/FAR-"+x.SIMs()[0], ""
		if !strings.Contains(k.Scope, "product") && k.Scope != "all" {
			method, path, body = "PATCH", path+"-simCard", `{"status":"SUSPENDED"}`
		}
		switch k.Name {
		case "timeout":
			x.ignored(method, path, body, func() bool { return len(x.Requests(method)) == 1 })
			x.Choose()
			continue
		case "lost-answer":
			x.ignored(method, path, body, func() bool { return x.Status(x.SIMs()[0]) == "SUSPENDED" })
			x.Choose()
			continue
		case "hang-up":
			if resp, _, err := x.send(t.Context(), method, path, body); err == nil {
				t.Errorf("%s answers %s", k.Name, resp.Status)
			}
			x.Choose()
			continue
		}
		resp, doc := x.do(method, path, body)
		x.Choose()
		if k.Name == "stale-token" {
			if x.renew(); resp.StatusCode != 401 || before == x.token {
				t.Error("the token is still good")
			}
			continue
		}
		seen := x.Requests(method)
		for end := time.Now().Add(patience); len(seen) == 1 && seen[0].Status == 0 && time.Now().Before(end); seen = x.Requests(method) {
			time.Sleep(time.Millisecond)
		}
		if len(seen) != 1 || len(seen[0].Profiles) != 1 || !strings.HasPrefix(seen[0].Profiles[0], k.Name) || seen[0].Status != resp.StatusCode {
			t.Errorf("%s: %+v", k.Name, seen)
		}
		if resp.StatusCode == 200 && k.Name != "slow" && doc != nil && doc["id"] == "FAR-"+x.SIMs()[0] && doc["status"] == "ACTIVE" {
			t.Errorf("%s does nothing", k.Name)
		}
	}
}

func TestProfiles(t *testing.T) {
	for text, want := range map[string]string{
		"slow": "slow=1s@all", "slow=2s@change": "slow=2s@change", "rate-limit=none": "rate-limit=none@product+change", "forbidden@list+page2": "forbidden@list+page2",
		"nothing": "", "slow=x": "", "slow=-1s": "", "forbidden=1": "", "forbidden@moon": "", "forbidden@page0": "", "rate-limit=-1": "", "flaky=0": "", "async-fail=200": "", "": "",
	} {
		p, err := carrier.ParseProfile(text)
		if want == "" && err == nil || want != "" && p.String() != want {
			t.Errorf("%q is %v, %v", text, p, err)
		}
	}
	if all, err := carrier.ParseProfiles([]string{"slow", "healthy", "gone"}); err != nil || len(all) != 1 || all[0].Name != "gone" {
		t.Error(all, err)
	}
}

func TestControl(t *testing.T) {
	x := open(t, carrier.Options{SIMs: 2})
	iccid := x.SIMs()[0]
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/control", "", 200},
		{"PUT", "/control/profile", `["gone@product"]`, 200},
		{"PUT", "/control/profile", "slow=1ms\nforbidden@change\n", 200},
		{"GET", "/control/profile", "", 200},
		{"PUT", "/control/profile", `["nothing"]`, 400},
		{"DELETE", "/control/profile", "", 200},
		{"PUT", "/control/sim/" + iccid, `{"status":"HIBERNATED"}`, 200},
		{"PUT", "/control/sim/" + iccid, `{"status":""}`, 400},
		{"PUT", "/control/sim/a%2Fb", `{"status":"ACTIVE"}`, 404},
		{"DELETE", "/control/sim/" + x.SIMs()[1], "", 200},
		{"GET", "/control/request?prefix=POST", "", 200},
		{"DELETE", "/control/request", "", 200},
		{"GET", "/control/nothing", "", 404},
	} {
		if resp, doc := x.do(c.method, c.path, c.body); resp.StatusCode != c.status {
			t.Errorf("%s %s: %v %v", c.method, c.path, resp, doc)
		}
	}
	if x.Status(iccid) != "HIBERNATED" || len(x.SIMs()) != 1 || len(x.Requests("")) != 0 || len(x.Profiles()) != 0 {
		t.Error(x.Status(iccid), x.SIMs(), x.Requests(""), x.Profiles())
	}
}

func TestAsync(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	x := open(t, carrier.Options{SIMs: 1, Now: func() time.Time { return now }, Profiles: []carrier.Profile{{Name: "async", Value: "5s", Scope: "change"}}})
	iccid := x.SIMs()[0]
	resp, m := x.do("PATCH", api+"/product/FAR-"+iccid+"-simCard", `{"status":"SUSPENDED"}`)
	if resp.StatusCode != 202 || m["state"] != "InProgress" || x.Status(iccid) != "ACTIVE" {
		t.Fatal(resp.Status, m)
	}
	now = now.Add(4 * time.Second)
	if _, m = x.do("GET", resp.Header.Get("Location"), ""); m["state"] != "InProgress" {
		t.Error(m)
	}
	now = now.Add(time.Second)
	if _, m = x.do("GET", resp.Header.Get("Location"), ""); m["state"] != "Completed" || x.Status(iccid) != "SUSPENDED" {
		t.Error(m, x.Status(iccid))
	}
}

func TestICCID(t *testing.T) {
	for serial, want := range map[int]string{1: "8900101000000000019", 5: "8900101000000000050", 8: "8900101000000000084"} {
		if got := carrier.ICCID(serial); got != want {
			t.Errorf("%d is %s, want %s", serial, got, want)
		}
	}
}
