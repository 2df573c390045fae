package hubhttp_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/hub"
)

// raw signs a token field by field, in the order that is given.
func raw(sr, key, policy string, se int64, order ...string) string {
	k, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, k)
	fmt.Fprintf(mac, "%s\n%d", sr, se)
	sig := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	fields := map[string]string{"sr": sr, "se": fmt.Sprint(se), "skn": policy, "sig": url.QueryEscape(sig)}
	if len(order) == 0 {
		order = []string{"sr", "sig", "se", "skn"}
	}
	var parts []string
	for _, name := range order {
		if name == "rawsig" {
			parts = append(parts, "sig="+lowerEscapes(sig))
			continue
		}
		parts = append(parts, name+"="+fields[name])
	}
	return "SharedAccessSignature " + strings.Join(parts, "&")
}

// lowerEscapes writes escapes in lower case and leaves slashes alone.
func lowerEscapes(s string) string {
	return strings.NewReplacer("+", "%2b", "=", "%3d").Replace(s)
}

func TestServiceTokens(t *testing.T) {
	r := newRig(t, options{})
	r.create("d1")
	owner, _ := r.hub.Policy("iothubowner")
	soon := now().Add(time.Hour).Unix()
	plain := func(sr string, se int64) string { return raw(sr, owner.Primary, "iothubowner", se) }
	for _, row := range []struct {
		name, path, token string
		status            int
	}{
		{"SVC-002 no Authorization", "/devices/x", "", 401},
		{"SVC-003 order of fields", "/devices/d1", raw(r.host, owner.Primary, "iothubowner", soon, "sig", "se", "skn", "sr"), 200},
		{"SVC-004 sr not encoded", "/devices/d1", plain(r.host, soon), 200},
		{"SVC-005 lower-case escapes and raw slash", "/devices/d1", raw(r.host+"%2f", owner.Primary, "iothubowner", soon, "sr", "rawsig", "se", "skn"), 200},
		{"SVC-006 host in upper case", "/devices/d1", plain(strings.ToUpper(r.host), soon), 200},
		{"SVC-007 host with port", "/devices/d1", plain(r.host+"%3A443", soon), 200},
		{"SVC-008 narrowed to devices", "/devices/d1", plain(r.host+"%2Fdevices", soon), 200},
		{"SVC-009 narrowed to devices, asks for a twin", "/twins/d1", plain(r.host+"%2Fdevices", soon), 401},
		{"SVC-010 prefix of a segment", "/devices/d1", plain(r.host+"%2Fdev", soon), 401},
		{"SVC-011 another host", "/devices/d1", plain("other.test", soon), 401},
		{"SVC-012 expired 4 minutes ago", "/devices/d1", plain(r.host, now().Add(-4*time.Minute).Unix()), 200},
		{"SVC-013 expired 10 minutes ago", "/devices/d1", plain(r.host, now().Add(-10*time.Minute).Unix()), 401},
		{"SVC-013 expiry 0", "/devices/d1", plain(r.host, 0), 401},
		{"SVC-014 secondary key", "/devices/d1", raw(r.host, owner.Secondary, "iothubowner", soon), 200},
		{"SVC-015 unknown policy", "/devices/d1", raw(r.host, owner.Primary, "nobody", soon), 401},
		{"malformed token", "/devices/d1", "SharedAccessSignature sr=x", 401},
		{"another scheme", "/devices/d1", "Basic eDp5", 401},
		{"bearer without issuer", "/devices/d1", "Bearer a.b.c", 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			q := ask{verb: "GET", path: row.path, token: row.token}
			if row.token == "" {
				q.as = "none"
			}
			got := r.do(q)
			if row.status == 401 {
				got.refused(t, 401, "IotHubUnauthorizedAccess")
				if _, ok := got.header("WWW-Authenticate"); ok || !strings.Contains(got.body, `"ExceptionMessage":"Tracking ID:`) {
					t.Errorf("got %s", got)
				}
			}
			got.want(t, row.status)
		})
	}
}

func TestServiceRights(t *testing.T) {
	r := newRig(t, options{})
	r.create("d1")
	for _, row := range []struct {
		name, verb, path, as, body string
		status                     int
	}{
		{"SVC-016 DeviceConnect only", "GET", "/devices/d1", "device", "", 401},
		{"SVC-017 registryRead reads", "GET", "/devices/d1", "registryRead", "", 200},
		{"SVC-018 registryRead writes", "PUT", "/devices/d9", "registryRead", "{}", 401},
		{"SVC-019 registryReadWrite writes", "PUT", "/devices/d9", "registryReadWrite", "{}", 200},
		{"SVC-020 registryReadWrite reads a twin", "GET", "/twins/d1", "registryReadWrite", "", 401},
		{"SVC-021 service reads a twin", "GET", "/twins/d1", "service", "", 200},
		{"SVC-022 service writes the registry", "PUT", "/devices/d9", "service", "{}", 401},
		{"SVC-023 device key", "GET", "/devices/d1", "d1", "", 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := r.do(ask{verb: row.verb, path: row.path, as: row.as, body: row.body})
			if row.status == 401 {
				got.refused(t, 401, "IotHubUnauthorizedAccess")
			}
			got.want(t, row.status)
		})
	}
}

func TestNoLocalAuth(t *testing.T) {
	r := newRig(t, options{hub: func(o *hub.Options) { o.DisableLocalAuth = true }})
	r.create("d1")
	t.Run("SVC-027 disableLocalAuth", func(t *testing.T) {
		r.do(ask{verb: "GET", path: "/devices/d1"}).refused(t, 401, "IotHubUnauthorizedAccess")
		r.do(ask{verb: "POST", path: "/devices/d1/messages/events", as: "d1", body: "x"}).want(t, 204)
	})
}

