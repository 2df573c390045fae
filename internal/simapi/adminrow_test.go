package simapi_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// luhn says whether the last digit checks the others.
func luhn(digits string) bool {
	sum := 0
	for n := range len(digits) {
		d := int(digits[len(digits)-1-n] - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func characteristic(entity any, name string) string {
	all, _ := dig(entity, "productCharacteristic").([]any)
	for _, c := range all {
		if dig(c, "name") == name {
			return dig(c, "value").(string)
		}
	}
	return ""
}

func TestAdministrationRows(t *testing.T) {
	fresh(t, "SIM-212 identifiers are allotted", func(x *row) {
		e := x.as(x.a, "POST", list, `{"account":"HUBSIM_1","sim":[{"offering":"off-500mb"}]}`).want(201).is("entities.0.status", "INVENTORY").get("entities.0")
		iccid, imsi := characteristic(e, "ICCID"), characteristic(e, "IMSI")
		if !regexp.MustCompile(`^8900101[0-9]{12}$`).MatchString(iccid) || !luhn(iccid) || !regexp.MustCompile(`^00101[0-9]{10}$`).MatchString(imsi) {
			x.Error(iccid, imsi)
		}
		h := x.get(list + "/" + dig(e, "id").(string) + "/history").want(200)
		h.is("entities.0.from", "CREATED").is("entities.0.to", "INVENTORY")
	})
	s := open(t)
	s.row(t, "SIM-213 a duplicate", func(x *row) {
		x.as(x.a, "POST", list, `{"account":"HUBSIM_1","sim":[{"iccid":"8900101000000000118"},{"iccid":"8900101000000000019"}]}`).problem(409, "Conflict", "duplicate")
		x.get(list+"?iccid=8900101000000000118").is("statistics.totalCount", 0)
	})
	s.row(t, "SIM-214 a number for an identifier", func(x *row) {
		x.as(x.a, "POST", list, `{"account":"HUBSIM_1","sim":[{"iccid":8900101000000000101}]}`).problem(400, missing, "…").issue(0, "/sim/0/iccid", "not_a_string")
		x.as(x.a, "POST", list, `{"sim":[{"iccid":"1","x":1}]}`).problem(400, missing, "…").issue(0, "/account", "required").issue(1, "/sim/0/x", "unknown_member").issue(2, "/sim/0/iccid", "invalid_value")
		x.as(x.a, "POST", list, `{"account":"HUBSIM_1","sim":[]}`).problem(400, missing, "…").issue(0, "/sim", "required")
		x.as(x.a, "POST", list, `{"account":"NO","sim":[{}]}`).problem(404, "Not Found", "platform_not_found")
	})
	s.row(t, "SIM-215 a capability that is missing", func(x *row) {
		x.remote.script(nil)
		x.post(list+"/"+s8+"/sms", `{"payload":"hi"}`).problem(400, "Invalid Action", "capability_missing")
		if seen := x.remote.requests(); len(seen) > 0 {
			x.Error(seen)
		}
	})
	s.row(t, "SIM-217 no secret is shown", func(x *row) {
		a := x.get(b+"/platform/REMOTE_1").want(200).is("platform", "RMT").is("accountId", "100125")
		if strings.Contains(string(a.raw)+string(x.get(b+"/platform").want(200).raw), "ecret") {
			x.Error(string(a.raw))
		}
		x.get(b+"/platform/NO").problem(404, "Not Found", "platform_not_found")
	})
	s.row(t, "SIM-225 nothing to reset", func(x *row) {
		if a := x.post(list+"/"+s6+"/reset", "").want(200); string(a.raw) != "{}" {
			x.Error(string(a.raw))
		}
		x.post(list+"/"+s6+"/reset", `{"x":1}`).problem(400, missing, "…").issue(0, "/x", "unknown_member")
	})
	s.row(t, "SIM-226 no position", func(x *row) {
		x.get(list+"/"+s6+"/location").problem(404, "Not Found", "no_data")
	})
	fresh(t, "SIM-218 an account goes with its products", func(x *row) {
		x.as(x.a, "DELETE", b+"/platform/REMOTE_1", "").want(204)
		x.get(list).ids(s7, s1, s2, s3, s4, s5, s6)
		x.as(x.a, "DELETE", b+"/platform/REMOTE_1", "").problem(404, "Not Found", "platform_not_found")
	})
	fresh(t, "accounts", func(x *row) { // 6.9
		remote := fmt.Sprintf(`{"account":"FAR_2","platform":"FAR","adapter":"http","accountId":"7","statusChangeMode":"SYNC","settableStatus":["ACTIVE","SUSPENDED"],
			"http":{"baseUrl":"%s/api/connectivity/v1/far","tokenUrl":"%s/oauth2/token","clientId":"c","clientSecret":"s","statusMap":{"ACTIVATED":"ACTIVE"},
			"quirks":[{"status":500,"bodyPattern":"x","class":"credentials"}]}}`, x.remote.URL, x.remote.URL)
		x.as(x.a, "POST", b+"/platform", remote).want(201).has("Location", "https://"+host+b+"/platform/FAR_2").is("adapter", "http").is("enabled", true)
		x.as(x.a, "POST", b+"/platform", remote).problem(409, "Conflict", "duplicate")
		x.as(x.a, "POST", b+"/platform/FAR_2/check", "").want(200).is("class", "ok")
		x.as(x.a, "POST", b+"/platform/FAR_2/synchronise", "{}").want(202)
		x.as(x.a, "PUT", b+"/platform/FAR_2", strings.Replace(remote, `"accountId":"7"`, `"accountId":"8"`, 1)).want(200).is("accountId", "8")
		x.as(x.a, "POST", b+"/platform", `{"account":1,"http":{"timeoutMs":"x","quirks":[{"status":1.5}],"y":1},"enabled":1,"settableStatus":"ACTIVE"}`).problem(400, missing, "…").
			issue(0, "/account", "not_a_string").issue(1, "/http/timeoutMs", "invalid_type").issue(2, "/http/quirks/0/status", "invalid_value").issue(3, "/http/y", "unknown_member").
			issue(4, "/enabled", "invalid_type").issue(5, "/settableStatus", "invalid_type")
		x.as(x.a, "POST", b+"/platform", `{"account":"a b","platform":"x","adapter":"embedded"}`).problem(400, missing, "…")
		x.as(x.a, "POST", b+"/platform", `{}`).problem(400, missing, "…").issue(0, "/account", "required").issue(1, "/platform", "required").issue(2, "/adapter", "required")
		x.as(x.a, "POST", b+"/platform", `{"account":"D","platform":"DD","adapter":"embedded","settableStatus":["ACTIVE","ACTIVE"]}`).problem(400, missing, "…").
			issue(0, "/settableStatus/1", "invalid_value")
	})
	fresh(t, "offerings", func(x *row) { // 6.9
		x.as(x.a, "POST", b+"/productOffering", `{"id":"gold","name":"Gold","account":"HUBSIM_1","dataLimitBytes":1000,"onLimit":"SUSPEND"}`).want(201).is("billingPeriod", "CALENDAR_MONTH").is("dataLimitBytes", 1000)
		x.as(x.a, "PATCH", b+"/productOffering/gold", `{"dataLimitBytes":null,"name":"Gold 2"}`, mergePatch).want(200).is("dataLimitBytes", nil).is("name", "Gold 2").is("onLimit", "SUSPEND")
		x.get(b+"/productOffering/gold").want(200).is("name", "Gold 2")
		x.get(b+"/productOffering/nosuch").problem(404, "Not Found", "offering_not_found")
		x.get(b+"/productOffering?pageSize=1&pageNumber=2").want(200).is("statistics.totalCount", 4).is("statistics.count", 1)
		x.as(x.a, "POST", b+"/productOffering", `{"dataLimitBytes":0,"onLimit":"x","imeiLock":1}`).problem(400, missing, "…")
		x.as(x.a, "GET", b+"/productOffering", "").want(200)
		x.as(x.a, "GET", list, "").problem(403, "Forbidden", "permission_missing")
	})
	fresh(t, "SIM-223 a platform that is down", func(x *row) {
		x.remote.script(answers(503, ""))
		a := x.get(list+"/"+s8, "Prefer: respond-cached").want(200).is("status", "ACTIVE").has("Preference-Applied", "respond-cached")
		if a.header.Get("Age") == "" {
			x.Error(a.header)
		}
	})
}

const appBody = `{"name":"billing-sync","contactEmail":"ops@example.com","permissions":[{"api":"connection-management-orchestrator","version":"v1","access":"rw"}]}`

func TestApplicationRows(t *testing.T) {
	fresh(t, "SIM-229 SIM-230 SIM-236 registration", func(x *row) {
		a := x.as(x.a, "POST", aam+"/application", appBody).want(201)
		href := aam + "/application/" + a.get("id").(string)
		if len(a.get("credentials.0.clientSecret").(string)) < 32 {
			x.Error(string(a.raw))
		}
		a.has("Location", "https://"+host+href).is("createdAt", "2026-03-01T12:00:00.000Z")
		shown := x.as(x.a, "GET", href, "").want(200).is("permissions.0.apiUrl", "https://"+host+b)
		if all := string(shown.raw) + string(x.as(x.a, "GET", aam+"/application", "").want(200).raw); strings.Contains(all, "clientSecret") {
			x.Error(all)
		}
		x.as(x.a, "POST", aam+"/application", appBody).problem(409, "Conflict", "name_taken")
		x.as(x.a, "PATCH", href, `{"name":"w"}`, mergePatch).problem(409, "Conflict", "name_taken")
		x.as(x.a, "PATCH", href, `{"name":"other","contactEmail":"x"}`, mergePatch).problem(400, missing, "…").issue(0, "/contactEmail", "invalid_value")
		x.as(x.a, "GET", aam+"/api", "").want(200).is("statistics.totalCount", 4)
	})
	s := open(t)
	s.row(t, "SIM-231 no contact", func(x *row) {
		x.as(x.a, "POST", aam+"/application", strings.Replace(appBody, `"contactEmail":"ops@example.com",`, "", 1)).problem(400, missing, "…").issue(0, "/contactEmail", "required")
		x.as(x.a, "POST", aam+"/application", `{"name":"a/b","contactEmail":"x","permissions":[{"api":"x","version":"v2","access":"w","y":1}]}`).problem(400, missing, "…").
			issue(0, "/permissions/0/y", "unknown_member").issue(1, "/name", "invalid_value").issue(5, "/permissions/0/access", "invalid_value")
	})
	s.row(t, "SIM-232 administrators only", func(x *row) {
		x.post(aam+"/application", appBody).problem(403, "Forbidden", "permission_missing")
		x.get(aam+"/application").problem(403, "Forbidden", "permission_missing")
		x.as(x.a, "GET", "/api/applications/v1/globex/application", "").problem(403, "Forbidden", "tenant_forbidden")
		x.as(x.a, "GET", aam+"/application/x", "").problem(404, "Not Found", "application_not_found")
	})
	fresh(t, "SIM-233 SIM-234 more credentials", func(x *row) {
		at := aam + "/application/" + x.w.ID + "/credential"
		k := x.as(x.a, "POST", at, "").want(201)
		second := []string{"grant_type", "client_credentials", "client_id", k.get("clientId").(string), "client_secret", k.get("clientSecret").(string)}
		x.form(tokenURL, nil, second...).want(200)
		x.form(tokenURL, nil, x.good(x.w)...).want(200)
		x.as(x.a, "POST", at+"/"+x.w.Credentials[0].ClientID+"/refresh", "{}").want(200).is("refreshedAt", "2026-03-01T12:00:00.000Z")
		token := x.form(tokenURL, nil, second...).want(200).get("access_token").(string)
		x.form(tokenURL, nil, x.good(x.w)...).want(401)
		for range 3 {
			x.as(x.a, "POST", at, "{}").want(201)
		}
		x.as(x.a, "POST", at, "").problem(400, "Invalid Action", "credential_limit")
		x.get(list, "Authorization: Bearer "+token).want(200)
		x.as(x.a, "DELETE", at+"/"+second[3], "").want(204)
		x.get(list, "Authorization: Bearer "+token).problem(401, "Unauthorized", "token_revoked")
	})
	fresh(t, "SIM-235 a deleted application", func(x *row) {
		token := "Authorization: Bearer " + x.token(x, x.w)
		x.get(list, token).want(200)
		x.as(x.a, "DELETE", aam+"/application/"+x.w.ID, "").want(204)
		x.get(list, token).problem(401, "Unauthorized", "token_revoked")
	})
}

func TestLinkRows(t *testing.T) {
	fresh(t, "SIM-161 linked elsewhere", func(x *row) {
		x.put(list+"/"+s6+"/device", `{"deviceId":"dev-1"}`).problem(409, "Conflict", "already_linked")
		x.put(list+"/"+s6+"/device", `{"deviceId":"dev-1","replace":true}`).want(201)
		x.get(list+"/"+s1+"/device").problem(404, "Not Found", "link_not_found")
		x.get(list+"/"+s6).is("device.id", "dev-1")
	})
	fresh(t, "SIM-163 a SIM that carries nothing", func(x *row) {
		x.put(list+"/"+s2+"/device", `{"deviceId":"dev-2"}`).want(201).is("warnings.0.code", "sim_not_in_service").has("Hub-Warning", "sim_not_in_service")
	})
	s := open(t)
	s.row(t, "SIM-162 an unknown device", func(x *row) {
		x.put(list+"/"+s6+"/device", `{"deviceId":"nosuch"}`).problem(400, missing, "…").issue(0, "/deviceId", "invalid_value")
		x.put(list+"/"+s6+"/device", `{"deviceId":1,"replace":"x","y":1}`).problem(400, missing, "…").issue(0, "/y", "unknown_member").issue(1, "/deviceId", "not_a_string").issue(2, "/replace", "invalid_type")
	})
	s.row(t, "SIM-164 no link", func(x *row) {
		x.get(list+"/"+s6+"/device").problem(404, "Not Found", "link_not_found")
		x.get(list+"/NO-1/device").problem(404, "Not Found", "product_not_found")
	})
	s.row(t, "SIM-173 usage of no time", func(x *row) {
		for _, q := range []string{"granularity=WEEK", "from=yesterday", "from=2026-03-01T12:00:00Z&to=2026-03-01T11:00:00Z", "to=2026-03-01", "from=2024-01-01T00:00:00Z&granularity=HOUR&to=2025-01-01T00:00:00Z"} {
			x.get(list+"/"+s1+"/usage?"+q).problem(400, missing, "…")
		}
		a := x.get(list + "/" + s1 + "/usage").want(200)
		a.is("entities.0.period.startDateTime", "2026-03-01T00:00:00.000Z").is("statistics.count", 1)
		x.get(list + "/" + s1 + "/usage?from=2026-02-27T00:00:00%2B01:00&to=2026-03-01T00:00:00Z&granularity=HOUR").want(200)
		x.get(list+"/"+s1+"/dataSession?state=OPEN").want(200).is("entities", []any{})
		x.get(list+"/"+s1+"/dataSession?state=open").problem(400, missing, "…")
	})
	s.row(t, "SIM-174 SIM-175 short messages that cannot be", func(x *row) {
		x.post(list+"/"+s6+"/sms", `{"payload":"hi"}`).problem(400, "Invalid Action", "no_device_linked")
		x.post(list+"/"+s2+"/sms", `{"payload":"hi"}`).problem(400, "Invalid Action", "status_not_allowed")
		for _, body := range []string{`{}`, `{"payload":""}`, `{"payload":"` + strings.Repeat("x", 161) + `"}`, `{"payload":"abc","encoding":"HEX"}`, `{"payload":"x","validitySeconds":59}`,
			`{"payload":"x","validitySeconds":60.5}`, `{"payload":"x","encoding":"hex"}`, `{"payload":"\u4e00"}`, `{"payload":1}`} {
			x.post(list+"/"+s1+"/sms", body).problem(400, missing, "…")
		}
		x.get(list+"/"+s1+"/sms/x").problem(404, "Not Found", "sms_not_found")
		x.get(list+"/"+s1+"/sms").want(200).is("entities", []any{})
	})
	s.row(t, "SIM-178 a part where the whole is needed", func(x *row) {
		for _, part := range []string{"usage", "dataSession", "sms", "location", "history", "device"} {
			x.get(list+"/"+s1+"-simCard/"+part).problem(400, "Invalid Action", "not_a_bundle")
		}
	})
	fresh(t, "a short message", func(x *row) { // SM-1, without a connected device
		m := x.post(list+"/"+s1+"/sms", `{"payload":"hi"}`).want(201).is("status", "SUBMITTED").is("expiresAt", "2026-03-02T12:00:00.000Z")
		at := list + "/" + s1 + "/sms/" + m.get("id").(string)
		m.has("Location", "https://"+host+at)
		x.get(at).want(200).is("payload", "hi").is("encoding", "TEXT")
		x.get(list+"/"+s1+"/sms").want(200).is("statistics.totalCount", 1)
	})
}
