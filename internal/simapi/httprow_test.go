package simapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/simapi"
)

func TestHTTPRows(t *testing.T) {
	s := open(t)
	s.row(t, "SIM-031 unknown path", func(x *row) {
		x.get(b+"/products").problem(404, "Not Found", "endpoint_not_found")
		x.get(b).problem(404, "Not Found", "endpoint_not_found")
		x.get(b+"/product/"+s1+"/usage/x").problem(404, "Not Found", "endpoint_not_found")
	})
	s.row(t, "SIM-032 wrong method", func(x *row) {
		x.delete(b+"/product/"+s1).problem(400, "Invalid Action", "method_not_allowed").has("Allow", "GET, HEAD, OPTIONS, PATCH")
		x.get(b+"/product/find").problem(400, "Invalid Action", "method_not_allowed").has("Allow", "OPTIONS, POST")
		x.do(request{method: "OPTIONS", path: b + "/product"}).want(204).has("Allow", "GET, HEAD, OPTIONS, POST")
		if a := x.do(request{method: "HEAD", path: b + "/product"}).want(200); a.header.Get("X-Total-Count") != "8" {
			x.Error(a.header)
		}
	})
	s.row(t, "SIM-033 wrong content type", func(x *row) {
		four := "application/json-patch+json, application/json-patch-query+json, application/merge-patch+json, application/json"
		for _, kind := range []string{"text/plain", "application/json; charset=latin1", "", "application/json;;"} {
			x.patch(b+"/product/"+s1+"-simCard", `{"status":"ACTIVE"}`, "Content-Type: "+kind).problem(400, "Bad Request", "unsupported_content_type").has("Accept-Patch", four)
		}
		x.post(b+"/product/find", `{}`, "Content-Type: text/plain").problem(400, "Bad Request", "unsupported_content_type").has("Accept-Post", "application/json")
		x.post(b+"/product/find", `{}`, "Content-Encoding: gzip").problem(400, "Bad Request", "unsupported_content_type")
		x.post(b+"/product/find", `{"iccidList":["x"]}`, `Content-Type: application/json; charset="UTF-8"`).want(200)
	})
	s.row(t, "SIM-034 not acceptable", func(x *row) {
		x.get(b+"/product", "Accept: text/csv").problem(400, "Bad Request", "not_acceptable")
		x.get(b+"/product", "Accept: application/json;q=0, text/csv").problem(400, "Bad Request", "not_acceptable")
	})
	s.row(t, "SIM-035 SIM-036 type of a problem", func(x *row) {
		x.get(b+"/products", "Accept: application/json").problem(404, "Not Found", "endpoint_not_found").has("Content-Type", "application/json")
		for _, accept := range []string{"*/*", "application/*", "application/json, application/problem+json", "", "application/json, */*;q=0.1"} {
			x.get(b+"/products", "Accept: "+accept).has("Content-Type", "application/problem+json")
		}
	})
	s.row(t, "SIM-037 GET with a content type", func(x *row) {
		x.get(b+"/product", "Content-Type: application/json").want(200)
	})
	s.row(t, "SIM-038 comments", func(x *row) {
		a := x.patch(b+"/product/"+s1+"-simCard", "[ { // comment\n\"op\":\"replace\",\"path\":\"/status\",\"value\":\"ACTIVE\"} ]").problem(400, "Bad Request", "malformed_json")
		if !strings.Contains(a.get("detail").(string), "offset 4") {
			x.Error(a.get("detail"))
		}
	})
	s.row(t, "SIM-039 broken UTF-8", func(x *row) {
		x.post(b+"/product/find", "{\"iccidList\":[\"\xff\"]}").problem(400, "Bad Request", "malformed_json")
	})
	s.row(t, "SIM-040 a large header block", func(x *row) {
		x.get(b+"/product", "X-Large: "+strings.Repeat("x", 30<<10)).problem(431, "Request Header Fields Too Large", "header_too_large")
	})
	s.row(t, "SIM-041 a large body", func(x *row) {
		x.do(request{method: "POST", path: b + "/product/find", body: "{}", length: 20971521}).problem(413, "Content Too Large", "body_too_large")
	})
	s.row(t, "SIM-042 the caller's correlation id", func(x *row) {
		const id = "11111111-2222-4333-8444-555555555555"
		x.get(b+"/product/NO-1", "X-Correlation-Id: "+id).problem(404, "Not Found", "product_not_found").is("traceId", id).has("X-Correlation-Id", id)
		if a := x.get(b+"/product", "X-Correlation-Id: x"); a.header.Get("X-Correlation-Id") == "x" {
			x.Error("an id that is none was used")
		}
	})
	s.row(t, "SIM-043 correlation id of a product", func(x *row) {
		a := x.get(b + "/product/" + s1)
		a.is("correlationId", a.header.Get("X-Correlation-Id"))
	})
	s.row(t, "SIM-044 nothing has changed", func(x *row) {
		for _, path := range []string{"/product/" + s1, "/product/" + s1 + "-simCard", "/product", "/product/" + s1 + "-usageVolume-data",
			"/product?pageSize=2&fields=id,correlationId", "/product?fields=productRelationship", "/platform", "/platform/HUBSIM_1", "/productOffering"} {
			tag := x.get(b + path).want(200).header.Get("ETag")
			if !strings.HasPrefix(tag, `W/"`) {
				x.Fatal(path, tag)
			}
			x.time.Add(int64(1500 * time.Millisecond)) // time alone changes nothing
			a := x.get(b+path, `If-None-Match: "x", `+tag).want(304).has("ETag", tag).has("Cache-Control", "private, no-cache")
			if len(a.raw) > 0 {
				x.Errorf("%s: a 304 with %q", path, a.raw)
			}
		}
		x.get(b+"/product/"+s1, `If-None-Match: "x"`).want(200)
	})
	s.row(t, "SIM-045 the alias", func(x *row) {
		const alias = "/api-gw/connection-management-orchestrator/v5/acme"
		x.get(alias+"/product/"+s1).want(200).is("href", "https://"+host+alias+"/product/"+s1)
		if a := x.get(alias + "/product?pageSize=1"); !strings.HasPrefix(a.get("links.0.url").(string), "https://"+host+alias+"/product?") {
			x.Error(a.get("links"))
		}
	})
	s.row(t, "SIM-046 every problem has one form", func(x *row) { // check holds every answer against it
		a := x.get(b+"/products").problem(404, "Not Found", "endpoint_not_found").is("@type", "problem").is("externalErrors", []any{})
		a.is("message", a.get("detail")).is("status", 404)
	})
}

