package simapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/simapi"
)

// left returns what RateLimit says of a policy, -1 when nothing.
func left(a *answer, policy string) int {
	for item := range strings.SplitSeq(a.header.Get("RateLimit"), ", ") {
		var n int
		if _, err := fmt.Sscanf(item, `"`+policy+`";r=%d`, &n); err == nil {
			return n
		}
	}
	return -1
}

// count sends requests and returns how many were answered with each status.
func (x *row) count(n int, q request, from ...string) (by map[int]int, last *answer) {
	x.Helper()
	by = map[int]int{}
	for i := range n {
		if len(from) > 0 {
			q.from = from[i%len(from)]
		}
		a := x.do(q)
		if by[a.status]++; a.status == 429 {
			last = a
		}
	}
	return by, last
}

func usual(o *simapi.Options) { o.Limits = simapi.Limits{} }

func TestRateRows(t *testing.T) {
	fresh(t, "SIM-203 headers", func(x *row) {
		a := x.get(list).want(200)
		for _, policy := range []string{`"tenant-second";q=150;w=1`, `"app-hour";q=36000;w=3600`} {
			if h := a.header.Get("RateLimit-Policy"); !strings.Contains(h, policy) {
				x.Error(h)
			}
		}
		if left(a, "tenant-second") != 149 || left(a, "app-hour") != 35999 {
			x.Error(a.header)
		}
		a.has("RateLimit-Limit", "150").has("RateLimit-Remaining", "149").has("RateLimit-Reset", "1")
		x.get(list+"s").has("RateLimit-Remaining", "148")
	}, usual)
	fresh(t, "SIM-204 a tenant", func(x *row) {
		by, last := x.count(200, request{method: "GET", path: b + "/platform"}, "192.0.2.1:1", "192.0.2.2:1")
		if by[200] != 150 || by[429] != 50 {
			x.Fatal(by)
		}
		last.problem(429, "Too Many Requests", "rate_limited").is("violated-policies", []string{"tenant-second"}).has("Retry-After", "1")
		// What was refused does not count for the addresses.
		if n := left(last, "ip-second"); n != 75 {
			x.Error(n)
		}
		x.time.Store(noon.Add(time.Second).UnixNano())
		x.get(b + "/platform").want(200)
	}, usual)
	fresh(t, "SIM-205 an address without a token", func(x *row) {
		by, last := x.count(200, request{method: "GET", path: list, as: anonymous})
		if by[401] != 150 || by[429] != 50 {
			x.Fatal(by)
		}
		last.problem(429, "Too Many Requests", "rate_limited").is("violated-policies", []string{"ip-second"}).is("type", "https://iana.org/assignments/http-problem-types#quota-exceeded")
		for _, word := range []string{"task", "cache", "pause"} {
			if !strings.Contains(last.get("detail").(string), word) {
				x.Error(last.get("detail"))
			}
		}
	}, usual)
	fresh(t, "SIM-206 SIM-207 SIM-208 SIM-209 the hour of an application", func(x *row) {
		by, last := x.count(11, request{method: "GET", path: b + "/platform"})
		if by[200] != 10 || by[429] != 1 {
			x.Fatal(by)
		}
		last.problem(429, "Too Many Requests", "rate_limited").is("violated-policies", []string{"app-hour"}).has("Retry-After", "3600").has("RateLimit-Remaining", "0").has("RateLimit-Limit", "10")
		x.time.Store(noon.Add(59*time.Minute + 59*time.Second + 200*time.Millisecond).UnixNano())
		x.get(b+"/platform").problem(429, "Too Many Requests", "rate_limited").has("Retry-After", "1")
		x.as(x.r, "GET", b+"/platform", "").want(200)
		x.time.Store(noon.Add(time.Hour).UnixNano())
		x.get(b+"/platform").want(200).has("RateLimit-Remaining", "9")
	}, func(o *simapi.Options) { o.Limits = simapi.Limits{PerApp: 10} })
	fresh(t, "SIM-210 token requests", func(x *row) {
		q := request{method: "POST", path: tokenURL, body: "grant_type=x", as: anonymous, header: []string{formType}}
		by, last := x.count(601, q)
		if by[429] != 1 {
			x.Fatal(by)
		}
		last.want(429).is("error", "temporarily_unavailable").has("Retry-After", "60")
		q.from = "192.0.2.9:1"
		x.do(q).want(401)
	}, usual)
}

func TestAddressRows(t *testing.T) {
	fresh(t, "SIM-211 a ban", func(x *row) {
		q := request{method: "GET", path: list + "s"}
		for _, from := range []string{"192.0.2.1:1", "198.51.100.7:1"} {
			if by, _ := x.count(300, q, from); by[404] != 300 {
				x.Fatal(by)
			}
		}
		q.path = list
		q.from = "192.0.2.1:1"
		a := x.do(q).problem(429, "Too Many Requests", "address_banned").has("Retry-After", "172800")
		a.is("type", "https://iana.org/assignments/http-problem-types#abnormal-usage-detected")
		q.from = "198.51.100.7:1"
		x.do(q).want(200)
		if all := x.Bans(); len(all) != 1 || all[0].Address != "192.0.2.1" || !x.Lift(all[0].Address) {
			x.Error(all)
		}
		q.from = "192.0.2.1:1"
		x.do(q).want(200)
	}, func(o *simapi.Options) {
		o.Abuse.Enabled = true
		o.Abuse.Exceptions = append(o.Abuse.Exceptions, prefix("198.51.100.0/24"))
	})
	fresh(t, "behind a proxy", func(x *row) { // RL-9
		q := request{method: "GET", path: b + "/platform", from: "10.0.0.1:1"}
		for n, headers := range [][]string{
			{"X-Forwarded-For: 203.0.113.5, 192.0.2.77, 10.0.0.2"}, {`Forwarded: for=203.0.113.5, for="192.0.2.77:4711";proto=https, for=10.0.0.9`}, {"X-Forwarded-For: 192.0.2.77"},
		} {
			q.header = headers
			if got := left(x.do(q).want(200), "ip-second"); got != 149-n {
				x.Error(headers, got)
			}
		}
		q.header = nil
		if got := left(x.do(q), "ip-second"); got != 149 {
			x.Error(got)
		}
		q.from, q.header = "[2001:db8::1]:1", []string{"X-Forwarded-For: 192.0.2.77"}
		x.do(q)
		q.from = "[2001:db8::2]:1"
		if got := left(x.do(q), "ip-second"); got != 148 {
			x.Error(got)
		}
	}, usual, func(o *simapi.Options) { o.Proxies = append(o.Proxies, prefix("10.0.0.0/8")) })
}
