package simapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/sim"
)

// Options are what a Server is made with; Sim, Apps and Host are required.
type Options struct {
	Sim      *sim.Service // nil when connectivity management is off
	Apps     *oauth.Apps
	Host     string         // of the hub, with a port when it is not 443: what hrefs begin with
	Hosts    []string       // other host names of the process, without ports
	Disabled bool           // connectivity management is off: every path below /api/connectivity answers 404
	Proxies  []netip.Prefix // whose Forwarded and X-Forwarded-For count
	Limits   Limits
	Abuse    Abuse
	// Admin tells whether a foreign token is that of a signed-in user with the
	// role admin in the tenant, and the user's name; such a user may manage
	// applications (AP-1). nil: nobody.
	Admin func(ctx context.Context, token, tenant string) (user string, ok bool)
	Now   func() time.Time // nil: the clock of Apps
	Log   *slog.Logger
}

// Server serves the connectivity API of all tenants of a process. It is an
// http.Handler for the paths of Serves.
type Server struct {
	// Set by New, then read only:
	o      Options
	log    *slog.Logger
	now    func() time.Time
	limits Limits
	bans   *bans

	// Policies of RL-4, nil when switched off:
	address, tenant, app, tokens *policy
}

// New makes the server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = o.Apps.Now
	}
	l := o.Limits.withDefaults()
	s := &Server{o: o, log: o.Log, now: o.Now, limits: l, bans: newBans(o.Abuse)}
	for _, p := range []struct {
		to     **policy
		name   string
		quota  int
		window time.Duration
		refill bool
	}{
		{&s.address, "ip-second", l.PerAddress, time.Second, true},
		{&s.tenant, "tenant-second", l.PerTenant, time.Second, true},
		{&s.app, "app-hour", l.PerApp, time.Hour, false},
		{&s.tokens, "token-minute", l.Tokens, time.Minute, false},
	} {
		if p.quota > 0 {
			*p.to = newPolicy(p.name, p.quota, p.window, p.refill)
		}
	}
	return s
}

// Serves says whether the path is one of this contract.
func Serves(path string) bool {
	for _, prefix := range []string{"/api/", gatewayPrefix, "/oauth2/", "/auth/realms/", "/problems/", metadataPath} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// call is one request on its way; one goroutine owns it.
type call struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	id     string // correlation id
	origin string // what hrefs begin with
	start  time.Time

	// Set by admit:
	from     netip.Addr
	key      string // of the address in policies and bans
	policies []state

	operator *operator // nil: an application, or a signed-in user

	// Set by find:
	place  place
	route  *route
	ids    [2]string // values of {…} in the path
	caller *oauth.Caller
	user   string // signed-in user, instead of an application

	// Set by read:
	raw  []byte
	body value

	strict bool // Prefer: handling=strict
	async  bool // Prefer: respond-async
	cached bool // Prefer: respond-cached
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.answer(w, r, nil) }

func (s *Server) answer(w http.ResponseWriter, r *http.Request, o *operator) {
	c := &call{s: s, w: w, r: r, operator: o, id: correlation(r), origin: s.origin(r), start: s.now()}
	c.from = clientOf(r, s.o.Proxies)
	c.key = keyOf(c.from)
	w.Header().Set("X-Correlation-Id", c.id)
	defer s.rescue(c)
	if err := c.run(); err != nil {
		s.fail(c, err)
	}
}

// origin returns what hrefs in the answer begin with: the host and port that the
// request was sent to, when the host is one of ours.
func (s *Server) origin(r *http.Request) string {
	asked, ours := hostName(r.Host), hostName(s.o.Host)
	if !strings.EqualFold(asked, ours) && !slices.ContainsFunc(s.o.Hosts, func(h string) bool { return strings.EqualFold(asked, h) }) {
		return "https://" + s.o.Host
	}
	return "https://" + strings.ToLower(r.Host)
}

