package controlapi_test

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
)

const grant = "grant_type=client_credentials"

func TestTokenRows(t *testing.T) {
	s := openSite(t)
	https := strings.Join(control.HTTPSScopes, " ")
	all := https + " " + strings.Join(control.MQTTScopes, " ")
	s.row(t, "IOT-001 token without scope", func(x *row) {
		a := x.d(1).tokenRequest(grant)
		a.want(200, 0, "token_type", "Bearer", "expires_in", "3600", "renew_after", "2880", "scope", https)
	})
	s.row(t, "IOT-002 two scopes", func(x *row) {
		x.d(1).tokenRequest(grant+"&scope=iot:feed-data:write+iot:catalog:read").want(200, 0, "scope", "iot:catalog:read iot:feed-data:write")
	})
	s.row(t, "IOT-003 all scopes", func(x *row) {
		x.d(1).tokenRequest(grant+"&scope="+url.QueryEscape(all)).want(200, 0, "scope", all)
	})
	s.row(t, "IOT-004 IOT-005 wrong secret, unknown client", func(x *row) {
		one := x.do("POST", "/oauth/token", grant, form, basic(x.d(1).id, "wrong"))
		two := x.do("POST", "/oauth/token", grant, form, basic("cdv_00000000000000000000000000", "wrong"))
		for _, a := range []*answer{one, two} {
			a.want(401, 0, "error", "invalid_client")
			if !strings.HasPrefix(a.header.Get("Www-Authenticate"), "Basic") || a.body["code"] != nil {
				x.Errorf("%v %s", a.header, a.raw)
			}
		}
		if string(one.raw) != string(two.raw) {
			x.Errorf("%s and %s differ", one.raw, two.raw)
		}
	})
	for _, c := range []struct {
		name, body, kind string
		status           int
		error            string
	}{
		{"IOT-007 another grant", "grant_type=password", form, 400, "unsupported_grant_type"},
		{"IOT-008 no grant", "scope=iot:catalog:read", form, 400, "invalid_request"},
		{"IOT-009 unknown scope", grant + "&scope=iot:everything", form, 400, "invalid_scope"},
		{"IOT-011 JSON body", `{"grant_type":"client_credentials"}`, "Content-Type: application/json", 400, "invalid_request"},
		{"repeated parameter", grant + "&" + grant, form, 400, "invalid_request"},
		{"two blanks in scope", grant + "&scope=iot:catalog:read++iot:feed-data:write", form, 400, "invalid_scope"},
		{"credentials twice", grant + "&client_secret=x", form, 400, "invalid_request"},
	} {
		s.row(t, c.name, func(x *row) {
			d := x.d(1)
			x.do("POST", "/oauth/token", c.body, c.kind, basic(d.id, d.secret)).want(c.status, 0, "error", c.error)
		})
	}
	s.row(t, "IOT-006 secret in the form", func(x *row) {
		d := x.d(1)
		x.do("POST", "/oauth/token", grant+"&client_id="+d.id+"&client_secret="+d.secret, form).want(401, 0, "error", "invalid_client")
	})
	s.row(t, "IOT-010 MQTT scope without MQTT", func(x *row) {
		x.d(6).tokenRequest(grant+"&scope=iot:mqtt:connect").want(400, 0, "error", "invalid_scope")
	})
	s.row(t, "IOT-012 GET token", func(x *row) {
		if a := x.do("GET", "/oauth/token", ""); a.status != 405 || a.header.Get("Allow") != "POST" || len(a.raw) != 0 {
			x.Errorf("%d %v %s", a.status, a.header, a.raw)
		}
	})
	s.row(t, "IOT-013 six tokens at once", func(x *row) {
		d := x.d(1)
		got := map[int]int{}
		for _, a := range together(6, func(int) *answer { return d.tokenRequest(grant) }) {
			if got[a.status]++; a.status == 429 {
				a.want(429, 0, "error", "rate_limited")
				if a.header.Get("Retry-After") != "5" {
					x.Errorf("Retry-After %s", a.header.Get("Retry-After"))
				}
			}
		}
		if got[200] != 5 || got[429] != 1 {
			x.Error(got)
		}
	})
	s.row(t, "IOT-014 subscription inactive", func(x *row) { x.d(3).tokenRequest(grant).want(200, 0) })
}