func TestSurfaceRows(t *testing.T) {
	s := open(t, func(o *simapi.Options) { o.Hosts = []string{"other.test"} })
	s.row(t, "SIM-228 what may stand in Accept", func(x *row) {
		x.get(b+"/product", "Accept: application/*").want(200)
		x.get(b+"/product", "Accept: ").want(200)
		x.get(b+"/product", "Accept: application/problem+json").want(200)
	})
	s.row(t, "order of checks", func(x *row) { // HT-1
		x.do(request{method: "DELETE", path: b + "/nosuch", as: anonymous, header: []string{"Accept: text/csv"}}).problem(401, "Unauthorized", "token_missing")
		x.as(x.r, "DELETE", b+"/nosuch", "").problem(404, "Not Found", "endpoint_not_found")
		x.as(x.r, "PATCH", b+"/product/"+s1, "{", "Content-Type: text/plain").problem(403, "Forbidden", "permission_missing")
		x.patch(b+"/product/"+s1, "{", "Content-Type: text/plain").problem(400, "Bad Request", "unsupported_content_type")
		x.patch(b+"/product/NO-1?x=%ZZ", `{"a":1}`, mergePatch).problem(400, "Missing or malformed parameter", "…").is("errors.0.in", "body")
		x.patch(b+"/product/NO-1?x=%ZZ", `{"status":"ACTIVE"}`, mergePatch).problem(400, "Bad Request", "malformed_query")
		x.patch(b+"/product/NO-1?x=1", `{"status":"ACTIVE"}`, mergePatch).problem(400, "Missing or malformed parameter", "…").issue(0, "x", "unknown_parameter")
		x.patch(b+"/product/NO-1-simCard", `{"status":"ACTIVE"}`, mergePatch).problem(404, "Not Found", "product_not_found")
	})
	s.row(t, "addresses of the host that was asked", func(x *row) {
		for asked, want := range map[string]string{host: host, "HUB.example.com:8443": "hub.example.com:8443", "evil.example.net": host, "other.test:8443": "other.test:8443", "": host} {
			r := httptest.NewRequest("GET", list+"/"+s1, nil)
			r.Host = asked
			r.Header.Set("Authorization", "Bearer "+x.token(x, x.w))
			w := httptest.NewRecorder()
			x.ServeHTTP(w, r)
			if !strings.Contains(w.Body.String(), `"href":"https://`+want+list+"/"+s1+`"`) {
				x.Errorf("%s: %s", asked, w.Body)
			}
		}
	})
	s.row(t, "two authorizations", func(x *row) { // AU-2, over a real connection
		server := httptest.NewServer(x)
		defer server.Close()
		token := x.token(x, x.w)
		status, body := x.raw(server, "GET "+b+"/product HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\nAuthorization: Bearer "+token+"\r\nConnection: close\r\n\r\n")
		if status != 400 || !strings.Contains(body, `"malformed_header"`) {
			x.Error(status, body)
		}
		status, body = x.raw(server, "POST "+b+"/product/find HTTP/1.1\r\nHost: x\r\nAuthorization: bearer "+token+
			"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n13\r\n{\"iccidList\":[\"x\"]}\r\n0\r\n\r\n")
		if status != 200 {
			x.Error(status, body)
		}
	})
	s.row(t, "pages and documents", func(x *row) { // ER-2, section 15
		for _, path := range []string{"/problems/bad-request", "/problems/missing-or-malformed-parameter", "/problems/invalid-action", "/problems/unauthorized", "/problems/forbidden",
			"/problems/not-found", "/problems/conflict", "/problems/content-too-large", "/problems/header-too-large", "/problems/internal-server-error"} {
			if a := x.do(request{method: "GET", path: path, as: anonymous}).want(200); !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				x.Error(path, a.header)
			}
		}
		x.do(request{method: "GET", path: "/problems/nosuch", as: anonymous}).want(404)
		x.do(request{method: "GET", path: "/api/connectivity/v1/openapi.json", as: anonymous}).want(200).is("openapi", "3.1.0").is("servers.0.url", "https://"+host+"/api/connectivity/v1/{tenant}")
		x.do(request{method: "GET", path: "/api/connectivity/v1/connectivity-v1.json", as: anonymous}).want(200)
		x.do(request{method: "POST", path: "/api/connectivity/v1/openapi.json", as: anonymous}).problem(400, "Invalid Action", "method_not_allowed")
	})
	fresh(t, "SIM-216 switched off", func(x *row) {
		x.get(b+"/product").problem(404, "Not Found", "api_disabled")
		x.do(request{method: "GET", path: "/api/connectivity/nosuch", as: anonymous}).problem(404, "Not Found", "api_disabled")
	}, func(o *simapi.Options) { o.Disabled = true })
}

// raw sends text over a connection of its own.
func (x *row) raw(s *httptest.Server, text string) (status int, body string) {
	x.Helper()
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		x.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprint(nc, text)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		x.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		x.Error(err)
	}
	return resp.StatusCode, string(b)
}
