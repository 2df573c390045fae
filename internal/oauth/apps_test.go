package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/store"
)

// appRig are applications on a real store and bus, with a clock that the test
// moves.
type appRig struct {
	*oauth.Apps
	db  *store.DB
	bus *bus.Bus
	at  atomic.Int64
	t   *testing.T
}

func (r *appRig) now() time.Time { return time.Unix(0, r.at.Load()).UTC() }

var appNoon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const appHost = "hub.example.com"

func newAppRig(t *testing.T) *appRig {
	t.Helper()
	r := &appRig{t: t}
	r.at.Store(appNoon.UnixNano())
	var err error
	if r.db, err = store.Open(t.Context(), "sqlite::memory:", store.Options{Now: r.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.db.Close() })
	if r.bus, err = bus.Open(t.Context(), bus.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.bus.Close() })
	r.Apps = r.open(nil)
	return r
}

func (r *appRig) open(secret []byte) *oauth.Apps {
	r.t.Helper()
	a, err := oauth.OpenApps(r.t.Context(), oauth.AppsOptions{Host: appHost, DB: r.db, Bus: r.bus, Secret: secret})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(a.Close)
	return a
}

func (r *appRig) app(name string, permissions ...oauth.Permission) *oauth.App {
	r.t.Helper()
	a, err := r.CreateApp(r.t.Context(), "acme", oauth.AppDraft{Name: name, Contact: "ops@example.com", Permissions: permissions})
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *appRig) token(k oauth.Credential, scope string) string {
	r.t.Helper()
	got, err := r.AppToken(r.t.Context(), k.ClientID, k.Secret, scope)
	if err != nil {
		r.t.Fatal(err)
	}
	return got.Text
}

func (r *appRig) refused(token string, want *fault.Code) {
	r.t.Helper()
	if c, err := r.CheckToken(r.t.Context(), token); !errors.Is(err, want) {
		r.t.Errorf("token answers %v, %v, want %v", c, err, want)
	}
}

var writeConn = oauth.Permission{API: oauth.APIConnectivity, Version: "v1", Access: "rw"}

