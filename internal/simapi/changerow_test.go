package simapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/sim"
)

func replaceStatus(to string) string {
	return `[{"op":"replace","path":"/status","value":"` + to + `"}]`
}

// Rows that are refused, and change nothing.
func TestChangeRefusedRows(t *testing.T) {
	s := open(t)
	card := list + "/" + s1 + "-simCard"
	s.row(t, "SIM-122 SIM-123 what cannot be changed", func(x *row) {
		a := x.patch(list+"/"+s1, replaceStatus("SUSPENDED")).problem(400, "Invalid Action", "not_patchable")
		if !strings.Contains(a.get("detail").(string), "-simCard") {
			x.Error(a.get("detail"))
		}
		x.patch(list+"/"+s1+"-dataConnectivity", replaceStatus("SUSPENDED")).problem(400, "Invalid Action", "not_patchable")
		x.patch(list+"/NO-1", replaceStatus("SUSPENDED")).problem(404, "Not Found", "product_not_found")
		x.patch(list+"/"+s1+"-terminal", replaceStatus("SUSPENDED")).problem(404, "Not Found", "product_not_found")
		x.patch(list+"/"+s1+"-terminal", `{"customProperty":[]}`, mergePatch).problem(404, "Not Found", "product_not_found")
		x.post(bulk, `{"status":"SUSPENDED","productId":["`+s1+`-terminal"]}`).want(200).is("entities.0.statusCode", 404).is("entities.0.productId", s1+"-terminal")
	})
	s.row(t, "SIM-124 no status", func(x *row) {
		for _, v := range []string{"ACTIVATED", "active", "ACTIVE ", ""} {
			x.to(s1, v).problem(400, missing, "…").issue(0, "/0/value", "invalid_value")
		}
		x.patch(card, `[{"op":"replace","path":"/status","value":1}]`).problem(400, missing, "…").issue(0, "/0/value", "not_a_string")
		x.patch(card, `{"status":null}`, mergePatch).problem(400, missing, "…").issue(0, "/status", "not_a_string")
	})
	s.row(t, "SIM-125 an informative status", func(x *row) {
		for _, v := range []string{"INVENTORY", "CREATED", "PENDING_ACTIVE", "INACTIVE"} {
			x.to(s1, v).problem(400, "Invalid Action", "status_not_settable")
		}
	})
	s.row(t, "SIM-126 terminated for good", func(x *row) {
		a := x.to(s4, "ACTIVE").problem(400, "Invalid Action", "status_not_allowed")
		if d := a.get("detail").(string); !strings.Contains(d, "TERMINATED") || !strings.Contains(d, "ACTIVE") {
			x.Error(d)
		}
	})
	s.row(t, "SIM-127 a step that is not there", func(x *row) {
		x.to(s3, "SUSPENDED").problem(400, "Invalid Action", "status_not_allowed")
	})
	s.row(t, "SIM-128 the present status", func(x *row) {
		before := x.get(list + "/" + s1 + "/history").get("statistics.totalCount")
		x.to(s1, "ACTIVE").want(200).is("status", "ACTIVE")
		x.to(s1, "ACTIVE", "Prefer: respond-async").want(200).is("status", "ACTIVE")
		x.get(list+"/"+s2+"-simCard").want(200).is("customProperty", []any{})
		x.get(list+"/"+s1+"/history").is("statistics.totalCount", before)
	})
	s.row(t, "SIM-129 a status that the platform lacks", func(x *row) {
		x.remote.script(nil)
		x.to(s8, "BLOCKED").problem(400, "Invalid Action", "status_not_supported")
		if seen := x.remote.requests(); len(seen) > 0 {
			x.Error(seen)
		}
	})
	s.row(t, "SIM-130 no value", func(x *row) {
		x.patch(card, `[{"op":"replace","path":"/status"}]`).problem(400, missing, "…").issue(0, "/0/value", "required")
		x.patch(card, `[{"path":"/status"},{"op":"move","path":"/status","value":"ACTIVE"}]`).problem(400, missing, "…").issue(0, "/0/op", "required").issue(1, "/1/op", "invalid_value")
		x.patch(card, `[]`).problem(400, missing, "…").issue(0, "", "required")
		x.patch(card, `{}`, mergePatch).problem(400, missing, "…").issue(0, "", "required")
		x.patch(card, `[]`, mergePatch).problem(400, missing, "…").issue(0, "", "invalid_type")
	})
	s.row(t, "SIM-131 a test that fails", func(x *row) {
		x.patch(card, `[{"op":"test","path":"/status","value":"SUSPENDED"},{"op":"replace","path":"/status","value":"BLOCKED"}]`).problem(409, "Conflict", "test_failed")
		x.get(list+"/"+s1).is("status", "ACTIVE")
	})
	s.row(t, "SIM-134 status and custom property", func(x *row) {
		x.patch(card, `[{"op":"replace","path":"/status","value":"ACTIVE"},{"op":"add","path":"/customProperty/-","value":{"name":"a","value":"b"}}]`).problem(400, missing, "…")
		x.patch(card, `{"status":"ACTIVE","customProperty":[]}`, mergePatch).problem(400, missing, "…")
	})
	s.row(t, "SIM-135 another path", func(x *row) {
		for _, path := range []string{"/ICCID", "/customProperty/0x/y", "/customProperty/", "status/x", ""} {
			x.patch(card, `[{"op":"replace","path":"`+path+`","value":"x"}]`).problem(400, missing, "…").issue(0, "/0/path", "")
		}
	})
	s.row(t, "SIM-136 an unknown product", func(x *row) {
		x.to("HUBSIM-8900101000000009999", "ACTIVE").problem(404, "Not Found", "product_not_found")
	})
	s.row(t, "SIM-221 too many custom properties", func(x *row) {
		card := list + "/" + s6 + "-simCard"
		for n := range 20 {
			x.patch(card, fmt.Sprintf(`[{"op":"add","path":"/customProperty/p%d","value":"x"}]`, n)).want(200)
		}
		x.patch(card, `[{"op":"add","path":"customProperty","value":{"name":"p20","value":"x"}}]`, queryPatch).problem(400, "Invalid Action", "property_limit")
		x.patch(card, `[{"op":"remove","path":"customProperty[?(@.name=='p3')]"},{"op":"replace","path":"$.customProperty[?(@.name=='p4')]","value":"y"}]`, queryPatch).want(200)
		x.patch(card, `{"customProperty":[{"name":"only","value":""}]}`, "Content-Type: application/json").want(200)
		a := x.patch(card, `{"customProperty":[{"name":"one","value":""}]}`, mergePatch).want(200)
		a.is("customProperty", []any{map[string]string{"name": "one", "value": ""}})
		x.patch(card, `{"customProperty":[{"name":"a b","value":1}]}`, mergePatch).problem(400, missing, "…").issue(0, "", "").issue(1, "", "")
		x.patch(card, `[{"op":"replace","path":"customProperty","value":[{"name":"a","value":"\u0001"}]}]`, queryPatch).problem(400, missing, "…").issue(0, "/0/value/0/value", "special_character")
	})
}

