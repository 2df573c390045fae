package hubhttp

import "net/http"

// Refuse answers a request with an error without looking at it: one for a host
// that is not this hub's.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	s.fail(&call{s: s, hub: s.hub, w: w, r: r}, err)
}
