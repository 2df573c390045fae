package dpsapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
)

func TestMissingRows(t *testing.T) {
	c := open(t).owner(t)
	for _, row := range []struct {
		id, path string
		code     int
	}{
		{"DPS-246 CODE-404205", "/deviceRecords", 404205}, {"DPS-247 CODE-404206", "/groupRecords", 404206}, {"DPS-248 CODE-404207", "/deviceGroups", 404207},
		{"DPS-249 CODE-404208", "/provisioningSettings", 404208}, {"DPS-250 CODE-404209", "/provisioningRecords", 404209}, {"DPS-251 CODE-404210", "/linkedHubs", 404210},
		{"DPS-252 CODE-404211", "/certificateAuthorities", 404211}, {"trust bundle", "/trustBundles", 404000}, {"credential policy", "/credentialPolicies", 404000},
		{"certificate", "/certificates", 404000},
	} {
		t.Run(row.id+" "+row.path, func(t *testing.T) {
			c := c.in(t)
			c.do("GET", row.path+"/none", "").want(404, row.code)
			c.do("DELETE", row.path+"/none", "", "If-Match: *").want(404, row.code)
			c.do("GET", strings.ToUpper(row.path)+"/none/", "").want(404, row.code)
			if row.id != "certificate" {
				if got := c.do("GET", row.path, "").want(200, 0); got.head("x-ms-item-type") == "" || got.head("x-ms-max-item-count") != "100" {
					t.Errorf("%v", got.header)
				}
			}
			c.do("PATCH", row.path+"/none", "{}").want(405, 405000)
			c.do("PUT", row.path, "{}").want(405, 405000)
			c.do("GET", row.path+"/none", "", "Authorization:").want(401, 401002)
			c.do("PUT", row.path+"/some", `{"x`).want(400, 400012)
			c.do("PUT", row.path+"/some", "<x/>", "Content-Type: application/xml").want(415, 415001)
		})
	}
}

// TestETags holds every noun against the table of dps 3.2.
func TestETags(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	_, certPEM := root(t, "bundled")
	c.do("PUT", "/certificateAuthorities/of", `{"certificateAuthorityType":"localcertificateauthority","keyType":"ec256"}`).want(200, 0)
	c.do("PUT", "/enrollmentGroups/it", keyedGroup("it")).want(200, 0)
	for _, noun := range []struct {
		path, body     string
		none, conflict int
	}{
		{"/trustBundles/it", fmt.Sprintf(`{"certificates":[{"certificate":%s}]}`, quoted(certPEM)), 404000, 409000},
		{"/certificateAuthorities/it", `{"certificateAuthorityType":"DigiCertCertificateAuthority","profileName":"p","apiKey":"secret"}`, 404211, 409211},
		{"/credentialPolicies/it", `{"certificateAuthorityName":"OF","validityDays":30}`, 404000, 409000},
		{"/deviceRecords/it", `{"status":"staged"}`, 404205, 409205},
		{"/deviceGroups/it", `{"description":"all"}`, 404207, 409207},
		{"/provisioningSettings/it", `{"priority":3,"retryAfterSeconds":9}`, 404208, 409208},
		{"/deviceRegistryNamespace", `{"resourceId":"/here"}`, 404000, 409000},
	} {
		t.Run(noun.path, func(t *testing.T) {
			c := c.in(t)
			c.do("PUT", noun.path, noun.body, "If-Match: *").want(404, noun.none)
			x := c.do("PUT", noun.path, noun.body).want(200, 0)
			c.do("PUT", noun.path, noun.body).want(409, noun.conflict)
			c.do("PUT", noun.path, noun.body, "If-None-Match: *").want(409, noun.conflict)
			y := c.do("GET", noun.path, "").want(200, 0).is("etag", x.get("etag"))
			if y.head("ETag") != x.get("etag") {
				t.Errorf("ETag %q", y.head("ETag"))
			}
			y = c.do("PUT", noun.path, string(y.raw)).want(200, 0) // the etag of the body
			c.do("PUT", noun.path, string(x.raw)).want(412, 412001)
			y = c.do("PUT", noun.path, noun.body, "If-Match: "+strings.Trim(y.get("etag"), `"`)).want(200, 0)
			c.do("PUT", noun.path, noun.body, "If-Match: "+x.get("etag")).want(412, 412001)
			c.do("DELETE", noun.path, "", "If-Match: "+x.get("etag")).want(412, 412001)
			c.do("DELETE", noun.path, "", "If-Match: "+y.get("etag")).want(204, 0)
			c.do("DELETE", noun.path, "").want(404, noun.none)
		})
	}
}

func TestAuthorityRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	const path = "/certificateAuthorities/ca1"
	t.Run("local authority", func(t *testing.T) {
		c := c.in(t)
		x := c.do("PUT", path, `{"certificateAuthorityType":"LocalCertificateAuthority","keyType":"ec384","subject":"CN=Plant 7","validityDays":20}`).want(200, 0).
			is("status", "active", "keyType", "ec384", "subject", "CN=Plant 7", "validityDays", "20")
		c.do("GET", path, "").want(200, 0).is("etag", x.get("etag"))
		for _, raw := range []string{string(x.raw), string(c.do("GET", path, "").raw), string(c.do("GET", "/certificateAuthorities", "").raw)} {
			if strings.Contains(raw, "PRIVATE") || strings.Contains(raw, "privateKey") || strings.Contains(raw, "v1:") {
				t.Error("the key leaves: " + raw)
			}
		}
		list, _ := c.do("GET", "/certificates", "").at("value").([]any)
		if len(list) != 1 {
			t.Fatal(list)
		}
		p := list[0].(map[string]any)["properties"].(map[string]any)
		if p["isVerified"] != true || p["subject"] != "CN=Plant 7" {
			t.Error(p)
		}
		for _, bad := range []string{`{"certificateAuthorityType":"x"}`, `{"certificateAuthorityType":"ExternalHttp","url":"https://x"}`,
			`{"certificateAuthorityType":"LocalCertificateAuthority","keyType":"dsa"}`, `{"certificateAuthorityType":"LocalCertificateAuthority","subject":"CN=a,O=b"}`,
			`{"certificateAuthorityType":"LocalCertificateAuthority","validityDays":-1}`, `{"certificateAuthorityType":"LocalCertificateAuthority","privateKey":"x","issuerCertificate":"y"}`} {
			c.do("PUT", "/certificateAuthorities/bad", bad).want(400, 400004)
		}
		c.do("PUT", "/certificateAuthorities/bad", `{}`).want(400, 400005)
		c.do("GET", "/certificateAuthorities/bad", "").want(404, 404211)
		c.do("PUT", path, `{"certificateAuthorityType":"LocalCertificateAuthority","keyType":"ec256"}`, "If-Match: *").want(400, 400004)
		c.do("PUT", path, `{"certificateAuthorityType":"LocalCertificateAuthority","validityDays":30}`, "If-Match: *").want(200, 0).is("validityDays", "30", "issuerCertificate", x.get("issuerCertificate"))
	})
	t.Run("an imported key", func(t *testing.T) {
		c := c.in(t)
		top, err := cred.NewCAOf(cred.EC256, "the company", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		plant, err := top.IntermediateOf(cred.EC256, "plant 8")
		if err != nil {
			t.Fatal(err)
		}
		certs, key := plant.PEM()
		body := func(key string) string {
			return asJSON(t, map[string]any{"certificateAuthorityType": dps.LocalAuthority, "issuerCertificate": string(certs), "privateKey": key})
		}
		_, strange := top.PEM()
		c.do("PUT", "/certificateAuthorities/imported", body(string(strange))).want(400, 400004)
		x := c.do("PUT", "/certificateAuthorities/imported", body(string(key))).want(200, 0).is("subject", "CN=plant 8", "keyType", "ec256", "privateKey", "")
		if got, err := cred.ParseCertificates([]byte(x.get("issuerCertificate"))); err != nil || len(got) != 2 {
			t.Errorf("%v, %d certificates", err, len(got))
		}
		d := k.enrol(t, "by-import", func(e *dps.Enrollment) { e.Issuance = &dps.IssuancePolicy{Authority: "imported"} }).withVersion("2021-11-01-preview")
		a := d.assigned(`{"clientCertificateCsr":"` + newCSR(t, "by-import") + `"}`)
		if got, err := cred.ParseCertificates([]byte(a.get("registrationState.issuedClientCertificate"))); err != nil || len(got) != 3 {
			t.Errorf("%v, %d certificates", err, len(got))
		}
	})
	t.Run("DigiCert is stored", func(t *testing.T) {
		c := c.in(t)
		x := c.do("PUT", "/certificateAuthorities/digi", `{"certificateAuthorityType":"DigiCertCertificateAuthority","profileName":"p","apiKey":"secret"}`).want(200, 0).is("apiKey", "****", "status", "stored")
		c.do("PUT", "/certificateAuthorities/digi", string(x.raw)).want(200, 0).is("apiKey", "****")
		if strings.Contains(string(c.do("GET", "/certificateAuthorities/digi", "").raw), "secret") {
			t.Error("the key is shown")
		}
		c.do("POST", "/certificateAuthorities/digi/rotate", "").want(400, 400004)
		c.do("PUT", "/certificateAuthorities/nokey", `{"certificateAuthorityType":"DigiCertCertificateAuthority","profileName":"p"}`).want(400, 400005)
		d := k.enrol(t, "by-digi", func(e *dps.Enrollment) { e.Issuance = &dps.IssuancePolicy{Authority: "digi"} }).withVersion("2021-11-01-preview")
		a := d.outcome(`{"clientCertificateCsr":"` + newCSR(t, "by-digi") + `"}`)
		if a.get("status") != "failed" || a.get("registrationState.errorCode") != "400004" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-262 CODE-409211 conflicts", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", path, `{"certificateAuthorityType":"LocalCertificateAuthority"}`).want(409, 409211)
		c.do("PUT", "/credentialPolicies/policy1", `{"certificateAuthorityName":"ca1","keyTypes":["ec256"]}`).want(200, 0)
		c.do("PUT", "/credentialPolicies/policy2", `{"certificateAuthorityName":"nobody"}`).want(404, 404211)
		c.do("DELETE", path, "").want(409, 409211)
		c.do("DELETE", "/certificateAuthorities/digi", "").want(409, 409211) // an enrolment names it
		for _, bad := range []string{`"validityDays":0.5`, `"validityDays":99999`, `"keyTypes":["x"]`, `"subjectTemplate":"CN=all"`, `"validityDays":3,"renewBeforeDays":3`} {
			code := 400004
			if strings.Contains(bad, "0.5") {
				code = 400012
			}
			c.do("PUT", "/credentialPolicies/policy2", `{"certificateAuthorityName":"ca1",`+bad+`}`).want(400, code)
		}
	})
}

