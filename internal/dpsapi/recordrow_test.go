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
)

// party is a group with a symmetric key whose members the test makes.
type party struct {
	*kit
	id, key string
}

// group puts an enrolment group with a symmetric key.
func (k *kit) group(t testing.TB, id string, change ...func(*dps.Enrollment)) *party {
	t.Helper()
	p := &party{k, id, cred.NewLongKey()}
	e := &dps.Enrollment{GroupID: id, Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{Primary: p.key}}}
	for _, f := range change {
		f(e)
	}
	k.put(t, e)
	return p
}

// member returns a device of the group.
func (p *party) member(t testing.TB, id string) *device {
	t.Helper()
	key, err := cred.Derive(p.key, id)
	if err != nil {
		t.Fatal(err)
	}
	return p.device(t, id).withKey(key)
}

// ends checks how an operation ended.
func (a *answer) ends(status string, errorCode string) {
	a.t.Helper()
	if a.code != 200 || a.get("status") != status || a.get("registrationState.errorCode") != errorCode {
		a.t.Errorf("%d %s, want %s %s", a.code, a.raw, status, errorCode)
	}
}

func TestRecordRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	g := k.group(t, "fleet")
	t.Run("DPS-268 first registration", func(t *testing.T) {
		c := c.in(t)
		a := g.member(t, "One").assigned("")
		x := c.do("GET", "/deviceRecords/one", "").want(200, 0).is("deviceRecordId", "One", "registrationId", "One", "status", "active",
			"source.type", "enrollmentGroup", "source.id", "fleet", "lastProvisioningRecordId", a.get("operationId"))
		if stay, _ := x.at("hubHistory").([]any); len(stay) != 1 || stay[0].(map[string]any)["iotHubHostName"] != a.get("registrationState.assignedHub") {
			t.Errorf("%s", x.raw)
		}
		c.do("GET", "/provisioningRecords/"+a.get("operationId"), "").want(200, 0).is("registrationId", "One", "enrollmentGroupId", "fleet",
			"transport", "https", "status", "assigned", "attestationType", "symmetricKey", "idScope", idScope, "apiVersion", apiVersion)
		c.do("GET", "/groupRecords/fleet", "").want(200, 0).is("registrationCount", "1", "groupDeleted", "false")
		c.do("DELETE", "/deviceRecords/one", "").want(409, 409205)
	})
	t.Run("DPS-269 blocked", func(t *testing.T) {
		c := c.in(t)
		x := c.do("GET", "/deviceRecords/one", "")
		c.do("PUT", "/deviceRecords/one", `{"status":"Blocked"}`, "If-Match: "+x.get("etag")).want(200, 0).is("status", "blocked")
		g.member(t, "One").outcome("").ends("disabled", "")
		c.do("PUT", "/deviceRecords/new", `{"status":"blocked"}`).want(200, 0)
		g.member(t, "new").outcome("").ends("disabled", "")
		c.do("PUT", "/deviceRecords/one", `{"status":"active"}`, "If-Match: *").want(200, 0).is("status", "active")
		g.member(t, "One").assigned("")
		c.do("PUT", "/deviceRecords/new", `{"status":"active"}`, "If-Match: *").want(400, 400004)
	})
	t.Run("DPS-270 staged with overrides", func(t *testing.T) {
		c := c.in(t)
		body := `{"status":"staged","overrides":{"deviceId":"Pump#7","iotHubHostName":"hub-b.test","initialTwin":{"tags":{"site":"north"}}}}`
		c.do("PUT", "/deviceRecords/two", body).want(200, 0).is("status", "staged", "deviceId", "Pump#7", "overrides.initialTwin.tags.site", "north", "source.type", "manual")
		a := g.member(t, "two").assigned("")
		if a.get("registrationState.deviceId") != "Pump#7" || a.get("registrationState.assignedHub") != "hub-b.test" {
			t.Errorf("%s", a.raw)
		}
		k.onHub(t, "hub-b.test", "Pump#7")
		c.do("GET", "/deviceRecords/two", "").is("status", "active", "overrides.deviceId", "Pump#7")
	})
	t.Run("DPS-256 CODE-409205 conflicts of device records", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/deviceRecords/r1", `{"deviceId":"dev-1"}`).want(200, 0)
		c.do("PUT", "/deviceRecords/R1", `{"deviceId":"dev-1"}`).want(409, 409205)
		c.do("PUT", "/deviceRecords/r2", `{"deviceId":"dev-1"}`).want(409, 409205)
		c.do("PUT", "/deviceRecords/r2", `{"overrides":{"deviceId":"dev-1"}}`).want(409, 409205)
		c.do("PUT", "/deviceRecords/r2", `{"registrationId":"R1"}`).want(409, 409205)
		c.do("PUT", "/deviceRecords/r1", `{"registrationId":"other"}`, "If-Match: *").want(409, 409205)
		c.do("PUT", "/deviceRecords/r2", `{"deviceGroupIds":["none"]}`).want(404, 404207)
		c.do("PUT", "/deviceRecords/r2", `{"overrides":{"iotHubHostName":"none"}}`).want(404, 404210)
		c.do("PUT", "/deviceRecords/r2", `{"overrides":{"initialTwin":{"tags":7}}}`).want(400, 400004)
		c.do("PUT", "/deviceRecords/r2", `{"deviceRecordId":"r3"}`).want(400, 400004)
		c.do("PUT", "/deviceRecords/r2", `{"status":"gone"}`).want(400, 400004)
		c.do("GET", "/deviceRecords/r2", "").want(404, 404205)
		c.do("DELETE", "/deviceRecords/r1", "").want(204, 0)
		c.do("PUT", "/deviceRecords/r2", `{"deviceId":"dev-1"}`).want(200, 0)
		c.do("DELETE", "/deviceRecords/two?force=true", "").want(204, 0)
	})
}

func TestGroupRecordRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	g := k.group(t, "fleet")
	g.member(t, "first").assigned("")
	g.member(t, "second").assigned("")
	t.Run("DPS-257 CODE-409206 quota below usage", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/groupRecords/fleet", `{"maxRegistrations":5}`).want(409, 409206)
		c.do("PUT", "/groupRecords/fleet", `{"maxRegistrations":1}`, "If-Match: *").want(409, 409206)
		c.do("PUT", "/groupRecords/fleet", `{"maxRegistrations":2}`, "If-Match: *").want(200, 0).is("maxRegistrations", "2", "registrationCount", "2")
		g.member(t, "third").outcome("").ends("failed", "400205")
		c.do("DELETE", "/groupRecords/fleet", "").want(409, 409206)
		c.do("PUT", "/groupRecords/fleet", `{"maxRegistrations":-1}`, "If-Match: *").want(400, 400004)
		c.do("PUT", "/groupRecords/fleet", `{"provisioningSettingsId":"none"}`, "If-Match: *").want(404, 404208)
		c.do("PUT", "/groupRecords/nobody", `{}`).want(404, 404204)
		c.do("POST", "/groupRecords/fleet/resetUsage", "").want(200, 0).is("registrationCount", "2", "failedCount", "0", "maxRegistrations", "2")
		c.do("POST", "/groupRecords/nobody/resetUsage", "").want(404, 404206)
	})
	t.Run("DPS-271 maxRegistrations 1", func(t *testing.T) {
		c := c.in(t)
		g := k.group(t, "one")
		c.do("GET", "/groupRecords/one", "").want(200, 0).is("registrationCount", "0")
		c.do("PUT", "/groupRecords/one", `{"maxRegistrations":1}`).want(200, 0)
		g.member(t, "m1").assigned("")
		g.member(t, "m2").outcome("").ends("failed", "400205")
		g.member(t, "m1").assigned("") // who is in stays in
		c.do("DELETE", "/registrations/m1", "").want(204, 0)
		c.do("GET", "/groupRecords/one", "").is("registrationCount", "0")
		g.member(t, "m2").assigned("") // its place was free
		c.do("DELETE", "/registrations/m2", "").want(204, 0)
		g.member(t, "m1").assigned("")
		c.do("GET", "/groupRecords/one", "").is("registrationCount", "1")
		from, to := k.now().Add(time.Hour).UTC().Format(time.RFC3339), k.now().Add(2*time.Hour).UTC().Format(time.RFC3339)
		c.do("PUT", "/groupRecords/one", fmt.Sprintf(`{"validFromUtc":%q,"validToUtc":%q}`, from, to), "If-Match: *").want(200, 0)
		g.member(t, "m3").outcome("").ends("failed", "401002")
		k.pass(time.Hour + time.Minute)
		g.member(t, "m3").assigned("")
		c.do("DELETE", "/enrollmentGroups/one", "").want(204, 0)
		c.do("GET", "/groupRecords/one", "").want(200, 0).is("groupDeleted", "true", "registrationCount", "2")
		c.do("DELETE", "/groupRecords/one", "").want(204, 0)
		c.do("GET", "/groupRecords/one", "").want(404, 404206)
	})
}

func TestLogRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	d := k.enrol(t, "One")
	for range 3 {
		d.assigned("")
	}
	t.Run("DPS-260 CODE-409209 the log", func(t *testing.T) {
		c := c.in(t)
		all := c.do("GET", "/provisioningRecords?registrationId=ONE", "").want(200, 0).list("operationId")
		if len(all) != 3 {
			t.Fatal(all)
		}
		body := `{"registrationId":"imported","status":"assigned","startedUtc":"2020-01-02T03:04:05Z","assignedHub":"old.test","etag":"\"theirs\""}`
		c.do("PUT", "/provisioningRecords/"+all[0], body).want(409, 409209)
		c.do("PUT", "/provisioningRecords/"+all[0], body, "If-Match: *").want(409, 409209)
		c.do("PUT", "/provisioningRecords/5.old", body).want(200, 0).is("operationId", "5.old", "startedUtc", "2020-01-02T03:04:05.0000000Z")
		c.do("PUT", "/provisioningRecords/5.old", body).want(409, 409209)
		c.do("PUT", "/provisioningRecords/5.new", body, "If-Match: *").want(404, 404209)
		c.do("PUT", "/provisioningRecords/5.new", `{"status":"assigning","registrationId":"x","startedUtc":"2020-01-02T03:04:05Z"}`).want(400, 400004)
		c.do("PUT", "/provisioningRecords/5.new", `{"status":"assigned"}`).want(400, 400005)
		if got := c.do("GET", "/provisioningRecords?to=2021-01-01T00:00:00Z", "").want(200, 0).list("operationId"); len(got) != 1 || got[0] != "5.old" {
			t.Error(got)
		}
		if got := c.do("GET", "/provisioningRecords?registrationid=imported&from="+url.QueryEscape("2021-01-01T00:00:00Z"), "").want(200, 0).list("operationId"); len(got) != 0 {
			t.Error(got)
		}
		c.do("GET", "/provisioningRecords?from=yesterday", "").want(400, 400004)
		page := c.do("GET", "/provisioningRecords", "", "x-ms-max-item-count: 2").want(200, 0)
		if len(page.list("operationId")) != 2 || page.head("x-ms-continuation") == "" || page.head("x-ms-item-type") != "ProvisioningRecord" {
			t.Errorf("%v", page.header)
		}
		c.do("GET", "/provisioningRecords", "", "x-ms-continuation: "+page.head("x-ms-continuation")).want(200, 0)
		c.do("GET", "/provisioningRecords?registrationId=one", "", "x-ms-continuation: "+page.head("x-ms-continuation")).want(400, 400004)
		c.do("DELETE", "/provisioningRecords/5.old", "").want(204, 0)
		c.do("DELETE", "/provisioningRecords/5.old", "").want(404, 404209)
	})
	t.Run("DPS-260 CODE-409209 an operation that runs", func(t *testing.T) {
		c := c.in(t)
		w := newWebhook(t, `{"iotHubHostName":"hub-a.test"}`)
		w.hold = make(chan struct{})
		c.do("PUT", "/provisioningSettings/default", `{"webhook":{"allowHttp":true,"timeoutSeconds":120,"caCertificate":`+quoted(string(cred.AppendCertificate(nil, w.Certificate())))+`}}`, "If-Match: *").want(200, 0)
		d := k.enrol(t, "slow", w.custom)
		a := d.register("")
		<-w.asked
		c.do("GET", "/provisioningRecords/"+a.get("operationId"), "").want(200, 0).is("status", "assigning", "registrationId", "slow")
		c.do("DELETE", "/provisioningRecords/"+a.get("operationId"), "").want(409, 409209)
		c.do("PUT", "/provisioningRecords/"+a.get("operationId"), `{"registrationId":"slow","status":"failed","startedUtc":"2020-01-02T03:04:05Z"}`).want(409, 409209)
		close(w.hold)
		d.finished(a.get("operationId"), func() *answer { return d.poll(a.get("operationId")) }).ends("assigned", "")
	})
}

func TestSettingsRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-259 CODE-409208 default", func(t *testing.T) {
		c := c.in(t)
		c.do("DELETE", "/provisioningSettings/default", "").want(409, 409208)
		c.do("PUT", "/provisioningSettings/DEFAULT", `{}`).want(409, 409208)
		x := c.do("GET", "/provisioningSettings/Default", "").want(200, 0).is("id", "default", "retryAfterSeconds", "3", "limits.serviceOperationsPerMinute", "1000", "allocationPolicy", "hashed")
		c.do("PUT", "/provisioningSettings/default", string(x.raw)).want(200, 0)
		c.do("PUT", "/provisioningSettings/default", string(x.raw)).want(412, 412001)
		c.do("PUT", "/provisioningSettings/default", `{"appliesTo":{"enrollments":["a"]}}`, "If-Match: *").want(400, 400004)
	})
	t.Run("DPS-273 retryAfterSeconds of a profile", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/provisioningSettings/slow", `{"priority":1,"appliesTo":{"enrollments":["Pump"]},"retryAfterSeconds":7}`).want(200, 0)
		if got := k.enrol(t, "pump").register("").want(202, 0).header.Get("Retry-After"); got != "7" {
			t.Errorf("Retry-After %s", got)
		}
		if got := k.enrol(t, "valve").register("").want(202, 0).header.Get("Retry-After"); got != "3" {
			t.Errorf("Retry-After %s", got)
		}
		c.do("PUT", "/provisioningSettings/other", `{"priority":1,"appliesTo":{"enrollments":["PUMP"]}}`).want(409, 409208)
		c.do("PUT", "/provisioningSettings/other", `{"priority":0,"appliesTo":{"enrollments":["PUMP"]},"retryAfterSeconds":9}`).want(200, 0)
		if got := k.enrol(t, "pump").register("").want(202, 0).header.Get("Retry-After"); got != "9" {
			t.Errorf("Retry-After %s", got)
		}
		if got := c.do("GET", "/provisioningSettings", "").want(200, 0).list("id"); len(got) != 3 {
			t.Error(got)
		}
	})
	t.Run("values out of range", func(t *testing.T) {
		c := c.in(t)
		for _, bad := range []string{`"retryAfterSeconds":1`, `"retryAfterSeconds":301`, `"operationRetentionMinutes":9`, `"allocationPolicy":"custom"`, `"priority":-1`,
			`"certificateValidityDays":-5`, `"webhook":{"timeoutSeconds":121}`, `"webhook":{"caCertificate":"x"}`, `"limits":{"serviceOperationsPerMinute":-2}`,
			`"appliesTo":{"enrollmentGroups":["a b"]}`, `"limits":{"maxGroups":5}`} {
			code := 400004
			if strings.Contains(bad, "a b") {
				code = 400204
			}
			c.do("PUT", "/provisioningSettings/bad", "{"+bad+"}").want(400, code)
		}
		c.do("PUT", "/provisioningSettings/bad", `{"retryAfterSeconds":"7"}`).want(400, 400012)
		c.do("GET", "/provisioningSettings/bad", "").want(404, 404208)
	})
	t.Run("named by a group record", func(t *testing.T) {
		c := c.in(t)
		g := k.group(t, "named")
		c.do("PUT", "/provisioningSettings/mine", `{"priority":2,"retryAfterSeconds":11}`).want(200, 0)
		c.do("PUT", "/groupRecords/named", `{"provisioningSettingsId":"Mine"}`).want(200, 0)
		if got := g.member(t, "n1").register("").want(202, 0).header.Get("Retry-After"); got != "11" {
			t.Errorf("Retry-After %s", got)
		}
		c.do("DELETE", "/provisioningSettings/mine", "").want(409, 409208)
		c.do("PUT", "/groupRecords/named", `{}`, "If-Match: *").want(200, 0)
		c.do("DELETE", "/provisioningSettings/mine", "").want(204, 0)
	})
	t.Run("DPS-274 requireDeviceRecord", func(t *testing.T) {
		c := c.in(t)
		g := k.group(t, "closed")
		c.do("PUT", "/provisioningSettings/closed", `{"priority":5,"appliesTo":{"enrollmentGroups":["closed"]},"requireDeviceRecord":true}`).want(200, 0)
		g.member(t, "unknown").register("").want(401, 401002)
		c.do("PUT", "/deviceRecords/known", `{}`).want(200, 0).is("status", "staged")
		g.member(t, "known").assigned("")
		k.enrol(t, "single").assigned("") // individual enrolments need none
	})
	t.Run("DPS-265 429 by a limit of the settings", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/provisioningSettings/default", `{"limits":{"registrationsPerMinute":1}}`, "If-Match: *").want(200, 0)
		k.freeze()
		d := k.enrol(t, "limited")
		d.register("").want(202, 0)
		if a := d.register("").want(429, 429001); a.header.Get("Retry-After") == "" {
			t.Errorf("%v", a.header)
		}
	})
}

func TestDeviceGroupRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	for i := range 5 {
		c.do("PUT", fmt.Sprint("/deviceRecords/dev-", i), `{}`).want(200, 0)
	}
	t.Run("explicit members", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/deviceGroups/set", `{"deviceGroupId":"Set","description":"some","membership":"explicit"}`).want(200, 0).is("memberCount", "0", "membership", "explicit")
		c.do("PUT", "/deviceGroups/set/devices/dev-1", "").want(200, 0)
		c.do("PUT", "/deviceGroups/SET/devices/DEV-1", "").want(200, 0)
		c.do("PUT", "/deviceGroups/set/devices/none", "").want(404, 404205)
		c.do("PUT", "/deviceGroups/none/devices/dev-1", "").want(404, 404207)
		c.do("PUT", "/deviceRecords/dev-2", `{"deviceGroupIds":["set"]}`, "If-Match: *").want(200, 0)
		c.do("GET", "/deviceGroups/set", "").want(200, 0).is("memberCount", "2")
		if got := c.do("GET", "/deviceGroups/set/devices", "").want(200, 0).list("deviceRecordId"); fmt.Sprint(got) != "[dev-1 dev-2]" {
			t.Error(got)
		}
		c.do("GET", "/deviceGroups/set/devices/dev-2", "").want(200, 0).is("deviceRecordId", "dev-2")
		c.do("GET", "/deviceGroups/set/devices/dev-3", "").want(404, 404205)
		c.do("DELETE", "/deviceGroups/set/devices/dev-3", "").want(404, 404205)
		c.do("DELETE", "/deviceGroups/set/devices/dev-1", "").want(204, 0)
		c.do("PUT", "/deviceRecords/dev-2", `{}`, "If-Match: *").want(200, 0) // says nothing of groups
		c.do("GET", "/deviceGroups/set", "").is("memberCount", "1")
		c.do("PUT", "/deviceRecords/dev-2", `{"deviceGroupIds":[]}`, "If-Match: *").want(200, 0)
		c.do("GET", "/deviceGroups/set", "").is("memberCount", "0")
	})
	t.Run("DPS-258 CODE-409207 conflicts", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/deviceGroups/set", `{}`).want(409, 409207)
		c.do("PUT", "/deviceGroups/set/devices/dev-1", "").want(200, 0)
		c.do("DELETE", "/deviceGroups/set", "").want(409, 409207)
		c.do("PUT", "/deviceGroups/set", `{"membership":{"query":"SELECT * FROM deviceRecords"}}`, "If-Match: *").want(409, 409207)
		c.do("DELETE", "/deviceRecords/dev-1", "").want(204, 0)
		c.do("GET", "/deviceGroups/set", "").is("memberCount", "0")
		c.do("PUT", "/deviceGroups/set/devices/dev-0", "").want(200, 0)
		c.do("DELETE", "/deviceGroups/set?force=true", "").want(204, 0)
		if got := c.do("GET", "/deviceRecords/dev-0", "").want(200, 0); got.at("deviceGroupIds") != nil {
			t.Errorf("%s", got.raw)
		}
	})
	t.Run("members by query", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/deviceGroups/bad", `{"membership":{"query":"SELECT nothing"}}`).want(400, 400004)
		c.do("PUT", "/deviceGroups/bad", `{"membership":"some"}`).want(400, 400004)
		c.do("PUT", "/deviceGroups/staged", `{"membership":{"query":"SELECT * FROM deviceRecords WHERE status = 'staged' AND STARTSWITH(deviceRecordId, 'dev-')"}}`).want(200, 0).is("memberCount", "4")
		c.do("PUT", "/deviceGroups/staged/devices/dev-0", "").want(409, 409207)
		c.do("GET", "/deviceGroups/staged/devices/dev-0", "").want(200, 0)
		page := c.do("GET", "/deviceGroups/staged/devices", "", "x-ms-max-item-count: 3").want(200, 0)
		rest := c.do("GET", "/deviceGroups/staged/devices", "", "x-ms-continuation: "+page.head("x-ms-continuation")).want(200, 0)
		if got := append(page.list("deviceRecordId"), rest.list("deviceRecordId")...); fmt.Sprint(got) != "[dev-0 dev-2 dev-3 dev-4]" {
			t.Error(got)
		}
	})
	t.Run("block and unblock", func(t *testing.T) {
		c := c.in(t)
		c.acts("staged", `{"type":"Block"}`).is("type", "block", "status", "succeeded", "done", "4", "total", "4")
		c.do("GET", "/deviceGroups/staged", "").is("memberCount", "0", "activeAction", "", "lastAction.type", "block")
		c.do("PUT", "/deviceGroups/blocked", `{"membership":{"query":"SELECT * FROM deviceRecords WHERE status='blocked'"}}`).want(200, 0)
		c.acts("blocked", `{"type":"unblock"}`).is("done", "4")
		c.do("GET", "/deviceGroups/staged", "").is("memberCount", "4")
		for _, bad := range []string{`{"type":"explode"}`, `{"type":"block","iotHubs":["hub-a.test"]}`} {
			c.do("POST", "/deviceGroups/staged/actions", bad).want(400, 400004)
		}
		c.do("POST", "/deviceGroups/staged/actions", `{}`).want(400, 400005)
		c.do("POST", "/deviceGroups/none/actions", `{"type":"block"}`).want(404, 404207)
		c.do("POST", "/deviceGroups/staged/actions", `{"type":"reprovision","iotHubs":["none.test"]}`).want(404, 404210)
		c.do("GET", "/deviceGroups/staged/actions/none", "").want(404, 404203)
	})
	t.Run("DPS-272 reprovision in spite of never", func(t *testing.T) {
		c := c.in(t)
		d := k.enrol(t, "stuck", func(e *dps.Enrollment) {
			e.Reprovision = &dps.ReprovisionPolicy{}
			e.Hubs = []string{"hub-a.test"}
		})
		d.assigned("")
		c.do("PUT", "/deviceGroups/move", `{}`).want(200, 0)
		c.do("PUT", "/deviceGroups/move/devices/stuck", "").want(200, 0)
		e := c.do("GET", "/enrollments/stuck", "")
		c.do("PUT", "/enrollments/stuck", strings.Replace(string(e.raw), `"iotHubs":["hub-a.test"]`, `"iotHubs":["hub-b.test"]`, 1)).want(200, 0)
		if a := d.assigned(""); a.get("registrationState.assignedHub") != "hub-a.test" {
			t.Errorf("%s", a.raw)
		}
		c.acts("move", `{"type":"reprovision"}`)
		if a := d.assigned(""); a.get("registrationState.assignedHub") != "hub-b.test" {
			t.Errorf("%s", a.raw)
		}
		c.acts("move", `{"type":"reprovision","iotHubs":["HUB-A.test"]}`)
		if a := d.assigned(""); a.get("registrationState.assignedHub") != "hub-a.test" {
			t.Errorf("%s", a.raw)
		}
		x := c.do("GET", "/deviceRecords/stuck", "").want(200, 0)
		if stays, _ := x.at("hubHistory").([]any); len(stays) != 3 || x.at("reprovision") != nil {
			t.Errorf("%s", x.raw)
		}
		c.acts("move", `{"type":"retire"}`)
		d.outcome("").ends("disabled", "")
	})
}

