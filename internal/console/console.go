package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// Options are what a console is made with. Hubs, Rest and Token are required.
type Options struct {
	Hubs    []*hub.Hub
	Rest    func(h *hub.Hub) http.Handler     // the hub's service REST as its operator
	Control func(h *hub.Hub) *control.Control // the hub's iot/v1 side, nil when it is off
	DPS     *dps.Service                      // the provisioning service, nil when it is off
	DPSRest http.Handler                      // its service API as its operator
	// Connectivity is the connectivity API, nil when it is off.
	Connectivity *Connectivity
	Token        string   // what callers present
	Hosts        []string // host names that callers may use, besides loopback ones
	Version      string
	Node         string
	Addresses    func() map[string]string // listener to address
	CAFile       string                   // what clients must trust, "" nothing special
	Recent       *Recent                  // last failures
	Log          *slog.Logger
}

// server is a console.
type server struct {
	// Set by New, then read only:
	o      Options
	rest   map[*hub.Hub]http.Handler
	mux    *http.ServeMux
	cookie string // value of the page's cookie, derived from the token
	page   *page
}

// New returns the console as a handler for a server of its own.
func New(o Options) http.Handler {
	if o.Recent == nil {
		o.Recent = NewRecent(0)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Addresses == nil {
		o.Addresses = func() map[string]string { return map[string]string{} }
	}
	if full, err := filepath.Abs(o.CAFile); err == nil && o.CAFile != "" {
		o.CAFile = full
	}
	s := &server{o: o, rest: map[*hub.Hub]http.Handler{}, mux: http.NewServeMux(), cookie: derive(o.Token), page: newPage()}
	for _, h := range o.Hubs {
		s.rest[h] = o.Rest(h)
	}
	s.routes()
	return s
}

// route is one operation on a hub.
type route struct {
	pattern string
	do      func(*server, *hub.Hub, http.ResponseWriter, *http.Request) error
}

var hubRoutes = []route{
	{"GET /api/hubs/{host}/strings", (*server).showStrings},
	{"GET /api/hubs/{host}/connectivity", (*server).showConnectivity},
	{"GET /api/hubs/{host}/events", (*server).followEvents},
	{"POST /api/hubs/{host}/c2d", (*server).sendC2D},
	{"GET /api/hubs/{host}/feedback", (*server).takeFeedback},
	{"GET /api/hubs/{host}/faults", (*server).listFaults},
	{"POST /api/hubs/{host}/faults", (*server).addFault},
	{"DELETE /api/hubs/{host}/faults", (*server).clearFaults},
	{"DELETE /api/hubs/{host}/faults/{id}", (*server).removeFault},
	{"GET /api/hubs/{host}/usage", (*server).showUsage},
	{"GET /api/hubs/{host}/authorities", (*server).listAuthorities},
	{"PUT /api/hubs/{host}/authorities/{name}", (*server).putAuthority},
	{"DELETE /api/hubs/{host}/authorities/{name}", (*server).deleteAuthority},
	{"GET /api/hubs/{host}/policies", (*server).listPolicies},
	{"PUT /api/hubs/{host}/policies/{name}", (*server).putPolicy},
	{"DELETE /api/hubs/{host}/policies/{name}", (*server).deletePolicy},
	{"GET /api/hubs/{host}/groups", (*server).listGroups},
	{"PUT /api/hubs/{host}/groups/{name}", (*server).putGroup},
	{"DELETE /api/hubs/{host}/groups/{name}", (*server).deleteGroup},
}

func (s *server) routes() {
	for _, r := range hubRoutes {
		s.mux.HandleFunc(r.pattern, func(w http.ResponseWriter, q *http.Request) {
			h, err := s.hub(q.PathValue("host"))
			if err == nil {
				err = r.do(s, h, w, q)
			}
			if err != nil {
				s.fail(w, q, err)
			}
		})
	}
	s.controlRoutes()
	s.mux.HandleFunc("GET /api/status", s.showStatus)
	s.mux.HandleFunc("GET /api/dps", s.showDPS)
	s.mux.HandleFunc("GET /api/recent", s.listRecent)
	s.mux.HandleFunc("GET /{$}", s.showPage)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		s.fail(w, q, fault.GenericNotFound.New("the console has no operation %s %s", q.Method, q.URL.Path))
	})
}

// hub finds a hub by its host name, or by a name that clients may use for it.
func (s *server) hub(host string) (*hub.Hub, error) {
	var names []string
	for _, h := range s.o.Hubs {
		if strings.EqualFold(h.Host(), host) {
			return h, nil
		}
		names = append(names, h.Host())
	}
	for _, h := range s.o.Hubs {
		if h.Answers(host) {
			return h, nil
		}
	}
	return nil, fault.IotHubNotFound.New("this node has no hub %q, it has %s", host, strings.Join(names, ", "))
}

// ServeHTTP checks where a request comes from, then hands it on.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	if !s.ours(r.Host) {
		s.fail(w, r, refuse(fault.IotHubUnauthorized, "Call the console by a loopback name such as 127.0.0.1, or put the name into its settings.",
			"the console does not answer to the host name %q", r.Host))
		return
	}
	if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if s.admitPage(w, r) {
			s.mux.ServeHTTP(w, r)
		}
		return
	}
	if !s.bearer(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="nave console"`)
		s.fail(w, r, refuse(fault.IotHubUnauthorized, "Present the token that stands in console.json in the node's data folder (NAVE_TOKEN or --token).",
			"the console's token is missing or wrong"))
		return
	}
	// Ahead of the mux, which would rewrite paths of ids such as "..".
	if host, rest, ok := restPath(r.URL.EscapedPath()); ok {
		s.serveRest(host, rest, w, r)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), dpsRest); ok {
		s.serveDPS("/"+rest, w, r)
		return
	}
	if tenant, ok := tenantOf(r.URL.EscapedPath()); ok {
		s.serveConnectivity(tenant, w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// ours says whether a Host header is one the console answers to: names that
// an attacker could point at this machine are not.
func (s *server) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	for _, h := range s.o.Hosts {
		if h != "" && strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

func (s *server) bearer(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && s.isToken(strings.TrimSpace(token))
}

func (s *server) isToken(text string) bool { return s.o.Token != "" && same(text, s.o.Token) }

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// derive makes the page's cookie: browsers send it to every port of the host,
// so it must not be the token.
func derive(token string) string {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("nave status page"))
	return hex.EncodeToString(m.Sum(nil))
}

// restPath splits /api/hubs/HOST/rest/PATH.
func restPath(path string) (host, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, "/api/hubs/")
	host, rest, _ = strings.Cut(path, "/")
	rest, found := strings.CutPrefix(rest, "rest/")
	return host, "/" + rest, ok && found
}