// hostName returns a host without its port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// correlation returns the caller's correlation id, or a new one (HT-12).
func correlation(r *http.Request) string {
	if id := r.Header.Get("X-Correlation-Id"); uuidForm.MatchString(id) {
		return id
	}
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// rescue answers an internal error when a handler panics: one request must not
// end without an answer.
func (s *Server) rescue(c *call) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	s.log.Error("a handler panicked", "op", c.op(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	s.fail(c, fault.SIMInternalError.Wrap(fmt.Errorf("panic: %v", v), "An unexpected error occurred, its cause is in the hub's log."))
}

// run takes the checks of HT-1 in their order.
func (c *call) run() error {
	if err := c.checkSizes(); err != nil {
		return err
	}
	c.place = placeOf(c.r.URL.EscapedPath())
	if c.place.kind == connectivity && c.place.rest == nil && c.showDocument() {
		return nil
	}
	if c.place.kind == public {
		return c.serve()
	}
	if c.operator == nil {
		if err := c.admit(c.s.address); err != nil {
			return err
		}
	}
	if c.place.kind == connectivity && (c.s.o.Disabled || c.s.o.Sim == nil) {
		return fault.SIMApiDisabled.New("Connectivity management is switched off for this hub.")
	}
	if c.operator != nil {
		c.admitOperator()
	} else if err := c.authenticate(); err != nil {
		return err
	}
	if err := c.enterTenant(); err != nil {
		return err
	}
	if err := c.find(); err != nil || c.route == nil {
		return err
	}
	if err := c.permit(); err != nil {
		return err
	}
	if err := c.checkHeaders(); err != nil {
		return err
	}
	c.prefer()
	if err := c.read(); err != nil {
		return err
	}
	return c.route.do(c)
}

// Sizes of HT-8.
const (
	maxHeader = 20 << 10
	maxBody   = 20 << 20
)

// checkSizes is step 1. The request line counts as a part of the header block,
// so that a query is bounded, too.
func (c *call) checkSizes() error {
	n := len(c.r.Method) + len(c.r.RequestURI) + len(c.r.Host) + len("  HTTP/1.1\r\nHost: \r\n")
	for name, values := range c.r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	if n > maxHeader {
		c.w.Header().Set("Connection", "close")
		return fault.SIMHeaderTooLarge.New("The header block has %d bytes, %d are allowed.", n, maxHeader)
	}
	if c.r.ContentLength > maxBody {
		c.w.Header().Set("Connection", "close")
		return tooLarge()
	}
	return nil
}

func tooLarge() error {
	return fault.SIMBodyTooLarge.New("The body is larger than the %d bytes that are allowed.", maxBody)
}

// admit is step 2: the ban of the address and its rate.
func (c *call) admit(p *policy) error {
	if rest := c.s.bans.rest(c.key, c.start); rest > 0 {
		return fault.SIMAddressBanned.New("Too many requests of this address failed, so it is refused for a time. Correct the program, or ask an administrator to lift the ban.").RetryAfter(rest)
	}
	return c.take(p, c.key)
}

// take counts the request in a policy; nil is one that is switched off.
func (c *call) take(p *policy, key string) error {
	if p == nil {
		return nil
	}
	s, ok := p.take(key, c.start)
	c.policies = append(c.policies, s)
	if ok {
		return nil
	}
	return limited(s)
}

// limited is the refusal of RL-6.
func limited(s state) error {
	e := fault.SIMRateLimited.New("The %d requests that policy %s allows in %d s are used up. Use a task for many products, keep answers in a cache, and pause before the next attempt.",
		s.policy.quota, s.policy.name, int(s.policy.window.Seconds()))
	e.Detail = map[string]any{sim.DetailViolated: []string{s.policy.name}}
	return e.RetryAfter(time.Duration(s.reset) * time.Second)
}

// enterTenant is the steps 4 and 5. What a later policy refuses does not count
// for the others (RL-3).
func (c *call) enterTenant() error {
	if c.place.tenant == "" {
		return nil
	}
	if !c.caller.In(c.place.tenant) || c.place.kind == connectivity && c.s.o.Sim.Tenant(c.place.tenant) == nil {
		c.challenge(`, error="insufficient_scope"`)
		return fault.SIMTenantForbidden.New("The access token is not valid for the tenant %s. Correct the path, or ask the administrator of the tenant.", c.place.tenant)
	}
	if c.operator != nil {
		return nil
	}
	if err := c.take(c.s.tenant, c.place.tenant); err != nil {
		c.giveBack(c.s.address, c.key)
		return err
	}
	if err := c.take(c.s.app, cmp.Or(c.caller.App, "user "+c.user)); err != nil {
		c.giveBack(c.s.address, c.key)
		c.giveBack(c.s.tenant, c.place.tenant)
		return err
	}
	return nil
}

func (c *call) giveBack(p *policy, key string) {
	if p == nil {
		return
	}
	p.giveBack(key)
	for n := range c.policies {
		if c.policies[n].policy == p {
			c.policies[n].left++
		}
	}
}

// base returns what hrefs of this request begin with: the prefix that it used
// (HT-2).
func (c *call) base() string { return c.origin + c.place.base }

// access returns the tenant bound to the caller.
func (c *call) access() *sim.Access {
	actor := c.actor()
	for _, r := range []struct {
		api, access string
		right       sim.Rights
	}{{oauth.APIConnectivity, oauth.ReadOnly, sim.Read}, {oauth.APIConnectivity, oauth.ReadWrite, sim.Write}, {oauth.APIPlatforms, oauth.ReadWrite, sim.Administer}} {
		if c.caller.Allows(r.api, r.access) {
			actor.Rights |= r.right
		}
	}
	// GET of accounts and offerings is open to administrators, who need not have
	// a right to products.
	if c.route.api == oauth.APIPlatforms && c.route.verb == http.MethodGet {
		actor.Rights |= sim.Read
	}
	return c.s.o.Sim.Tenant(c.place.tenant).As(actor)
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