func TestChangeRows(t *testing.T) {
	fresh(t, "SIM-119 SIM-227 replace the status", func(x *row) {
		a := x.to(s2, "ACTIVE").want(200).is("status", "ACTIVE").is("@type", "simCard")
		a.is("correlationId", a.header.Get("X-Correlation-Id"))
		x.get(list+"/"+s2).is("status", "ACTIVE")
		x.get(list+"?id="+s2).is("entities.0.status", "ACTIVE")
		h := x.get(list + "/" + s2 + "/history").want(200)
		h.is("entities.0.from", "SUSPENDED").is("entities.0.to", "ACTIVE").is("entities.0.kind", "STATUS")
		h.is("entities.0.actor", map[string]string{"type": "APPLICATION", "id": x.w.ID}).is("entities.0.correlationId", a.header.Get("X-Correlation-Id"))
	})
	fresh(t, "SIM-120 SIM-121 other forms of the patch", func(x *row) {
		card := list + "/" + s1 + "-simCard"
		x.patch(card, `{"status":"SUSPENDED"}`, mergePatch).want(200).is("status", "SUSPENDED")
		x.patch(card, `[{"op":"replace","path":"status","value":"ACTIVE"}]`, queryPatch).want(200).is("status", "ACTIVE")
		x.patch(card, `[{"op":"replace","path":"$.status","value":"BLOCKED"}]`, queryPatch).want(200).is("status", "BLOCKED")
		x.patch(card, `{"status":"ACTIVE"}`, "Content-Type: application/json").want(200).is("status", "ACTIVE")
		x.patch(card, `[{"op":"test","path":"/status","value":"ACTIVE"},{"op":"replace","path":"/status","value":"SUSPENDED"}]`).want(200).is("status", "SUSPENDED")
	})
	fresh(t, "SIM-132 SIM-133 custom properties", func(x *row) {
		card := list + "/" + s1 + "-simCard"
		add := `[{"op":"add","path":"customProperty","value":{"name":"colour","value":"%s"}}]`
		a := x.patch(card, fmt.Sprintf(add, "blue"), queryPatch).want(200)
		if text := mustJSON(a.get("customProperty")); !strings.Contains(text, `"site"`) || !strings.Contains(text, `"blue"`) {
			x.Error(text)
		}
		a = x.patch(card, fmt.Sprintf(add, "red"), queryPatch).want(200)
		if text := mustJSON(a.get("customProperty")); strings.Count(text, "colour") != 1 || !strings.Contains(text, `"red"`) {
			x.Error(text)
		}
	})
	fresh(t, "SIM-137 activation at once", func(x *row) {
		a := x.to(s3, "ACTIVE").want(200).is("status", "ACTIVE")
		if text := mustJSON(a.get("productCharacteristic")); !strings.Contains(text, `{"name":"dateActivated","value":"2026-03-01T12:00:00.000Z"}`) {
			x.Error(text)
		}
	})
	fresh(t, "SIM-138 the end of the billing period", func(x *row) {
		x.to(s1, "PENDING_TERMINATE").want(200).is("status", "PENDING_TERMINATE")
		x.move(x, time.Date(2026, 4, 1, 0, 1, 0, 0, time.UTC))
		x.get(list+"/"+s1).is("status", "TERMINATED").is("device.id", "dev-1")
	})
	fresh(t, "SIM-139 withdrawn", func(x *row) {
		x.to(s1, "PENDING_TERMINATE").want(200)
		x.to(s1, "ACTIVE").want(200)
		x.move(x, time.Date(2026, 4, 1, 0, 1, 0, 0, time.UTC))
		x.get(list+"/"+s1).is("status", "ACTIVE")
	})
}

