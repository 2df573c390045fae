package dpsapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// csBackend is C#'s service client: sr in lower case and encoded, a life of an
// hour, etags in quotes of its own (dps 1.3, 3.1).
func csBackend(t testing.TB, k *kit) *backend {
	b := k.backend(t, "2019-03-31")
	b.resource = func(host string) string { return strings.ToLower(url.QueryEscape(strings.ToLower(host))) }
	b.ifMatch = func(etag string) string { return `"` + etag + `"` }
	return b
}

// csHeader is C#'s dictionary of headers, which knows one spelling.
func csHeader(w *wire, name string) string { return w.header[name] }

func TestReplayCSharpService(t *testing.T) {
	t.Parallel()
	k := open(t)
	b := csBackend(t, k)
	t.Run("DPS-286 as the C# SDK speaks: create, update, delete", func(t *testing.T) { csEnrolment(t, b.in(t)) })
	t.Run("DPS-286 as the C# SDK speaks: query", func(t *testing.T) {
		b := b.in(t)
		for _, id := range []string{"q-1", "q-2", "q-3"} {
			b.call("PUT", "/enrollments/"+id, keyed(id))
			b.call("PUT", "/enrollmentGroups/g-"+id, keyedGroup("g-"+id))
		}
		pages := b.pages("/enrollments/query", "SELECT * FROM enrollments", "Enrollment", 2, csHeader)
		if got := fmt.Sprint(names(pages, "registrationId")); got != "[[q-1 q-2] [q-3]]" {
			t.Error(got)
		}
		pages = b.pages("/enrollmentGroups/query", "SELECT * FROM enrollmentGroups", "EnrollmentGroup", 2, csHeader)
		if got := fmt.Sprint(names(pages, "enrollmentGroupId")); got != "[[g-q-1 g-q-2] [g-q-3]]" {
			t.Error(got)
		}
		if pages = b.pages("/registrations/g-q-1/query", "SELECT * FROM registrations", "DeviceRegistration", 2, csHeader); len(pages) != 1 || len(pages[0]) != 0 {
			t.Error(pages)
		}
	})
	t.Run("DPS-286 as the C# SDK speaks: bulk", func(t *testing.T) {
		b := b.in(t)
		if ok, errors := b.bulk("/enrollments", "enrollments", "create", keyed("b-1"), keyed("b-2")); !ok {
			t.Error(errors)
		}
		ok, errors := b.bulk("/enrollments", "enrollments", "create", keyed("b-2"), keyed("b-3"))
		if ok || len(errors) != 1 || errors[0]["registrationId"] != "b-2" || fmt.Sprint(errors[0]["errorCode"]) != "409201" {
			t.Error(errors)
		}
		got := b.call("GET", "/enrollments/b-1", "")
		if ok, errors = b.bulk("/enrollments", "enrollments", "updateIfMatchETag", got.text()); !ok {
			t.Error(errors)
		}
		ok, errors = b.bulk("/enrollments", "enrollments", "updateIfMatchETag", got.text())
		if ok || len(errors) != 1 || fmt.Sprint(errors[0]["errorCode"]) != "412001" {
			t.Error(errors)
		}
		if ok, errors = b.bulk("/enrollments", "enrollments", "delete", keyed("b-1"), keyed("b-2"), keyed("b-3")); !ok {
			t.Error(errors)
		}
	})
	t.Run("DPS-286 as the C# SDK speaks: error fields", func(t *testing.T) {
		b := b.in(t)
		if e := b.refusal(404201, "GET", "/enrollments/none", ""); e.transient {
			t.Error(e)
		}
		b.refusal(404202, "GET", "/registrations/none", "")
		b.refusal(404204, "DELETE", "/enrollmentGroups/none", "")
		b.refusal(400004, "POST", "/enrollments/query", `{"query":"nonsense"}`)
		x := *b
		x.key = someKey
		x.refusal(401002, "GET", "/enrollments/none", "")
	})
}

