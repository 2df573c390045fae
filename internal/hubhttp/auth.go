package hubhttp

import (
	"errors"
	"strings"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// authenticate proves who calls and sets the call's Line or Backend.
func (c *call) authenticate() error {
	ctx, h := c.r.Context(), c.hub
	switch {
	case c.fixed != nil:
		c.backend = h.Backend(c.fixed)
	case c.route.side.device():
		who, err := h.Authenticate(ctx, c.claim(true), c.on)
		if err != nil {
			return err
		}
		c.line, err = h.Connect(ctx, who, c.on, hub.Arrival{Protocol: "https", Remote: c.r.RemoteAddr})
		return err
	default:
		who, err := h.Admit(ctx, c.claim(false), c.segments...)
		if err != nil {
			return err
		}
		c.who, c.backend = who, h.Backend(who)
	}
	return nil
}

// denied puts verb and path of the request into the refusal of a caller whose
// role lacks the operation (service-api 1.5); other errors stay.
func (c *call) denied(err error) error {
	if c.who == nil || c.who.Ops == nil || !errors.Is(err, fault.IotHubUnauthorizedAccess) {
		return err
	}
	return fault.IotHubUnauthorizedAccess.Wrap(err, "Principal %s is not authorized for %s on %s due to no assigned permissions",
		c.who.Name, c.r.Method, brief(c.r.URL.Path))
}

// claim returns what the request presents. The token is taken as it stands:
// clients write it without quoting (service-api 1.3). A certificate counts for
// devices that send no token.
func (c *call) claim(certs bool) cred.Claim {
	text := strings.TrimSpace(c.r.Header.Get("Authorization"))
	const bearer = "Bearer "
	switch {
	case len(text) > len(bearer) && strings.EqualFold(text[:len(bearer)], bearer):
		return cred.Claim{Bearer: strings.TrimSpace(text[len(bearer):])}
	case text != "":
		return cred.Claim{SAS: text}
	case certs && c.r.TLS != nil:
		return cred.Claim{Certs: c.r.TLS.PeerCertificates}
	}
	return cred.Claim{}
}

// oldest is the first api-version that services may name (service-api 2.1).
const oldest = "2016-02-03"

// checkVersion answers InvalidProtocolVersion unless api-version is a date,
// with or without -preview.
func (c *call) checkVersion() error {
	text, given := c.query["api-version"]
	if !given {
		if c.fixed != nil {
			return nil
		}
		return fault.InvalidProtocolVersion.New("the query parameter api-version is missing, send for example api-version=2021-04-12")
	}
	date := strings.TrimSuffix(text, "-preview")
	if !isDate(date) {
		return fault.InvalidProtocolVersion.New("api-version is %q, expected is a date, for example 2021-04-12", brief(text))
	}
	if date < oldest && !c.route.side.device() {
		return fault.InvalidProtocolVersion.New("api-version is %s, the oldest that is served is %s", date, oldest)
	}
	return nil
}

func isDate(s string) bool {
	if len(s) != len(oldest) {
		return false
	}
	for i := range len(s) {
		if dash := i == 4 || i == 7; dash && s[i] != '-' || !dash && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
}