func TestAuthorityIssues(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	const path, version = "/certificateAuthorities/ca1", "2025-07-01-preview"
	c.do("PUT", path, `{"certificateAuthorityType":"LocalCertificateAuthority","keyType":"ec384","subject":"Plant 7"}`).want(200, 0).is("subject", "CN=Plant 7")
	c.do("PUT", "/credentialPolicies/policy1", `{"certificateAuthorityName":"ca1","keyTypes":["ec256"]}`).want(200, 0)
	var leaf tls.Certificate
	t.Run("DPS-133 issue with a trust bundle", func(t *testing.T) {
		c := c.in(t)
		_, certPEM := root(t, "bundled")
		c.do("PUT", "/trustBundles/bundle1", fmt.Sprintf(`{"certificates":[{"certificate":%s}]}`, quoted(certPEM))).want(200, 0).is("id", "bundle1")
		d := k.enrol(t, "issued-1", withPolicy, func(e *dps.Enrollment) { e.TrustBundle = "bundle1" }).withVersion("2021-11-01-preview")
		a := d.assigned(`{"csr":"` + newCSR(t, "issued-1") + `"}`)
		list, _ := a.at("registrationState.trustBundle.certificates").([]any)
		if a.get("registrationState.trustBundle.id") != "bundle1" || len(list) != 1 || list[0].(map[string]any)["metadata"].(map[string]any)["subjectName"] == "" {
			t.Errorf("%s", a.raw)
		}
		c.do("DELETE", "/trustBundles/bundle1", "").want(409, 409000)
		d = k.enrol(t, "issued-2", withPolicy).withVersion(version)
		var csr string
		csr, leaf = request(t, "issued-2")
		a = d.assigned(`{"csr":"` + csr + `"}`)
		chain, _ := a.at("registrationState.issuedCertificateChain").([]any)
		for _, text := range chain {
			leaf.Certificate = append(leaf.Certificate, decode64(t, fmt.Sprint(text)))
		}
		record := c.do("GET", "/deviceRecords/issued-2", "").want(200, 0)
		issued := record.at("issuedCertificates").([]any)[0].(map[string]any)
		if issued["status"] != "valid" {
			t.Errorf("%s", record.raw)
		}
		if r := c.do("GET", "/provisioningRecords/"+a.get("operationId"), "").want(200, 0); r.get("issuedCertificate.serialNumber") != issued["serialNumber"] {
			t.Errorf("%s", r.raw)
		}
	})
	t.Run("rotation and what was issued before it", func(t *testing.T) {
		c := c.in(t)
		before := c.do("GET", path, "").get("issuerCertificate")
		x := c.do("POST", path+"/rotate", `{"activateAfterHours":2}`).want(200, 0).is("status", "rotating", "issuerCertificate", before)
		if x.get("next.issuerCertificate") == "" || strings.Contains(string(x.raw), "privateKey") {
			t.Errorf("%s", x.raw)
		}
		c.do("POST", path+"/rotate", "").want(409, 409211)
		k.pass(3 * time.Hour)
		y := c.do("GET", path, "").want(200, 0).is("status", "active", "issuerCertificate", x.get("next.issuerCertificate"), "next", "")
		d := k.enrol(t, "issued-3", withPolicy).withVersion(version)
		a := d.assigned(`{"csr":"` + newCSR(t, "issued-3") + `"}`)
		chain, _ := a.at("registrationState.issuedCertificateChain").([]any)
		cert, err := cred.ParseCertificate([]byte(y.get("issuerCertificate")))
		if err != nil || len(chain) != 2 || fmt.Sprint(chain[1]) != base64.StdEncoding.EncodeToString(cert.Raw) {
			t.Errorf("%v, %d certificates", err, len(chain))
		}
		c.do("POST", path+"/rotate", `{"keyType":"ec256"}`, `If-Match: "stale"`).want(412, 412001)
		c.do("POST", path+"/rotate", `{"keyType":"ec256"}`).want(200, 0).is("status", "active", "keyType", "ec256")
		list, _ := c.do("GET", "/certificates", "").at("value").([]any)
		if len(list) != 3 {
			t.Errorf("%d certificates on file", len(list))
		}
	})
	t.Run("revocation", func(t *testing.T) {
		c := c.in(t)
		cert, err := x509.ParseCertificate(leaf.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		first := c.signer(cert)
		c.do("PUT", "/enrollmentGroups/issued", fmt.Sprintf(`{"enrollmentGroupId":"issued","attestation":{"type":"x509","x509":{"caReferences":{"primary":%q}}}}`, first)).want(200, 0)
		c.do("DELETE", "/enrollments/issued-2", "").want(204, 0)
		d := k.device(t, "issued-2").withCert(leaf)
		d.assigned("")
		c.do("POST", path+"/revoke", `{"serialNumber":"xyz"}`).want(400, 400004)
		c.do("POST", path+"/revoke", `{}`).want(400, 400005)
		c.do("POST", path+"/revoke", `{"serialNumber":"`+strings.ToLower(cred.SerialNumber(cert))+`"}`).want(200, 0).is("registrationId", "issued-2")
		d.register("").want(401, 401002)
		record := c.do("GET", "/deviceRecords/issued-2", "").want(200, 0)
		if issued := record.at("issuedCertificates").([]any)[0].(map[string]any); issued["status"] != "revoked" {
			t.Errorf("%s", record.raw)
		}
	})
	t.Run("DPS-134 the authority is deleted with force", func(t *testing.T) {
		c := c.in(t)
		d := k.enrol(t, "issued-4", withPolicy).withVersion(version)
		c.do("DELETE", path+"?force=true", "").want(204, 0)
		a := d.outcome(`{"csr":"` + newCSR(t, "issued-4") + `"}`)
		if a.code != 200 || a.get("status") != "failed" || a.get("registrationState.errorCode") != "404211" {
			t.Errorf("%d %s", a.code, a.raw)
		}
	})
}

// request is newCSR with the key, for a certificate to be put in.
func request(t testing.TB, name string) (string, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der), tls.Certificate{PrivateKey: key}
}

// signer returns the name of the certificate on file that cert was signed with.
func (c *caller) signer(cert *x509.Certificate) string {
	c.t.Helper()
	list, _ := c.do("GET", "/certificates", "").want(200, 0).at("value").([]any)
	for _, one := range list {
		name := one.(map[string]any)["name"].(string)
		ca, err := x509.ParseCertificate(decode64(c.t, c.do("GET", "/certificates/"+name, "").get("properties.certificate")))
		if err != nil {
			c.t.Fatal(err)
		}
		if cert.CheckSignatureFrom(ca) == nil {
			return name
		}
	}
	c.t.Fatal("no certificate on file has signed it")
	return ""
}

func decode64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