// together calls f n times at the same time.
func together(n int, f func(int) *answer) []*answer {
	all := make([]*answer, n)
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() { all[i] = f(i) })
	}
	work.Wait()
	return all
}

func TestGuessRows(t *testing.T) {
	s := openSite(t)
	s.row(t, "eleven wrong secrets from one address", func(x *row) {
		d := x.d(1)
		for range 10 {
			x.do("POST", "/oauth/token", grant, form, basic(d.id, "wrong")).want(401, 0)
		}
		d.tokenRequest(grant).want(429, 0, "error", "rate_limited")
		x.do("POST", "/oauth/token", grant, form, basic(d.id, d.secret), "X-Forwarded-For: 192.0.2.7").want(200, 0)
		x.Clock.Freeze(noon.Add(time.Minute))
		d.tokenRequest(grant).want(200, 0)
	})
}

func TestBearerRows(t *testing.T) {
	s := openSite(t)
	revokeRows(s, t)
	bearerRows(s, t)
	admitRows(s, t)
}

func revokeRows(s *site, t *testing.T) {
	s.row(t, "IOT-015 the first of two tokens", func(x *row) {
		first := x.d(1).token()
		x.d(1).token()
		x.do("GET", x.d(1).path("commands"), "", bearer(first)).want(200, 2000)
	})
	s.row(t, "IOT-016 IOT-023 revoked token", func(x *row) {
		d := x.d(1)
		token := d.token()
		x.do("GET", d.path("commands"), "", bearer(token)).want(200, 2000)
		if a := x.do("POST", "/oauth/revoke", "token="+token, form, basic(d.id, d.secret)); a.status != 200 || string(a.raw) != "{}" {
			x.Errorf("%d %s", a.status, a.raw)
		}
		x.do("GET", d.path("commands"), "", bearer(token)).reason(401, 4001, "invalid_token")
	})
	s.row(t, "IOT-017 revoke an unknown token", func(x *row) {
		d := x.d(1)
		if a := x.do("POST", "/oauth/revoke", "token=nothing", form, basic(d.id, d.secret)); a.status != 200 || string(a.raw) != "{}" {
			x.Errorf("%d %s", a.status, a.raw)
		}
		x.do("POST", "/oauth/revoke", "", form, basic(d.id, d.secret)).want(400, 0, "error", "invalid_request")
	})
	s.row(t, "IOT-018 revoke another's token", func(x *row) {
		token, d2 := x.d(1).token(), x.d(2)
		if a := x.do("POST", "/oauth/revoke", "token="+token, form, basic(d2.id, d2.secret)); a.status != 200 || string(a.raw) != "{}" {
			x.Errorf("%d %s", a.status, a.raw)
		}
		x.do("GET", x.d(1).path("commands"), "", bearer(token)).want(200, 2000)
	})
}

func bearerRows(s *site, t *testing.T) {
	s.row(t, "IOT-019 no Authorization", func(x *row) {
		a := x.do("GET", x.d(1).path("commands"), "").reason(401, 4001, "missing_credentials")
		if h := a.header.Get("Www-Authenticate"); !strings.HasPrefix(h, "Bearer") || strings.Contains(h, "error") {
			x.Error(h)
		}
	})
	s.row(t, "IOT-020 another scheme", func(x *row) {
		x.do("GET", x.d(1).path("commands"), "", "Authorization: Token abc").reason(401, 4001, "missing_credentials")
	})
	s.row(t, "IOT-021 malformed token", func(x *row) {
		a := x.do("GET", x.d(1).path("commands"), "", bearer("abc")).reason(401, 4001, "invalid_token")
		if h := a.header.Get("Www-Authenticate"); !strings.Contains(h, `error="invalid_token"`) {
			x.Error(h)
		}
	})
	s.row(t, "IOT-022 expired token", func(x *row) {
		token := x.d(1).token()
		x.Clock.Freeze(noon.Add(time.Hour))
		defer x.Clock.Freeze(noon)
		x.do("GET", x.d(1).path("commands"), "", bearer(token)).reason(401, 4001, "invalid_token")
	})
	s.row(t, "IOT-024 token in the query", func(x *row) {
		x.do("GET", x.d(1).path("commands?access_token="+x.d(1).token()), "").reason(401, 4001, "missing_credentials")
	})
	s.row(t, "IOT-025 scheme in lower case", func(x *row) {
		x.do("GET", x.d(1).path("commands"), "", "authorization: bearer "+x.d(1).token()).want(200, 2000)
	})
	s.row(t, "IOT-026 token of another device", func(x *row) {
		x.do("GET", x.d(1).path("commands"), "", bearer(x.d(2).token())).reason(403, 4003, "device_mismatch")
	})
	s.row(t, "IOT-027 unknown device", func(x *row) {
		x.do("GET", "/iot/v1/devices/cdv_00000000000000000000000000/commands", "", bearer(x.d(1).token())).reason(404, 4004, "resource_not_found", "error.details.resource", "device")
	})
	s.row(t, "IOT-028 malformed device id", func(x *row) {
		x.do("GET", "/iot/v1/devices/12345/commands", "", bearer(x.d(1).token())).reason(404, 4004, "resource_not_found", "error.details.resource", "device")
	})
}

