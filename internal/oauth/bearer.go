package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// Resource is the audience that SDKs request for every IoT hub (service-api
// 1.5).
const Resource = "https://iothubs.azure.net"

// skew is what the clocks of issuer and hub may differ (service-api 1.5).
const skew = 5 * time.Minute

// maxToken is the longest token that is looked at; with many groups real ones
// reach some 20 KB.
const maxToken = 64 << 10

// algorithms are the accepted signatures: neither "none" nor shared secrets.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// Issuer is an accepted source of tokens.
type Issuer struct {
	Issuer    string   // the iss claim, exactly
	JWKS      string   // URL of its keys; empty: by discovery below Issuer
	Audiences []string // accepted aud claims; empty: Resource and the hub's host name
}

// Options are what a Verifier is made with.
type Options struct {
	Host       string            // of the hub
	Issuers    []Issuer          // at least one
	RoleClaims []string          // claims that are searched for roles; empty: roles, groups, scp
	Roles      map[string]string // claim value → role
	Principals map[string]string // sub, oid, appid or azp → role
	Client     *http.Client      // fetches keys; nil: one that follows no redirect to plain HTTP
	Now        func() time.Time  // nil: time.Now
}

// Verifier checks bearer tokens of service callers; its methods may be called
// from any goroutine.
type Verifier struct {
	// Set by New, then read only:
	issuers    []issuer
	claims     []string
	roles      map[string]Role
	principals map[string]Role
	now        func() time.Time
}

type issuer struct {
	name      string
	audiences []string
	keys      *keySet
}

// New makes a verifier. An error names the setting that makes no sense; nothing
// is fetched yet.
func New(o Options) (*Verifier, error) {
	v := &Verifier{claims: o.RoleClaims, now: o.Now}
	if len(v.claims) == 0 {
		v.claims = []string{"roles", "groups", "scp"}
	}
	if v.now == nil {
		v.now = time.Now
	}
	client := o.Client
	if client == nil {
		client = &http.Client{}
	}
	for _, i := range o.Issuers {
		if i.Issuer == "" {
			return nil, errors.New("issuers: an issuer without a name")
		}
		if v.issuer(i.Issuer) != nil {
			return nil, fmt.Errorf("issuers: %s stands there twice, list all its audiences in one place", i.Issuer)
		}
		keys, err := newKeySet(i, client)
		if err != nil {
			return nil, err
		}
		audiences := i.Audiences
		if len(audiences) == 0 {
			audiences = []string{Resource, o.Host}
		}
		v.issuers = append(v.issuers, issuer{i.Issuer, audiences, keys})
	}
	var err error
	if v.roles, err = parseRoles("roleMapping", o.Roles); err == nil {
		v.principals, err = parseRoles("principalMapping", o.Principals)
	}
	return v, err
}

func parseRoles(setting string, in map[string]string) (map[string]Role, error) {
	out := map[string]Role{}
	for key, text := range in {
		r, err := ParseRole(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%s]: %w", setting, key, err)
		}
		out[key] = r
	}
	return out, nil
}

// Check returns whom a token stands for and what it may do; a valid token
// without a role gives a principal that may do nothing. Every refusal is
// IotHubUnauthorizedAccess; ServiceUnavailable: the issuer's keys can't be had
// now.
func (v *Verifier) Check(ctx context.Context, token string) (*nave.Principal, error) {
	if len(token) > maxToken {
		return nil, refused("it is longer than %d bytes", maxToken)
	}
	t, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, refused("it is no JWT with a signature of kind RS256 or ES256")
	}
	var claimed jwt.Claims
	if err := t.UnsafeClaimsWithoutVerification(&claimed); err != nil {
		return nil, refused("its claims are malformed")
	}
	from := v.issuer(claimed.Issuer)
	if from == nil {
		return nil, refused("its issuer is not one of the configured issuers")
	}
	payload, err := from.keys.verify(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := v.judge(&claimed, from); err != nil {
		return nil, err
	}
	p := &nave.Principal{Name: first(payload, "oid", "sub", "appid", "azp"), Proof: "bearer", Until: claimed.Expiry.Time()}
	grant(p, v.rolesOf(payload))
	return p, nil
}

func (v *Verifier) issuer(name string) *issuer {
	for n := range v.issuers {
		if v.issuers[n].name == name {
			return &v.issuers[n]
		}
	}
	return nil
}

// judge checks time and audience of a token whose signature holds.
func (v *Verifier) judge(c *jwt.Claims, from *issuer) error {
	now := v.now()
	switch {
	case c.Expiry == nil:
		return refused("it has no expiry (exp)")
	case now.After(c.Expiry.Time().Add(skew)):
		return refused("it expired at %s, get a new one", c.Expiry.Time().UTC().Format(time.RFC3339))
	case c.NotBefore != nil && now.Add(skew).Before(c.NotBefore.Time()):
		return refused("it is not valid before %s", c.NotBefore.Time().UTC().Format(time.RFC3339))
	}
	for _, a := range from.audiences {
		if slices.ContainsFunc(c.Audience, func(got string) bool { return sameAudience(got, a) }) {
			return nil
		}
	}
	return refused("its audience (aud) is not one that the hub accepts")
}

func sameAudience(a, b string) bool {
	return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/")
}

func (v *Verifier) rolesOf(payload map[string]any) (all []Role) {
	for _, name := range v.claims {
		for _, value := range words(payload[name]) {
			if r, ok := v.roles[value]; ok {
				all = append(all, r)
			}
		}
	}
	for _, name := range []string{"sub", "oid", "appid", "azp"} {
		text, _ := payload[name].(string)
		if r, ok := v.principals[text]; ok && text != "" {
			all = append(all, r)
		}
	}
	return all
}

// words returns the values of a claim: a list, or a text in which blanks
// separate them (RFC 8693, 4.2); a value with blanks counts as a whole, too.
func words(claim any) (all []string) {
	switch c := claim.(type) {
	case string:
		if all = strings.Fields(c); len(all) > 1 {
			all = append(all, c)
		}
	case []any:
		for _, v := range c {
			if text, ok := v.(string); ok {
				all = append(all, text)
			}
		}
	}
	return all
}

func first(payload map[string]any, names ...string) string {
	for _, name := range names {
		if text, _ := payload[name].(string); text != "" {
			return text
		}
	}
	return "unnamed"
}

func refused(format string, args ...any) error {
	return fault.IotHubUnauthorizedAccess.New("Unauthorized: the bearer token is refused, "+format, args...)
}
