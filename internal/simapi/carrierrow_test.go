package simapi_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/carrier"
	"github.com/nave-hub/nave/internal/sim"
)

// far is REMOTE_1 as `nave platform mock` plays it, with S8 as its first SIM.
type far struct {
	*carrier.Carrier
	x       *row
	server  *httptest.Server
	account sim.Account
	instead atomic.Pointer[http.HandlerFunc] // answers products in place of the carrier
}

// far puts REMOTE_1 behind a carrier and synchronises it; the list of requests
// is empty then.
func (x *row) far(sims int, change ...func(*sim.Account)) *far {
	x.Helper()
	c := carrier.New(carrier.Options{SIMs: sims, First: 8, ClientSecret: remoteSecret, MaxPage: 100})
	f := &far{Carrier: c, x: x, account: x.remote.account()}
	f.server = httptest.NewServer(f)
	x.Cleanup(func() { c.Close(); f.server.Close() })
	api, token := c.Base()
	h := *f.account.HTTP
	h.BaseURL, h.TokenURL, h.ClientID, h.TimeoutMS, h.TotalTimeoutMS = f.server.URL+api, f.server.URL+token, "carrier", 60_000, 60_000
	h.RequestsPerSecond = 1000
	f.account.HTTP = &h
	f.configure(change...)
	return f
}

// configure changes the account, and awaits the synchronisation that follows.
func (f *far) configure(change ...func(*sim.Account)) {
	f.x.Helper()
	for _, g := range change {
		g(&f.account)
	}
	if _, err := f.x.operator("acme").PutPlatform(f.x.Context(), "REMOTE_1", f.account); err != nil {
		f.x.Fatal(err)
	}
	if m := f.x.synchronise(f.x); m.State != sim.Completed {
		f.x.Fatal(mustJSON(m))
	}
	f.Forget()
}

func normalise(a *sim.Account) { a.HTTP.ErrorMode = sim.Normalise }

// ServeHTTP is the carrier, but for products while another handler is set.
func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := f.instead.Load(); h != nil && strings.Contains(r.URL.Path, "/product/") {
		(*h)(w, r)
		return
	}
	f.Carrier.ServeHTTP(w, r)
}

// hurry gives the platform so little time that a row can exceed it. A
// synchronisation may do so as well when the machine is busy: then it is made
// again, once the circuit lets it.
func (f *far) hurry(ms int) *far {
	f.x.Helper()
	h := *f.account.HTTP
	h.TimeoutMS, f.account.HTTP = ms, &h
	if _, err := f.x.operator("acme").PutPlatform(f.x.Context(), "REMOTE_1", f.account); err != nil {
		f.x.Fatal(err)
	}
	for end := time.Now().Add(patience); f.x.synchronise(f.x).State != sim.Completed; f.x.time.Add(int64(31 * time.Second)) {
		if time.Now().After(end) {
			f.x.Fatal("the platform is too slow")
		}
	}
	f.Forget()
	return f
}

// is sets the profiles and forgets what was asked.
func (f *far) is(profiles ...string) *far {
	f.x.Helper()
	if err := f.Choose(profiles...); err != nil {
		f.x.Fatal(err)
	}
	f.Forget()
	return f
}

// get reads S8.
func (f *far) get() *answer { f.x.Helper(); return f.x.get(list + "/" + s8) }

// saw checks how many requests with the prefix came.
func (f *far) saw(n int, prefix string) {
	f.x.Helper()
	if got := f.Requests(prefix); len(got) != n {
		f.x.Errorf("%d requests %q, want %d: %v", len(got), prefix, n, got)
	}
}

// asks makes a call that runs out of time until the platform has seen it: on a
// busy machine the time may be over before the request is sent. No call may be
// sent twice. The circuit allows four of these.
func (f *far) asks(prefix string, call func()) {
	f.x.Helper()
	calls := 0
	for ; calls < 4 && len(f.Requests(prefix)) == 0; calls++ {
		call()
	}
	if n := len(f.Requests(prefix)); n == 0 || n > calls {
		f.x.Errorf("%d requests %q of %d calls", n, prefix, calls)
	}
}