func admitRows(s *site, t *testing.T) {
	s.row(t, "IOT-029 scope of the catalogue", func(x *row) {
		a := x.do("GET", x.d(1).path("commands"), "", bearer(x.d(1).token("iot:feed-data:write")))
		a.reason(403, 4003, "insufficient_scope", "error.details.required_scope", "iot:catalog:read")
		if h := a.header.Get("Www-Authenticate"); !strings.Contains(h, `error="insufficient_scope"`) || !strings.Contains(h, `scope="iot:catalog:read"`) {
			x.Error(h)
		}
	})
	catalogOnly := func(d *unit) string { return bearer(d.token("iot:catalog:read")) }
	s.row(t, "IOT-030 scope of feed data", func(x *row) {
		x.do("POST", x.d(1).path("feed-data"), "{}", catalogOnly(x.d(1)), jsonBody).reason(403, 4003, "insufficient_scope")
	})
	s.row(t, "IOT-031 scope of desired states", func(x *row) {
		x.do("GET", x.d(1).path("desired-states"), "", catalogOnly(x.d(1))).reason(403, 4003, "insufficient_scope", "error.details.required_scope", "iot:desired-state:read")
	})
	s.row(t, "IOT-032 subscription inactive", func(x *row) { x.d(3).read("commands").reason(402, 4002, "subscription_inactive") })
	s.row(t, "IOT-033 scope before subscription", func(x *row) {
		x.do("GET", x.d(3).path("commands"), "", bearer(x.d(3).token("iot:feed-data:write"))).reason(403, 4003, "insufficient_scope")
	})
	s.row(t, "IOT-034 device disabled", func(x *row) { x.d(4).read("commands").reason(403, 4003, "device_disabled") })
	s.row(t, "IOT-035 HTTPS not enabled", func(x *row) {
		d := x.d(5)
		d.feed(d.i0()).reason(403, 4003, "protocol_not_available", "error.details.available_protocols", "[mqtt]")
	})
	s.row(t, "IOT-036 secret rotated", func(x *row) {
		d := x.d(1)
		token := d.token()
		x.do("GET", d.path("commands"), "", bearer(token)).want(200, 2000)
		if _, err := x.control.Rotate(context.Background(), d.id); err != nil {
			x.Fatal(err)
		}
		x.do("GET", d.path("commands"), "", bearer(token)).reason(401, 4001, "invalid_token")
	})
	s.row(t, "subscription ends by date", func(x *row) {
		d := x.d(1)
		token := d.token()
		if _, err := x.control.Change(context.Background(), d.id, func(c *nave.ControlDevice) error { c.Until = noon.Add(time.Minute); return nil }); err != nil {
			x.Fatal(err)
		}
		x.do("GET", d.path("commands"), "", bearer(token)).want(200, 2000)
		x.Clock.Freeze(noon.Add(time.Minute))
		defer x.Clock.Freeze(noon)
		x.do("GET", d.path("commands"), "", bearer(token)).reason(402, 4002, "subscription_inactive")
	})
	s.row(t, "IOT-121 plain HTTP behind a trusted proxy", func(x *row) {
		a := x.do("GET", x.d(1).path("commands"), "", bearer(x.d(1).token()), "X-Forwarded-Proto: http")
		if a.reason(403, 4003, "https_required"); a.header.Get("Location") != "" {
			x.Error("a redirect")
		}
	})
}
