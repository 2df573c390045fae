package dpsapi_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/dps"
)

var (
	guidForm    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	operationID = regexp.MustCompile(`^[0-9]\.[0-9a-f]{16}\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

func TestAddressing(t *testing.T) {
	k := open(t)
	t.Run("DPS-002 DPS-003 handshake with a self-signed certificate, and without", func(t *testing.T) {
		k.device(t, "tls-1").withCert(selfSigned(t, "tls-1")).register("").want(401, 401002)
		k.device(t, "tls-1").register("").want(401, 401002)
	})
	t.Run("DPS-006 register by the service host name", func(t *testing.T) {
		d := k.enrol(t, "host-1")
		d.host = serviceHost
		d.assigned("")
	})
	t.Run("DPS-007 percent-encoded registration id", func(t *testing.T) {
		d := k.enrol(t, "symmetrickey:abc")
		a := d.http("PUT", "/"+k.scope+"/registrations/symmetrickey%3Aabc/register?api-version="+apiVersion, "")
		a.want(202, 0)
	})
	t.Run("DPS-008 the spelling of the enrolment is shown", func(t *testing.T) {
		d := k.enrol(t, "Dev-A")
		d.id = "dev-a"
		if a := d.assigned(""); a.get("registrationState.registrationId") != "Dev-A" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-009 length of the registration id", func(t *testing.T) {
		k.enrol(t, strings.Repeat("a", 128)).register("").want(202, 0)
		k.device(t, strings.Repeat("a", 129)).withKey(someKey).register("").want(400, 400202)
	})
	t.Run("DPS-010 registration id that ends in a dot", func(t *testing.T) {
		k.device(t, "abc.").withKey(someKey).register("").want(400, 400202)
	})
	t.Run("DPS-011 route words in any case", func(t *testing.T) {
		d := k.enrol(t, "words-1")
		a := d.http("PUT", "/"+k.scope+"/Registrations/words-1/REGISTER?api-version="+apiVersion, "")
		a.want(202, 0)
		operation := a.get("operationId")
		d.finished(operation, func() *answer {
			return d.http("GET", "/"+k.scope+"/REGISTRATIONS/words-1/Operations/"+operation+"?api-version="+apiVersion, "")
		}).want(200, 0)
	})
	t.Run("DPS-012 no api-version", func(t *testing.T) {
		d := k.enrol(t, "version-1")
		d.http("PUT", "/"+d.resource()+"/register", "").want(400, 400001)
	})
	t.Run("DPS-013 api-versions that clients send", func(t *testing.T) {
		for _, v := range []string{"2017-08-31-preview", "2017-11-15", "2018-04-01", "2018-09-01-preview", "2018-11-01", "2019-03-31", "2021-06-01", "2021-10-01",
			"2021-11-01-preview", "2025-07-01-preview", "2026-11-01", "2026-11-02-preview", "2026-11-15-preview"} {
			k.enrol(t, "version-"+v).withVersion(v).register("").want(202, 0)
		}
	})
	t.Run("DPS-014 api-version banana", func(t *testing.T) {
		k.enrol(t, "version-2").withVersion("banana").register("").want(400, 400001)
	})
}

// someKey is a key of nobody.
const someKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestHTTP(t *testing.T) {
	k := open(t)
	t.Run("DPS-015 DPS-016 register", func(t *testing.T) {
		d := k.enrol(t, "http-1")
		a := d.register(`{"registrationId":"http-1"}`).want(202, 0)
		if !operationID.MatchString(a.get("operationId")) || a.get("status") != "assigning" || a.body["registrationState"] != nil {
			t.Errorf("%s", a.raw)
		}
		if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 2 || n > 300 {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if !strings.Contains(a.header.Get("Location"), d.path("/register")) || !guidForm.MatchString(a.header.Get("x-ms-request-id")) {
			t.Errorf("%v", a.header)
		}
		if a.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%v", a.header)
		}
	})
	t.Run("DPS-017 register again, known at once", func(t *testing.T) {
		d := k.enrol(t, "http-2")
		d.assigned("")
		for range 3 {
			a := d.register("").want(202, 0)
			if a.get("status") != "assigning" {
				t.Errorf("%s", a.raw)
			}
		}
	})
	t.Run("DPS-018 DPS-019 poll while running and when finished", func(t *testing.T) {
		w := newWebhook(t, `{"iotHubHostName":"hub-a.test"}`)
		w.hold = make(chan struct{})
		k := open(t, func(s *setup) { s.service.Web = w.Client() })
		d := k.enrol(t, "http-3", w.custom)
		operation := d.register("").want(202, 0).get("operationId")
		<-w.asked
		a := d.poll(operation).want(202, 0)
		if a.get("status") != "assigning" || a.header.Get("Retry-After") != "3" || a.get("operationId") != operation {
			t.Errorf("%s %v", a.raw, a.header)
		}
		close(w.hold)
		a = d.finished(operation, func() *answer { return d.poll(operation) }).want(200, 0)
		if a.get("status") != "assigned" || a.get("registrationState.assignedHub") != "hub-a.test" || a.get("registrationState.deviceId") != "http-3" {
			t.Errorf("%s", a.raw)
		}
		if a.header.Get("Retry-After") != "" {
			t.Error("Retry-After on a finished operation")
		}
	})
	t.Run("DPS-020 bodies of polls", func(t *testing.T) {
		d := k.enrol(t, "http-4")
		operation := d.assigned("").get("operationId")
		d.pass(waitForPolls)
		d.http("GET", d.path("/operations/"+operation), "{}").want(200, 0)
		d.http("GET", d.path("/operations/"+operation), "", "Content-Type: application/json").want(200, 0)
		d.http("GET", d.path("/operations/"+operation), "not JSON", "Content-Type: text/plain").want(200, 0)
	})
}

func TestHTTPBodies(t *testing.T) {
	k := open(t)
	t.Run("DPS-021 forceRegistration", func(t *testing.T) {
		d := k.enrol(t, "http-5")
		d.http("PUT", d.path("/register")+"&forceRegistration=true", "").want(202, 0)
	})
	t.Run("DPS-022 body of another registration id", func(t *testing.T) {
		k.enrol(t, "http-6").register(`{"registrationId":"other"}`).want(400, 400202)
	})
	t.Run("DPS-023 body that is not JSON", func(t *testing.T) {
		d := k.enrol(t, "http-7")
		for _, body := range []string{`{"registrationId":`, `nonsense`, `[]`, `"text"`} {
			d.register(body).want(400, 400012)
		}
	})
	t.Run("DPS-024 Content-Encoding utf-8", func(t *testing.T) {
		k.enrol(t, "http-8").register(`{}`, "Content-Encoding: utf-8").want(202, 0)
	})
	t.Run("DPS-025 Content-Type text/plain", func(t *testing.T) {
		d := k.enrol(t, "http-9")
		d.register(`{}`, "Content-Type: text/plain").want(415, 415001)
		d.register(`{}`, "Content-Encoding: br").want(415, 415001)
	})
	t.Run("DPS-026 GET of register", func(t *testing.T) {
		d := k.enrol(t, "http-10")
		if a := d.http("GET", d.path("/register"), "").want(405, 405000); a.header.Get("Allow") != "PUT" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
		if a := d.http("DELETE", d.path(""), "").want(405, 405000); a.header.Get("Allow") != "POST" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
		if a := d.http("PUT", d.path("/operations/5.0"), "").want(405, 405000); a.header.Get("Allow") != "GET" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
		d.http("GET", "/"+d.scope+"/registrations/http-10/operations?api-version="+apiVersion, "").want(405, 405000)
	})
}

func TestHTTPLookup(t *testing.T) {
	k := open(t)
	t.Run("DPS-027 lookup after success", func(t *testing.T) {
		d := k.enrol(t, "http-11")
		d.assigned("")
		a := d.lookup(`{"registrationId":"http-11"}`).want(200, 0)
		state, err := k.Registration(within(t), "http-11")
		if err != nil {
			t.Fatal(err)
		}
		if a.get("status") != "assigned" || a.get("registrationId") != "http-11" || a.get("etag") != state.ETag || a.body["registrationState"] != nil {
			t.Errorf("%s, want etag %s", a.raw, state.ETag)
		}
		d.lookup("").want(200, 0)
	})
	t.Run("DPS-028 lookup before any registration", func(t *testing.T) {
		k.enrol(t, "http-12").lookup("{}").want(404, 404202)
	})
	t.Run("DPS-029 lookup with csr", func(t *testing.T) {
		d := k.enrol(t, "http-13")
		d.assigned("")
		d.lookup(`{"csr":"`+newCSR(t, "http-13")+`"}`).want(400, 400004)
	})
	t.Run("DPS-030 lookup while hub and webhook are down", func(t *testing.T) {
		w := newWebhook(t, `{"iotHubHostName":"hub-a.test"}`)
		k := open(t, func(s *setup) { s.service.Web = w.Client() })
		d := k.enrol(t, "http-14", w.custom)
		d.assigned("")
		w.Close()
		for _, h := range k.hubs {
			h.Close()
		}
		if a := d.lookup("").want(200, 0); a.get("assignedHub") != "hub-a.test" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-031 unknown ID scope", func(t *testing.T) {
		d := k.enrol(t, "http-15")
		d.scope = "0ne99999999"
		d.register("").want(404, 404000)
		d.lookup("").want(404, 404000)
		d.poll("5.0").want(404, 404000)
	})
	t.Run("DPS-033 unknown operation", func(t *testing.T) {
		k.enrol(t, "http-16").poll("5.0000000000000000.00000000-0000-0000-0000-000000000000").want(404, 404203)
	})
	t.Run("DPS-034 operation of another device", func(t *testing.T) {
		operation := k.enrol(t, "http-17").assigned("").get("operationId")
		k.enrol(t, "http-18").poll(operation).want(404, 404203)
	})
}

// errorForm checks the members of an error (dps 3.13).
func (a *answer) errorForm() {
	a.t.Helper()
	var at dps.Time
	if err := at.UnmarshalText([]byte(a.get("timestampUtc"))); err != nil || !strings.HasSuffix(a.get("timestampUtc"), "Z") {
		a.t.Errorf("timestampUtc %q", a.get("timestampUtc"))
	}
	if a.get("message") == "" || !guidForm.MatchString(a.get("trackingId")) || a.header != nil && a.get("trackingId") != a.header.Get("x-ms-request-id") {
		a.t.Errorf("%s %v", a.raw, a.header)
	}
	if info, ok := a.body["info"].(map[string]any); ok {
		for name, v := range info {
			if _, ok := v.(string); !ok {
				a.t.Errorf("info.%s is no text: %v", name, v)
			}
		}
	}
}
