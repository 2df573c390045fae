package controlapi

import (
	"errors"
	"strings"

	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
)

// authenticate takes steps 2 to 9 of iot-v1 2.1 and sets grant and device.
func (c *call) authenticate() (err error) {
	token, ok := bearer(c.r.Header["Authorization"])
	if !ok {
		c.challenge("")
		return control.Refuse(fault.ControlUnauthorized, "missing_credentials", "the request has no bearer token")
	}
	ctx := c.r.Context()
	c.grant, err = c.s.tokens.Check(ctx, token)
	if errors.Is(err, oauth.ErrToken) {
		c.challenge(`, error="invalid_token"`)
		return control.Refuse(fault.ControlUnauthorized, "invalid_token", "the access token is malformed, unknown, expired or revoked")
	}
	if err != nil {
		return err
	}
	id := c.grant.Client
	if strings.HasPrefix(c.route.path, devices) {
		id = c.args[0]
	}
	if c.device, err = c.s.control.Find(ctx, id); err != nil {
		return err
	}
	if c.grant.Client != id {
		return foreignDevice()
	}
	if c.device.See(); !c.grant.Has(c.route.scope) {
		c.challenge(`, error="insufficient_scope", scope="` + c.route.scope + `"`)
		e := control.Refuse(fault.ControlForbidden, "insufficient_scope", "the access token lacks a required scope")
		e.Detail["required_scope"] = c.route.scope
		return e
	}
	return c.device.Admit(c.route.runtime)
}

func foreignDevice() error {
	return control.Refuse(fault.ControlForbidden, "device_mismatch", "the access token belongs to another device")
}

// challenge sets the header that goes with 401 and with a missing scope (iot-v1
// AU-19).
func (c *call) challenge(more string) {
	c.w.Header()["Www-Authenticate"] = []string{`Bearer realm="iot"` + more}
}

// bearer returns the token of the only Authorization header; the scheme counts
// without case.
func bearer(headers []string) (token string, ok bool) {
	const scheme = "bearer "
	if len(headers) != 1 || len(headers[0]) < len(scheme) || !strings.EqualFold(headers[0][:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimSpace(headers[0][len(scheme):]), true
}
