package simapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// fuzzed sends a request that the fuzzer has a hand in and holds the answer
// against what all must have: a known status, its schema, never a 500.
func fuzzed(x *row, q request) {
	x.Helper()
	if a := x.do(q); a.status >= 500 {
		x.Fatalf("%d: %s", a.status, a.raw)
	}
}

// FuzzQuery sends queries of lists and single products.
func FuzzQuery(f *testing.F) {
	for _, c := range filterCases {
		f.Add(c.query, false)
	}
	for _, q := range []string{"pageSize=3&pageNumber=2", "sort=-id,status", "%ZZ", "a;b", "&&=&", "fields=id&fields[]=x", "status[=x", "customProperty.[]=x", "pageNumber=999999999&pageSize=1000"} {
		f.Add(q, true)
	}
	s := open(f)
	f.Fuzz(func(t *testing.T, query string, strict bool) {
		if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r == '#' || r == 0x7f }) || len(query) > 16<<10 {
			return // no server lets it pass
		}
		x := &row{s, t}
		header := []string{}
		if strict {
			header = append(header, "Prefer: handling=strict")
		}
		fuzzed(x, request{method: "GET", path: list + "?" + query, header: header})
		fuzzed(x, request{method: "GET", path: list + "/" + s1 + "?" + query, header: header})
	})
}

// FuzzPatch sends bodies of every kind of patch to a product that is not there,
// so that nothing changes.
func FuzzPatch(f *testing.F) {
	for _, body := range []string{`{"status":"ACTIVE"}`, replaceStatus("ACTIVE"), `[{"op":"test","path":"$.status","value":"ACTIVE"},{"op":"replace","path":"status","value":"x"}]`,
		`[{"op":"replace","path":"customProperty[?(@.name=='a')]","value":{"name":"a","value":"b"}}]`, `{"customProperty":[{"name":"a","value":"b"}]}`,
		`[{"op":"replace","path":"/customProperty","value":[]}]`, `[{"op":"remove","path":"/customProperty/a~1b"}]`, "[[", `{"a":1,"a":2}`} {
		for kind := range byte(4) {
			f.Add(body, kind)
		}
	}
	s := open(f)
	kinds := []string{jsonPatch, queryPatch, mergePatch, "Content-Type: application/json"}
	f.Fuzz(func(t *testing.T, body string, kind byte) {
		x := &row{s, t}
		a := x.do(request{method: "PATCH", path: list + "/HUBSIM-1-simCard", body: body, header: []string{kinds[kind%4]}})
		if a.status != 404 && a.status != 400 {
			x.Fatalf("%d: %s", a.status, a.raw)
		}
	})
}

// FuzzBody sends bodies to the other operations that read JSON.
func FuzzBody(f *testing.F) {
	targets := []struct {
		verb, path string
	}{{"POST", list + "/find"}, {"POST", bulk}, {"POST", list + "/NO-1/sms"}, {"PUT", list + "/NO-1/device"}, {"POST", list + "/NO-1/reset"},
		{"PATCH", b + "/productOffering/x"}, {"PUT", b + "/platform/nosuch"}, {"PATCH", aam + "/application/x"}, {"POST", aam + "/application/x/credential"}}
	for n, body := range []string{`{"iccidList":["1",2]}`, `{"status":"ACTIVE","iccid":["x"]}`, `{"payload":"x","encoding":"HEX","validitySeconds":1e2}`, `{"deviceId":"x","replace":true}`,
		`{}`, `{"dataLimitBytes":9223372036854775808}`, `{"account":"a","http":{"quirks":[{"status":-1}],"timeoutMs":1e400}}`, `{"permissions":[{"api":1}]}`, `[]`} {
		f.Add(body, byte(n))
	}
	s := open(f)
	admin := s.app(f, "fuzz", "rw connection-management-orchestrator", "rw platform-management", "rw application-access-management")
	f.Fuzz(func(t *testing.T, body string, n byte) {
		x := &row{s, t}
		to := targets[int(n)%len(targets)]
		fuzzed(x, request{method: to.verb, path: to.path, body: body, as: admin, header: []string{"Content-Type: application/json"}})
	})
}

// FuzzHeaders sends headers that the surface parses.
func FuzzHeaders(f *testing.F) {
	f.Add("application/json;q=0.5, */*", `respond-async, handling="strict"`, "for=1.2.3.4;by=x, for=\"[::1]:1\"", `W/"x", *`)
	f.Add(";;,,=", "=,;", "for=", `"`)
	s := open(f)
	token := "Bearer " + s.token(f, s.w)
	s.o.Proxies = append(s.o.Proxies, prefix("192.0.2.0/24"))
	f.Fuzz(func(t *testing.T, accept, prefer, forwarded, match string) {
		r := httptest.NewRequest("GET", "https://"+host+list, nil)
		r.Header = http.Header{"Authorization": {token}, "Accept": {accept}, "Prefer": {prefer}, "Forwarded": {forwarded}, "X-Forwarded-For": {forwarded}, "If-None-Match": {match}}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
	})
}