// until moves the clock to at and waits until a monitor or task is finished.
func (x *row) until(href, state string) *answer {
	x.Helper()
	path := strings.TrimPrefix(href, "https://"+host)
	end := time.Now().Add(patience)
	for {
		a := x.get(path).want(200)
		if a.get("state") == state {
			return a
		}
		if time.Now().After(end) {
			x.Fatalf("%s is not %s", a.raw, state)
		}
		x.move(x, x.now())
	}
}

func TestMonitorRows(t *testing.T) {
	fresh(t, "SIM-141 SIM-142 SIM-143 SIM-144 an asynchronous change", func(x *row) {
		a := x.to(s7, "SUSPENDED").want(202).is("state", "InProgress").is("response.statusCode", 202).is("id", "8900101000000000076-1772366400000").has("Retry-After", "2")
		href := a.get("href").(string)
		a.has("Location", href).is("sourceHref", "https://"+host+list+"/"+s7+"-simCard").is("request.to", list+"/"+s7+"-simCard")
		a.is("request.body.0.value", "SUSPENDED").is("request.header", []any{map[string]string{"name": "Content-Type", "value": "application/json-patch+json"}})
		x.get(list+"/"+s7).is("status", "ACTIVE")
		x.get(strings.TrimPrefix(href, "https://"+host)).is("state", "InProgress").has("Retry-After", "2")
		again := x.to(s7, "ACTIVE").problem(400, "Invalid Action", "change_in_progress").is("monitor", href)
		_ = again
		x.get(b+"/monitor?state=InProgress&sourceHref="+a.get("sourceHref").(string)).want(200).is("statistics.totalCount", 1).is("entities.0.id", a.get("id"))
		x.move(x, noon.Add(5*time.Second))
		done := x.until(href, "Completed").is("response.statusCode", 200).is("response.body.status", "SUSPENDED").has("Retry-After", "")
		done.is("response.body.href", "https://"+host+list+"/"+s7+"-simCard")
		x.get(list+"/"+s7).is("status", "SUSPENDED")
		x.get(b+"/monitor?state=InProgress").want(200).is("statistics.totalCount", 0)
	})
	fresh(t, "SIM-145 an unknown monitor", func(x *row) {
		x.get(b+"/monitor/1-1").problem(404, "Not Found", "monitor_not_found")
		c, err := x.operator("globex").ChangeStatus(x.Context(), sim.StatusChange{Product: s9 + "-simCard", To: sim.Suspended, Async: true})
		if err != nil {
			x.Fatal(err)
		}
		x.get(b+"/monitor/"+c.Monitor.ID).problem(404, "Not Found", "monitor_not_found")
		x.get(b+"/monitor?state=Done").problem(400, missing, "…").issue(0, "state", "")
		x.get(b+"/monitor?sourceHref=x").problem(400, missing, "…").issue(0, "sourceHref", "")
	})
	fresh(t, "SIM-146 asynchronous on request", func(x *row) {
		a := x.to(s2, "ACTIVE", "Prefer: respond-async").want(202).has("Preference-Applied", "respond-async")
		x.until(a.get("href").(string), "Completed").is("response.body.status", "ACTIVE")
	})
	fresh(t, "SIM-148 a restart in between", func(x *row) {
		a := x.to(s7, "SUSPENDED").want(202)
		x.restart(x)
		x.move(x, noon.Add(5*time.Second))
		x.until(a.get("href").(string), "Completed").is("response.body.status", "SUSPENDED")
		x.get(list+"/"+s7).is("status", "SUSPENDED")
	})
	fresh(t, "SIM-149 an old monitor", func(x *row) {
		a := x.to(s7, "SUSPENDED").want(202)
		x.move(x, noon.Add(5*time.Second))
		x.until(a.get("href").(string), "Completed")
		x.move(x, noon.Add(8*24*time.Hour+time.Minute))
		x.get(b+"/monitor/"+a.get("id").(string)).problem(404, "Not Found", "monitor_not_found")
	})
}

