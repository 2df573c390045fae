package hubmqtt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

// signature signs sr and se as they stand.
func signature(t *testing.T, key, sr, se string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	sum := hmac.New(sha256.New, raw)
	sum.Write([]byte(sr + "\n" + se))
	return base64.StdEncoding.EncodeToString(sum.Sum(nil))
}

func (w *world) expiry(life time.Duration) string { return fmt.Sprint(w.now().Add(life).Unix()) }

// TestToken lets a token speak for a device; code 0 means accepted.
func TestToken(t *testing.T) {
	t.Parallel()
	w := open(t)
	a, odd := w.register(t, "dev1", nil), w.register(t, "a%b=c", nil)
	ten := w.register(t, "dev10", nil)
	policy := func(name string) string {
		p, ok := w.hub.Policy(name)
		if !ok {
			t.Fatalf("no policy %s", name)
		}
		token, err := cred.Sign(host, p.Primary, name, w.now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	se, sr := w.expiry(time.Hour), host+"%2Fdevices%2Fdev1"
	token := func(sr, key string) string {
		return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(signature(t, key, sr, se)) + "&se=" + se
	}
	plus := se
	for n := 0; !strings.Contains(signature(t, a.key, sr, plus), "+"); n++ {
		plus = w.expiry(time.Hour + time.Duration(n)*time.Second)
	}
	for _, c := range []struct {
		name  string
		on    *account
		token string
		code  byte
		why   *fault.Code
	}{
		{"DEV-014 device key", a, w.token(t, a, time.Hour), 0, nil},
		{"DEV-015 secondary key", a, token(sr, a.second), 0, nil},
		{"DEV-016 order sig, se, sr with raw slashes", a, "SharedAccessSignature sig=" + url.QueryEscape(signature(t, a.key, host+"/devices/dev1", se)) + "&se=" + se + "&sr=" + host + "/devices/dev1", 0, nil},
		{"DEV-017 lower-case escapes", a, token(host+"%2fdevices%2fdev1", a.key), 0, nil},
		{"DEV-018 double encoding", odd, token(url.QueryEscape(host+"/devices/"+url.QueryEscape("a%b=c")), odd.key), 0, nil},
		{"DEV-019 unescaped plus", a, "SharedAccessSignature sr=" + sr + "&sig=" + signature(t, a.key, sr, plus) + "&se=" + plus, 0, nil},
		{"DEV-020 key of another device", a, token(sr, ten.key), 5, fault.IotHubUnauthorizedAccess},
		{"DEV-021 token of dev1 for dev10", ten, w.token(t, a, time.Hour), 5, fault.IotHubUnauthorized},
		{"DEV-022 device key for the whole hub", a, token(host, a.key), 5, fault.IotHubUnauthorized},
		{"DEV-023 policy device", a, policy("device"), 0, nil},
		{"DEV-024 policy registryRead", a, policy("registryRead"), 5, fault.IotHubUnauthorizedAccess},
		{"DEV-025 expired 2 minutes ago", a, w.token(t, a, -2*time.Minute), 0, nil},
		{"DEV-026 expired 10 minutes ago", a, w.token(t, a, -10*time.Minute), 5, fault.IotHubUnauthorized},
		{"DEV-027 se=abc", a, "SharedAccessSignature sr=" + sr + "&sig=x&se=abc", 5, fault.IotHubUnauthorized},
		{"DEV-027 no sig", a, "SharedAccessSignature sr=" + sr + "&se=" + se, 5, fault.IotHubUnauthorized},
		{"no password", a, "", 5, fault.IotHubUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := w.login(t, c.on)
			if o.Password = []byte(c.token); c.token == "" {
				o.Password = nil
			}
			w.mu.Lock()
			w.reports = nil
			w.mu.Unlock()
			if c.code == 0 {
				d, err := w.try(t, o)
				if err != nil {
					t.Fatal(err)
				}
				d.alive()
				return
			}
			w.refused(t, o, c.code)
			if e := w.ended(t, c.on.ID, "device.connect", c.why); e.Text == "" || strings.Contains(e.Text, c.on.key) {
				t.Errorf("reported %q", e.Text)
			}
		})
	}
}

func TestUsernames(t *testing.T) {
	t.Parallel()
	w := open(t)
	accepted := func(name, query string) {
		t.Run(name, func(t *testing.T) {
			a := w.register(t, "", nil)
			w.connect(t, a, func(o *mqtt.ClientOptions) { o.Username = host + "/" + a.String() + query }).alive()
		})
	}
	accepted("DEV-028 bare", "")
	accepted("DEV-029 old slash form", "/api-version=2017-06-30/DeviceClientType=x")
	t.Run("DEV-030 raw model id", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a, func(o *mqtt.ClientOptions) { o.Username += "&model-id=dtmi:com:x;1" })
		d.publish(a.own()+"messages/events/", "x", 1, 1)
		d.acked(1)
		if e := w.stored(t, a.ID, 1)[0]; e.Model != "dtmi:com:x;1" {
			t.Errorf("dt-dataschema is %q", e.Model)
		}
		if v, err := w.back.Twin(w.ctx, a.ID); err != nil || v.Twin.Model != "dtmi:com:x;1" {
			t.Errorf("modelId is %+v, %v", v, err)
		}
	})
	for _, c := range []struct {
		name   string
		change func(o *mqtt.ClientOptions)
		why    *fault.Code
	}{
		{"DEV-031 other client id", func(o *mqtt.ClientOptions) { o.ClientID = "other" }, fault.IotHubUnauthorized},
		{"DEV-032 letter case of the client id", func(o *mqtt.ClientOptions) { o.ClientID = strings.ToUpper(o.ClientID) }, fault.IotHubUnauthorized},
		{"other hub", func(o *mqtt.ClientOptions) { o.Username = strings.Replace(o.Username, host, "other.test", 1) }, fault.IotHubNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := w.register(t, "", nil)
			o := w.login(t, a)
			c.change(&o)
			w.refused(t, o, 5)
			w.ended(t, a.ID, "device.connect", c.why)
		})
	}
	t.Run("DEV-033 module", func(t *testing.T) {
		a := w.register(t, "dev33/mod1", nil)
		d := w.connect(t, a)
		d.publish(a.own()+"messages/events/", "x", 1, 1)
		d.acked(1)
		w.stored(t, a.ID, 1)
	})
	for _, name := range []string{"nobody", "dev#+"} {
		t.Run("DEV-034 unknown "+name, func(t *testing.T) {
			a := &account{nave.ID{Device: name}, cred.NewKey(), ""}
			w.refused(t, w.login(t, a), 5)
			w.ended(t, a.ID, "device.connect", fault.DeviceNotFound)
		})
	}
	t.Run("DEV-035 disabled", func(t *testing.T) {
		a := w.register(t, "", nil)
		w.disable(t, a)
		w.refused(t, w.login(t, a), 5)
		w.ended(t, a.ID, "device.connect", fault.IotHubUnauthorized)
	})
	t.Run("DEV-053 gateway", func(t *testing.T) {
		a := w.register(t, "", nil)
		w.connect(t, a).alive() // user name and token carry the hub's name, whatever was dialled
		w.connect(t, a, func(o *mqtt.ClientOptions) { o.Username = strings.Replace(o.Username, host, alias, 1) }).alive()
	})
	t.Run("throttled and unavailable give CONNACK 3", func(t *testing.T) {
		a := w.register(t, "", nil)
		for _, code := range []*fault.Code{fault.ThrottlingException, fault.ServiceUnavailable} {
			w.gate.Halt(code)
			w.refused(t, w.login(t, a), 3)
		}
		w.gate.Halt(nil)
		w.connect(t, a).alive()
	})
}

