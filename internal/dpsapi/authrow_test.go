package dpsapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

func keyPair(t testing.TB, certPEM, keyPEM []byte, err error) tls.Certificate {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := cred.SelfSigned(name, 24*time.Hour)
	return keyPair(t, certPEM, keyPEM, err)
}

// issued is a certificate of the authority, with those above it but the root.
func issued(t testing.TB, ca *cred.CA, name string) tls.Certificate {
	t.Helper()
	certPEM, keyPEM, err := ca.Client(name, 24*time.Hour)
	return keyPair(t, certPEM, keyPEM, err)
}

// alone drops all certificates but the leaf.
func alone(c tls.Certificate) tls.Certificate {
	c.Certificate = c.Certificate[:1]
	return c
}

func pemOf(c tls.Certificate) string {
	return string(cred.AppendCertificate(nil, c.Leaf))
}

func newCSR(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// enrolCert enrols a device by its own certificates, the second one optional.
func (k *kit) enrolCert(t testing.TB, id string, certs ...tls.Certificate) {
	t.Helper()
	pair := &dps.CertificatePair{Primary: &dps.CertificateWithInfo{Certificate: pemOf(certs[0])}}
	if len(certs) > 1 {
		pair.Secondary = &dps.CertificateWithInfo{Certificate: pemOf(certs[1])}
	}
	k.put(t, &dps.Enrollment{RegistrationID: id, Attestation: &dps.Attestation{Type: dps.AttestX509, X509: &dps.X509Attestation{Client: pair}}})
}

// signers makes a group of the devices that a CA vouches for.
func (k *kit) signers(t testing.TB, id string, ca *cred.CA, change ...func(*dps.Enrollment)) {
	t.Helper()
	e := &dps.Enrollment{GroupID: id, Attestation: &dps.Attestation{Type: dps.AttestX509, X509: &dps.X509Attestation{
		Signing: &dps.CertificatePair{Primary: &dps.CertificateWithInfo{Certificate: string(cred.AppendCertificate(nil, ca.Cert))}}}}}
	for _, f := range change {
		f(e)
	}
	k.put(t, e)
}

// sas signs sr as it is given and returns the fields of the token.
func sas(t testing.TB, key, sr string, at time.Time) (fields [3]string) {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	se := fmt.Sprint(at.Unix())
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(sr + "\n" + se))
	return [3]string{"sr=" + sr, "sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(h.Sum(nil))), "se=" + se}
}

func TestSAS(t *testing.T) {
	k := open(t)
	d := k.enrol(t, "sas:1")
	try := func(t *testing.T, token string, code int) {
		t.Helper()
		errorCode := 0
		if code != 202 {
			errorCode = 401002
		}
		k.pass(time.Minute) // failures are throttled, too
		d.http("PUT", d.path("/register"), "", "Authorization: "+token).want(code, errorCode)
	}
	hour := k.now().Add(10 * time.Hour)
	raw := k.scope + "/registrations/sas:1"
	upper, lower := url.QueryEscape(raw), strings.ReplaceAll(strings.ReplaceAll(raw, "/", "%2f"), ":", "%3a")
	join := func(f ...string) string { return "SharedAccessSignature " + strings.Join(f, "&") }
	form := func(f [3]string, more ...string) string { return join(append(f[:], more...)...) }
	t.Run("DPS-086 raw sr", func(t *testing.T) { try(t, form(sas(t, d.key, raw, hour), "skn=registration"), 202) })
	t.Run("DPS-087 risk 5: encoded sr", func(t *testing.T) {
		try(t, form(sas(t, d.key, upper, hour), "skn=registration"), 202)
		try(t, form(sas(t, d.key, lower, hour), "skn=registration"), 202)
		signedRaw := sas(t, d.key, raw, hour)
		for _, sr := range []string{upper, lower} { // sent encoded, signed decoded
			signedRaw[0] = "sr=" + sr
			try(t, form(signedRaw), 202)
		}
	})
	t.Run("DPS-088 skn", func(t *testing.T) {
		for _, more := range [][]string{nil, {"skn="}, {"skn=registration"}} {
			try(t, form(sas(t, d.key, upper, hour), more...), 202)
		}
	})
	t.Run("DPS-089 another skn", func(t *testing.T) { try(t, form(sas(t, d.key, upper, hour), "skn=other"), 401) })
	t.Run("DPS-090 another order of fields", func(t *testing.T) {
		f := sas(t, d.key, raw, hour)
		try(t, join("skn=registration", f[2], "x=y", f[1], f[0]), 202)
		try(t, "sharedaccesssignature "+strings.Join([]string{f[0], f[1], "skn=registration", f[2]}, "&"), 202)
	})
	t.Run("DPS-091 expired", func(t *testing.T) {
		try(t, form(sas(t, d.key, upper, k.now().Add(-10*time.Minute))), 401)
		try(t, form(sas(t, d.key, upper, k.now().Add(-time.Minute+-time.Minute))), 202)
	})
	t.Run("DPS-092 sr of another device", func(t *testing.T) {
		for _, sr := range []string{k.scope + "/registrations/other", "0ne99999999/registrations/sas:1", raw + "/", globalHost + "/" + raw, k.scope} {
			try(t, form(sas(t, d.key, sr, hour)), 401)
		}
	})
	t.Run("DPS-093 secondary key", func(t *testing.T) {
		e := k.put(t, &dps.Enrollment{RegistrationID: "sas-2", Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{}}})
		k.device(t, "sas-2").withKey(e.Attestation.SymmetricKey.Secondary).register("").want(202, 0)
		k.device(t, "sas-2").withKey(e.Attestation.SymmetricKey.Primary).register("").want(202, 0)
	})
	t.Run("DPS-094 a plus sign in sig", func(t *testing.T) {
		for at := hour; ; at = at.Add(time.Second) {
			f := sas(t, d.key, upper, at)
			if strings.Contains(f[1], "%2B") {
				f[1] = strings.ReplaceAll(f[1], "%2B", "+")
				try(t, form(f), 202)
				return
			}
		}
	})
	t.Run("DPS-092 tokens that are none", func(t *testing.T) {
		for _, token := range []string{"Bearer abc", "SharedAccessSignature", "SharedAccessSignature sr=" + upper, form(sas(t, someKey, upper, hour))} {
			try(t, token, 401)
		}
	})
}

