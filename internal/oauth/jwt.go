package oauth

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/nave-hub/nave/internal/fault"
)

// Errors of AppToken besides ErrClient.
var (
	// ErrScope: a scope is unknown or the application does not have it.
	ErrScope = errors.New("oauth: invalid scope")
	// ErrUseless: the application has no permission at all.
	ErrUseless = errors.New("oauth: the application has no permission")
)

// audience is the aud claim of every token.
const audience = "hub"

// claims are those of connectivity-api TK-11, and the day of the secret that
// the token was issued for.
type claims struct {
	Issuer    string   `json:"iss"`
	Audience  []string `json:"aud"`
	Subject   string   `json:"sub"`
	Azp       string   `json:"azp"`
	ClientID  string   `json:"clientId"`
	Client    string   `json:"client_id"`
	IssuedAt  int64    `json:"iat"`
	Expires   int64    `json:"exp"`
	ID        string   `json:"jti"`
	Type      string   `json:"typ"`
	Tenants   []string `json:"tenants"`
	Realm     realm    `json:"realm_access"`
	Scope     string   `json:"scope"`
	User      string   `json:"preferred_username"`
	ValidFrom int64    `json:"credential_epoch"`
}

type realm struct {
	Roles []string `json:"roles"`
}

// AppToken is an access token of an application that was just issued.
type AppToken struct {
	Text  string
	Life  time.Duration
	Scope string
}

// ignoredScopes are accepted and mean nothing (connectivity-api TK-8).
var ignoredScopes = []string{"openid", "email", "profile"}

// AppToken proves the client by its secret and issues a token with the scopes
// that are asked for, all that the application has when none of the hub's is.
// Errors: ErrClient, ErrUseless, ErrScope, or a fault when the store is away.
func (a *Apps) AppToken(ctx context.Context, client, secret, scope string) (*AppToken, error) {
	row, s, err := a.authenticate(ctx, client, secret)
	if err != nil {
		return nil, err
	}
	granted, err := grantScopes(s.permissions, scope)
	if err != nil {
		return nil, err
	}
	key, err := a.chain.signing(ctx)
	if err != nil {
		return nil, fault.SIMInternalError.Wrap(err, "the key of access tokens cannot be read now")
	}
	now := a.db.Now()
	c := claims{Issuer: a.Issuer(), Audience: []string{audience}, Subject: s.app, Azp: client, ClientID: client, Client: client,
		IssuedAt: now.Unix(), ID: newUUID(), Type: "Bearer", Tenants: []string{s.tenant},
		Scope: strings.Join(granted, " "), User: "service-account-" + client, ValidFrom: row.ValidFrom}
	c.Expires = c.IssuedAt + int64(a.o.Lifetime/time.Second)
	for _, g := range granted {
		c.Realm.Roles = append(c.Realm.Roles, roleOf(g))
	}
	text, err := jwt.Signed(key.signer).Claims(c).Serialize()
	if err != nil {
		return nil, fault.SIMInternalError.Wrap(err, "the access token cannot be signed")
	}
	return &AppToken{Text: text, Life: a.o.Lifetime, Scope: c.Scope}, nil
}

// grantScopes intersects what is asked for with what is permitted.
func grantScopes(permitted []Permission, asked string) ([]string, error) {
	all := Scopes(permitted)
	if len(all) == 0 {
		return nil, ErrUseless
	}
	var want []string
	for s := range strings.FieldsSeq(asked) {
		if slices.Contains(ignoredScopes, s) {
			continue
		}
		if !slices.Contains(all, s) {
			return nil, ErrScope
		}
		want = append(want, s)
	}
	if want == nil {
		return all, nil
	}
	return slices.DeleteFunc(all, func(s string) bool {
		// Writing implies reading.
		api, _ := strings.CutSuffix(s, ":read")
		return !slices.Contains(want, s) && !slices.Contains(want, api+":write")
	}), nil
}

// Caller is whom an access token stands for, with what it may do now: its own
// roles as far as the application still has them.
type Caller struct {
	App, Client string
	Tenants     []string
	permissions []Permission
}

// Allows says whether the caller has the access to the API.
func (c *Caller) Allows(api, access string) bool { return Allows(c.permissions, api, access) }

// In says whether the token is valid for the tenant.
func (c *Caller) In(tenant string) bool { return slices.Contains(c.Tenants, tenant) }

