package controlapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
)

// Options are what a Server is made with; Control and Tokens are required.
type Options struct {
	Control *control.Control
	Tokens  *oauth.Server
	Proxies []netip.Prefix // whose X-Forwarded headers count
	Log     *slog.Logger
}

// Server serves iot/v1 of one hub over HTTPS. It is an http.Handler for
// everything below /iot/v1/ and /oauth/.
type Server struct {
	// Set by New, then read only:
	control *control.Control
	tokens  *oauth.Server
	proxies []netip.Prefix
	log     *slog.Logger
}

// New makes the server of a hub.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Server{control: o.Control, tokens: o.Tokens, proxies: o.Proxies, log: o.Log.With("hub", o.Control.Hub().Host())}
}

// Serves says whether the path is one of this contract.
func Serves(path string) bool {
	return strings.HasPrefix(path, root) || strings.HasPrefix(path, "/oauth/")
}

// call is one request on its way; one goroutine owns it.
type call struct {
	s  *Server
	w  http.ResponseWriter
	r  *http.Request
	id string // of the request

	// Set by find:
	route *route
	args  [2]string // values of {…} in the path

	// Set by authenticate:
	grant  *oauth.Grant
	device *control.Device
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, id: nave.NewControlID("req", s.control.Now())}
	h := w.Header()
	h["X-Request-Id"] = []string{c.id}
	h["Cache-Control"] = noStore
	if r.ContentLength != 0 { // also for the answer that does not read it: net/http does, before it sends
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTime))
	}
	defer s.rescue(c)
	if err := s.run(c); err != nil {
		s.fail(c, err)
	}
}

var noStore = []string{"no-store"}

// rescue answers an internal error when a handler panics: one request must not
// take the node's other connections with it, nor end without an answer.
func (s *Server) rescue(c *call) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	s.log.Error("a handler panicked", "op", c.op(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	s.fail(c, fault.ServerError.Wrap(fmt.Errorf("panic: %v", v), "an unexpected error occurred"))
}

// run takes the steps of iot-v1 2.1 that all endpoints share.
func (s *Server) run(c *call) error {
	if c.plain() {
		return control.Refuse(fault.ControlForbidden, "https_required", "the request came over plain HTTP, and its token has leaked: rotate it, and call over HTTPS")
	}
	if size := c.headerSize(); size > maxHeader {
		return control.Refuse(fault.ControlPayloadTooLarge, "header_too_large", "the header block has %d bytes, %d are allowed", size, maxHeader)
	}
	if err := c.find(); err != nil {
		return err
	}
	if c.route.scope != "" {
		if err := c.authenticate(); err != nil {
			return err
		}
	}
	return c.route.do(c)
}

// maxHeader is the greatest header block (iot-v1 LP-7). The listener, which
// serves the hub too, takes more.
const maxHeader = 16 << 10

// headerSize returns the bytes of the header fields as they are sent.
func (c *call) headerSize() (n int) {
	for name, values := range c.r.Header {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// plain says whether a trusted proxy reports that the request came without TLS
// (iot-v1 G-2).
func (c *call) plain() bool {
	if len(c.s.proxies) == 0 || !c.viaProxy() {
		return false
	}
	proto := c.r.Header.Get("X-Forwarded-Proto")
	if proto == "" {
		for part := range strings.FieldsFuncSeq(c.r.Header.Get("Forwarded"), func(r rune) bool { return r == ';' || r == ',' }) {
			if name, value, _ := strings.Cut(strings.TrimSpace(part), "="); strings.EqualFold(name, "proto") {
				proto = strings.Trim(value, `"`)
			}
		}
	}
	return strings.EqualFold(proto, "http")
}

func (c *call) viaProxy() bool {
	at, err := netip.ParseAddrPort(c.r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, p := range c.s.proxies {
		if p.Contains(at.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// source returns the address of the caller, which failed attempts are counted
// for.
func (c *call) source() string {
	if c.viaProxy() {
		all := strings.Split(c.r.Header.Get("X-Forwarded-For"), ",")
		if last := strings.TrimSpace(all[len(all)-1]); last != "" {
			return last
		}
	}
	at, err := netip.ParseAddrPort(c.r.RemoteAddr)
	if err != nil {
		return c.r.RemoteAddr
	}
	return at.Addr().Unmap().String()
}
