package simapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
)

// authenticate is step 3.
func (c *call) authenticate() error {
	all := c.r.Header["Authorization"]
	if len(all) > 1 {
		c.challenge(`, error="invalid_request"`)
		return fault.SIMMalformedHeader.New("The request has more than one Authorization header.")
	}
	token, ok := bearer(all)
	if !ok {
		c.challenge("")
		return fault.SIMTokenMissing.New("The request has no bearer token. Get one at the token endpoint.")
	}
	ctx := c.r.Context()
	caller, err := c.s.o.Apps.CheckToken(ctx, token)
	if errors.Is(err, fault.SIMTokenInvalid) && c.place.kind == applications && c.s.o.Admin != nil {
		if user, ok := c.s.o.Admin(ctx, token, c.place.tenant); ok {
			c.user, caller, err = user, oauth.Administrator(c.place.tenant), nil
		}
	}
	if err != nil {
		c.challengeToken(err)
		return err
	}
	c.caller = caller
	return nil
}

// descriptions go into the challenge of each code (connectivity-api 2.4).
var descriptions = map[*fault.Code]string{
	fault.SIMTokenInvalid: "The access token is not valid",
	fault.SIMTokenExpired: "The access token expired",
	fault.SIMTokenRevoked: "The access token was revoked",
}

func (c *call) challengeToken(err error) {
	for code, text := range descriptions {
		if errors.Is(err, code) {
			c.challenge(`, error="invalid_token", error_description="` + text + `"`)
		}
	}
}

// challenge sets the header that goes with 401 and with a missing permission.
func (c *call) challenge(more string) {
	c.w.Header().Set("WWW-Authenticate", `Bearer realm="hub"`+more)
}

// bearer returns the token of the Authorization header; the scheme counts
// without case.
func bearer(all []string) (token string, ok bool) {
	const scheme = "bearer "
	if len(all) != 1 || len(all[0]) < len(scheme) || !strings.EqualFold(all[0][:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimSpace(all[0][len(scheme):]), true
}

// permit is step 7.
func (c *call) permit() error {
	r := c.route
	if c.caller.Allows(r.api, r.access) {
		return nil
	}
	needed := r.api
	if r.api == apiP && r.verb == http.MethodGet {
		// Rows 16 and 17 of section 6 go with the right to products.
		if c.caller.Allows(apiC, ro) {
			return nil
		}
		needed = apiC
	}
	scope := needed + ":read"
	if r.access == rw {
		scope = needed + ":write"
	}
	c.challenge(`, error="insufficient_scope", scope="` + scope + `"`)
	return fault.SIMPermissionMissing.New("The application lacks the right %s%%%s. Ask the administrator of the tenant.", r.access, needed)
}
