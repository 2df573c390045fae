package simapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
)

// refusal is an error of the token endpoint (RFC 6749 5.2).
type refusal struct {
	status     int
	kind, text string
	after      time.Duration
}

// Error returns the kind and its text.
func (r *refusal) Error() string { return r.kind + ": " + r.text }

func badRequest(text string) error {
	return &refusal{status: http.StatusBadRequest, kind: "invalid_request", text: text}
}

var wrongClient = &refusal{status: http.StatusUnauthorized, kind: "invalid_client", text: "The client id or its secret is wrong."}

// refuse answers in the form of RFC 6749.
func (c *call) refuse(r *refusal) {
	h := c.w.Header()
	if r.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="hub"`)
	}
	if r.after > 0 {
		h.Set("Retry-After", seconds(r.after))
	}
	h.Set("Pragma", "no-cache")
	c.reply(r.status, struct {
		Error string `json:"error"`
		Text  string `json:"error_description"`
	}{r.kind, r.text})
}

// tokenAnswer is the success of TK-5.
type tokenAnswer struct {
	Token     string `json:"access_token"`
	Expires   int    `json:"expires_in"`
	Refresh   int    `json:"refresh_expires_in"`
	Type      string `json:"token_type"`
	NotBefore int    `json:"not-before-policy"`
	Scope     string `json:"scope"`
}

// issueToken is the token endpoint (connectivity-api 2.2).
func (c *call) issueToken() error {
	if err := c.admit(c.s.tokens); err != nil {
		e := fault.From(err)
		return &refusal{http.StatusTooManyRequests, "temporarily_unavailable", e.Text, e.After}
	}
	if c.r.Method != http.MethodPost {
		c.w.Header().Set("Allow", http.MethodPost)
		return &refusal{status: http.StatusMethodNotAllowed, kind: "invalid_request", text: "The token endpoint has the method POST only."}
	}
	form, err := c.form()
	if err != nil {
		return err
	}
	id, secret, err := c.client(form)
	if err != nil {
		return err
	}
	switch grant := form.Get("grant_type"); grant {
	case "client_credentials":
	case "":
		return badRequest("grant_type is missing.")
	default:
		return &refusal{status: http.StatusBadRequest, kind: "unsupported_grant_type", text: "The grant must be client_credentials."}
	}
	t, err := c.s.o.Apps.AppToken(c.r.Context(), id, secret, form.Get("scope"))
	switch {
	case errors.Is(err, oauth.ErrClient):
		return wrongClient
	case errors.Is(err, oauth.ErrScope):
		return &refusal{status: http.StatusBadRequest, kind: "invalid_scope", text: "A scope is unknown, or the application does not have it."}
	case errors.Is(err, oauth.ErrUseless):
		return &refusal{status: http.StatusBadRequest, kind: "unauthorized_client", text: "The application has no permission."}
	case err != nil:
		return err
	}
	c.w.Header().Set("Pragma", "no-cache")
	return c.reply(http.StatusOK, tokenAnswer{Token: t.Text, Expires: int(t.Life.Seconds()), Type: "Bearer", Scope: t.Scope})
}

// Limits of a token request in bytes.
const maxForm = 16 << 10

// form reads the body. A parameter without a value counts as left out, a
// repeated one is refused (RFC 6749 3.2).
func (c *call) form() (url.Values, error) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, badRequest("The body must be application/x-www-form-urlencoded.")
	}
	http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(readTime))
	b, err := io.ReadAll(io.LimitReader(c.r.Body, maxForm+1))
	if err != nil || len(b) > maxForm {
		return nil, badRequest("The body cannot be read or is too large.")
	}
	http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, badRequest("The body is malformed.")
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, badRequest("A parameter is repeated.")
		}
		if values[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// client returns what the client proves itself with: either HTTP Basic, whose
// parts are form-encoded, or the body (TK-4).
func (c *call) client(form url.Values) (id, secret string, err error) {
	all := c.r.Header["Authorization"]
	if len(all) > 1 {
		return "", "", badRequest("The request has more than one Authorization header.")
	}
	id, secret, basic := c.r.BasicAuth()
	switch {
	case basic && (form.Has("client_id") || form.Has("client_secret")):
		return "", "", badRequest("Credentials stand in the header and in the body.")
	case basic:
		var errID, errSecret error
		id, errID = url.QueryUnescape(id)
		secret, errSecret = url.QueryUnescape(secret)
		if errID != nil || errSecret != nil {
			return "", "", wrongClient
		}
		return id, secret, nil
	case len(all) == 1 || !form.Has("client_id") || !form.Has("client_secret"):
		return "", "", wrongClient
	}
	return form.Get("client_id"), form.Get("client_secret"), nil
}

// showKeys answers the public keys (TK-10).
func (c *call) showKeys() error {
	set, err := c.s.o.Apps.JWKS(c.r.Context())
	if err != nil {
		return err
	}
	return c.document(set, jsonType, "public, max-age=60")
}

// showMetadata answers what RFC 8414 wants to know.
func (c *call) showMetadata() error {
	var scopes []string
	for _, api := range oauth.APIs {
		scopes = append(scopes, api+":read", api+":write")
	}
	return c.document(encode(map[string]any{
		"issuer":                                c.s.o.Apps.Issuer(),
		"token_endpoint":                        c.origin + "/oauth2/token",
		"jwks_uri":                              c.origin + "/oauth2/jwks",
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"scopes_supported":                      append(scopes, "openid", "email", "profile"),
		"service_documentation":                 c.origin + documentPath,
	}), jsonType, "public, max-age=3600")
}