func TestBearer(t *testing.T) {
	r := newRig(t, options{hub: func(o *hub.Options) {
		o.Bearer = func(_ context.Context, token string) (*nave.Principal, error) {
			return &nave.Principal{Name: token, Rights: nave.RegistryRead, Proof: "bearer"}, nil
		}
	}})
	r.create("d1")
	r.do(ask{verb: "GET", path: "/devices/d1", token: "bearer  a.b.c"}).want(t, 200)
	r.do(ask{verb: "PUT", path: "/devices/d2", token: "Bearer a.b.c", body: "{}"}).refused(t, 401, "IotHubUnauthorizedAccess")
}

func TestHostWithPort(t *testing.T) {
	r := newRig(t, options{})
	r.create("d1")
	t.Run("SVC-028 host header with port", func(t *testing.T) {
		token := r.token("service", now().Add(time.Hour))
		host := r.host
		r.host += ":443"
		got := r.do(ask{verb: "GET", path: "/twins/d1", token: token})
		r.host = host
		got.want(t, 200)
	})
}

func TestDeviceTokens(t *testing.T) {
	r := newRig(t, options{})
	key := r.create("dev1").Auth.Primary
	r.create("x1", func(p *nave.IdentityPatch) {
		p.Auth = &nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: strings.Repeat("a", 40)}
	})
	device, _ := r.hub.Policy("device")
	read, _ := r.hub.Policy("registryRead")
	soon := now().Add(time.Hour).Unix()
	for _, row := range []struct {
		name, device, token string
		status              int
		code                string
	}{
		{"DEV-203 wrong key", "dev1", raw(r.host+"%2Fdevices%2Fdev1", read.Primary, "", soon, "sr", "sig", "se"), 401, "IotHubUnauthorizedAccess"},
		{"DEV-204 unknown device", "none", raw(r.host+"%2Fdevices%2Fnone", key, "", soon, "sr", "sig", "se"), 404, "DeviceNotFound"},
		{"DEV-023 https policy device", "dev1", raw(r.host, device.Primary, "device", soon), 204, ""},
		{"DEV-024 https policy registryRead", "dev1", raw(r.host, read.Primary, "registryRead", soon), 401, "IotHubUnauthorizedAccess"},
		{"DEV-025 https expired 2 minutes ago", "dev1", raw(r.host+"%2Fdevices%2Fdev1", key, "", now().Add(-2*time.Minute).Unix(), "sr", "sig", "se"), 204, ""},
		{"DEV-026 https expired 10 minutes ago", "dev1", raw(r.host+"%2Fdevices%2Fdev1", key, "", now().Add(-10*time.Minute).Unix(), "sr", "sig", "se"), 401, "IotHubUnauthorized"},
		{"DEV-027 https expiry is no number", "dev1", "SharedAccessSignature sr=" + r.host + "&sig=x&se=abc", 401, "IotHubUnauthorized"},
		{"DEV-027 https no signature", "dev1", "SharedAccessSignature sr=" + r.host + "&se=1", 401, "IotHubUnauthorized"},
		{"DEV-034 https unknown id", "dev%23%2B", raw(r.host+"%2Fdevices%2Fdev%2523%252B", key, "", soon, "sr", "sig", "se"), 404, "DeviceNotFound"},
		{"DEV-043 https token for an X.509 device", "x1", raw(r.host+"%2Fdevices%2Fx1", key, "", soon, "sr", "sig", "se"), 401, "IotHubUnauthorized"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := r.do(ask{verb: "POST", path: "/devices/" + row.device + "/messages/events", token: row.token, body: "x"})
			if row.code == "" {
				got.want(t, row.status)
				return
			}
			got.refused(t, row.status, row.code)
			if row.name[:7] == "DEV-203" && !strings.HasPrefix(got.body, `{"Message":"ErrorCode:IotHubUnauthorizedAccess;Unauthorized`) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	r := newRig(t, options{})
	pair := func(certPEM, keyPEM []byte, err error) (tls.Certificate, *x509.Certificate) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		return c, c.Leaf
	}
	own, leaf := pair(cred.SelfSigned("x1", time.Hour))
	other, _ := pair(cred.SelfSigned("x1", time.Hour))
	sha1, sha256 := cred.Thumbprints(leaf)
	r.create("x1", func(p *nave.IdentityPatch) { p.Auth = &nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: sha1} })
	r.create("x2", func(p *nave.IdentityPatch) {
		p.Auth = &nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: strings.Repeat("0", 64), SecondThumbprint: sha256}
	})
	send := func(device string, c tls.Certificate) *answer {
		return r.do(ask{verb: "POST", path: "/devices/" + device + "/messages/events", as: "none", body: "x",
			config: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{c}}})
	}
	t.Run("DEV-036 https thumbprint", func(t *testing.T) { send("x1", own).want(t, 204) })
	t.Run("DEV-038 https secondary thumbprint", func(t *testing.T) { send("x2", own).want(t, 204) })
	t.Run("DEV-039 https another certificate", func(t *testing.T) { send("x1", other).refused(t, 401, "IotHubUnauthorized") })
	t.Run("certificate of an unknown device", func(t *testing.T) { send("none", own).refused(t, 401, "IotHubUnauthorized") })
	t.Run("a certificate opens no service operation", func(t *testing.T) {
		r.do(ask{verb: "GET", path: "/devices/x1", as: "none", config: &tls.Config{InsecureSkipVerify: true,
			Certificates: []tls.Certificate{own}}}).refused(t, 401, "IotHubUnauthorizedAccess")
	})
}