// acts starts an action and returns it when it has ended.
func (c *caller) acts(group, body string) *result {
	c.t.Helper()
	x := c.do("POST", "/deviceGroups/"+group+"/actions", body).want(202, 0)
	where, err := url.Parse(x.head("Location"))
	if err != nil {
		c.t.Fatal(err)
	}
	for until := time.Now().Add(patience); time.Now().Before(until); {
		now, err := c.GroupActionOf(c.t.Context(), group, x.get("operationId")) // not throttled
		if err != nil {
			c.t.Fatal(err)
		}
		if now.Status != dps.ActionRunning {
			return c.do("GET", where.RequestURI(), "").want(200, 0)
		}
		time.Sleep(2 * time.Millisecond)
	}
	c.t.Fatal("the action does not end")
	return nil
}

// TestActionSurvives has an action end on the next start of the service.
func TestActionSurvives(t *testing.T) {
	k := open(t, func(s *setup) {
		s.rows = func(put func(kind, key string, v any)) {
			for i := range 250 {
				id := fmt.Sprintf("dev-%03d", i)
				put(dps.KindDeviceRecord, id, dps.DeviceRecord{ID: id, RegistrationID: id, Status: dps.RecordStaged})
			}
			put(dps.KindDeviceGroup, "all", dps.DeviceGroup{ID: "all", Membership: dps.Membership{Query: "SELECT * FROM deviceRecords"}})
		}
	})
	c := k.owner(t)
	x := c.do("POST", "/deviceGroups/all/actions", `{"type":"block"}`).want(202, 0).is("total", "250")
	if err := k.service.Close(); err != nil {
		t.Fatal(err)
	}
	k.start(t)
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		now, err := k.GroupActionOf(t.Context(), "all", x.get("operationId")) // not throttled
		if err != nil {
			t.Fatal(err)
		}
		if now.Status == dps.ActionSucceeded {
			c.do("GET", "/deviceGroups/all/actions/"+now.ID, "").want(200, 0).is("done", "250")
			if got := c.do("POST", "/deviceRecords/query", `{"query":"SELECT * FROM deviceRecords WHERE status <> 'blocked'"}`).want(200, 0).list("deviceRecordId"); len(got) != 0 {
				t.Error(got)
			}
			return
		}
	}
	t.Error("the action does not end")
}

