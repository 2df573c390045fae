package oauth_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/oauth"
)

type claims = map[string]any

// good returns the claims of a token that is accepted, with changes.
func good(i *navetest.Issuer, change claims) claims {
	c := claims{"iss": i.URL, "aud": oauth.Resource, "sub": "s-1", "exp": time.Now().Add(time.Hour).Unix(), "roles": []string{"hub-admins"}}
	maps.Copy(c, change)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

func open(t *testing.T, i *navetest.Issuer, change ...func(*oauth.Options)) *oauth.Verifier {
	t.Helper()
	o := oauth.Options{Host: "hub.test", Issuers: []oauth.Issuer{{Issuer: i.URL}}, Client: i.Client(),
		Roles:      map[string]string{"hub-admins": "IoT Hub Data Owner", "readers": "data-reader", "hub.registry": "registry contributor", "Twin Team": "TwinContributor"},
		Principals: map[string]string{"app-7": "twin contributor"}}
	for _, f := range change {
		f(&o)
	}
	v, err := oauth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCheck(t *testing.T) {
	i, other := navetest.StartIssuer(t), navetest.StartIssuer(t)
	v := open(t, i)
	hour := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, test := range []struct {
		name, token string
		refusal     string // empty: accepted
	}{
		{"RS256", i.Token("rsa", good(i, nil)), ""},
		{"ES256", i.Token("ec", good(i, nil)), ""},
		{"the hub as audience", i.Token("ec", good(i, claims{"aud": []string{"x", "hub.test"}})), ""},
		{"audience with a slash", i.Token("ec", good(i, claims{"aud": oauth.Resource + "/"})), ""},
		{"clock of the issuer ahead", i.Token("ec", good(i, claims{"nbf": hour(4 * time.Minute)})), ""},
		{"expired within the skew", i.Token("ec", good(i, claims{"exp": hour(-4 * time.Minute)})), ""},
		{"expired", i.Token("ec", good(i, claims{"exp": hour(-6 * time.Minute)})), "expired"},
		{"not yet valid", i.Token("ec", good(i, claims{"nbf": hour(6 * time.Minute)})), "not valid before"},
		{"without expiry", i.Token("ec", good(i, claims{"exp": nil})), "no expiry"},
		{"wrong audience", i.Token("ec", good(i, claims{"aud": "https://vault.azure.net"})), "audience"},
		{"without audience", i.Token("ec", good(i, claims{"aud": nil})), "audience"},
		{"wrong issuer", other.Token("ec", good(other, nil)), "issuer is not"},
		{"signed by another issuer", other.Token("ec", good(i, nil)), "signature is wrong"},
		{"without issuer", i.Token("ec", good(i, claims{"iss": nil})), "issuer is not"},
		{"alg none", unsigned(t, i, good(i, nil)), "RS256 or ES256"},
		{"HMAC with the public key", confused(t, i, good(i, nil)), "RS256 or ES256"},
		{"changed after signing", changed(i.Token("ec", good(i, nil))), ""},
		{"not a token", "a.b.c", "RS256 or ES256"},
		{"empty", "", "RS256 or ES256"},
		{"huge", strings.Repeat("x", 1<<20), "longer than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			refusal := test.refusal
			if test.name == "changed after signing" {
				refusal = "signature is wrong"
			}
			p, err := v.Check(t.Context(), test.token)
			if refusal == "" {
				if err != nil || p.Name != "s-1" || p.Proof != "bearer" || p.Ops != nil {
					t.Fatalf("%+v, %v", p, err)
				}
				return
			}
			if !errors.Is(err, fault.IotHubUnauthorizedAccess) || !strings.Contains(err.Error(), refusal) {
				t.Errorf("got %v, want a refusal with %q", err, refusal)
			}
			if test.token != "" && strings.Contains(err.Error(), test.token) {
				t.Error("the refusal holds the token")
			}
		})
	}
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
}

func unsigned(t *testing.T, i *navetest.Issuer, c claims) string {
	t.Helper()
	parts := strings.Split(i.Token("ec", c), ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
}

// confused signs with the public key as if it were a shared secret.
func confused(t *testing.T, i *navetest.Issuer, c claims) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(i.Public("rsa"))
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, (&jose.SignerOptions{}).WithHeader("kid", "rsa"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func changed(token string) string {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "s-1", "s-2", 1)))
	return strings.Join(parts, ".")
}