func (w *world) disable(t *testing.T, a *account) {
	t.Helper()
	disabled := nave.Disabled
	if _, err := w.back.Put(w.ctx, a.ID, &nave.IdentityPatch{Status: &disabled}, "*"); err != nil {
		t.Fatal(err)
	}
}

// issuer is a certificate with its key.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate that i signs, or a self-signed one when i is nil.
func (i *issuer) issue(t *testing.T, cn string, ca bool) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: ca, BasicConstraintsValid: true}
	if ca {
		template.KeyUsage = x509.KeyUsageCertSign
	}
	parent, signer := template, key
	if i != nil {
		parent, signer = i.cert, i.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	w := open(t)
	var none *issuer
	leaf, other := none.issue(t, "anything", false), none.issue(t, "other", false)
	one, two := sha1.Sum(leaf.cert.Raw), sha256.Sum256(leaf.cert.Raw)
	foreign := strings.Repeat("0", 64)
	self := func(primary, secondary string) *nave.Auth {
		return &nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: primary, SecondThumbprint: secondary}
	}
	bare := func(a *account) mqtt.ClientOptions {
		return mqtt.ClientOptions{ClientID: a.String(), Username: host + "/" + a.String() + "/?api-version=2021-04-12"}
	}
	accepted := func(t *testing.T, a *account, certs ...*x509.Certificate) {
		t.Helper()
		d, err := w.try(t, bare(a), certs...)
		if err != nil {
			t.Fatal(err)
		}
		d.alive()
	}
	t.Run("DEV-036 SHA-1 thumbprint", func(t *testing.T) {
		accepted(t, w.register(t, "", self(strings.ToUpper(hex.EncodeToString(one[:])), "")), leaf.cert)
	})
	t.Run("DEV-037 SHA-256 thumbprint with colons", func(t *testing.T) {
		text := hex.EncodeToString(two[:])
		var parts []string
		for n := 0; n < len(text); n += 2 {
			parts = append(parts, text[n:n+2])
		}
		accepted(t, w.register(t, "", self(strings.Join(parts, ":"), "")), leaf.cert)
	})
	t.Run("DEV-038 secondary thumbprint", func(t *testing.T) {
		accepted(t, w.register(t, "", self(foreign, hex.EncodeToString(two[:]))), leaf.cert)
	})
	t.Run("DEV-039 another certificate", func(t *testing.T) {
		a := w.register(t, "", self(hex.EncodeToString(two[:]), ""))
		w.refused(t, bare(a), 5, other.cert)
		if e := w.ended(t, a.ID, "device.connect", fault.IotHubUnauthorized); !strings.Contains(e.Text, "Thumbprint does not match") {
			t.Errorf("reported %v", e)
		}
	})
	t.Run("DEV-043 SAS token for an X.509 device", func(t *testing.T) {
		a := w.register(t, "", self(hex.EncodeToString(two[:]), ""))
		a.key = cred.NewKey()
		w.refused(t, w.login(t, a), 5)
	})
	t.Run("a stray certificate beside a token is ignored", func(t *testing.T) {
		if _, err := w.try(t, w.login(t, w.register(t, "", nil)), other.cert); err != nil {
			t.Error(err)
		}
	})
	root := none.issue(t, "root", true)
	first := root.issue(t, "first", true)
	second := first.issue(t, "second", true)
	w.trust(t, root.cert)
	byCA := &nave.Auth{Type: nave.AuthCA}
	t.Run("DEV-040 two intermediates", func(t *testing.T) {
		a := w.register(t, "ca40", byCA)
		accepted(t, a, second.issue(t, "ca40", false).cert, second.cert, first.cert)
	})
	t.Run("DEV-041 another common name", func(t *testing.T) {
		a := w.register(t, "ca41", byCA)
		w.refused(t, bare(a), 5, root.issue(t, "ca40", false).cert)
		w.ended(t, a.ID, "device.connect", fault.IotHubUnauthorized)
	})
	t.Run("DEV-042 module", func(t *testing.T) {
		accepted(t, w.register(t, "ca42/mod", byCA), root.issue(t, "ca42/mod", false).cert)
	})
}

