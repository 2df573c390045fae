package simapi

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits are the rates of connectivity-api 11. Zero stands for the default, a
// negative number switches the policy off.
type Limits struct {
	PerAddress int  // requests of a client address per second, 150
	PerTenant  int  // requests to a tenant per second, 150
	PerApp     int  // requests of an application per hour, 36,000
	Tokens     int  // token requests of a client address per minute, 600
	NoLegacy   bool // leave RateLimit-Limit, -Remaining and -Reset out
}

func (l Limits) withDefaults() Limits {
	l.PerAddress = cmp.Or(l.PerAddress, 150)
	l.PerTenant = cmp.Or(l.PerTenant, 150)
	l.PerApp = cmp.Or(l.PerApp, 36000)
	l.Tokens = cmp.Or(l.Tokens, 600)
	return l
}

// policy is one limit: a token bucket when refill is set, else a fixed window
// that starts with the first request after the last one.
type policy struct {
	// Set by newPolicy, then read only:
	name   string
	quota  int
	window time.Duration
	refill bool

	// Guarded by mu:
	mu  sync.Mutex
	all map[string]*tally
}

// tally is what one caller has left.
type tally struct {
	left  float64
	since time.Time // of left (bucket), or the start of the window
}

// maxTallies bounds the callers that a policy remembers.
const maxTallies = 50_000

func newPolicy(name string, quota int, window time.Duration, refill bool) *policy {
	return &policy{name: name, quota: quota, window: window, refill: refill, all: map[string]*tally{}}
}

// state is what a policy says to one request.
type state struct {
	policy *policy
	left   int
	reset  int // seconds until more is to be had
}

// take counts a request of the key; ok is false when there is nothing left, and
// then nothing is counted.
func (p *policy) take(key string, now time.Time) (s state, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tally(key, now)
	if ok = t.left >= 1; ok {
		t.left--
	}
	return p.state(t, now), ok
}

// giveBack undoes a take of a request that another policy refused.
func (p *policy) giveBack(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.all[key]; t != nil {
		t.left = min(t.left+1, float64(p.quota))
	}
}

func (p *policy) tally(key string, now time.Time) *tally {
	t := p.all[key]
	if t == nil {
		p.makeRoom(now)
		t = &tally{float64(p.quota), now}
		p.all[key] = t
		return t
	}
	passed := now.Sub(t.since)
	switch {
	case p.refill && passed > 0:
		t.left = min(float64(p.quota), t.left+passed.Seconds()*float64(p.quota)/p.window.Seconds())
		t.since = now
	case !p.refill && (passed >= p.window || passed < 0):
		t.left, t.since = float64(p.quota), now
	}
	return t
}

// makeRoom forgets callers that have everything back, and when that does not
// help anybody.
func (p *policy) makeRoom(now time.Time) {
	if len(p.all) < maxTallies {
		return
	}
	for key, t := range p.all {
		if now.Sub(t.since) >= p.window {
			delete(p.all, key)
		}
	}
	for key := range p.all {
		if len(p.all) < maxTallies {
			return
		}
		delete(p.all, key)
	}
}

func (p *policy) state(t *tally, now time.Time) state {
	s := state{policy: p, left: int(t.left), reset: 1}
	if !p.refill {
		s.reset = max(1, int(math.Ceil((p.window - now.Sub(t.since)).Seconds())))
	}
	return s
}

// setLimits writes the headers of connectivity-api RL-5.
func (s *Server) setLimits(h http.Header, all []state) {
	if len(all) == 0 {
		return
	}
	var policies, items []string
	for _, a := range all {
		policies = append(policies, fmt.Sprintf(`"%s";q=%d;w=%d`, a.policy.name, a.policy.quota, int(a.policy.window.Seconds())))
		items = append(items, fmt.Sprintf(`"%s";r=%d;t=%d`, a.policy.name, a.left, a.reset))
	}
	h.Set("RateLimit-Policy", strings.Join(policies, ", "))
	h.Set("RateLimit", strings.Join(items, ", "))
	if s.limits.NoLegacy {
		return
	}
	nearest := slices.MinFunc(all, func(a, b state) int {
		return cmp.Or(cmp.Compare(a.left*b.policy.quota, b.left*a.policy.quota), cmp.Compare(b.policy.window, a.policy.window))
	})
	h.Set("RateLimit-Limit", strconv.Itoa(nearest.policy.quota))
	h.Set("RateLimit-Remaining", strconv.Itoa(nearest.left))
	h.Set("RateLimit-Reset", strconv.Itoa(nearest.reset))
}