const bulk = b + "/task/productStatusChange"

func TestTaskRows(t *testing.T) {
	fresh(t, "SIM-150 SIM-159 many at once", func(x *row) {
		before := left(x.get(list), "app-hour")
		a := x.post(bulk, `{"status":"SUSPENDED","productId":["`+s1+`","`+s6+`-simCard"]}`).want(200).is("state", "done")
		a.is("statistics", map[string]int{"total": 2, "succeeded": 2, "failed": 0, "inProgress": 0})
		if after := left(a, "app-hour"); after != before-1 {
			x.Error(before, after)
		}
		x.get(list+"/"+s1).is("status", "SUSPENDED")
		x.get(list+"/"+s6).is("status", "SUSPENDED")
		x.get(strings.TrimPrefix(a.get("href").(string), "https://"+host)).want(200).is("state", "done")
		x.get(b+"/task").want(200).is("entities.0.id", a.get("id"))
		x.get(b+"/task/x").problem(404, "Not Found", "task_not_found")
	})
	fresh(t, "SIM-151 each item for itself", func(x *row) {
		a := x.post(bulk, `{"status":"SUSPENDED","productId":["`+s1+`","`+s4+`"],"iccid":["8900101000000009999"],"reason":"winter pause"}`).want(200).is("state", "done")
		a.is("statistics", map[string]int{"total": 3, "succeeded": 1, "failed": 2, "inProgress": 0}).is("reason", "winter pause")
		a.is("errors.0.code", "status_not_allowed").is("errors.0.status", 400).is("errors.0.productId", s4).is("errors.1.code", "product_not_found").is("errors.1.status", 404)
		x.post(bulk, `{"status":"SUSPENDED","iccid":[""]}`).want(200).is("entities.0.iccid", "").is("entities.0.statusCode", 404)
		a.is("entities.2.iccid", "8900101000000009999").is("entities.1.statusCode", 400).is("entities.1.status", "TERMINATED")
	})
	fresh(t, "SIM-152 all failed", func(x *row) {
		x.post(bulk, `{"status":"SUSPENDED","productId":["`+s4+`"]}`).want(200).is("state", "terminatedWithError")
	})
	fresh(t, "SIM-153 one is asynchronous", func(x *row) {
		a := x.post(bulk, `{"status":"SUSPENDED","productId":["`+s1+`","`+s7+`"]}`).want(202).is("state", "inProgress").has("Retry-After", "2")
		href := a.get("href").(string)
		a.has("Location", href)
		if m, _ := a.get("entities.1.monitor").(string); !strings.HasPrefix(m, "https://"+host+b+"/monitor/") {
			x.Error(string(a.raw))
		}
		x.move(x, noon.Add(5*time.Second))
		x.until(href, "done").is("statistics.succeeded", 2)
	})
	fresh(t, "SIM-154 the same product thrice", func(x *row) {
		x.post(bulk, `{"status":"SUSPENDED","productId":["`+s1+`","`+s1+`-simCard"],"iccid":["`+s1[7:]+`"]}`).want(200).is("statistics.total", 1)
	})
	s := open(t)
	s.row(t, "SIM-155 nothing named", func(x *row) {
		x.post(bulk, `{"status":"SUSPENDED"}`).problem(400, missing, "…").issue(0, "", "required")
		x.post(bulk, `{"status":"SUSPENDED","productId":[]}`).problem(400, missing, "…").issue(0, "", "required")
	})
	s.row(t, "SIM-156 too many", func(x *row) {
		x.post(bulk, `{"status":"SUSPENDED","productId":["`+s1+`"`+strings.Repeat(`,"HUBSIM-1"`, 1000)+`]}`).problem(400, missing, "…").issue(0, "", "too_many")
		x.get(list+"/"+s1).is("status", "ACTIVE")
	})
	s.row(t, "SIM-157 a number for an identifier", func(x *row) {
		x.post(bulk, `{"status":"SUSPENDED","iccid":[8900101000000000019]}`).problem(400, missing, "…").issue(0, "/iccid/0", "not_a_string")
	})
	s.row(t, "SIM-158 no status", func(x *row) {
		x.post(bulk, `{"status":"PAUSED","productId":["`+s1+`"]}`).problem(400, missing, "…").issue(0, "/status", "invalid_value")
		x.post(bulk, `{"status":"INVENTORY","productId":["`+s1+`"]}`).problem(400, "Invalid Action", "status_not_settable")
		x.get(list+"/"+s1).is("status", "ACTIVE")
	})
}
