package dpsapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// Options say what a Server serves; Service is required.
type Options struct {
	Service *dps.Service
	Log     *slog.Logger // slog.Default when nil
}

// Server is the HTTPS side of one provisioning instance: the device API and the
// service API, both under any host name (dps 1.1). It is an http.Handler and
// holds nothing that would have to be closed.
type Server struct {
	// Set by New, then read only:
	service *dps.Service
	device  deviceHTTP
	log     *slog.Logger
}

// New makes the server of an instance.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Server{service: o.Service, device: newDeviceHTTP(o.Service, o.Log), log: o.Log}
}

// ServeHTTP answers one request: paths of the form {idScope}/registrations/…
// are the device API's, all others the service API's.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, id: requestID(w)}
	defer s.rescue(c)
	segments, err := split(r.URL.EscapedPath())
	if err == nil && len(segments) > 1 && strings.EqualFold(segments[1], "registrations") && !isNoun(segments[0]) {
		s.serveDevice(w, r, segments)
		return
	}
	if err == nil {
		c.segments = segments
		err = c.run()
	}
	if err != nil {
		c.fail(err)
	}
}

// serveDevice answers a call of the device API, whose path begins with an id
// scope.
func (s *Server) serveDevice(w http.ResponseWriter, r *http.Request, segments []string) {
	s.device.serve(w, r, segments)
}

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
	c.fail(fault.DPSServerError.Wrap(fmt.Errorf("panic: %v", v), "an unexpected error occurred, its cause is in the log under the tracking id"))
}