func TestRoundTripRow(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-275 a client that drops what it does not know", func(t *testing.T) {
		c := c.in(t)
		g := k.group(t, "old")
		g.member(t, "kept").assigned("")
		c.do("PUT", "/deviceGroups/set", `{}`).want(200, 0)
		c.do("PUT", "/deviceGroups/set/devices/kept", "").want(200, 0)
		c.do("PUT", "/groupRecords/old", `{"maxRegistrations":9}`, "If-Match: *").want(200, 0)
		c.do("PUT", "/provisioningSettings/p", `{"priority":1,"appliesTo":{"enrollmentGroups":["old"]},"retryAfterSeconds":8}`).want(200, 0)
		x := c.do("GET", "/enrollmentGroups/old", "").want(200, 0)
		var all map[string]json.RawMessage
		if err := json.Unmarshal(x.raw, &all); err != nil {
			t.Fatal(err)
		}
		known := map[string]json.RawMessage{}
		for _, name := range []string{"enrollmentGroupId", "attestation", "capabilities", "initialTwin", "etag", "provisioningStatus", "reprovisionPolicy",
			"allocationPolicy", "iotHubs", "customAllocationDefinition", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"} { // of the Java and C# models
			if v, ok := all[name]; ok {
				known[name] = v
				delete(all, name)
			}
		}
		if len(all) > 0 {
			t.Errorf("members that the SDKs do not know: %v", all)
		}
		c.do("PUT", "/enrollmentGroups/old", asJSON(t, known)).want(200, 0)
		c.do("GET", "/groupRecords/old", "").is("maxRegistrations", "9", "registrationCount", "1", "groupDeleted", "false")
		c.do("GET", "/deviceGroups/set", "").is("memberCount", "1")
		c.do("GET", "/deviceRecords/kept", "").is("source.id", "old")
		if got := g.member(t, "kept").register("").want(202, 0).header.Get("Retry-After"); got != "8" {
			t.Errorf("Retry-After %s", got)
		}
	})
}
