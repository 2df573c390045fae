package dpsapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

// root is a CA whose key the test holds.
func root(t testing.TB, name string) (*cred.CA, string) {
	t.Helper()
	ca, err := cred.NewCAOf(cred.EC256, name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, _ := ca.PEM()
	return ca, string(certPEM)
}

// proof is the body of a verification: a certificate for the code.
func proof(t testing.TB, ca *cred.CA, code string) string {
	t.Helper()
	certPEM, _, err := ca.Client(code, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	return fmt.Sprintf(`{"certificate":%s}`, quoted(string(pem.EncodeToMemory(block))))
}

func upload(certPEM string, more string) string {
	return fmt.Sprintf(`{"properties":{"certificate":%s%s}}`, quoted(certPEM), more)
}

func TestCertificateRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	ca, certPEM := root(t, "the root")
	t.Run("DPS-211 proof of possession", func(t *testing.T) {
		c := c.in(t)
		for i, spelled := range spellings([]byte(certPEM)) {
			name := fmt.Sprint("root-", i)
			x := c.do("PUT", "/certificates/"+name, upload(spelled, "")).want(200, 0).is("properties.isVerified", "false", "name", name,
				"type", "Microsoft.Devices/ProvisioningServices/Certificates", "properties.subject", "CN=the root")
			sha1, _ := cred.Thumbprints(ca.Cert)
			x.is("properties.thumbprint", sha1, "properties.verificationCode", "")
			if _, err := time.Parse(time.RFC1123, x.get("properties.expiry")); err != nil {
				t.Error(err)
			}
			y := c.do("POST", "/certificates/"+name+"/generateVerificationCode", "", "If-Match: "+x.get("etag")).want(200, 0)
			code := y.get("properties.verificationCode")
			if len(code) != 48 || strings.Trim(code, "0123456789ABCDEF") != "" || y.get("etag") == x.get("etag") {
				t.Errorf("%s after %s", y.raw, x.get("etag"))
			}
			c.do("GET", "/certificates/"+name, "").want(200, 0).is("properties.verificationCode", "")
			z := c.do("POST", "/certificates/"+name+"/verify", proof(t, ca, code), "If-Match: "+y.get("etag")).want(200, 0).is("properties.isVerified", "true")
			c.do("GET", "/certificates/"+name, "").want(200, 0).is("properties.isVerified", "true", "etag", z.get("etag"))
		}
		list, _ := c.do("GET", "/certificates", "").want(200, 0).at("value").([]any)
		if len(list) != 3 {
			t.Errorf("%d certificates", len(list))
		}
	})
	t.Run("DPS-212 proofs that prove nothing", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/certificates/other", upload(certPEM, "")).want(200, 0)
		c.do("POST", "/certificates/other/verify", proof(t, ca, "none"), "If-Match: *").want(400, 400004)
		code := c.do("POST", "/certificates/other/generateVerificationCode", "", "If-Match: *").want(200, 0).get("properties.verificationCode")
		stranger, _ := root(t, "the root") // the same name, another key
		c.do("POST", "/certificates/other/verify", proof(t, ca, "wrong"), "If-Match: *").want(400, 400004)
		c.do("POST", "/certificates/other/verify", proof(t, stranger, code), "If-Match: *").want(400, 400004)
		c.do("POST", "/certificates/other/verify", `{"certificate":"rubbish"}`, "If-Match: *").want(400, 400004)
		c.do("POST", "/certificates/other/verify", `{}`, "If-Match: *").want(400, 400005)
		c.do("GET", "/certificates/other", "").is("properties.isVerified", "false")
		c.do("POST", "/certificates/other/verify", proof(t, ca, code), `If-Match: "stale"`).want(412, 412001)
		c.do("POST", "/certificates/other/verify", proof(t, ca, code), "If-Match: *").want(200, 0)
	})
	t.Run("DPS-213 the second code replaces the first", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/certificates/twice", upload(certPEM, "")).want(200, 0)
		one := c.do("POST", "/certificates/twice/generateVerificationCode", "", "If-Match: *").want(200, 0).get("properties.verificationCode")
		two := c.do("POST", "/certificates/twice/generateVerificationCode", "", "If-Match: *").want(200, 0).get("properties.verificationCode")
		c.do("POST", "/certificates/twice/verify", proof(t, ca, one), "If-Match: *").want(400, 400004)
		c.do("POST", "/certificates/twice/verify", proof(t, ca, two), "If-Match: *").want(200, 0)
	})
	t.Run("DPS-214 without If-Match", func(t *testing.T) {
		c := c.in(t)
		for _, op := range []string{"generateVerificationCode", "verify"} {
			c.do("POST", "/certificates/twice/"+op, proof(t, ca, "x")).want(400, 400005)
			c.do("POST", "/certificates/none/"+op, proof(t, ca, "x"), "If-Match: *").want(404, 404000)
		}
		c.do("DELETE", "/certificates/twice", "").want(400, 400005)
	})
	t.Run("DPS-215 the operator vouches", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/certificates/vouched", upload(certPEM, `,"isVerified":true`), "If-Match: *").want(200, 0).is("properties.isVerified", "true")
		c.do("PUT", "/certificates/older", fmt.Sprintf(`{"certificate":%s,"isVerified":true}`, quoted(certPEM))).want(200, 0).is("properties.isVerified", "true")
	})
	t.Run("DPS-216 other content", func(t *testing.T) {
		c := c.in(t)
		x := c.do("GET", "/certificates/vouched", "").want(200, 0)
		c.do("PUT", "/certificates/vouched", upload(certPEM, "")).want(409, 409000)
		c.do("PUT", "/certificates/vouched", upload(certPEM, ""), `If-Match: "stale"`).want(412, 412001)
		x = c.do("PUT", "/certificates/vouched", upload(certPEM, ""), "If-Match: "+x.get("etag")).want(200, 0).is("properties.isVerified", "true")
		_, other := root(t, "other")
		y := c.do("PUT", "/certificates/VOUCHED", upload(other, ""), "If-Match: "+x.get("etag")).want(200, 0).is("properties.isVerified", "false", "name", "vouched")
		if y.get("properties.created") != x.get("properties.created") {
			t.Error(y.raw)
		}
	})
}

