package node_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/navetest"
	"github.com/nave-hub/nave/internal/node"
)

// TestBearer has service callers come with tokens of an issuer over HTTPS.
func TestBearer(t *testing.T) {
	i := navetest.StartIssuer(t)
	k := navetest.Start(t, func(c *node.Config) {
		c.Hub.Auth.OIDC = node.OIDC{Issuers: []node.Issuer{{Issuer: i.URL}}, CA: i.CAFile,
			Roles:      map[string]string{"device admins": "Registry Contributor", "watchers": "data reader"},
			Principals: map[string]string{"app-1": "data owner"}}
	})
	bearer := func(change map[string]any) string {
		claims := map[string]any{"iss": i.URL, "aud": "https://iothubs.azure.net", "oid": "o-1", "exp": time.Now().Add(time.Hour).Unix()}
		maps.Copy(claims, change)
		return "Authorization: Bearer " + i.Token("rsa", claims)
	}
	contributor := bearer(map[string]any{"roles": []string{"device admins"}})
	answers := func(name string, r *navetest.Response, status int, text string) {
		t.Run(name, func(t *testing.T) {
			if r.Status != status || !strings.Contains(string(r.Body), text) {
				t.Errorf("%d %s, want %d with %q", r.Status, r.Body, status, text)
			}
			if code := r.Header.Get("Iothub-Errorcode"); status == 401 && !strings.HasPrefix(code, "IotHubUnauthorized") {
				t.Errorf("iothub-errorcode %q", code)
			}
		})
	}
	answers("SVC-024 registry contributor creates a device", k.REST("PUT", "/devices/d9", `{"deviceId":"d9"}`, contributor), 200, `"deviceId":"d9"`)
	answers("SVC-025 registry contributor patches a twin", k.REST("PATCH", "/twins/d9", `{"tags":{"a":1}}`, contributor), 401,
		"Principal o-1 is not authorized for PATCH on /twins/d9 due to no assigned permissions")
	answers("SVC-026 wrong audience", k.REST("GET", "/devices/d9", "", bearer(map[string]any{"roles": "device admins", "aud": "https://vault.azure.net"})), 401,
		"audience (aud)")

	reader := bearer(map[string]any{"groups": []string{"watchers"}})
	owner := bearer(map[string]any{"sub": "x", "appid": "app-1"})
	answers("reader reads a twin", k.REST("GET", "/twins/d9", "", reader), 200, `"deviceId":"d9"`)
	answers("reader counts", k.REST("GET", "/statistics/devices", "", reader), 200, `"totalDeviceCount":1`)
	answers("reader deletes", k.REST("DELETE", "/devices/d9", "", reader, "If-Match: *"), 401, "not authorized for DELETE on /devices/d9")
	answers("reader calls a method", k.REST("POST", "/twins/d9/methods", `{"methodName":"m"}`, reader), 401, "not authorized for POST")
	answers("contributor counts", k.REST("GET", "/statistics/devices", "", contributor), 401, "not authorized for GET on /statistics/devices")
	answers("nobody", k.REST("GET", "/devices/d9", "", bearer(nil)), 401, "Principal o-1 is not authorized for GET on /devices/d9")
	answers("owner patches a twin", k.REST("PATCH", "/twins/d9", `{"tags":{"a":1}}`, owner), 200, `"a":1`)
	answers("expired", k.REST("GET", "/devices/d9", "", bearer(map[string]any{"roles": "device admins", "exp": time.Now().Add(-time.Hour).Unix()})), 401, "expired")
	answers("wrong issuer", k.REST("GET", "/devices/d9", "", bearer(map[string]any{"iss": "https://idp.test"})), 401, "issuer")
	answers("a device may not", k.REST("POST", "/devices/d9/messages/events", "x", owner), 401, "")
	answers("contributor deletes", k.REST("DELETE", "/devices/d9", "", contributor, "If-Match: *"), 204, "")
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
}

func TestNoBearer(t *testing.T) {
	i := navetest.StartIssuer(t)
	k := navetest.Start(t)
	r := k.REST("GET", "/devices/d1", "", "Authorization: Bearer "+i.Token("ec", map[string]any{"iss": i.URL}))
	if r.Status != 401 || !strings.Contains(string(r.Body), "no issuer of bearer tokens is configured") {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

func TestDisableLocalAuth(t *testing.T) {
	k := navetest.Start(t, func(c *node.Config) { c.Hub.Auth.DisableLocal = true })
	t.Run("SVC-027 policies are switched off", func(t *testing.T) {
		for _, policy := range []string{"iothubowner", "service", "registryRead"} {
			r := k.REST("GET", "/devices/d1", "", "Authorization: "+k.Policy(policy))
			if r.Status != 401 {
				t.Errorf("%s: %d %s", policy, r.Status, r.Body)
			}
		}
	})
	d := k.Device("d1")
	if r := k.REST("POST", "/devices/d1/messages/events", "x", "Authorization: "+d.Token()); r.Status != 204 {
		t.Errorf("a device's own token: %d %s", r.Status, r.Body)
	}
}
