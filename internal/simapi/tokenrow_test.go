package simapi_test

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/nave-hub/nave/internal/oauth"
)

const formType = "Content-Type: application/x-www-form-urlencoded"

// form sends a token request; pairs are name and value in turn.
func (x *row) form(path string, header []string, pairs ...string) *answer {
	x.Helper()
	var parts []string
	for n := 0; n < len(pairs); n += 2 {
		parts = append(parts, pairs[n]+"="+url.QueryEscape(pairs[n+1]))
	}
	return x.do(request{method: "POST", path: path, body: strings.Join(parts, "&"), as: anonymous, header: append([]string{formType}, header...)})
}

func (x *row) good(a *oauth.App, more ...string) []string {
	k := a.Credentials[0]
	return append([]string{"grant_type", "client_credentials", "client_id", k.ClientID, "client_secret", k.Secret}, more...)
}

func basic(a *oauth.App) string {
	k := a.Credentials[0]
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(k.ClientID+":"+k.Secret))
}

const tokenURL = "/oauth2/token"

func TestTokenRows(t *testing.T) {
	s := open(t)
	s.row(t, "SIM-001 token for credentials in the body", func(x *row) {
		a := x.form(tokenURL, nil, x.good(x.w)...).want(200).is("expires_in", 300).is("refresh_expires_in", 0).is("token_type", "Bearer").has("Cache-Control", "no-store")
		if a.has("Pragma", "no-cache"); a.get("refresh_token") != nil || a.get("id_token") != nil {
			x.Error("a refresh token or id token")
		}
	})
	s.row(t, "SIM-002 HTTP Basic", func(x *row) {
		x.form(tokenURL, []string{basic(x.w)}, "grant_type", "client_credentials").want(200)
	})
	s.row(t, "SIM-003 alias of the endpoint", func(x *row) {
		x.form("/auth/realms/iothub/protocol/openid-connect/token", nil, x.good(x.w)...).want(200)
	})
	s.row(t, "SIM-004 scopes that mean nothing", func(x *row) {
		a := x.form(tokenURL, nil, x.good(x.w, "scope", "openid email profile")...).want(200)
		if roles := claimsOf(x, a)["realm_access"]; len(dig(roles, "roles").([]any)) != 2 {
			x.Error(roles)
		}
	})
	s.row(t, "SIM-005 a narrow scope is all there is", func(x *row) {
		a := x.form(tokenURL, nil, x.good(x.w, "scope", "connection-management-orchestrator:read")...).want(200)
		token := "Authorization: Bearer " + a.get("access_token").(string)
		x.get(b+"/product", token).want(200)
		x.to(s1, "SUSPENDED", token).problem(403, "Forbidden", "permission_missing")
	})
	s.row(t, "SIM-006 a scope that is not permitted", func(x *row) {
		x.form(tokenURL, nil, x.good(x.w, "scope", "platform-management:write")...).want(400).is("error", "invalid_scope")
	})
	s.row(t, "SIM-007 SIM-008 wrong secret and unknown client", func(x *row) {
		wrong := x.form(tokenURL, nil, "grant_type", "client_credentials", "client_id", x.w.Credentials[0].ClientID, "client_secret", "x").want(401).is("error", "invalid_client").
			has("WWW-Authenticate", `Basic realm="hub"`)
		nobody := x.form(tokenURL, nil, "grant_type", "client_credentials", "client_id", "b7c1f6a2-0d0e-4f7e-8d55-0c7c8f0d9a41", "client_secret", "x").want(401)
		if string(wrong.raw) != string(nobody.raw) {
			x.Errorf("%s and %s differ", wrong.raw, nobody.raw)
		}
		x.form(tokenURL, nil, "grant_type", "client_credentials").want(401).is("error", "invalid_client")
	})
	s.row(t, "SIM-009 another grant", func(x *row) {
		pairs := x.good(x.w)
		pairs[1] = "password"
		x.form(tokenURL, nil, pairs...).want(400).is("error", "unsupported_grant_type")
	})
	s.row(t, "SIM-010 no grant", func(x *row) {
		x.form(tokenURL, nil, x.good(x.w)[2:]...).want(400).is("error", "invalid_request")
		x.form(tokenURL, nil, x.good(x.w, "grant_type", "client_credentials")...).want(400).is("error", "invalid_request")
	})
	s.row(t, "SIM-011 a JSON body", func(x *row) {
		x.do(request{method: "POST", path: tokenURL, body: `{"grant_type":"client_credentials"}`, as: anonymous}).want(400).is("error", "invalid_request")
		x.do(request{method: "GET", path: tokenURL, as: anonymous}).want(405).is("error", "invalid_request").has("Allow", "POST")
	})
	s.row(t, "SIM-012 two ways to authenticate", func(x *row) {
		x.form(tokenURL, []string{basic(x.w)}, "grant_type", "client_credentials", "client_secret", x.w.Credentials[0].Secret).want(400).is("error", "invalid_request")
	})
	s.row(t, "SIM-013 claims", func(x *row) {
		c := claimsOf(x, x.form(tokenURL, nil, x.good(x.w)...))
		roles, _ := json.Marshal(dig(c, "realm_access.roles"))
		iat, _ := c["iat"].(float64)
		exp, _ := c["exp"].(float64)
		if exp-iat != 300 || dig(c, "tenants.0") != "acme" || c["azp"] != x.w.Credentials[0].ClientID || c["sub"] != x.w.ID || c["typ"] != "Bearer" ||
			string(roles) != `["ro%connection-management-orchestrator","rw%connection-management-orchestrator"]` {
			x.Error(c)
		}
	})
	s.row(t, "SIM-014 the signature fits the published keys", func(x *row) {
		token := x.form(tokenURL, nil, x.good(x.w)...).get("access_token").(string)
		var keys jose.JSONWebKeySet
		if err := json.Unmarshal(x.do(request{method: "GET", path: "/oauth2/jwks", as: anonymous}).want(200).raw, &keys); err != nil {
			x.Fatal(err)
		}
		p, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			x.Fatal(err)
		}
		var claims map[string]any
		if err := p.Claims(keys, &claims); err != nil || p.Headers[0].ExtraHeaders["typ"] != "JWT" {
			x.Error(err, p.Headers)
		}
		meta := x.do(request{method: "GET", path: "/.well-known/oauth-authorization-server", as: anonymous}).want(200)
		meta.is("issuer", claims["iss"]).is("jwks_uri", "https://"+host+"/oauth2/jwks").is("token_endpoint", "https://"+host+"/oauth2/token")
	})
}