func TestCertificateRules(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	ca, certPEM := root(t, "the root")
	c.do("PUT", "/certificates/older", upload(certPEM, `,"isVerified":true`)).want(200, 0)
	t.Run("content that is no CA certificate", func(t *testing.T) {
		c := c.in(t)
		leaf, _, err := cred.SelfSigned("leaf", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c.do("PUT", "/certificates/bad", upload(string(leaf), "")).want(400, 400004)
		c.do("PUT", "/certificates/bad", upload(expired(t), "")).want(400, 400004)
		c.do("PUT", "/certificates/bad", upload("rubbish", "")).want(400, 400004)
		c.do("PUT", "/certificates/bad", `{}`).want(400, 400005)
		c.do("PUT", "/certificates/bad", `{"properties":`).want(400, 400012)
		c.do("PUT", "/certificates/b%20d", upload(certPEM, "")).want(400, 400004)
		c.do("GET", "/certificates/bad", "").want(404, 404000)
		c.do("DELETE", "/certificates/bad", "", "If-Match: *").want(404, 404000)
	})
	t.Run("referenced by an enrolment", func(t *testing.T) {
		c := c.in(t)
		body := `{"registrationId":"refers","attestation":{"type":"x509","x509":{"caReferences":{"primary":"Older"}}}}`
		c.do("PUT", "/enrollments/refers", body).want(200, 0)
		c.do("DELETE", "/certificates/older", "", "If-Match: *").want(409, 409000)
		c.do("DELETE", "/enrollments/refers", "").want(204, 0)
		c.do("DELETE", "/certificates/older", "", "If-Match: *").want(204, 0)
	})
	t.Run("verified certificates attest at once", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/certificates/fleet", upload(certPEM, "")).want(200, 0)
		c.do("PUT", "/enrollmentGroups/fleet", `{"enrollmentGroupId":"fleet","attestation":{"type":"x509","x509":{"caReferences":{"primary":"fleet"}}}}`).want(200, 0)
		d := k.device(t, "fleet-1").withCert(issued(t, ca, "fleet-1"))
		d.register("").want(401, 401002)
		code := c.do("POST", "/certificates/fleet/generateVerificationCode", "", "If-Match: *").get("properties.verificationCode")
		c.do("POST", "/certificates/fleet/verify", proof(t, ca, code), "If-Match: *").want(200, 0)
		d.assigned("")
		k.device(t, "fleet-2").withCert(issued(t, ca, "fleet-2")).assigned("")
	})
	t.Run("paths of management tools", func(t *testing.T) {
		c := c.in(t)
		const path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/it/certificates"
		x := c.do("PUT", path+"/arm", upload(certPEM, "")).want(200, 0).is("id", path+"/arm")
		c.do("GET", path+"/arm", "").want(200, 0).is("etag", x.get("etag"))
		c.do("GET", strings.ToLower(path), "").want(200, 0)
		c.do("DELETE", path+"/arm", "", "If-Match: "+x.get("etag")).want(204, 0)
		c.in(silent{t}).do("GET", path+"/arm", "").is("code", "GenericNotFound", "httpStatusCode", "404")
		c.do("POST", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/it/listkeys", "").want(200, 0)
	})
	t.Run("DPS-217 the 26th", func(t *testing.T) {
		c := c.in(t)
		list, _ := c.do("GET", "/certificates", "").at("value").([]any)
		for i := len(list); i < 25; i++ {
			c.do("PUT", fmt.Sprint("/certificates/more-", i), upload(certPEM, "")).want(200, 0)
		}
		x := c.do("PUT", "/certificates/toomany", upload(certPEM, "")).want(400, 400004)
		if !strings.Contains(x.get("message"), "quota") || !strings.Contains(x.get("message"), "25") {
			t.Error(x.get("message"))
		}
		c.do("DELETE", "/certificates/more-24", "", "If-Match: *").want(204, 0)
		c.do("PUT", "/certificates/toomany", upload(certPEM, "")).want(200, 0)
	})
	t.Run("rights", func(t *testing.T) {
		c := c.in(t)
		x := policyOf(t, c, "reader", dps.EnrollmentRead|dps.RegistrationRead)
		for _, path := range []string{"/certificates", "/linkedHubs", "/settings", "/trustBundles", "/certificateAuthorities", "/credentialPolicies", "/provisioningSettings", "/deviceRegistryNamespace"} {
			x.do("GET", path, "").want(401, 401002)
		}
		for _, path := range []string{"/deviceRecords", "/groupRecords", "/deviceGroups", "/provisioningRecords"} {
			x.do("GET", path, "").want(200, 0)
			x.do("DELETE", path+"/x", "").want(401, 401002)
		}
	})
}

// silent passes what a check of the error form finds, where the form is another.
type silent struct{ testing.TB }

func (silent) Errorf(string, ...any) {}

// expired is a CA certificate whose life is over.
func expired(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "old"}, NotBefore: time.Now().Add(-2 * time.Hour),
		NotAfter: time.Now().Add(-time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// asJSON encodes v.
func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