func TestCarrierRows(t *testing.T) {
	fresh(t, "SIM-179 no answer", func(x *row) {
		f := x.far(1).hurry(250).is("timeout")
		f.asks("GET /product/", func() {
			a := f.get().problem(500, internal, "platform_timeout").external("timeout", nil).is("advice", []string{"retry_later"})
			if d := a.get("detail").(string); !strings.Contains(d, "250 ms") {
				x.Error(d)
			}
		})
	})
	fresh(t, "SIM-180 SIM-181 SIM-182 SIM-183 SIM-184 500 and its cause", causeRow)
	fresh(t, "SIM-185 SIM-186 401", func(x *row) {
		f := x.far(1).is("expired-credentials=401")
		f.get().problem(500, internal, "platform_credentials_invalid").external("credentials", 401)
		f.saw(2, "GET /product/")
		f.saw(1, "POST /oauth2/token")
		f.is("stale-token")
		f.get().want(200).is("status", "ACTIVE")
		f.saw(2, "GET /product/")
	})
	fresh(t, "SIM-187 SIM-188 SIM-189 SIM-190 SIM-191 SIM-192 SIM-193 SIM-194 other answers", answersRow)
	fresh(t, "SIM-195 a change that times out but takes effect", func(x *row) {
		f := x.far(1).hurry(2000).is("lost-answer")
		begin := time.Now()
		f.asks("PATCH ", func() {
			a := x.to(s8, "SUSPENDED").problem(500, internal, "platform_timeout").external("timeout", nil)
			if d := a.get("detail").(string); !strings.Contains(d, "unknown") {
				x.Error(d)
			}
		})
		x.eventually(func() bool { return x.get(list+"?id="+s8).get("entities.0.status") == "SUSPENDED" })
		// The first look comes after 5 s, the next one after 30 s.
		if d := f.Requests("GET /product/")[0].At.Sub(begin); d < 5*time.Second || d > 30*time.Second {
			x.Error(d)
		}
	})
	fresh(t, "SIM-196 the pace of a platform", func(x *row) {
		f := x.far(50)
		f.configure(func(a *sim.Account) {
			a.HTTP.RequestsPerSecond, a.HTTP.MaxParallel, a.HTTP.TotalTimeoutMS = 10, 1, 60000
		})
		var ids []string
		for _, iccid := range f.SIMs() {
			ids = append(ids, `"RMT-`+iccid+`"`)
		}
		a := x.post(bulk, `{"status":"SUSPENDED","productId":[`+strings.Join(ids, ",")+`]}`)
		if a.status == 202 {
			a = x.until(a.get("href").(string), "done")
		}
		a.is("statistics.succeeded", 50)
		all := f.Requests("PATCH ")
		if len(all) != 50 || f.Peak() != 1 {
			x.Errorf("%d requests, %d at once", len(all), f.Peak())
		}
		for i := 10; i < len(all); i++ {
			if d := all[i].At.Sub(all[i-10].At); d < time.Second {
				x.Errorf("11 requests in %s", d)
			}
		}
	})
}