// csEnrolment is an enrolment on its way: it is created without If-Match, and
// replaced under its etag in quotes.
func csEnrolment(t *testing.T, b *backend) {
	more := []string{`"deviceId":"cs-device"`, `"capabilities":{"iotEdge":true}`, `"allocationPolicy":"geoLatency"`, `"iotHubs":["hub-a.test"]`,
		`"customAllocationDefinition":{"webhookUrl":"https://www.microsoft.com","apiVersion":"2019-03-31"}`,
		`"reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":false}`,
		`"initialTwin":{"tags":null,"properties":{"desired":{"Brand":"Contoso","count":1}}}`}
	made := b.call("PUT", "/enrollments/cs-1", keyed("cs-1", more...))
	for path, want := range map[string]string{"capabilities.iotEdge": "true", "customAllocationDefinition.webhookUrl": "https://www.microsoft.com",
		"allocationPolicy": "geoLatency", "provisioningStatus": "enabled", "deviceId": "cs-device", "reprovisionPolicy.migrateDeviceData": "false"} {
		if got := fmt.Sprint(made.at(path)); got != want {
			t.Errorf("%s is %s in %v", path, got, made)
		}
	}
	key := made.at("attestation.symmetricKey.primaryKey")
	if s, _ := key.(string); s == "" {
		t.Errorf("no generated key in %v", made)
	}
	for _, name := range []string{"createdDateTimeUtc", "lastUpdatedDateTimeUtc"} {
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(made[name])); err != nil {
			t.Error(err)
		}
	}
	b.refusal(409201, "PUT", "/enrollments/cs-1", keyed("cs-1"))
	made["provisioningStatus"] = "disabled"
	stale := b.ifMatch(made.etag())
	next := b.call("PUT", "/enrollments/cs-1", made.text(), "If-Match: "+stale)
	if next["provisioningStatus"] != "disabled" || next.etag() == made.etag() || next["createdDateTimeUtc"] != made["createdDateTimeUtc"] ||
		next.at("attestation.symmetricKey.primaryKey") != key {
		t.Errorf("%v behind %v", next, made)
	}
	b.refusal(412001, "PUT", "/enrollments/cs-1", made.text(), "If-Match: "+stale)
	if shown := b.call("POST", "/enrollments/cs-1/attestationmechanism", ""); shown.at("symmetricKey.primaryKey") != key {
		t.Errorf("%v", shown)
	}
	b.refusal(412001, "DELETE", "/enrollments/cs-1", "", "If-Match: "+stale)
	b.call("DELETE", "/enrollments/cs-1", "", "If-Match: "+b.ifMatch(next.etag()))
	c := selfSigned(t, "cs-2")
	made = b.call("PUT", "/enrollments/cs-2", `{"registrationId":"cs-2","attestation":{"type":"x509","x509":{"clientCertificates":{"primary":{"certificate":`+
		quoted(spellings([]byte(pemOf(c)))[1])+`}}}}}`)
	info, _ := made.at("attestation.x509.clientCertificates.primary.info").(map[string]any)
	for _, name := range []string{"subjectName", "sha1Thumbprint", "sha256Thumbprint", "issuerName", "notBeforeUtc", "notAfterUtc", "serialNumber", "version"} {
		if info[name] == nil {
			t.Errorf("%s is missing in %v", name, info)
		}
	}
	if sha1, _ := cred.Thumbprints(c.Leaf); info["sha1Thumbprint"] != sha1 || fmt.Sprint(info["version"]) != "3" {
		t.Errorf("%v", info)
	}
	b.call("DELETE", "/enrollments/cs-2", "")
}

func TestReplayCSharpServiceTransient(t *testing.T) {
	t.Parallel()
	k := open(t, func(s *setup) { s.settings.Limits.Service = 2 })
	k.freeze()
	b := csBackend(t, k)
	t.Run("DPS-286 as the C# SDK speaks: a refusal that passes", func(t *testing.T) {
		b := b.in(t)
		for range 2 {
			b.refusal(404201, "GET", "/enrollments/none", "")
		}
		e := b.refusal(429001, "GET", "/enrollments/none", "")
		if !e.transient || e.wait < 2 {
			t.Errorf("%+v", e)
		}
		k.pass(time.Duration(e.wait) * time.Second)
		b.refusal(404201, "GET", "/enrollments/none", "")
	})
}
