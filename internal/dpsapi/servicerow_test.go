package dpsapi_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/store"
)

// policyOf puts a policy into the store and returns a caller with it.
func policyOf(t *testing.T, c *caller, name string, rights dps.Right) *caller {
	t.Helper()
	seal, err := dps.NewSealer(atRest)
	if err != nil {
		t.Fatal(err)
	}
	one, two := cred.NewLongKey(), cred.NewLongKey()
	place := dps.KindPolicy + "/" + name
	doc, err := json.Marshal(dps.Policy{Name: name, Primary: seal.Seal(place, one), Secondary: seal.Seal(place, two), Rights: rights})
	if err != nil {
		t.Fatal(err)
	}
	err = c.db.Update(within(t), func(tx *store.Tx) error {
		return tx.PutDPS(&store.DPSRow{Kind: dps.KindPolicy, Key: name, Doc: doc})
	})
	if err != nil {
		t.Fatal(err)
	}
	return c.as(name, two)
}

func TestServiceAuthRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	c.do("PUT", "/enrollments/a", keyed("a")).want(200, 0)
	t.Run("DPS-146 sr raw, encoded, lower-cased", func(t *testing.T) {
		c := c.in(t)
		for _, sr := range []string{serviceHost, strings.ToUpper(serviceHost), url.PathEscape(serviceHost), strings.ReplaceAll(serviceHost, ".", "%2E"),
			strings.ReplaceAll(serviceHost, ".", "%2e"), serviceHost + "/enrollments", serviceHost + "%2fenrollments%2fa"} {
			c.do("GET", "/enrollments/a", "", "Authorization: "+c.sign(sr, time.Hour)).want(200, 0)
		}
		c.do("GET", "/enrollments/a", "", "Authorization: "+c.sign(serviceHost+"/enrollments/b", time.Hour)).want(401, 401002)
		c.do("GET", "/enrollments/a", "", "Authorization: "+c.sign("other.test", time.Hour)).want(401, 401002)
	})
	t.Run("DPS-147 EnrollmentRead puts", func(t *testing.T) {
		r := policyOf(t, c.in(t), "reader", dps.EnrollmentRead)
		if text := r.do("PUT", "/enrollments/b", keyed("b")).want(401, 401002).get("message"); !strings.Contains(text, "reader") {
			t.Errorf("the message does not name the policy: %s", text)
		}
		r.do("POST", "/enrollments", "{").want(401, 401002)
		r.do("GET", "/registrations/a", "").want(401, 401002)
		c.in(t).do("GET", "/enrollments/b", "").want(404, 404201)
	})
	t.Run("DPS-148 EnrollmentRead reads keys", func(t *testing.T) {
		r := policyOf(t, c.in(t), "reader", dps.EnrollmentRead)
		x := r.do("POST", "/enrollments/a/attestationmechanism", "").want(200, 0).is("type", "symmetricKey")
		if cred.CheckKey(x.get("symmetricKey.primaryKey")) != nil || cred.CheckKey(x.get("symmetricKey.secondaryKey")) != nil {
			t.Errorf("%s", x.raw)
		}
	})
	t.Run("DPS-149 RegistrationStatusRead deletes", func(t *testing.T) {
		policyOf(t, c.in(t), "status", dps.RegistrationRead).do("DELETE", "/registrations/a", "").want(401, 401002)
	})
	t.Run("DPS-150 expired token", func(t *testing.T) {
		c := c.in(t)
		c.do("GET", "/enrollments/a", "", "Authorization: "+c.sign(serviceHost, -time.Hour)).want(401, 401002)
		c.do("GET", "/enrollments/a", "", "Authorization: "+c.sign(serviceHost, -4*time.Minute)).want(200, 0)
		c.do("GET", "/enrollments/a", "", "Authorization:").want(401, 401002)
		c.do("GET", "/enrollments/a", "", "Authorization: Bearer x").want(401, 401002)
		c.as(c.policy, cred.NewLongKey()).do("GET", "/enrollments/a", "").want(401, 401002)
		c.as("none", c.key).do("GET", "/enrollments/a", "").want(401, 401002)
		c.as("", c.key).do("GET", "/enrollments/a", "").want(401, 401002)
	})
}

func TestServiceConventionRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-151 PUT create and update", func(t *testing.T) {
		c := c.in(t)
		x := c.do("PUT", "/enrollments/put", keyed("put")).want(200, 0)
		y := c.do("PUT", "/enrollments/put", keyed("put"), "If-Match: "+x.get("etag")).want(200, 0)
		if x.get("etag") == y.get("etag") || x.get("createdDateTimeUtc") != y.get("createdDateTimeUtc") || x.head("ETag") != x.get("etag") {
			t.Errorf("%s then %s", x.raw, y.raw)
		}
	})
	t.Run("DPS-152 DELETE", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/gone", keyed("gone")).want(200, 0)
		c.do("DELETE", "/enrollments/gone", "").want(204, 0)
		c.do("DELETE", "/enrollments/gone", "").want(404, 404201)
		c.do("DELETE", "/enrollments/gone", "", "If-Match: *").want(404, 404201)
	})
	t.Run("DPS-153 unknown member", func(t *testing.T) {
		x := c.in(t).do("PUT", "/enrollments/unknown", keyed("unknown", `"colour":"red"`, `"capabilities":{"iotEdge":true,"x":1}`)).want(200, 0)
		if x.at("colour") != nil || x.get("capabilities.iotEdge") != "true" || x.at("capabilities.x") != nil {
			t.Errorf("%s", x.raw)
		}
	})
	t.Run("DPS-154 body above 96 KB", func(t *testing.T) {
		c := c.in(t)
		body := keyed("big", `"x":"`+strings.Repeat("x", 96<<10)+`"`)
		c.do("PUT", "/enrollments/big", body).want(413, 413001)
		c.do("GET", "/enrollments/big", "").want(404, 404201)
		small := keyed("big", `"x":"`+strings.Repeat("x", 96<<10-len(keyed("big", `"x":""`)))+`"`)
		c.do("PUT", "/enrollments/big", small).want(200, 0)
	})
	t.Run("DPS-155 invalid JSON", func(t *testing.T) {
		c := c.in(t)
		for _, body := range []string{`{"registrationId":`, ``, `[]`, `{"registrationId":5}`, keyed("j") + "x", `{"registrationId":"j","registrationId":"j"}`,
			keyed("j", `"capabilities":7`), keyed("j", `"iotHubs":"hub-a.test"`), "{\"registrationId\":\"\xff\"}"} {
			c.do("PUT", "/enrollments/j", body).want(400, 400012)
		}
	})
	t.Run("DPS-156 PUT without id", func(t *testing.T) {
		c := c.in(t)
		for method, path := range map[string]string{"PUT": "/enrollments", "DELETE": "/enrollments/", "PATCH": "/enrollments/a", "GET": "/enrollments"} {
			c.do(method, path, "").want(405, 405000)
		}
		if got := c.do("PATCH", "/enrollments/a", "").head("Allow"); got != "DELETE, GET, PUT" {
			t.Errorf("Allow %s", got)
		}
		c.do("GET", "/registrations", "").want(405, 405000)
		c.do("GET", "/nothing", "").want(404, 404000)
		c.do("GET", "/", "").want(404, 404000)
	})
	t.Run("DPS-157 risk 8: forms of If-Match", func(t *testing.T) {
		c := c.in(t)
		etag := c.do("PUT", "/enrollments/match", keyed("match")).want(200, 0).get("etag")
		if !strings.HasPrefix(etag, `"`) {
			t.Errorf("etag %s", etag)
		}
		for _, f := range []func(string) string{func(e string) string { return e }, func(e string) string { return strings.Trim(e, `"`) },
			func(e string) string { return `"` + e + `"` }, func(e string) string { return "W/" + e }, func(e string) string { return quoted(e) },
			func(string) string { return "*" }, func(string) string { return `"*"` }} {
			etag = c.do("PUT", "/enrollments/match", keyed("match"), "If-Match: "+f(etag)).want(200, 0).get("etag")
		}
		etag = c.do("PUT", "/enrollments/match", keyed("match", `"etag":`+quoted(etag))).want(200, 0).get("etag")
		c.do("PUT", "/enrollments/match", keyed("match"), "If-None-Match: *").want(409, 409201)
		c.do("DELETE", "/enrollments/match", "", "If-Match: "+etag).want(204, 0)
	})
	t.Run("DPS-158 stale etag", func(t *testing.T) {
		c := c.in(t)
		etag := c.do("PUT", "/enrollments/stale", keyed("stale")).want(200, 0).get("etag")
		c.do("PUT", "/enrollments/stale", keyed("stale"), "If-Match: "+etag).want(200, 0)
		c.do("PUT", "/enrollments/stale", keyed("stale"), "If-Match: "+etag).want(412, 412001)
		c.do("PUT", "/enrollments/stale", keyed("stale", `"etag":`+quoted(etag))).want(412, 412001)
		c.do("DELETE", "/enrollments/stale", "", "If-Match: "+etag).want(412, 412001)
	})
	t.Run("DPS-159 info has strings", func(t *testing.T) {
		// Every answer's info is checked by do; this one has numbers in it.
		c := c.in(t)
		c.do("PUT", "/enrollments/info", keyed("info", `"iotHubs":["none"]`)).want(400, 400004)
	})
}

func TestAddressRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-006 device API on the service host", func(t *testing.T) {
		d := k.enrol(t, "six")
		d.host = serviceHost
		d.t = t
		k.host = serviceHost
		defer func() { k.host = globalHost }()
		d.assigned("")
	})
	t.Run("DPS-007 percent-encoded id", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/symmetrickey%3Aabc", keyed("symmetrickey:abc")).want(200, 0).is("registrationId", "symmetrickey:abc")
		c.do("GET", "/enrollments/symmetrickey:abc", "").want(200, 0)
		c.do("GET", "/enrollments/symmetrickey%3aabc", "").want(200, 0)
	})
	t.Run("DPS-008 case of ids", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/Dev-A", keyed("dev-a")).want(200, 0).is("registrationId", "dev-a")
		c.do("PUT", "/enrollments/DEV-A", keyed("DEV-A"), "If-Match: *").want(200, 0).is("registrationId", "dev-a")
		c.do("GET", "/enrollments/Dev-a", "").want(200, 0).is("registrationId", "dev-a", "registrationState.registrationId", "dev-a")
		c.do("PUT", "/enrollments/Dev-a", keyed("Dev-A")).want(409, 409201)
	})
	t.Run("DPS-009 length of ids", func(t *testing.T) {
		c := c.in(t)
		long := strings.Repeat("a", 128)
		c.do("PUT", "/enrollments/"+long, keyed(long)).want(200, 0)
		c.do("PUT", "/enrollments/"+long+"a", keyed(long+"a")).want(400, 400202)
		c.do("PUT", "/enrollmentGroups/"+long+"a", keyedGroup(long+"a")).want(400, 400204)
	})
	t.Run("DPS-010 last character", func(t *testing.T) {
		c := c.in(t)
		for _, id := range []string{"a.", "a_", "a:", "a%20b", "ä"} {
			plain, _ := url.PathUnescape(id)
			c.do("PUT", "/enrollments/"+id, keyed(plain)).want(400, 400202)
		}
		c.do("PUT", "/enrollments/a-", keyed("a-")).want(200, 0)
		c.do("PUT", "/enrollments/x", keyed("y")).want(400, 400202)
		c.do("PUT", "/enrollments/x", `{"attestation":{"type":"symmetricKey"}}`).want(400, 400202)
		c.do("PUT", "/enrollmentGroups/x", keyedGroup("y")).want(400, 400204)
	})
	t.Run("DPS-011 case of routes", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/ENROLLMENTS/route", keyed("route")).want(200, 0)
		c.do("GET", "/Enrollments/route/", "").want(200, 0)
		c.do("POST", "/enrollments/QUERY", "{}").want(200, 0)
	})
	t.Run("DPS-012 no api-version", func(t *testing.T) {
		c := c.in(t)
		c.do("GET", "/enrollments/route?api-version=", "").want(400, 400001)
		c.do("GET", "/enrollments/route?x=api-version", "").want(400, 400001)
	})
	t.Run("DPS-013 all api-versions", func(t *testing.T) {
		c := c.in(t)
		for _, v := range []string{"2019-03-31", "2021-10-01", "2021-06-01", "2018-04-01", "2018-11-01", "2021-11-01-preview", "2025-07-01-preview",
			"2026-11-01", "2026-11-02-preview", "2026-11-15-preview", "2017-08-31", "2018-09-01-preview"} {
			c.do("GET", "/enrollments/route?api-version="+v, "").want(200, 0)
		}
	})
	t.Run("DPS-014 malformed api-version", func(t *testing.T) {
		c := c.in(t)
		for _, v := range []string{"banana", "2021-13-01", "2017-08-30", "2027-01-01", "2021-10-01-Preview2"} {
			c.do("GET", fmt.Sprintf("/enrollments/route?api-version=%s", v), "").want(400, 400001)
		}
	})
}
