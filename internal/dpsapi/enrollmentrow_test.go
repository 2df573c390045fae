package dpsapi_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/store"
)

// exampleEK is the endorsement key that SDK samples enrol.
const exampleEK = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAxsj2gUScTk1UjuioeTlfGYZrrimExB+bScH75adUMRIi2UOMxG1kw4y+9RW/IVoMl4e620VxZad0ARX2gUqVjYO7KPVt3dyKhZS3dkcvfBisBhP1XH9B33VqHG9SHnbnQXdBUaCgKAfxome8UmBKfe+naTsE5fkvjb/do3/dD6l4sGBwFCnKRdln4XpM03zLpoHFao8zOwt8l/uP3qUIxmCYv9A7m69Ms+5/pCkTu/rK4mRDsfhZ0QLfbzVI6zQFOKF/rwsfBtFeWlWtcuJMKlXdD8TXWElTzgh7JS4qhFzreL0c1mI0GCj+Aws0usZh7dLIVPnlgZcBhgy1SSDQMQ=="

func certificate(t testing.TB, name string) []byte {
	t.Helper()
	certPEM, _, err := cred.SelfSigned(name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return certPEM
}

func authority(t testing.TB, name string) []byte {
	t.Helper()
	ca, err := cred.NewCAOf(cred.EC256, name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, _ := ca.PEM()
	return certPEM
}

// x509Draft is an enrolment or group with certificates of the kind.
func x509Draft(name, id, kind, primary, secondary string, more ...string) string {
	pair := fmt.Sprintf(`"primary":{"certificate":%s}`, quoted(primary))
	if secondary != "" {
		pair += fmt.Sprintf(`,"secondary":{"certificate":%s}`, quoted(secondary))
	}
	return fmt.Sprintf(`{%q:%q,"attestation":{"type":"x509","x509":{%q:{%s}}}%s}`, name, id, kind, pair, members(more))
}

func TestEnrollmentKeyRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-160 create without keys", func(t *testing.T) {
		x := c.in(t).do("PUT", "/enrollments/new", keyed("new")).want(200, 0)
		for _, name := range []string{"primaryKey", "secondaryKey"} {
			if b, err := base64.StdEncoding.DecodeString(x.get("attestation.symmetricKey." + name)); err != nil || len(b) != 64 {
				t.Errorf("%s in %s", name, x.raw)
			}
		}
	})
	t.Run("DPS-161 own keys", func(t *testing.T) {
		one, two := cred.NewKey(), cred.NewLongKey()
		body := fmt.Sprintf(`{"registrationId":"own","attestation":{"symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}}`, one, two)
		c.in(t).do("PUT", "/enrollments/own", body).want(200, 0).is("attestation.type", "symmetricKey",
			"attestation.symmetricKey.primaryKey", one, "attestation.symmetricKey.secondaryKey", two)
	})
	t.Run("DPS-162 bad keys", func(t *testing.T) {
		c := c.in(t)
		for _, bad := range []string{"AAAAAAAAAAA=", "not base64!", base64.StdEncoding.EncodeToString(make([]byte, 65))} {
			body := fmt.Sprintf(`{"registrationId":"bad","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q}}}`, bad)
			x := c.do("PUT", "/enrollments/bad", body).want(400, 400004)
			if strings.Contains(x.get("message"), bad) {
				t.Errorf("the message shows the key: %s", x.raw)
			}
		}
		c.do("GET", "/enrollments/bad", "").want(404, 404201)
	})
	t.Run("DPS-163 GET has no keys", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/secret", keyed("secret")).want(200, 0)
		if x := c.do("GET", "/enrollments/secret", "").want(200, 0); len(x.object("attestation.symmetricKey")) != 0 || strings.Contains(string(x.raw), "Key\":\"") {
			t.Errorf("%s", x.raw)
		}
	})
	t.Run("keys are sealed at rest", func(t *testing.T) {
		x := c.in(t).do("PUT", "/enrollments/rest", keyed("rest")).want(200, 0)
		err := k.db.View(within(t), func(tx *store.Tx) error {
			row, err := tx.DPS(dps.KindEnrollment, "rest")
			if err == nil && strings.Contains(string(row.Doc), x.get("attestation.symmetricKey.primaryKey")) {
				t.Errorf("%s", row.Doc)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("DPS-164 PUT existing", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/twice", keyed("twice")).want(200, 0)
		c.do("PUT", "/enrollments/twice", keyed("twice")).want(409, 409201)
	})
	t.Run("DPS-165 PUT with star", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/star", keyed("star")).want(200, 0)
		c.do("PUT", "/enrollments/star", keyed("star"), "If-Match: *").want(200, 0)
	})
	t.Run("DPS-166 If-Match on missing", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/missing", keyed("missing"), "If-Match: *").want(404, 404201)
		c.do("PUT", "/enrollments/missing", keyed("missing"), `If-Match: "x"`).want(404, 404201)
		c.do("GET", "/enrollments/missing", "").want(404, 404201)
	})
	t.Run("DPS-167 update without keys", func(t *testing.T) {
		c := c.in(t)
		x := c.do("PUT", "/enrollments/keep", keyed("keep")).want(200, 0)
		one, two := x.get("attestation.symmetricKey.primaryKey"), x.get("attestation.symmetricKey.secondaryKey")
		same := []string{"attestation.symmetricKey.primaryKey", one, "attestation.symmetricKey.secondaryKey", two}
		c.do("PUT", "/enrollments/keep", keyed("keep"), "If-Match: *").want(200, 0).is(same...)
		for _, keys := range []string{`{}`, `null`, `{"primaryKey":null,"secondaryKey":""}`} {
			body := fmt.Sprintf(`{"registrationId":"keep","attestation":{"type":"symmetricKey","symmetricKey":%s},"provisioningStatus":"disabled"}`, keys)
			c.do("PUT", "/enrollments/keep", body, "If-Match: *").want(200, 0).is(same...).is("provisioningStatus", "disabled")
		}
		// What GET shows can be put back.
		c.do("PUT", "/enrollments/keep", string(c.do("GET", "/enrollments/keep", "").raw)).want(200, 0).is(same...)
		other := cred.NewLongKey()
		body := fmt.Sprintf(`{"registrationId":"keep","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":%q}}}`, other)
		c.do("PUT", "/enrollments/keep", body, "If-Match: *").want(200, 0).is("attestation.symmetricKey.primaryKey", other, "attestation.symmetricKey.secondaryKey", two)
	})
	t.Run("DPS-174 empty keys", func(t *testing.T) {
		x := c.in(t).do("PUT", "/enrollments/empty", `{"registrationId":"empty","attestation":{"type":"symmetricKey","symmetricKey":{"primaryKey":"","secondaryKey":""}}}`).want(200, 0)
		if len(x.get("attestation.symmetricKey.primaryKey")) != 88 || x.get("attestation.symmetricKey.primaryKey") == x.get("attestation.symmetricKey.secondaryKey") {
			t.Errorf("%s", x.raw)
		}
	})
	t.Run("DPS-175 TPM with EK only", func(t *testing.T) {
		c := c.in(t)
		body := func(ek, more string) string {
			return fmt.Sprintf(`{"registrationId":"tpm","attestation":{"type":"TPM","tpm":{"endorsementKey":%q%s}}}`, ek, more)
		}
		c.do("PUT", "/enrollments/tpm", body(exampleEK, "")).want(200, 0).is("attestation.type", "tpm", "attestation.tpm.endorsementKey", exampleEK)
		c.do("POST", "/enrollments/tpm/attestationmechanism", "").want(200, 0).is("type", "tpm", "tpm.endorsementKey", exampleEK)
		c.do("PUT", "/enrollments/tpm", body("AAAA", ""), "If-Match: *").want(400, 400201)
		c.do("PUT", "/enrollments/tpm", body(exampleEK, `,"storageRootKey":"AAAA"`), "If-Match: *").want(400, 400203)
		c.do("PUT", "/enrollments/tpm", body("", ""), "If-Match: *").want(400, 400005)
	})
}

func TestEnrollmentCertificateRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-168 spellings of a certificate", func(t *testing.T) {
		c := c.in(t)
		var prints []string
		for i, text := range spellings(certificate(t, "x-1")) {
			id := fmt.Sprint("x-", i)
			x := c.do("PUT", "/enrollments/"+id, x509Draft("registrationId", id, "clientCertificates", text, "")).want(200, 0)
			info := x.object("attestation.x509.clientCertificates.primary.info")
			for _, name := range []string{"subjectName", "sha1Thumbprint", "sha256Thumbprint", "issuerName", "notBeforeUtc", "notAfterUtc", "serialNumber", "version"} {
				if info[name] == nil || fmt.Sprint(info[name]) == "" {
					t.Errorf("%s is missing in %s", name, x.raw)
				}
			}
			x.is("attestation.x509.clientCertificates.primary.info.version", "3")
			prints = append(prints, fmt.Sprint(info["sha256Thumbprint"]))
		}
		if prints[0] != prints[1] || prints[1] != prints[2] || len(prints[0]) != 64 || prints[0] != strings.ToUpper(prints[0]) {
			t.Error(prints)
		}
		c.do("PUT", "/enrollments/bad", x509Draft("registrationId", "bad", "clientCertificates", "AAAA", "")).want(400, 400004)
		c.do("PUT", "/enrollments/bad", x509Draft("registrationId", "bad", "clientCertificates", "", "")).want(400, 400005)
		// A certificate that is only described is the one on file.
		x := c.do("GET", "/enrollments/x-0", "")
		info := x.get("attestation.x509.clientCertificates.primary.info.sha256Thumbprint")
		body := fmt.Sprintf(`{"registrationId":"x-0","attestation":{"x509":{"clientCertificates":{"primary":{"info":{"sha256Thumbprint":%q}}}}}}`, info)
		y := c.do("PUT", "/enrollments/x-0", body, "If-Match: *").want(200, 0)
		if fmt.Sprint(x.object("attestation.x509")) != fmt.Sprint(y.object("attestation.x509")) {
			t.Errorf("%s then %s", x.raw, y.raw)
		}
	})
	t.Run("DPS-176 signing certificate never uploaded", func(t *testing.T) {
		c := c.in(t)
		text := string(authority(t, "throw-away"))
		c.do("PUT", "/enrollmentGroups/throw", x509Draft("enrollmentGroupId", "throw", "signingCertificates", text, "", `"allocationPolicy":"geoLatency"`)).want(200, 0)
	})
	t.Run("DPS-178 primary and secondary the same", func(t *testing.T) {
		text := string(authority(t, "same"))
		x := c.in(t).do("PUT", "/enrollmentGroups/same", x509Draft("enrollmentGroupId", "same", "signingCertificates", text, text)).want(200, 0)
		x.is("attestation.x509.signingCertificates.secondary.info.subjectName", "CN=same")
	})
	t.Run("DPS-181 attestation mechanism of X.509", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/java-1", x509Draft("registrationId", "java-1", "clientCertificates", string(certificate(t, "java-1")), "")).want(200, 0)
		x := c.do("POST", "/enrollments/java-1/attestationmechanism", "").want(200, 0).is("type", "x509")
		if !strings.Contains(x.get("x509.clientCertificates.primary.info.subjectName"), "java-1") {
			t.Errorf("%s", x.raw)
		}
	})
	t.Run("DPS-188 groups with tpm or clientCertificates", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollmentGroups/g", fmt.Sprintf(`{"enrollmentGroupId":"g","attestation":{"type":"tpm","tpm":{"endorsementKey":%q}}}`, exampleEK)).want(400, 400004)
		c.do("PUT", "/enrollmentGroups/g", x509Draft("enrollmentGroupId", "g", "clientCertificates", string(certificate(t, "g")), "")).want(400, 400004)
		c.do("PUT", "/enrollments/g", x509Draft("registrationId", "g", "signingCertificates", string(authority(t, "g")), "")).want(400, 400004)
		two := fmt.Sprintf(`{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"caReferences":{"primary":"a"}},"symmetricKey":{"primaryKey":%q}}}`, cred.NewKey())
		c.do("PUT", "/enrollmentGroups/g", two).want(400, 400004)
		c.do("PUT", "/enrollmentGroups/g", `{"enrollmentGroupId":"g","attestation":{"type":"tpm","symmetricKey":{}}}`).want(400, 400004)
		c.do("PUT", "/enrollmentGroups/g", `{"enrollmentGroupId":"g","attestation":{"type":"voice"}}`).want(400, 400004)
		c.do("PUT", "/enrollmentGroups/g", `{"enrollmentGroupId":"g","attestation":{}}`).want(400, 400005)
		c.do("PUT", "/enrollmentGroups/g", `{"enrollmentGroupId":"g"}`).want(400, 400005)
		c.do("PUT", "/enrollmentGroups/g", `{"enrollmentGroupId":"g","attestation":{"x509":{"caReferences":{"primary":"none"}}}}`).want(400, 400004)
	})
}

func TestEnrollmentMemberRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	put := func(t *testing.T, id string, more ...string) *result {
		t.Helper()
		return c.in(t).do("PUT", "/enrollments/"+id, keyed(id, more...))
	}
	t.Run("DPS-169 initialTwin verbatim", func(t *testing.T) {
		twin := `{"tags":{"a":null,"count":1.50,"version":"v","metadata":{"x":[1e2],"y":null}},"properties":{"desired":{"count":0,"version":2,"metadata":null}}}`
		x := put(t, "twin", `"initialTwin":`+twin, `"optionalDeviceInformation":{"n":null,"x":1.0}`).want(200, 0)
		for _, x := range []*result{x, c.in(t).do("GET", "/enrollments/twin", "")} {
			if !strings.Contains(string(x.raw), `"initialTwin":`+twin) || !strings.Contains(string(x.raw), `"optionalDeviceInformation":{"n":null,"x":1.0}`) {
				t.Errorf("%s", x.raw)
			}
		}
		for _, bad := range []string{`[]`, `{"tags":5}`, `{"properties":{"desired":"x"}}`, `{"tags":{"a.b":1}}`, `{"tags":{"a":"` + strings.Repeat("x", 9<<10) + `"}}`} {
			put(t, "badtwin", `"initialTwin":`+bad).want(400, 400004)
		}
		put(t, "notwin", `"initialTwin":null`).want(200, 0)
	})
	t.Run("DPS-170 static with two hubs", func(t *testing.T) {
		put(t, "two", `"allocationPolicy":"static"`, `"iotHubs":["hub-a.test","hub-b.test"]`).want(400, 400004)
	})
	t.Run("DPS-171 static without hubs", func(t *testing.T) {
		put(t, "static", `"allocationPolicy":"static"`).want(200, 0).is("allocationPolicy", "static")
		put(t, "older", `"iotHubHostName":"hub-a.test"`).want(200, 0).is("allocationPolicy", "static", "iotHubHostName", "hub-a.test", "iotHubs", "[hub-a.test]")
	})
	t.Run("DPS-172 definition with geoLatency", func(t *testing.T) {
		put(t, "geo", `"allocationPolicy":"geoLatency"`, `"customAllocationDefinition":{"webhookUrl":"https://www.microsoft.com","apiVersion":"2019-03-31"}`).want(200, 0).
			is("allocationPolicy", "geoLatency", "customAllocationDefinition.webhookUrl", "https://www.microsoft.com", "customAllocationDefinition.apiVersion", "2019-03-31")
	})
	t.Run("DPS-173 webhook host that does not resolve", func(t *testing.T) {
		put(t, "hook", `"allocationPolicy":"custom"`, `"customAllocationDefinition":{"webhookUrl":"https://web.hook","apiVersion":"2018-09-01-preview"}`).want(200, 0)
	})
	t.Run("DPS-182 custom without definition", func(t *testing.T) {
		put(t, "custom", `"allocationPolicy":"custom"`).want(400, 400004)
		put(t, "custom", `"allocationPolicy":"custom"`, `"customAllocationDefinition":null`).want(400, 400004)
		for _, bad := range []string{`{"webhookUrl":"http://web.hook","apiVersion":"2019-03-31"}`, `{"webhookUrl":"web.hook","apiVersion":"2019-03-31"}`,
			`{"webhookUrl":"https://web.hook","apiVersion":"2018-04-01"}`, `{"webhookUrl":"https://web.hook","apiVersion":"new"}`} {
			put(t, "custom", `"allocationPolicy":"custom"`, `"customAllocationDefinition":`+bad).want(400, 400004)
		}
		put(t, "custom", `"customAllocationDefinition":{"apiVersion":"2019-03-31"}`).want(400, 400005)
	})
	t.Run("DPS-183 query string of the webhook", func(t *testing.T) {
		url := "https://web.hook/api?code=a%2Bb==&x=%7e"
		put(t, "url", `"allocationPolicy":"custom"`, `"customAllocationDefinition":{"webhookUrl":"`+url+`","apiVersion":"2019-03-31"}`).want(200, 0).
			is("customAllocationDefinition.webhookUrl", url)
	})
	t.Run("DPS-184 spelling of a policy", func(t *testing.T) {
		put(t, "spell", `"allocationPolicy":"GEOLATENCY"`, `"provisioningStatus":"ENABLED"`).want(200, 0).is("allocationPolicy", "geoLatency", "provisioningStatus", "enabled")
		put(t, "misspell", `"allocationPolicy":"nearest"`).want(400, 400004)
		put(t, "misspell", `"provisioningStatus":"maybe"`).want(400, 400004)
	})
	t.Run("DPS-185 unlinked hub", func(t *testing.T) {
		put(t, "hubs", `"iotHubs":["hub-a.test","other.test"]`).want(400, 400004)
		put(t, "hubs", `"iotHubHostName":"other.test"`).want(400, 400004)
		put(t, "hubs", `"iotHubs":["HUB-A.test","hub-b.test"]`).want(200, 0)
		put(t, "refs", `"credentialPolicyName":"none"`).want(400, 400004)
		put(t, "refs", `"trustBundleId":"none"`).want(400, 400004)
		put(t, "refs", `"clientCertificateIssuancePolicy":{"certificateAuthorityName":"none"}`).want(400, 400004)
	})
	t.Run("DPS-186 defaults", func(t *testing.T) {
		x := put(t, "default").want(200, 0)
		for _, x := range []*result{x, c.in(t).do("GET", "/enrollments/default", "")} {
			x.is("provisioningStatus", "enabled", "reprovisionPolicy.updateHubAssignment", "true", "reprovisionPolicy.migrateDeviceData", "true",
				"capabilities.iotEdge", "false", "allocationPolicy", "", "deviceId", "", "registrationState.status", "unassigned")
		}
		put(t, "never", `"reprovisionPolicy":{"updateHubAssignment":false}`).want(200, 0).is("reprovisionPolicy.updateHubAssignment", "false", "reprovisionPolicy.migrateDeviceData", "true")
		put(t, "device", `"deviceId":"Other@1"`).want(200, 0).is("deviceId", "Other@1")
		put(t, "baddevice", `"deviceId":"a b"`).want(400, 400004)
	})
}
