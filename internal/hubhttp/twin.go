package hubhttp

import (
	"net/http"

	"github.com/nave-hub/nave"
)

var twinRoutes = []route{
	{"GET", "/twins/{d}", readTwin},
	{"PATCH", "/twins/{d}", patchTwin},
	{"PUT", "/twins/{d}", replaceTwin},
	{"GET", "/twins/{d}/modules/{m}", readTwin},
	{"PATCH", "/twins/{d}/modules/{m}", patchTwin},
	{"PUT", "/twins/{d}/modules/{m}", replaceTwin},
}

func readTwin(c *call) error {
	v, err := c.backend.Twin(c.r.Context(), c.on)
	if err != nil {
		return err
	}
	return c.entity(http.StatusOK, v.Twin.ETagText(), v.Append(nil))
}

func patchTwin(c *call) error { return c.writeTwin(false) }

func replaceTwin(c *call) error { return c.writeTwin(true) }

// writeTwin answers the whole twin. Of a patch the etag in the body is the
// precondition when there is no If-Match (service-api 2.8).
func (c *call) writeTwin(replace bool) error {
	b, err := c.json()
	if err != nil {
		return err
	}
	p, etag, err := nave.ParsePatch(b, replace)
	if err != nil {
		return malformed(err)
	}
	match := c.ifMatch()
	if match == "" && !replace {
		match = bare(etag)
	}
	v, err := c.backend.PatchTwin(c.r.Context(), c.on, p, match, len(b))
	if err != nil {
		return err
	}
	return c.entity(http.StatusOK, v.Twin.ETagText(), v.Append(nil))
}
