package dpsapi

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// call is one request of the service API on its way; one goroutine owns it.
type call struct {
	s        *Server
	w        http.ResponseWriter
	r        *http.Request
	id       string // of the request
	segments []string

	// Set by run:
	query   url.Values
	route   *entry
	args    []string // values of {…} in the path
	allow   string   // methods of the path, for 405
	version dps.Version
	access  *dps.Access // set before by Operator
}

// run finds the route, checks version and rights, and performs it.
func (c *call) run() (err error) {
	c.query = c.r.URL.Query()
	if err := c.find(); err != nil {
		return err
	}
	if c.version, err = dps.ParseVersion(c.parameter("api-version")); err != nil {
		return err
	}
	if c.access == nil {
		claim := dps.ServiceClaim{SAS: c.r.Header.Get("Authorization"), Host: c.r.Host, Path: c.segments, Remote: c.r.RemoteAddr}
		if c.access, err = c.s.service.As(c.r.Context(), &claim); err != nil {
			return err
		}
	}
	if err := c.access.Require(c.route.right, c.op()); err != nil {
		return err
	}
	return c.route.do(c)
}

// parameter returns a query parameter, its name in any case.
func (c *call) parameter(name string) string {
	if v, ok := c.query[name]; ok {
		return v[0]
	}
	for k, v := range c.query {
		if strings.EqualFold(k, name) {
			return v[0]
		}
	}
	return ""
}

// op names the operation in logs and errors.
func (c *call) op() string {
	if c.route == nil {
		return "dps"
	}
	return c.route.verb + " " + c.route.path
}

// match returns the conditions of the request.
func (c *call) match() dps.Match {
	return dps.Match{IfMatch: c.header("If-Match"), IfNoneMatch: c.header("If-None-Match")}
}

// header returns all lines of a header as one (RFC 9110 5.3).
func (c *call) header(name string) string { return strings.Join(c.r.Header.Values(name), ", ") }

// body reads at most 96 KB: MessageTooLarge, IncompatibleDataType for what is
// not JSON (dps 3.2). An absent body is empty.
func (c *call) body() (b []byte, err error) {
	if b, err = readBody(c.w, c.r); len(b) == 0 || err != nil {
		return nil, err
	}
	return b, checkType(c.r.Header)
}

// reply answers 200 with v as JSON, and its etag where there is one.
func (c *call) reply(v any, etag string) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fault.DPSServerError.Wrap(err, "the answer could not be encoded")
	}
	if etag != "" {
		c.w.Header()["Etag"] = []string{etag}
	}
	c.write(http.StatusOK, b)
	return nil
}

// done answers 204.
func (c *call) done() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) write(status int, body []byte) {
	h := c.w.Header()
	h["Content-Type"] = []string{"application/json; charset=utf-8"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(status)
	c.w.Write(body)
}

// fail answers an error (dps 3.13). It is the only place of the service API
// that does, and the only one that reports and logs.
func (c *call) fail(err error) {
	e := refusal(err)
	e.Tracking = c.id
	h := c.w.Header()
	h["x-ms-error-code"] = []string{strconv.Itoa(e.Code.ID)}
	if c.allow != "" && e.Code.HTTP == http.StatusMethodNotAllowed {
		h["Allow"] = []string{c.allow}
	}
	if retryable(e.Code) {
		h["Retry-After"] = []string{strconv.Itoa(retrySeconds(e.After))}
	}
	id := ""
	if len(c.args) > 0 {
		id = c.args[0]
	}
	c.s.device.o.note(c.s.service, c.op(), id, c.r.RemoteAddr, e)
	body := refusalBody(e)
	if c.isManaged() {
		body = managedBody(e)
	}
	c.write(e.Code.HTTP, body)
}
