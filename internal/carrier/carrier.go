package carrier

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are what a Carrier is made with; zero values take the defaults.
type Options struct {
	SIMs         int    // 10
	First        int    // serial number of the first SIM, 1
	Tenant       string // path segment of the API, far
	Reference    string // prefix of product ids, FAR
	ClientID     string // carrier
	ClientSecret string // carrier-secret
	TokenLife    time.Duration
	MaxPage      int // largest page, 1,000
	Profiles     []Profile
	Now          func() time.Time
	Tell         func(Request) // hears of every request after its answer
}

func (o Options) withDefaults() Options {
	o.SIMs, o.First, o.MaxPage = cmp.Or(o.SIMs, 10), cmp.Or(o.First, 1), cmp.Or(o.MaxPage, 1000)
	o.Tenant, o.Reference = cmp.Or(o.Tenant, "far"), cmp.Or(o.Reference, "FAR")
	o.ClientID, o.ClientSecret = cmp.Or(o.ClientID, "carrier"), cmp.Or(o.ClientSecret, "carrier-secret")
	o.TokenLife = cmp.Or(o.TokenLife, 5*time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Carrier is a remote platform. Its methods may be called from any goroutine.
type Carrier struct {
	// Set by New, then read only:
	o    Options
	base string // path of the API
	gone chan struct{}
	end  func()

	// Guarded by mu:
	mu       sync.Mutex
	sims     []*simCard // in the order of ids
	profiles []Profile
	turns    map[string]int // requests that flaky has answered with 503, by key
	tokens   map[string]time.Time
	monitors map[string]*monitor
	log      journal
}

// New makes a carrier with SIMs of consecutive serial numbers, all active.
func New(o Options) *Carrier {
	c := &Carrier{o: o.withDefaults(), gone: make(chan struct{}), turns: map[string]int{}, tokens: map[string]time.Time{}, monitors: map[string]*monitor{}}
	c.end = sync.OnceFunc(func() { close(c.gone) })
	c.base = "/api/connectivity/v1/" + c.o.Tenant
	for n := range c.o.SIMs {
		c.sims = append(c.sims, &simCard{ICCID: ICCID(c.o.First + n), Status: "ACTIVE", serial: c.o.First + n})
	}
	slices.SortFunc(c.sims, func(a, b *simCard) int { return strings.Compare(a.ICCID, b.ICCID) })
	c.Set(c.o.Profiles...)
	return c
}

// Close ends requests that are never answered.
func (c *Carrier) Close() { c.end() }

// Base returns the path below which the API stands, and that of the token
// endpoint.
func (c *Carrier) Base() (api, token string) { return c.base, "/oauth2/token" }

// Set replaces the profiles.
func (c *Carrier) Set(all ...Profile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.profiles = slices.Clone(all)
	clear(c.turns)
	for _, p := range all {
		if p.Name == "stale-token" {
			clear(c.tokens)
		}
	}
}

// Choose is Set with profiles as ParseProfile reads them.
func (c *Carrier) Choose(texts ...string) error {
	all, err := ParseProfiles(texts)
	if err == nil {
		c.Set(all...)
	}
	return err
}

// Profiles returns the profiles that are in force.
func (c *Carrier) Profiles() []Profile {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Profile{}, c.profiles...)
}

// call is one request on its way.
type call struct {
	http.ResponseWriter
	c      *Carrier
	r      *http.Request
	kind   string // token, list, product, change, monitor
	page   int
	path   string // below the base
	status int
	by     []string // profiles that had a hand in it
}

// WriteHeader notes the status for the log.
func (x *call) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write begins the answer with 200 when nothing else was said.
func (x *call) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.ResponseWriter.Write(b)
}

// ServeHTTP answers as a platform does, as far as profiles allow it.
func (c *Carrier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/control") {
		c.control(w, r)
		return
	}
	x := &call{ResponseWriter: w, c: c, r: r}
	x.classify()
	no := c.log.begin(&c.mu, c.o.Now(), r)
	defer func() {
		if e := recover(); e != nil && e != http.ErrAbortHandler {
			panic(e)
		} else if c.finish(no, x); e != nil {
			panic(e)
		}
	}()
	if x.interfere() {
		return
	}
	x.serve()
}

func (c *Carrier) finish(no int, x *call) {
	done := c.log.end(&c.mu, no, x.status, x.by, x.kind == "token")
	if c.o.Tell != nil {
		c.o.Tell(done)
	}
}

// classify finds the kind of the request, by which profiles are limited.
func (x *call) classify() {
	path, ok := strings.CutPrefix(x.r.URL.Path, x.c.base)
	x.path = path
	switch {
	case x.r.URL.Path == "/oauth2/token":
		x.kind = "token"
	case !ok:
		x.kind = "unknown"
	case path == "/product":
		x.kind, x.page = "list", 1
		if n, err := strconv.Atoi(x.r.URL.Query().Get("pageNumber")); err == nil {
			x.page = n
		}
	case strings.HasPrefix(path, "/monitor"):
		x.kind = "monitor"
	case x.r.Method == http.MethodGet || path == "/product/find":
		x.kind = "product"
	default:
		x.kind = "change"
	}
}

// active returns the profile of the name that concerns this request.
func (x *call) active(name string) (Profile, bool) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	for _, p := range x.c.profiles {
		if p.Name == name && p.concerns(x.kind, x.page) {
			return p, true
		}
	}
	return Profile{}, false
}

// json answers with a document.
func (x *call) json(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // values of ours
	}
	x.Header().Set("Content-Type", "application/json")
	x.WriteHeader(status)
	x.Write(b)
}

// problem answers with an error as the API has it.
func (x *call) problem(status int, title, code, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	b, _ := json.Marshal(map[string]any{"type": "/problems/" + strings.ReplaceAll(strings.ToLower(title), " ", "-"), "title": title, "status": status,
		"detail": detail, "message": detail, "instance": x.r.URL.EscapedPath(), "code": code, "externalErrors": []any{}, "@type": "problem",
		"traceId": "00000000-0000-4000-8000-000000000000", "timestamp": stamp(x.c.o.Now())}) // plain values
	x.Header().Set("Content-Type", "application/problem+json")
	x.WriteHeader(status)
	x.Write(b)
}

// stamp returns a time as the API shows it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
