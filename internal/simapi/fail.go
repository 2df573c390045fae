package simapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/sim"
)

// fail answers an error as a problem, at the token endpoint in the form of RFC
// 6749. It is the only place that does, and the only one that logs.
func (s *Server) fail(c *call, err error) {
	var r *refusal
	if errors.As(err, &r) {
		c.refuse(r)
		s.note(c, r.status, r.kind, err)
		return
	}
	p := s.problem(c, err)
	h := c.w.Header()
	if e := fault.From(ours(err)); e.After > 0 {
		h.Set("Retry-After", seconds(e.After))
	} else if p.Status == http.StatusTooManyRequests {
		h.Set("Retry-After", "1")
	}
	b := encode(p)
	h.Set("Content-Type", errorType(c.r.Header))
	h.Set("Cache-Control", "no-store")
	c.write(p.Status, b)
	s.note(c, p.Status, p.Code, err)
}

// problem returns err as the problem of this request.
func (s *Server) problem(c *call, err error) *sim.Problem {
	return sim.NewProblem(ours(err), s.now(), c.r.URL.EscapedPath(), c.id).WithBase(c.base())
}

// ours turns what other packages refuse into the forms of this one.
func ours(err error) error {
	var e *fault.Error
	if !errors.As(err, &e) {
		return err
	}
	all, ok := e.Detail["issues"].([]oauth.Issue)
	if !ok {
		return err
	}
	var i issues
	for _, one := range all {
		i.body(one.Pointer, one.Code, one.Text)
	}
	return i.err()
}

// note counts and logs a failure. A client that went away is no failure of the
// hub.
func (s *Server) note(c *call, status int, code string, err error) {
	if c.operator == nil {
		s.bans.note(c.from, c.key, status, c.start)
	}
	if c.r.Context().Err() != nil {
		return
	}
	level := slog.LevelInfo
	switch {
	case status >= 500:
		level = slog.LevelWarn
	case status == http.StatusTooManyRequests:
		level = slog.LevelDebug
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	app := c.user
	if c.caller != nil && app == "" {
		app = c.caller.App
	}
	args := []any{"op", c.op(), "traceId", c.id, "tenant", c.place.tenant, "application", app, "method", c.r.Method, "path", c.r.URL.EscapedPath(),
		"status", status, "code", code, "duration", s.now().Sub(c.start).Round(time.Millisecond), "peer", c.r.RemoteAddr, "fault", err}
	var e *fault.Error
	if errors.As(err, &e) {
		if external, ok := e.Detail[sim.DetailExternal].([]sim.ExternalError); ok && len(external) > 0 {
			args = append(args, "external", string(encode(external)))
		}
	}
	s.log.Log(c.r.Context(), level, "request refused", args...)
}

// encode returns v as JSON, without the escapes that are for HTML.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // values of ours
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// write sends an answer with a body.
func (c *call) write(status int, b []byte) {
	h := c.w.Header()
	c.s.setLimits(h, c.policies)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("X-Content-Type-Options", "nosniff")
	c.w.WriteHeader(status)
	c.w.Write(b)
}

// empty sends an answer without a body.
func (c *call) empty(status int) {
	c.s.setLimits(c.w.Header(), c.policies)
	c.w.WriteHeader(status)
}