// authorities are those of the X.509 tests.
type authorities struct {
	*kit
	root, unproven, inter *cred.CA
}

// openX509 opens a kit with a verified root, an intermediate below it, and a
// root that nobody has proven to own.
func openX509(t *testing.T) *authorities {
	t.Helper()
	k := &authorities{}
	var err error
	if k.root, err = cred.NewCAOf(cred.EC256, "kit root", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if k.unproven, err = cred.NewCAOf(cred.EC256, "kit unproven", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	k.inter = intermediate(t, k.root, "kit intermediate")
	k.kit = open(t, func(s *setup) {
		s.rows = func(put func(kind, key string, v any)) {
			put(dps.KindCertificate, "root", dps.Certificate{Name: "root", PEM: string(cred.AppendCertificate(nil, k.root.Cert)), Verified: true})
			put(dps.KindCertificate, "unproven", dps.Certificate{Name: "unproven", PEM: string(cred.AppendCertificate(nil, k.unproven.Cert))})
		}
	})
	return k
}

// refused wants a register to be refused.
func (k *authorities) refused(t *testing.T, d *device) *answer {
	t.Helper()
	k.pass(time.Minute) // failures are throttled, too
	return d.register("").want(401, 401002)
}

func TestX509(t *testing.T) {
	k := openX509(t)
	t.Run("DPS-095 individual, the primary certificate", func(t *testing.T) {
		c, second := selfSigned(t, "x509-1"), selfSigned(t, "x509-1")
		k.enrolCert(t, "x509-1", c, second)
		a := k.device(t, "x509-1").withCert(c).assigned("")
		i := k.onHub(t, a.get("registrationState.assignedHub"), "x509-1")
		sha1, _ := cred.Thumbprints(c.Leaf)
		sha1b, _ := cred.Thumbprints(second.Leaf)
		if i.Auth.Type != nave.AuthSelfSigned || !strings.EqualFold(i.Auth.PrimaryThumbprint, sha1) || !strings.EqualFold(i.Auth.SecondThumbprint, sha1b) {
			t.Errorf("%+v, want %s and %s", i.Auth, sha1, sha1b)
		}
	})
	t.Run("DPS-096 individual, the secondary certificate", func(t *testing.T) {
		c := selfSigned(t, "x509-2")
		k.enrolCert(t, "x509-2", selfSigned(t, "x509-2"), c)
		k.device(t, "x509-2").withCert(c).assigned("")
	})
	t.Run("DPS-106 DPS-107 no enrolment, EC P-256", func(t *testing.T) {
		k.refused(t, k.device(t, "x509-none").withCert(issued(t, k.root, "x509-none")))
	})
	k.signers(t, "by-intermediate", k.inter)
	t.Run("DPS-100 DPS-107 group by an intermediate", func(t *testing.T) {
		a := k.device(t, "x509-3").withCert(issued(t, k.inter, "x509-3")).assigned("")
		if a.get("registrationState.x509.enrollmentGroupId") != "by-intermediate" {
			t.Errorf("%s", a.raw)
		}
		if i := k.onHub(t, a.get("registrationState.assignedHub"), "x509-3"); i.Auth.Type != nave.AuthSelfSigned {
			t.Errorf("%+v", i.Auth)
		}
	})
	t.Run("DPS-101 only the leaf is sent", func(t *testing.T) {
		c := alone(issued(t, k.inter, "x509-4"))
		k.device(t, "x509-4").withCert(c).assigned("")
		d := k.device(t, "x509-4b").withCert(alone(issued(t, k.inter, "x509-4b")))
		if a := d.mqtt().outcome(""); a.get("status") != "assigned" {
			t.Errorf("%s", a.raw)
		}
		d = k.device(t, "x509-4c").withCert(alone(issued(t, k.inter, "x509-4c")))
		if a := d.amqp().outcome(""); a.get("status") != "assigned" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-097 individual exists, a certificate of the group", func(t *testing.T) {
		k.enrolCert(t, "x509-5", selfSigned(t, "x509-5"))
		k.refused(t, k.device(t, "x509-5").withCert(issued(t, k.inter, "x509-5")))
	})
	t.Run("DPS-098 another common name", func(t *testing.T) {
		k.refused(t, k.device(t, "x509-6").withCert(issued(t, k.inter, "x509-7")))
		c := selfSigned(t, "x509-8")
		k.enrolCert(t, "x509-9", c)
		k.refused(t, k.device(t, "x509-9").withCert(c))
		k.device(t, "X509-10").withCert(issued(t, k.inter, "x509-10")).assigned("")
	})
	t.Run("DPS-099 expired", func(t *testing.T) {
		certPEM, keyPEM, err := cred.SelfSigned("x509-11", -2*time.Hour)
		c := keyPair(t, certPEM, keyPEM, err)
		k.enrolCert(t, "x509-11", c)
		k.refused(t, k.device(t, "x509-11").withCert(c))
		certPEM, keyPEM, err = k.inter.Client("x509-12", -2*time.Hour)
		k.refused(t, k.device(t, "x509-12").withCert(keyPair(t, certPEM, keyPEM, err)))
	})
}

func TestX509Groups(t *testing.T) {
	k := openX509(t)
	k.signers(t, "by-intermediate", k.inter)
	t.Run("DPS-102 group by a root that is not verified", func(t *testing.T) {
		k.signers(t, "by-unproven", k.unproven)
		a := k.refused(t, k.device(t, "x509-13").withCert(issued(t, k.unproven, "x509-13")))
		if a.get("message") != "Invalid certificate." {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-104 the nearer of two groups", func(t *testing.T) {
		k.signers(t, "by-root", k.root)
		a := k.device(t, "x509-14").withCert(issued(t, k.inter, "x509-14")).assigned("")
		if a.get("registrationState.x509.enrollmentGroupId") != "by-intermediate" {
			t.Errorf("%s", a.raw)
		}
		a = k.device(t, "x509-15").withCert(issued(t, k.root, "x509-15")).assigned("")
		if a.get("registrationState.x509.enrollmentGroupId") != "by-root" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-105 the nearer group is disabled", func(t *testing.T) {
		k.signers(t, "by-intermediate", k.inter, func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled })
		if a := k.device(t, "x509-16").withCert(issued(t, k.inter, "x509-16")).outcome(""); a.code != 200 || a.get("status") != "disabled" {
			t.Errorf("%d %s", a.code, a.raw)
		}
	})
	t.Run("DPS-103 group by caReferences", func(t *testing.T) {
		if err := k.DeleteGroup(within(t), "by-root", dps.Match{}); err != nil {
			t.Fatal(err)
		}
		k.put(t, &dps.Enrollment{GroupID: "by-reference", Attestation: &dps.Attestation{Type: dps.AttestX509, X509: &dps.X509Attestation{
			References: &dps.References{Primary: "root"}}}})
		a := k.device(t, "x509-17").withCert(issued(t, k.root, "x509-17")).assigned("")
		if a.get("registrationState.x509.enrollmentGroupId") != "by-reference" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-108 certificateInfo", func(t *testing.T) {
		a := k.device(t, "x509-18").withCert(issued(t, k.root, "x509-18")).assigned("")
		info, ok := a.at("registrationState.x509.certificateInfo").(map[string]any)
		for _, name := range []string{"subjectName", "sha1Thumbprint", "sha256Thumbprint", "issuerName", "notBeforeUtc", "notAfterUtc", "serialNumber", "version"} {
			if _, has := info[name]; ok && !has {
				t.Errorf("%s is missing in %v", name, info)
			}
		}
	})
	t.Run("DPS-095 a token decides where there is a certificate, too", func(t *testing.T) {
		c := selfSigned(t, "x509-19")
		k.enrolCert(t, "x509-19", c)
		k.refused(t, k.device(t, "x509-19").withCert(c).withKey(someKey))
		k.enrol(t, "x509-20").withCert(c).assigned("")
	})
}

func intermediate(t testing.TB, ca *cred.CA, name string) *cred.CA {
	t.Helper()
	c, err := ca.IntermediateOf(cred.EC256, name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSymmetricKeys(t *testing.T) {
	k := open(t)
	primary, secondary := cred.NewLongKey(), cred.NewLongKey()
	group := func(id, primary, secondary string) {
		k.put(t, &dps.Enrollment{GroupID: id, Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{Primary: primary, Secondary: secondary}}})
	}
	derived := func(t *testing.T, key, id string) *device {
		t.Helper()
		own, err := cred.Derive(key, id)
		if err != nil {
			t.Fatal(err)
		}
		return k.device(t, id).withKey(own)
	}
	group("keys-1", primary, secondary)
	group("keys-2", cred.NewLongKey(), cred.NewLongKey())
	t.Run("DPS-109 individual keys", func(t *testing.T) {
		e := k.put(t, &dps.Enrollment{RegistrationID: "key-1", Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{}}})
		k.device(t, "key-1").withKey(e.Attestation.SymmetricKey.Primary).assigned("")
		k.device(t, "key-1").withKey(e.Attestation.SymmetricKey.Secondary).assigned("")
	})
	t.Run("DPS-110 test vector", func(t *testing.T) {
		const key, id = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6"
		group("keys-3", key, cred.NewLongKey())
		k.device(t, id).withKey("Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=").assigned("")
	})
	t.Run("DPS-111 DPS-115 secondary key of the group", func(t *testing.T) {
		if a := derived(t, secondary, "key-2").assigned(""); a.get("registrationState.symmetricKey.enrollmentGroupId") != "keys-1" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-112 the group's key itself", func(t *testing.T) {
		k.device(t, "key-3").withKey(primary).register("").want(401, 401002)
	})
	t.Run("DPS-113 individual enrolment exists", func(t *testing.T) {
		k.enrol(t, "key-4")
		derived(t, primary, "key-4").register("").want(401, 401002)
	})
	t.Run("DPS-114 device of a member on the hub", func(t *testing.T) {
		d := derived(t, primary, "key-5")
		a := d.assigned("")
		i := k.onHub(t, a.get("registrationState.assignedHub"), "key-5")
		second, _ := cred.Derive(secondary, "key-5")
		if i.Auth.Type != nave.AuthSAS || i.Auth.Primary != d.key || i.Auth.Secondary != second {
			t.Errorf("%+v", i.Auth)
		}
	})
	t.Run("DPS-115 which group it was", func(t *testing.T) {
		if a := derived(t, primary, "key-6").assigned(""); a.get("registrationState.symmetricKey.enrollmentGroupId") != "keys-1" {
			t.Errorf("%s", a.raw)
		}
	})
}
