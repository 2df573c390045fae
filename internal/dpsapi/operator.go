package dpsapi

import "net/http"

// Operator returns the service API as the node's own operator: it has all
// rights, wants no Authorization header and does not throttle. It must not be
// reachable by anybody else.
func (s *Server) Operator() http.Handler {
	access := s.service.Operator()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{s: s, w: w, r: r, id: requestID(w), access: access}
		defer s.rescue(c)
		var err error
		if c.segments, err = split(r.URL.EscapedPath()); err == nil {
			err = c.run()
		}
		if err != nil {
			c.fail(err)
		}
	})
}
