package simapi

import (
	"embed"
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

//go:embed schema/openapi.json schema/connectivity-v1.json
var documents embed.FS

// Addresses of the documents that describe this contract.
const (
	documentPath = connectivityPrefix + "openapi.json"
	schemaPath   = connectivityPrefix + "connectivity-v1.json"
)

// showDocument answers the OpenAPI document or the schemas, without a token; no
// tenant can have the name of one of them.
func (c *call) showDocument() bool {
	name, kind := "openapi.json", "application/vnd.oai.openapi+json;version=3.1"
	switch c.place.base {
	case documentPath:
	case schemaPath:
		name, kind = "connectivity-v1.json", "application/schema+json"
	default:
		return false
	}
	if err := c.plain(func() error {
		b, err := documents.ReadFile("schema/" + name)
		if err != nil {
			return err
		}
		return c.document([]byte(strings.ReplaceAll(string(b), "https://hub.example.com", c.origin)), kind, "public, max-age=3600")
	}); err != nil {
		c.s.fail(c, err)
	}
	return true
}

// plain counts a request without a token for its address, and refuses methods
// that do not read.
func (c *call) plain(do func() error) error {
	if err := c.admit(c.s.address); err != nil {
		return err
	}
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		return do()
	}
	c.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
	if c.r.Method == http.MethodOptions {
		c.empty(http.StatusNoContent)
		return nil
	}
	return fault.SIMMethodNotAllowed.New("The resource can only be read.")
}

// document answers b, which anybody may keep for a time.
func (c *call) document(b []byte, kind, cache string) error {
	h := c.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", cache)
	c.write(http.StatusOK, b)
	return nil
}

// serve answers the public paths.
func (c *call) serve() error {
	rest := c.place.rest
	path := "/" + strings.Join(rest, "/")
	switch {
	case path == "/oauth2/token", len(rest) == 6 && rest[0] == "auth" && rest[1] == "realms" && strings.HasSuffix(path, "/protocol/openid-connect/token"):
		return c.issueToken()
	case path == "/oauth2/jwks":
		return c.plain(c.showKeys)
	case path == metadataPath:
		return c.plain(c.showMetadata)
	case len(rest) == 2 && rest[0] == "problems":
		return c.plain(c.showProblem)
	}
	return c.plain(func() error {
		return fault.SIMEndpointNotFound.New("There is no such endpoint. Compare the path with the description of the API.")
	})
}

// showProblem is the page that the type of a problem leads to (ER-2): what the
// codes below it mean and what helps.
func (c *call) showProblem() error {
	slug := "/problems/" + c.place.rest[1]
	var title string
	var rows strings.Builder
	for code := range fault.All() {
		if code.Family != fault.SIM {
			continue
		}
		name, of := sim.Title(code)
		if of != slug {
			continue
		}
		title = fmt.Sprintf("%d %s", code.HTTP, name)
		fmt.Fprintf(&rows, "<dt><code>%s</code></dt><dd>%s<br>%s</dd>\n", html.EscapeString(code.Name), html.EscapeString(code.Why), html.EscapeString(code.Fix))
	}
	if title == "" {
		return fault.SIMEndpointNotFound.New("There is no kind of problem with this name.")
	}
	c.w.Header().Set("Content-Security-Policy", "default-src 'none'")
	return c.document([]byte("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>"+title+"</title></head>\n<body><h1>"+title+
		"</h1>\n<dl>\n"+rows.String()+"</dl>\n</body></html>\n"), "text/html; charset=utf-8", "public, max-age=3600")
}