func TestCarrierIndexRows(t *testing.T) {
	fresh(t, "SIM-197 a status that nobody knows", unmappedRow)
	fresh(t, "SIM-198 SIM-218 a synchronisation that fails on page 2 of 3", func(x *row) {
		f := x.far(201)
		f.saw(0, "")
		f.is("unavailable@page2")
		if m := x.synchronise(x); m.State != sim.InError {
			x.Error(mustJSON(m))
		}
		for page, n := range map[string]int{"1": 1, "2": 3, "3": 0} {
			got := slices.DeleteFunc(f.Requests("GET /product?"), func(q carrier.Request) bool { return !strings.Contains(q.Path, "pageNumber="+page+"&") })
			if len(got) != n {
				x.Errorf("page %s was asked for %d times, want %d", page, len(got), n)
			}
		}
		x.get(list+"?platform=RMT&pageSize=1").is("statistics.totalCount", 201).is("errors.0.code", "platform_unavailable").is("errors.0.externalErrors.0.status", 503)
		f.is()
		f.Put(f.SIMs()[5], "")
		x.time.Add(int64(time.Second)) // a run is known by its time
		if m := x.synchronise(x); m.State != sim.Completed {
			x.Error(mustJSON(m))
		}
		x.get(list+"?platform=RMT&pageSize=1").is("statistics.totalCount", 200).is("errors", []any{})
		x.as(x.a, "DELETE", b+"/platform/REMOTE_1", "").want(204)
		x.get(list).ids(s7, s1, s2, s3, s4, s5, s6)
	})
	fresh(t, "SIM-199 the circuit", func(x *row) {
		f := x.far(1)
		late := answers(408, "") // in place of a silence, whose length nobody can tell
		f.instead.Store(&late)
		for range 5 {
			f.get().problem(500, internal, "platform_timeout")
		}
		f.instead.Store(nil)
		f.get().problem(500, internal, "platform_unavailable").has("Retry-After", "30")
		f.saw(0, "")
		x.time.Add(int64(31 * time.Second))
		f.get().want(200)
		f.get().want(200)
	})
	fresh(t, "SIM-060 SIM-200 SIM-217 SIM-223 the platform is down", downRow)
	fresh(t, "SIM-201 never synchronised", func(x *row) {
		f := x.far(1).is("timeout@all")
		other := f.account
		h := *other.HTTP
		h.TimeoutMS = 50
		other.Account, other.Platform, other.HTTP = "REMOTE_2", "RMTB", &h
		if _, err := x.operator("acme").CreatePlatform(x.Context(), other); err != nil {
			x.Fatal(err)
		}
		if err := x.sim.Tick(x.Context()); err != nil {
			x.Fatal(err)
		}
		x.get(list+"?platform=RMTB").problem(500, internal, "platform_timeout").is("externalErrors.0.account", "REMOTE_2")
	})
	fresh(t, "SIM-202 a token that comes back", func(x *row) {
		f := x.far(1).is("leak")
		a := f.get().problem(500, internal, "platform_error")
		if text := string(a.raw); !strings.Contains(text, "[blanked]") || strings.Contains(text, remoteSecret) {
			x.Error(text)
		}
	})
	fresh(t, "SIM-129 SIM-215 nothing is asked", func(x *row) {
		f := x.far(1)
		x.to(s8, "BLOCKED").problem(400, "Invalid Action", "status_not_supported")
		x.post(list+"/"+s8+"/sms", `{"payload":"hi"}`).problem(400, "Invalid Action", "capability_missing")
		f.saw(0, "")
	})
	fresh(t, "SIM-147 an asynchronous change", func(x *row) {
		f := x.far(1).is("async-fail=409")
		a := x.to(s8, "SUSPENDED").want(202).is("state", "InProgress")
		x.later(a.get("href").(string), "InError").is("response.statusCode", 400).is("response.body.code", "platform_request_rejected").
			is("response.body.title", "Invalid Action").is("response.body.externalErrors.0.status", 409)
		x.get(list+"?id="+s8).is("entities.0.status", "ACTIVE")
		f.is("async-fail=500")
		a = x.to(s8, "SUSPENDED").want(202)
		x.later(a.get("href").(string), "InError").is("response.statusCode", 500).is("response.body.code", "platform_error")
		f.is("async=0s")
		a = x.to(s8, "SUSPENDED").want(202)
		x.later(a.get("href").(string), "Completed").is("response.statusCode", 200).is("response.body.status", "SUSPENDED").is("response.body.id", s8+"-simCard")
		x.get(list+"?id="+s8).is("entities.0.status", "SUSPENDED").is("entities.0.productOffering.name", "Far 500 MB")
		f.saw(1, "PATCH ")
	})
}

// causeRow is 10.4 rows 14 to 17.
func causeRow(x *row) {
	const quirk = "(?i)invalid (iccid|parameter)"
	f := x.far(1).is("error500=no")
	f.get().problem(500, internal, "platform_error").external("request_rejected", 500).is("advice", []string{"check_request", "retry_later"})
	f.saw(1, "GET /product?pageSize=1")
	f.get().problem(500, internal, "platform_error").external("request_rejected", 500)
	f.saw(1, "GET /product?pageSize=1") // within a minute the last result is used
	f.configure(normalise)
	f.get().problem(400, "Bad Request", "platform_request_rejected").external("request_rejected", 500)
	f.is()
	for _, mode := range []string{sim.Passthrough, sim.Normalise} {
		f.is()
		f.configure(func(a *sim.Account) { a.HTTP.ErrorMode = mode })
		f.is("expired-credentials")
		f.get().problem(500, internal, "platform_credentials_invalid").external("credentials", 500).is("advice", []string{"check_platform_credentials"})
		f.is()
		f.configure(func(a *sim.Account) { a.HTTP.SyncInterval++ }) // a new adapter, that has not probed
		f.is("outage")
		f.get().problem(500, internal, "platform_error").external("outage", 500).is("advice", []string{"retry_later"})
	}
	f.is()
	f.configure(func(a *sim.Account) {
		a.HTTP.ErrorMode, a.HTTP.Quirks = sim.Passthrough, []sim.Quirk{{Status: 500, BodyPattern: quirk, Class: sim.ClassRejected}}
	})
	f.is("error500")
	f.get().problem(500, internal, "platform_error").external("request_rejected", 500).is("externalErrors.0.detail", "Invalid ICCID")
	f.saw(0, "GET /product?pageSize=1")
}