func TestRoles(t *testing.T) {
	i := navetest.StartIssuer(t)
	all := nave.RegistryRead | nave.RegistryWrite | nave.ServiceConnect
	for _, test := range []struct {
		name   string
		claims claims
		rights nave.Right
		ops    string // one that is allowed; "*": all, "": none
		not    string
	}{
		{"owner by role", nil, all, "*", ""},
		{"reader by group", claims{"roles": nil, "groups": []string{"readers"}}, nave.RegistryRead | nave.ServiceConnect, "twin.read", "twin.update"},
		{"registry by scope", claims{"roles": nil, "scp": "openid hub.registry"}, nave.RegistryRead | nave.RegistryWrite, "registry.delete", "registry.statistics"},
		{"twins by a role with blanks", claims{"roles": "Twin Team"}, nave.ServiceConnect, "twin.update", "registry.read"},
		{"twins by principal", claims{"roles": nil, "appid": "app-7"}, nave.ServiceConnect, "twin.update", "method.invoke"},
		{"two roles", claims{"roles": []string{"hub.registry", "Twin Team"}}, all, "twin.update", "method.invoke"},
		{"owner and more", claims{"roles": []string{"readers", "hub-admins"}}, all, "*", ""},
		{"unknown role", claims{"roles": []string{"Readers"}}, 0, "", "registry.read"},
		{"no role", claims{"roles": nil}, 0, "", "registry.read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := open(t, i).Check(t.Context(), i.Token("ec", good(i, test.claims)))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case p.Rights != test.rights:
				t.Errorf("rights %v", p.Rights)
			case (p.Ops == nil) != (test.ops == "*"):
				t.Errorf("operations %q", p.Ops)
			case p.Ops != nil && test.ops != "" && !slices.Contains(p.Ops, test.ops), slices.Contains(p.Ops, test.not):
				t.Errorf("operations %q", p.Ops)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	i := navetest.StartIssuer(t)
	v := open(t, i)
	i.Down.Store(true)
	if _, err := v.Check(t.Context(), i.Token("ec", good(i, nil))); !errors.Is(err, fault.ServiceUnavailable) {
		t.Fatalf("issuer down: %v", err)
	}
	i.Down.Store(false)
	if _, err := v.Check(t.Context(), i.Token("ec", good(i, nil))); !errors.Is(err, fault.ServiceUnavailable) || i.Asked.Load() != 1 {
		t.Fatalf("asked again at once: %v", err)
	}

	// Many at once make one request, and unknown keys make no more.
	v = open(t, i)
	i.Asked.Store(0)
	token := i.Token("ec", good(i, nil))
	var work sync.WaitGroup
	for range 20 {
		work.Go(func() {
			if _, err := v.Check(context.Background(), token); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	i.AddKey("new")
	for range 3 {
		if _, err := v.Check(t.Context(), i.Token("new", good(i, nil))); !errors.Is(err, fault.IotHubUnauthorizedAccess) {
			t.Errorf("a key that came a moment ago: %v", err)
		}
	}
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
	if _, err := v.Check(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	for _, test := range []struct {
		name string
		o    oauth.Options
		want string
	}{
		{"no name", oauth.Options{Issuers: []oauth.Issuer{{}}}, "without a name"},
		{"plain http", oauth.Options{Issuers: []oauth.Issuer{{Issuer: "http://idp.test"}}}, "https URL is needed"},
		{"keys over plain http", oauth.Options{Issuers: []oauth.Issuer{{Issuer: "https://idp.test", JWKS: "http://idp.test/keys"}}}, "https URL is needed"},
		{"twice", oauth.Options{Issuers: []oauth.Issuer{{Issuer: "https://idp.test"}, {Issuer: "https://idp.test"}}}, "twice"},
		{"role", oauth.Options{Roles: map[string]string{"x": "king"}}, `roleMapping[x]: "king" is no role, known are data owner, data reader`},
		{"principal", oauth.Options{Principals: map[string]string{"y": ""}}, "principalMapping[y]"},
	} {
		if _, err := oauth.New(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := oauth.New(oauth.Options{Issuers: []oauth.Issuer{{Issuer: "idp", JWKS: "http://127.0.0.1:1/keys"}}}); err != nil {
		t.Error(err)
	}
}
