package simapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// mediaRange is one entry of an Accept header.
type mediaRange struct {
	name    string
	refused bool // q=0
}

// accepted returns the ranges of the Accept header, nil when it is absent.
func accepted(h http.Header) (all []mediaRange) {
	values, ok := h["Accept"]
	if !ok {
		return nil
	}
	all = []mediaRange{}
	for entry := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, params, _ := strings.Cut(entry, ";")
		if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
			continue
		}
		m := mediaRange{name: name}
		for p := range strings.SplitSeq(params, ";") {
			if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, "q") {
				q, err := strconv.ParseFloat(v, 64)
				m.refused = err == nil && q == 0
			}
		}
		all = append(all, m)
	}
	return all
}

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

func accepts(all []mediaRange, names ...string) bool {
	return slices.ContainsFunc(all, func(m mediaRange) bool { return !m.refused && slices.Contains(names, m.name) })
}

// errorType returns the content type of a problem (ER-3).
func errorType(h http.Header) string {
	all := accepted(h)
	if accepts(all, jsonType) && !accepts(all, problemType, "application/*", "*/*") {
		return jsonType
	}
	return problemType
}

// checkHeaders is step 8.
func (c *call) checkHeaders() error {
	if all := accepted(c.r.Header); len(all) > 0 && !accepts(all, jsonType, problemType, "application/*", "*/*") {
		return fault.SIMNotAcceptable.New("The Accept header excludes application/json, the only form of the answer.")
	}
	if c.route.content == none {
		return nil
	}
	text := c.r.Header.Get("Content-Type")
	if text == "" && c.route.content == optional && c.r.ContentLength == 0 {
		return nil
	}
	known := types[c.route.content]
	name, params, err := mime.ParseMediaType(text)
	charset, given := params["charset"]
	coding := c.r.Header.Get("Content-Encoding")
	if err == nil && slices.Contains(known, name) && (!given || strings.EqualFold(charset, "utf-8")) && (coding == "" || strings.EqualFold(coding, "identity")) {
		return nil
	}
	switch c.r.Method {
	case http.MethodPost:
		c.w.Header().Set("Accept-Post", strings.Join(known, ", "))
	case http.MethodPatch:
		c.w.Header().Set("Accept-Patch", strings.Join(known, ", "))
	}
	return fault.SIMUnsupportedContentType.New("The body must be %s in UTF-8 without compression.", strings.Join(known, " or "))
}

// contentType returns the media type of the body, which checkHeaders has seen.
func (c *call) contentType() string {
	name, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	return name
}

// prefer reads the Prefer header (RFC 7240); what is malformed or unknown is
// ignored.
func (c *call) prefer() {
	for entry := range strings.SplitSeq(strings.Join(c.r.Header["Prefer"], ","), ",") {
		preference, _, _ := strings.Cut(entry, ";")
		name, v, _ := strings.Cut(preference, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "handling":
			c.strict = strings.EqualFold(strings.Trim(strings.TrimSpace(v), `"`), "strict")
		case "respond-async":
			c.async = true
		case "respond-cached":
			c.cached = true
		}
	}
}

// applied tells the caller that a preference was followed.
func (c *call) applied(preference string) { c.w.Header().Add("Preference-Applied", preference) }

// readTime is how long a body may take.
const readTime = 30 * time.Second

// read is the first half of step 9: the body can be parsed.
func (c *call) read() (err error) {
	if c.route.content == none {
		return nil
	}
	http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(readTime))
	c.raw, err = io.ReadAll(io.LimitReader(c.r.Body, maxBody+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.SIMMalformedJson.New("The body did not end within %s.", readTime)
	case err != nil:
		return fault.SIMMalformedJson.Wrap(err, "The body ended early.")
	case len(c.raw) > maxBody:
		c.w.Header().Set("Connection", "close")
		return tooLarge()
	}
	// Or the deadline would end a request that waits for a platform.
	http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	if c.route.content == optional && len(c.raw) == 0 {
		c.body.kind = '{'
		return nil
	}
	if c.body, err = parse(c.raw); err != nil {
		return err
	}
	if c.route.content == optional {
		var i issues
		i.object(&c.body, "")
		return i.err()
	}
	return nil
}