// Administrator returns a caller that is no application but a signed-in user
// who may manage the applications of the tenant.
func Administrator(tenant string) *Caller {
	return &Caller{Tenants: []string{tenant}, permissions: []Permission{{APIApplications, APIVersion, ReadWrite}}}
}

// Operator returns a caller that is no application and has every permission in
// the tenant.
func Operator(tenant string) *Caller {
	c := &Caller{Tenants: []string{tenant}}
	for _, api := range APIs {
		c.permissions = append(c.permissions, Permission{api, APIVersion, ReadWrite})
	}
	return c
}

func invalidToken(why string) error {
	return fault.SIMTokenInvalid.New("The access token is not valid: %s.", why)
}

// CheckToken verifies an access token and looks at the present state of
// credential and application (connectivity-api 2.4). Errors: SIMTokenInvalid,
// SIMTokenExpired, SIMTokenRevoked, or SIMInternalError when the store is away.
func (a *Apps) CheckToken(ctx context.Context, text string) (*Caller, error) {
	c, err := a.verify(ctx, text)
	if err != nil {
		return nil, err
	}
	// TK-6: no leeway, exp itself is too late.
	if !a.db.Now().Before(time.Unix(c.Expires, 0)) {
		return nil, fault.SIMTokenExpired.New("The access token expired at %s; get a new one.", time.Unix(c.Expires, 0).UTC().Format(time.RFC3339))
	}
	s, err := a.standing(ctx, c.Client)
	if err != nil {
		return nil, err
	}
	if s == nil || s.validFrom != c.ValidFrom || s.app != c.Subject {
		return nil, fault.SIMTokenRevoked.New("The access token was revoked: the secret was refreshed, or the credential or application deleted.")
	}
	return &Caller{App: s.app, Client: c.Client, Tenants: c.Tenants, permissions: c.within(s.permissions)}, nil
}

// within returns what both the token and the application allow.
func (c *claims) within(present []Permission) (all []Permission) {
	for _, p := range present {
		switch {
		case p.Access == ReadWrite && slices.Contains(c.Realm.Roles, ReadWrite+"%"+p.API):
			all = append(all, p)
		case slices.Contains(c.Realm.Roles, ReadOnly+"%"+p.API):
			all = append(all, Permission{p.API, p.Version, ReadOnly})
		}
	}
	return all
}

// verify checks form, signature, issuer and audience.
func (a *Apps) verify(ctx context.Context, text string) (*claims, error) {
	if len(text) > maxToken {
		return nil, invalidToken("it is too long")
	}
	t, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(t.Headers) != 1 || !exact(text) {
		return nil, invalidToken("it is no JWT signed with RS256")
	}
	key, err := a.chain.verifying(ctx, t.Headers[0].KeyID)
	if err != nil {
		return nil, fault.SIMInternalError.Wrap(err, "the keys of access tokens cannot be read now")
	}
	if key == nil {
		return nil, invalidToken("it was signed with an unknown key")
	}
	var c claims
	if err := t.Claims(&key.private.PublicKey, &c); err != nil {
		return nil, invalidToken("its signature is wrong")
	}
	if c.Issuer != a.Issuer() || !slices.Contains(c.Audience, audience) {
		return nil, invalidToken("it was issued by or for somebody else")
	}
	return &c, nil
}

// exact says whether the signature is the only spelling of its bytes: the last
// character of base64 has bits that a lax decoder overlooks.
func exact(text string) bool {
	_, err := base64.RawURLEncoding.Strict().DecodeString(text[strings.LastIndexByte(text, '.')+1:])
	return err == nil
}

// JWKS returns the public keys that tokens are verified with (RFC 7517).
func (a *Apps) JWKS(ctx context.Context) (json.RawMessage, error) {
	if err := a.chain.fresh(ctx); err != nil {
		return nil, fault.SIMInternalError.Wrap(err, "the keys of access tokens cannot be read now")
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range a.chain.all() {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: publicOf(k), KeyID: k.id, Algorithm: string(jose.RS256), Use: "sig"})
	}
	return json.Marshal(set)
}

func publicOf(k *signingKey) *rsa.PublicKey { return &k.private.PublicKey }

// RotateKey makes a new signing key; tokens of the old one stay valid until
// they expire.
func (a *Apps) RotateKey(ctx context.Context) error {
	if err := a.chain.rotate(ctx); err != nil {
		return fault.SIMInternalError.Wrap(err, "the key of access tokens cannot be changed now")
	}
	a.o.Bus.Tell(a.subject(), note{a.o.Bus.Node(), keysChanged})
	return nil
}
