package hubhttp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// Options are what a Server is made with; Hub is required.
type Options struct {
	Hub      *hub.Hub
	BodyForm string       // of error bodies: default, legacy, json or hybrid (service-api 2.2); empty is default
	Tier     string       // SKU and units, for the log
	Log      *slog.Logger // nil: slog.Default
}

// Server serves the device and service REST of one hub. It is an http.Handler
// for everything on the hub's host except WebSocket upgrades.
type Server struct {
	// Set by New, then read only:
	hub  *hub.Hub
	form string
	log  *slog.Logger
}

// New makes the server of a hub. An unknown BodyForm counts as default.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	log := o.Log.With("hub", o.Hub.Host())
	if o.Tier != "" {
		log = log.With("tier", o.Tier)
	}
	return &Server{hub: o.Hub, form: o.BodyForm, log: log}
}

// ServeHTTP answers one request; who calls is proven by the Authorization
// header or, for devices, by the client certificate of the connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.serve(w, r, nil) }

// As returns the service REST for a caller who is known already: it asks for
// no Authorization, an api-version may be missing, and device endpoints answer
// 404. Whoever mounts it guards it.
func (s *Server) As(who *nave.Principal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, who) })
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, who *nave.Principal) {
	c := &call{s: s, hub: s.hub, w: w, r: r, fixed: who}
	defer s.rescue(c)
	if err := s.run(c); err != nil {
		s.fail(c, err)
	}
}

// rescue answers ServerError when a handler panics: one request must not take
// the node's other connections with it, nor end without an answer.
func (s *Server) rescue(c *call) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	s.log.Error("a handler panicked", "op", c.op(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	s.fail(c, fault.ServerError.Wrap(fmt.Errorf("panic: %v", v), "an unexpected error occurred, its cause is in the hub's log under the tracking id"))
}

// run takes the stations in the order that service-api 2.1 gives the errors:
// 401 before 400 before what the hub says.
func (s *Server) run(c *call) error {
	if err := c.find(); err != nil {
		return err
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	if err := c.checkVersion(); err != nil {
		return err
	}
	return c.denied(c.route.do(c))
}