func TestAppToken(t *testing.T) {
	r := newAppRig(t)
	app := r.app("w", writeConn)
	k := app.Credentials[0]
	token := r.token(k, "openid email")
	c, err := r.CheckToken(t.Context(), token)
	if err != nil || c.App != app.ID || c.Client != k.ClientID || !c.In("acme") || c.In("globex") ||
		!c.Allows(oauth.APIConnectivity, "ro") || !c.Allows(oauth.APIConnectivity, "rw") || c.Allows(oauth.APIPlatforms, "ro") {
		t.Fatal(c, err)
	}
	var keys jose.JSONWebKeySet
	raw, err := r.JWKS(t.Context())
	if err != nil || json.Unmarshal(raw, &keys) != nil || len(keys.Keys) != 1 || strings.Contains(string(raw), `"d"`) {
		t.Fatal(string(raw), err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := parsed.Claims(keys, &claims); err != nil {
		t.Fatal(err)
	}
	if parsed.Headers[0].KeyID == "" || claims["exp"].(float64)-claims["iat"].(float64) != 300 || claims["azp"] != k.ClientID ||
		claims["preferred_username"] != "service-account-"+k.ClientID || claims["iss"] != "https://"+appHost {
		t.Errorf("claims %v", claims)
	}
	r.at.Store(appNoon.Add(300*time.Second - time.Millisecond).UnixNano())
	if _, err := r.CheckToken(t.Context(), token); err != nil {
		t.Error(err)
	}
	r.at.Store(appNoon.Add(300 * time.Second).UnixNano())
	r.refused(token, fault.SIMTokenExpired)
}

// Each spelling of a token but one is refused: every character counts.
func TestAppTokenSpelling(t *testing.T) {
	r := newAppRig(t)
	token := r.token(r.app("w", writeConn).Credentials[0], "")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	for n := range 64 {
		if n != last {
			r.refused(token[:len(token)-1]+alphabet[n:n+1], fault.SIMTokenInvalid)
		}
	}
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	parts := strings.Split(token, ".")
	for _, bad := range []string{"", "abc", header + "." + parts[1] + ".", header + "." + parts[1] + "." + parts[2], parts[0] + "." + parts[1], token + ".x",
		strings.Repeat("a", 1<<17)} {
		r.refused(bad, fault.SIMTokenInvalid)
	}
}

func TestAppScopes(t *testing.T) {
	r := newAppRig(t)
	k := r.app("w", writeConn, oauth.Permission{API: oauth.APIPlatforms, Version: "v1", Access: "ro"}).Credentials[0]
	for scope, want := range map[string]string{
		"":                         "connection-management-orchestrator:read connection-management-orchestrator:write platform-management:read",
		"openid profile":           "connection-management-orchestrator:read connection-management-orchestrator:write platform-management:read",
		"platform-management:read": "platform-management:read",
		"connection-management-orchestrator:write": "connection-management-orchestrator:read connection-management-orchestrator:write",
	} {
		if got, err := r.AppToken(t.Context(), k.ClientID, k.Secret, scope); err != nil || got.Scope != want {
			t.Errorf("%q gives %v, %v", scope, got, err)
		}
	}
	for _, scope := range []string{"platform-management:write", "x", "openid x"} {
		if _, err := r.AppToken(t.Context(), k.ClientID, k.Secret, scope); err != oauth.ErrScope {
			t.Errorf("%q gives %v", scope, err)
		}
	}
	narrow, err := r.CheckToken(t.Context(), r.token(k, "connection-management-orchestrator:read"))
	if err != nil || narrow.Allows(oauth.APIConnectivity, "rw") || !narrow.Allows(oauth.APIConnectivity, "ro") || narrow.Allows(oauth.APIPlatforms, "ro") {
		t.Error(narrow, err)
	}
	if _, err := r.AppToken(t.Context(), k.ClientID, "x", ""); err != oauth.ErrClient {
		t.Error(err)
	}
	if _, err := r.AppToken(t.Context(), "nobody", k.Secret, ""); err != oauth.ErrClient {
		t.Error(err)
	}
}

// What an administrator takes away is gone for tokens that were issued before.
func TestAppChanges(t *testing.T) {
	r := newAppRig(t)
	ctx := t.Context()
	app := r.app("w", writeConn)
	k := app.Credentials[0]
	token := r.token(k, "")
	r.check(token)
	read := []oauth.Permission{{API: oauth.APIConnectivity, Version: "v1", Access: "ro"}}
	if _, err := r.ChangeApp(ctx, "acme", app.ID, oauth.AppPatch{Permissions: &read}); err != nil {
		t.Fatal(err)
	}
	if c := r.check(token); c.Allows(oauth.APIConnectivity, "rw") || !c.Allows(oauth.APIConnectivity, "ro") {
		t.Error("a permission that was taken away still holds")
	}
	none := []oauth.Permission{}
	if _, err := r.ChangeApp(ctx, "acme", app.ID, oauth.AppPatch{Permissions: &none}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.AppToken(ctx, k.ClientID, k.Secret, ""); err != oauth.ErrUseless {
		t.Error(err)
	}
	if _, err := r.ChangeApp(ctx, "acme", app.ID, oauth.AppPatch{Permissions: &read}); err != nil {
		t.Fatal(err)
	}
	fresh, err := r.RefreshCredential(ctx, "acme", app.ID, k.ClientID)
	if err != nil || fresh.Secret == k.Secret || fresh.Refreshed != appNoon {
		t.Fatal(fresh, err)
	}
	r.refused(token, fault.SIMTokenRevoked)
	if _, err := r.AppToken(ctx, k.ClientID, k.Secret, ""); err != oauth.ErrClient {
		t.Error(err)
	}
	// The clock has not moved: the new token bears the same second as the old.
	token = r.token(*fresh, "")
	r.check(token)
	second, err := r.AddCredential(ctx, "acme", app.ID)
	if err != nil {
		t.Fatal(err)
	}
	other := r.token(*second, "")
	if err := r.DeleteCredential(ctx, "acme", app.ID, k.ClientID); err != nil {
		t.Fatal(err)
	}
	r.refused(token, fault.SIMTokenRevoked)
	r.check(other)
	if err := r.DeleteApp(ctx, "acme", app.ID); err != nil {
		t.Fatal(err)
	}
	r.refused(other, fault.SIMTokenRevoked)
}

func (r *appRig) check(token string) *oauth.Caller {
	r.t.Helper()
	c, err := r.CheckToken(r.t.Context(), token)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// Tenants do not see each other's applications; limits and names hold.
func TestAppLimits(t *testing.T) {
	r := newAppRig(t)
	ctx := t.Context()
	app := r.app("w", writeConn)
	for _, err := range []error{
		second(r.Apps.App(ctx, "globex", app.ID)), r.DeleteApp(ctx, "globex", app.ID), second(r.AddCredential(ctx, "globex", app.ID)),
		second(r.RefreshCredential(ctx, "globex", app.ID, app.Credentials[0].ClientID)), r.DeleteCredential(ctx, "acme", "x", app.Credentials[0].ClientID),
	} {
		if !errors.Is(err, fault.SIMApplicationNotFound) {
			t.Error(err)
		}
	}
	draft := oauth.AppDraft{Name: "w", Contact: "a@b.c", Permissions: []oauth.Permission{writeConn}}
	if _, err := r.CreateApp(ctx, "acme", draft); !errors.Is(err, fault.SIMNameTaken) {
		t.Error(err)
	}
	if _, err := r.CreateApp(ctx, "globex", draft); err != nil {
		t.Error(err)
	}
	for n := 1; n < oauth.MaxCredentials; n++ {
		if _, err := r.AddCredential(ctx, "acme", app.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.AddCredential(ctx, "acme", app.ID); !errors.Is(err, fault.SIMCredentialLimit) {
		t.Error(err)
	}
	shown, err := r.Apps.App(ctx, "acme", app.ID)
	if err != nil || len(shown.Credentials) != 5 || slices.ContainsFunc(shown.Credentials, func(k oauth.Credential) bool { return k.Secret != "" }) {
		t.Error(shown, err)
	}
	if all, n, err := r.Apps.Apps(ctx, "acme", 0, 10); err != nil || n != 1 || len(all) != 1 {
		t.Error(all, n, err)
	}
}

func second[T any](_ T, err error) error { return err }

// Keys outlive a start, are sealed when a secret is set, and can be changed
// without ending tokens.
func TestAppKeys(t *testing.T) {
	r := newAppRig(t)
	ctx := t.Context()
	k := r.app("w", writeConn).Credentials[0]
	old := r.token(k, "")
	r.Close()
	secret := []byte("a secret of the operator")
	r.Apps = r.open(secret)
	r.check(old)
	if err := r.RotateKey(ctx); err != nil {
		t.Fatal(err)
	}
	fresh := r.token(k, "")
	r.check(old)
	r.check(fresh)
	kid := func(token string) string {
		p, _ := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
		return p.Headers[0].KeyID
	}
	if kid(old) == kid(fresh) {
		t.Error("the new key does not sign")
	}
	var rows []*store.TokenKey
	if err := r.db.View(ctx, func(tx *store.Tx) (err error) { rows, err = tx.TokenKeys(); return err }); err != nil || len(rows) != 2 || rows[1].Sealed[0] != 0 && rows[0].Sealed[0] != 0 {
		t.Error(rows, err)
	}
	if _, err := oauth.OpenApps(ctx, oauth.AppsOptions{Host: appHost, DB: r.db, Bus: r.bus, Secret: []byte("another")}); err == nil {
		t.Error("a key was read with the wrong secret")
	}
}

// A change on another node is seen with its note, long before what is in memory
// is too old.
func TestAppNote(t *testing.T) {
	defer oauth.KeepFor(time.Hour)()
	r := newAppRig(t)
	ctx := t.Context()
	k := r.app("w", writeConn).Credentials[0]
	token := r.token(k, "")
	r.check(token)
	err := r.db.Update(ctx, func(tx *store.Tx) error {
		row, err := tx.AppCredential(k.ClientID)
		if err == nil {
			row.ValidFrom++
			err = tx.PutAppCredential(row)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.check(token) // as long as nobody tells
	r.bus.Tell("oauth.app."+bus.Word(appHost), map[string]string{"Node": "other", "Client": k.ClientID})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := r.CheckToken(ctx, token); errors.Is(err, fault.SIMTokenRevoked) {
			return
		}
	}
	t.Error("the token is still valid")
}
