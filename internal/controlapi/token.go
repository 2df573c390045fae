package controlapi

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
)

// Limits of a token request in bytes (iot-v1 3.2).
const (
	maxForm  = 16 << 10
	maxScope = 512
)

// client proves the caller by HTTP Basic and reads the form (iot-v1 AU-2,
// AU-3). It sets device and takes a token of the class token.
func (c *call) client() (url.Values, error) {
	form, err := c.form()
	if err != nil {
		return nil, err
	}
	id, secret, ok := c.r.BasicAuth()
	switch {
	case ok && (form.Has("client_secret") || form.Has("client_id")):
		return nil, badRequest("credentials stand in the header and in the body")
	case !ok:
		return nil, wrongClient
	}
	ctx := c.r.Context()
	if err := c.s.tokens.Authenticate(ctx, id, secret, c.source()); err != nil {
		return nil, err
	}
	if c.device, err = c.s.control.Find(ctx, id); err != nil {
		return nil, err
	}
	return form, c.device.Take(nave.TokenClass)
}

func (c *call) form() (url.Values, error) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, badRequest("the body must be application/x-www-form-urlencoded")
	}
	if c.r.ContentLength > maxForm {
		return nil, badRequest("the body is too large")
	}
	b, err := c.read(maxForm)
	if err != nil {
		return nil, badRequest("the body cannot be read or is too large")
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, badRequest("the body is malformed")
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, badRequest("a parameter is repeated")
		}
		// RFC 6749 3.2: a parameter without a value counts as omitted.
		if values[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}

// tokenAnswer is the success of E1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	RenewAfter  int    `json:"renew_after"`
	Scope       string `json:"scope"`
}

func (c *call) issueToken() error {
	form, err := c.client()
	if err != nil {
		return err
	}
	switch grant := form.Get("grant_type"); grant {
	case "client_credentials":
	case "":
		return badRequest("grant_type is missing")
	default:
		return &refusal{"unsupported_grant_type", "the grant must be client_credentials", http.StatusBadRequest}
	}
	scopes, err := c.scopes(form.Get("scope"))
	if err != nil {
		return err
	}
	t, err := c.s.tokens.Issue(c.r.Context(), c.device.ID, scopes, nil)
	if err != nil {
		return err
	}
	c.w.Header()["Pragma"] = []string{"no-cache"}
	return c.show(http.StatusOK, tokenAnswer{t.Text, "Bearer", int(t.Life.Seconds()), int(t.Renew.Seconds()), strings.Join(scopes, " ")})
}

// scopes reads a list of scopes and puts it into the order of iot-v1 3.1
// (iot-v1 AU-13 to AU-15).
func (c *call) scopes(text string) ([]string, error) {
	if text == "" {
		return control.HTTPSScopes, nil
	}
	if len(text) > maxScope {
		return nil, badRequest("scope is too long")
	}
	asked := strings.Split(text, " ")
	var granted []string
	for _, known := range slices.Concat(control.HTTPSScopes, control.MQTTScopes) {
		if !slices.Contains(asked, known) {
			continue
		}
		asked = slices.DeleteFunc(asked, func(s string) bool { return s == known })
		if slices.Contains(control.MQTTScopes, known) && !c.device.Speaks(control.MQTT) {
			return nil, &refusal{"invalid_scope", "MQTT is not enabled for this device", http.StatusBadRequest}
		}
		granted = append(granted, known)
	}
	if len(asked) > 0 {
		return nil, &refusal{"invalid_scope", "a scope is unknown", http.StatusBadRequest}
	}
	return granted, nil
}

func (c *call) revokeToken() error {
	form, err := c.client()
	if err != nil {
		return err
	}
	token := form.Get("token")
	if token == "" {
		return badRequest("token is missing")
	}
	if err := c.s.tokens.Revoke(c.r.Context(), c.device.ID, token); err != nil {
		return err
	}
	return c.show(http.StatusOK, struct{}{})
}

// show answers v as JSON.
func (c *call) show(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if c.device != nil && strings.HasPrefix(c.route.path, devices) {
		c.revisions()
	}
	c.reply(status, b)
	return nil
}

// revisions sets the headers of iot-v1 G-12.
func (c *call) revisions() {
	h := c.w.Header()
	h["X-Catalog-Revision"] = []string{c.device.Catalog}
	h["X-Runtime-Revision"] = []string{c.device.Runtime}
}
