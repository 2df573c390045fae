package console

import (
	"net/http"
	"net/url"

	"github.com/nave-hub/nave/internal/fault"
)

// serveRest hands a request on to the hub's service REST.
func (s *server) serveRest(host, rest string, w http.ResponseWriter, r *http.Request) {
	h, err := s.hub(host)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.pass(s.rest[h], h.Host(), rest, w, r)
}

// pass gives a request to a handler as one to the host. Path ids stay as the
// caller escaped them.
func (s *server) pass(to http.Handler, host, rest string, w http.ResponseWriter, r *http.Request) {
	path, err := url.PathUnescape(rest)
	if err != nil {
		s.fail(w, r, fault.GenericBadRequest.Wrap(err, "the path has an invalid percent escape"))
		return
	}
	q := r.Clone(r.Context())
	q.URL.Path, q.URL.RawPath = path, rest
	q.RequestURI = q.URL.RequestURI()
	q.Host = host
	q.Header.Del("Authorization")
	to.ServeHTTP(w, q)
}