// claimsOf returns the claims of a token answer, unverified.
func claimsOf(x *row, a *answer) (claims map[string]any) {
	x.Helper()
	token, _ := a.get("access_token").(string)
	p, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err == nil {
		err = p.UnsafeClaimsWithoutVerification(&claims)
	}
	if err != nil {
		x.Fatal(err)
	}
	return claims
}

func TestAuthRows(t *testing.T) {
	s := open(t)
	s.row(t, "SIM-015 no token", func(x *row) {
		x.do(request{method: "GET", path: b + "/product", as: anonymous}).problem(401, "Unauthorized", "token_missing").has("WWW-Authenticate", `Bearer realm="hub"`)
	})
	s.row(t, "SIM-016 another scheme", func(x *row) {
		x.get(b+"/product", basic(x.w)).problem(401, "Unauthorized", "token_missing")
	})
	s.row(t, "SIM-017 no JWT", func(x *row) {
		a := x.get(b+"/product", "Authorization: Bearer abc").problem(401, "Unauthorized", "token_invalid")
		if !strings.Contains(a.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			x.Error(a.header)
		}
	})
	s.row(t, "SIM-018 a changed signature", func(x *row) {
		token := x.token(x, x.w)
		last := "A"
		if strings.HasSuffix(token, last) {
			last = "B"
		}
		x.get(b+"/product", "Authorization: Bearer "+token[:len(token)-1]+last).problem(401, "Unauthorized", "token_invalid")
	})
	s.row(t, "SIM-019 alg none", func(x *row) {
		parts := strings.Split(x.token(x, x.w), ".")
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
		x.get(b+"/product", "Authorization: Bearer "+header+"."+parts[1]+".").problem(401, "Unauthorized", "token_invalid")
	})
	s.row(t, "SIM-023 reading only", func(x *row) {
		a := x.as(x.r, "PATCH", b+"/product/"+s1+"-simCard", `[{"op":"replace","path":"/status","value":"SUSPENDED"}]`, jsonPatch).problem(403, "Forbidden", "permission_missing")
		a.has("WWW-Authenticate", `Bearer realm="hub", error="insufficient_scope", scope="connection-management-orchestrator:write"`)
		x.get(b+"/product/"+s1).is("status", "ACTIVE")
	})
	s.row(t, "SIM-024 find only reads", func(x *row) {
		x.as(x.r, "POST", b+"/product/find", `{"iccidList":["8900101000000000019"]}`).want(200)
	})
	s.row(t, "SIM-025 SIM-026 another tenant, whether it exists or not", func(x *row) {
		there := x.get("/api/connectivity/v1/globex/product").problem(403, "Forbidden", "tenant_forbidden")
		not := x.get("/api/connectivity/v1/nosuch/product").problem(403, "Forbidden", "tenant_forbidden")
		if strings.ReplaceAll(there.get("detail").(string), "globex", "nosuch") != not.get("detail") {
			x.Error(there.get("detail"), not.get("detail"))
		}
	})
	s.row(t, "SIM-028 401 before 404", func(x *row) {
		x.do(request{method: "GET", path: b + "/nosuch", as: anonymous}).problem(401, "Unauthorized", "token_missing")
		x.do(request{method: "GET", path: "/api/nosuch", as: anonymous}).problem(401, "Unauthorized", "token_missing")
		x.get("/api/nosuch").problem(404, "Not Found", "endpoint_not_found")
	})
	s.row(t, "SIM-029 a token in the query", func(x *row) {
		x.do(request{method: "GET", path: b + "/product?access_token=" + x.token(x, x.w), as: anonymous}).problem(401, "Unauthorized", "token_missing")
	})
	s.row(t, "SIM-030 administration needs its own right", func(x *row) {
		x.post(b+"/platform", `{}`).problem(403, "Forbidden", "permission_missing")
	})
	fresh(t, "SIM-020 SIM-021 the last moment of a token", func(x *row) {
		token := "Authorization: Bearer " + x.token(x, x.w)
		x.time.Store(noon.Add(5*time.Minute - time.Millisecond).UnixNano())
		x.get(b+"/product", token).want(200)
		x.time.Store(noon.Add(5 * time.Minute).UnixNano())
		a := x.get(b+"/product", token).problem(401, "Unauthorized", "token_expired")
		a.has("WWW-Authenticate", `Bearer realm="hub", error="invalid_token", error_description="The access token expired"`)
	})
	fresh(t, "SIM-022 a refreshed secret", func(x *row) {
		token := "Authorization: Bearer " + x.token(x, x.w)
		x.get(b+"/product", token).want(200)
		x.as(x.a, "POST", aam+"/application/"+x.w.ID+"/credential/"+x.w.Credentials[0].ClientID+"/refresh", "").want(200)
		x.get(b+"/product", token).problem(401, "Unauthorized", "token_revoked")
		x.form(tokenURL, nil, x.good(x.w)...).want(401).is("error", "invalid_client")
	})
	fresh(t, "SIM-027 a permission that is taken away", func(x *row) {
		token := "Authorization: Bearer " + x.token(x, x.w)
		x.as(x.a, "PATCH", aam+"/application/"+x.w.ID, `{"permissions":[{"api":"connection-management-orchestrator","version":"v1","access":"ro"}]}`, mergePatch).want(200)
		x.to(s1, "SUSPENDED", token).problem(403, "Forbidden", "permission_missing")
		x.get(b+"/product", token).want(200)
	})
}