// answersRow goes through 10.4 rows 2 to 21.
func answersRow(x *row) {
	f := x.far(1)
	for _, c := range []struct {
		profile, title, code, class string
		status                      int
	}{
		{"forbidden", "Forbidden", "platform_forbidden", "not_permitted", 403},
		{"rate-limit=7", "Too Many Requests", "platform_rate_limited", "rate_limited", 429},
		{"rate-limit=none", "Too Many Requests", "platform_rate_limited", "rate_limited", 429},
		{"empty-200", internal, "platform_malformed_response", "malformed_response", 500},
		{"html-200", internal, "platform_malformed_response", "malformed_response", 500},
		{"wrong-id", internal, "platform_malformed_response", "malformed_response", 500},
		{"huge", internal, "platform_malformed_response", "malformed_response", 500},
		{"redirect", internal, "platform_error", "unknown", 500},
	} {
		f.is(c.profile)
		a := f.get().problem(c.status, c.title, c.code).is("externalErrors.0.class", c.class)
		switch c.profile {
		case "rate-limit=7":
			a.has("Retry-After", "7")
		case "rate-limit=none":
			a.has("Retry-After", "1")
		}
		f.saw(1, "GET /product/")
	}
	f.is("flaky")
	f.get().want(200)
	f.saw(3, "GET /product/")
	f.is("unavailable@change")
	x.to(s8, "SUSPENDED").problem(500, internal, "platform_unavailable").external("outage", 503)
	f.saw(1, "PATCH ")
	f.is("hang-up@change")
	x.to(s8, "SUSPENDED").problem(500, internal, "platform_timeout").external("timeout", nil)
	f.saw(1, "PATCH ")
	f.is("unsupported")
	x.to(s8, "SUSPENDED").problem(400, "Invalid Action", "capability_missing")
	f.is("conflict")
	x.to(s8, "SUSPENDED").problem(400, "Invalid Action", "platform_request_rejected").external("request_rejected", 409)
	f.is("stale-token@change")
	x.to(s8, "SUSPENDED").want(200).is("status", "SUSPENDED")
	f.is("gone")
	f.get().problem(404, "Not Found", "product_not_found")
	x.get(list + "?platform=RMT").want(200).ids()
}

// unmappedRow hears the event of a status that is in no map.
func unmappedRow(x *row) {
	f := x.far(1)
	f.is("status=HIBERNATED")
	for range 2 {
		f.get().want(200).is("status", "INACTIVE")
	}
	x.move(x, x.now())
	if n := x.events(sim.StatusUnmapped); n != 1 {
		x.Errorf("%d events", n)
	}
	f.configure(func(a *sim.Account) { a.HTTP.StatusMap = map[string]sim.Status{"HIBERNATED": sim.Suspended} })
	f.get().want(200).is("status", "SUSPENDED")
}

// downRow takes the platform away: it falls silent, then its connections break.
func downRow(x *row) {
	f := x.far(1).hurry(100)
	x.time.Add(int64(time.Second))
	down := func(code string) {
		x.Helper()
		if m := x.synchronise(x); m.State != sim.InError {
			x.Error(mustJSON(m))
		}
		a := x.get(list).want(200).ids(s7, s1, s2, s3, s4, s5, s6, s8)
		a.is("errors.0.status", 500).is("errors.0.code", code).is("errors.0.externalErrors.0.account", "REMOTE_1")
		if all, _ := a.get("errors").([]any); len(all) != 1 {
			x.Error(all)
		}
		x.get(list+"?platform=RMT").want(200).ids(s8).is("errors.0.code", code)
	}
	f.is("timeout@all")
	down("platform_timeout")
	f.is("hang-up@all")
	h := *f.account.HTTP
	h.TimeoutMS, f.account.HTTP = 60_000, &h
	if _, err := x.operator("acme").PutPlatform(x.Context(), "REMOTE_1", f.account); err != nil {
		x.Fatal(err)
	}
	down("platform_unavailable")
	f.get().problem(500, internal, "platform_unavailable").external("unreachable", nil)
	x.time.Add(int64(3 * time.Second))
	a := x.get(list+"/"+s8, "Prefer: respond-cached").want(200).is("status", "ACTIVE").is("id", s8)
	if a.header.Get("Age") == "" {
		x.Error("no Age")
	}
	p := x.get(b + "/platform/REMOTE_1").want(200)
	if text := string(p.raw); strings.Contains(text, "clientSecret") || strings.Contains(text, remoteSecret) {
		x.Error(text)
	}
	if s := p.get("health.state"); !slices.Contains([]any{"DEGRADED", "DOWN"}, s) {
		x.Error(s)
	}
	p.is("health.lastFailureClass", "unreachable").is("health.productCount", 1)
}