func (w *world) trust(t *testing.T, ca *x509.Certificate) {
	t.Helper()
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	if err := w.hub.PutAuthority(w.ctx, "root", text); err != nil {
		t.Fatal(err)
	}
}

func TestLiveProof(t *testing.T) {
	t.Parallel()
	w := open(t)
	t.Run("DEV-045 token of a minute", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a, func(o *mqtt.ClientOptions) { o.Password = []byte(w.token(t, a, time.Minute)) })
		w.offset.Add(int64(300 * time.Second))
		d.alive() // expired, and within the grace
		w.offset.Add(int64(61 * time.Second))
		d.dropped()
		if e := w.ended(t, a.ID, "device.disconnect", fault.IotHubUnauthorized); e.Setting != "auth.skew" {
			t.Errorf("reported %v", e)
		}
	})
	t.Run("DEV-048 second connection", func(t *testing.T) {
		a := w.register(t, "", nil)
		old := w.connect(t, a)
		d := w.connect(t, a)
		old.dropped()
		d.alive()
		w.ended(t, a.ID, "device.disconnect", fault.ConnectionForcefullyClosedOnNewConnection)
	})
	t.Run("DEV-049 second connection with wrong credentials", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		o := w.login(t, a)
		o.Password = append(o.Password[:len(o.Password)-1], 'x')
		w.refused(t, o, 5)
		d.alive()
	})
	t.Run("DEV-051 disabled", func(t *testing.T) {
		a, b := w.register(t, "", nil), w.register(t, "", nil)
		d, e := w.connect(t, a), w.connect(t, b)
		w.disable(t, a)
		d.dropped()
		e.alive()
	})
	t.Run("DEV-052 deleted", func(t *testing.T) {
		a := w.register(t, "", nil)
		d := w.connect(t, a)
		if err := w.back.Delete(w.ctx, a.ID, "*"); err != nil {
			t.Fatal(err)
		}
		d.dropped()
	})
}
