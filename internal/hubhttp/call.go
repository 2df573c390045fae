package hubhttp

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// call is one request on its way; one goroutine owns it.
type call struct {
	s     *Server
	hub   *hub.Hub
	w     http.ResponseWriter
	r     *http.Request
	fixed *nave.Principal // of Server.As

	// Set by find:
	route    *entry
	segments []string // of the path, decoded
	on       nave.ID
	name     string // the last parameter that is no id
	query    map[string]string

	// Set by authenticate, line or the others:
	line    *hub.Line
	backend *hub.Backend
	who     *nave.Principal
}

// parameters reads a query string: names in lower case, of equal names the
// first (service-api 2.1). A part that cannot be decoded is taken as it is.
func parameters(raw string) map[string]string {
	all := map[string]string{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name = strings.ToLower(unescape(name))
		if _, twice := all[name]; !twice {
			all[name] = unescape(value)
		}
	}
	return all
}

func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// slack is how much of a body beyond its limit is read and dropped, so that a
// client that is still sending gets to read the answer.
const slack = 4 << 20

// body reads the request's body, at most limit bytes; over is the answer to
// more.
func (c *call) body(limit int, setting string, over *fault.Code) ([]byte, error) {
	size := max(0, c.r.ContentLength)
	switch {
	case size > int64(limit):
	case c.r.ContentLength >= 0:
		b := make([]byte, size)
		if _, err := io.ReadFull(c.r.Body, b); err != nil {
			return nil, c.broken(err)
		}
		return b, nil
	default:
		b, err := io.ReadAll(io.LimitReader(c.r.Body, int64(limit)+1))
		if err != nil {
			return nil, c.broken(err)
		}
		if len(b) <= limit {
			return b, nil
		}
		size = int64(len(b))
	}
	if c.r.Header.Get("Expect") == "" {
		io.CopyN(io.Discard, c.r.Body, slack)
	}
	return nil, over.Over(setting, limit, size, "the body of the request is too large")
}

func (c *call) broken(err error) error {
	if c.r.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fault.ClientClosedRequest.Wrap(err, "the body of the request ended early")
	}
	return fault.GenericBadRequest.Wrap(err, "the body of the request could not be read")
}

// json reads a body of the general limit that must hold JSON. ArgumentNull: it
// is empty; GenericUnsupportedMediaType: the type is clearly none of JSON.
func (c *call) json() ([]byte, error) {
	if err := c.checkType(); err != nil {
		return nil, err
	}
	b, err := c.body(c.hub.Limits().Body, "http.maxBody", fault.GenericRequestEntityTooLarge)
	if err == nil && len(b) == 0 {
		err = fault.ArgumentNull.New("the request has no body, expected is JSON")
	}
	return b, err
}

// checkType refuses types that are clearly foreign; libraries put all kinds of
// defaults into the header when a caller sets none.
func (c *call) checkType() error {
	text := c.r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(text)
	if err != nil {
		return nil
	}
	major, minor, _ := strings.Cut(kind, "/")
	switch {
	case strings.HasSuffix(minor, "xml"), minor == "html":
	case major == "multipart", major == "image", major == "audio", major == "video":
	default:
		return nil
	}
	return fault.GenericUnsupportedMediaType.New("the content type is %s, expected is application/json", brief(kind))
}

// malformed gives a JSON defect the code that REST callers get (service-api
// 7.4); other errors stay.
func malformed(err error) error {
	if errors.Is(err, fault.IotHubFormatError) {
		return fault.ArgumentInvalid.Wrap(err, "%s", fault.From(err).Text)
	}
	return err
}

// ifMatch returns the etag that the request names in If-Match, without quotes;
// "" when it names none.
func (c *call) ifMatch() string { return bare(c.r.Header.Get("If-Match")) }

// bare takes off what may surround an etag: "e", e and W/"e" are the same
// (service-api 2.1).
func bare(text string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "W/")
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		return text[1 : n-1]
	}
	return text
}

// The type of every JSON body.
const jsonType = "application/json; charset=utf-8"

// set writes a response header with exactly this spelling, which the C client
// depends on (device-protocols 4.4): Header.Set would change it.
func (c *call) set(name, value string) { c.w.Header()[name] = []string{value} }

// entity answers JSON with the etag in quotes.
func (c *call) entity(status int, etag string, body []byte) error {
	c.set("ETag", `"`+etag+`"`)
	return c.reply(status, body)
}

// reply answers JSON.
func (c *call) reply(status int, body []byte) error {
	c.set("Content-Type", jsonType)
	c.send(status, body)
	return nil
}

// done answers 204 without body and type.
func (c *call) done() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) send(status int, body []byte) {
	c.set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	c.w.Write(body) // an error here means that nobody reads the answer any more
}
