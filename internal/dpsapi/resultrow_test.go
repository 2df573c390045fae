package dpsapi_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

// moment is what Java and C# both parse.
var moment = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`)

func TestResults(t *testing.T) {
	hook := newWebhook(t, "")
	k := open(t, func(s *setup) { s.service.Web = hook.Client() })
	t.Run("DPS-137 no payload of the webhook", func(t *testing.T) {
		hook.answer.Store(`{"iotHubHostName":"hub-a.test"}`)
		a := k.enrol(t, "res-1", hook.custom).assigned("")
		if state := a.body["registrationState"].(map[string]any); len(state) == 0 || hasMember(state, "payload") {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-138 payload of the webhook", func(t *testing.T) {
		hook.answer.Store(`{"iotHubHostName":"hub-b.test","payload":{"a":{"b":[1,2.50,"<x>"]}}}`)
		a := k.enrol(t, "res-2", hook.custom).assigned("")
		if payload, ok := a.at("registrationState.payload").(map[string]any); !ok || len(payload) != 1 || a.get("registrationState.assignedHub") != "hub-b.test" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-139 failed", func(t *testing.T) {
		hook.answer.Store(`{}`)
		d := k.enrol(t, "res-3", hook.custom)
		a := d.outcome("")
		if a.code != 200 || a.get("status") != "failed" || !operationID.MatchString(a.get("operationId")) {
			t.Errorf("%d %s", a.code, a.raw)
		}
		if a.get("registrationState.errorCode") != "400208" || a.get("registrationState.errorMessage") == "" ||
			a.get("registrationState.registrationId") != "res-3" || a.get("registrationState.status") != "failed" {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-140 disabled", func(t *testing.T) {
		d := k.enrol(t, "res-4", func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled })
		for name, a := range map[string]*answer{"https": d.outcome(""), "mqtt": d.mqtt().outcome(""), "amqp": d.amqp().outcome("")} {
			if a.code != 200 || a.get("status") != "disabled" || a.get("registrationState.status") != "disabled" || a.get("registrationState.registrationId") != "res-4" {
				t.Errorf("%s: %d %s", name, a.code, a.raw)
			}
		}
	})
	t.Run("DPS-141 DPS-142 times", func(t *testing.T) {
		d := k.enrol(t, "res-5")
		first := d.assigned("")
		k.pass(time.Minute)
		second := d.assigned("")
		for _, a := range []*answer{first, second} {
			for _, name := range []string{"createdDateTimeUtc", "lastUpdatedDateTimeUtc"} {
				if got := a.get("registrationState." + name); !moment.MatchString(got) {
					t.Errorf("%s is %q", name, got)
				}
			}
		}
		if first.get("registrationState.createdDateTimeUtc") != second.get("registrationState.createdDateTimeUtc") ||
			first.get("registrationState.lastUpdatedDateTimeUtc") >= second.get("registrationState.lastUpdatedDateTimeUtc") {
			t.Errorf("%s, then %s", first.raw, second.raw)
		}
	})
	t.Run("DPS-143 no nulls", func(t *testing.T) { // newAnswer looks at every answer of these tests
		d := k.enrol(t, "res-6")
		operation := d.assigned("").get("operationId")
		d.lookup("")
		k.pass(waitForPolls)
		if a := d.mqtt().poll(operation, " "); strings.Contains(string(a.raw), "null") {
			t.Errorf("%s", a.raw)
		}
	})
	t.Run("DPS-145 older than the retention", func(t *testing.T) {
		d := k.enrol(t, "res-7")
		operation := d.assigned("").get("operationId")
		k.pass(23 * time.Hour)
		d.poll(operation).want(200, 0)
		k.pass(25 * time.Hour)
		d.poll(operation).want(404, 404203)
	})
}

func hasMember(m map[string]any, name string) bool { _, ok := m[name]; return ok }

func TestRestart(t *testing.T) {
	w := newWebhook(t, `{"iotHubHostName":"hub-a.test"}`)
	w.hold = make(chan struct{})
	k := open(t, func(s *setup) { s.service.Web = w.Client() })
	t.Run("DPS-144 operations survive a restart", func(t *testing.T) {
		done := k.enrol(t, "restart-1")
		finished := done.assigned("").get("operationId")
		d := k.enrol(t, "restart-2", w.custom)
		running := d.register("").want(202, 0).get("operationId")
		<-w.asked
		if err := k.service.Close(); err != nil {
			t.Fatal(err)
		}
		k.start(t)
		k.pass(waitForPolls)
		done.poll(finished).want(200, 0)
		d.poll(running).want(202, 0)
		close(w.hold)
		if a := d.finished(running, func() *answer { return d.poll(running) }); a.code != 200 || a.get("status") != "assigned" {
			t.Errorf("%d %s", a.code, a.raw)
		}
	})
}

func TestConflict(t *testing.T) {
	w := newWebhook(t, `{"iotHubHostName":"hub-a.test"}`)
	w.hold = make(chan struct{})
	k := open(t, func(s *setup) { s.service.Web = w.Client() })
	d := k.enrol(t, "conflict-1", w.custom)
	first := d.register(`{"payload":{"n":1}}`).want(202, 0)
	<-w.asked
	t.Run("DPS-255 CODE-409203 another payload while the webhook sleeps", func(t *testing.T) {
		a := d.register(`{"payload":{"n":2}}`).want(409, 409203)
		if a.header.Get("x-ms-error-code") != "409203" {
			t.Errorf("%v", a.header)
		}
		d.mqtt().register(`{"payload":{"n":2}}`).want(409, 409203)
		e, b := d.amqp().rejected(registerMessage(`{"payload":{"n":2}}`))
		if b.want(0, 409203); e.Condition != "com.microsoft:entity-already-exists" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("DPS-060 the same payload over each protocol", func(t *testing.T) {
		for name, a := range map[string]*answer{"https": d.register(`{"payload":{"n":1}}`), "mqtt": d.mqtt().register(`{"payload":{"n":1}}`),
			"amqp": d.amqp().ask(registerMessage(`{"payload":{"n":1}}`))} {
			if a.get("operationId") != first.get("operationId") {
				t.Errorf("%s: %s, first %s", name, a.raw, first.raw)
			}
		}
	})
	close(w.hold)
}

func TestErrors(t *testing.T) {
	k := open(t)
	t.Run("DPS-264 no 409204", func(t *testing.T) {
		if c := fault.Lookup(409204, fault.DPS); c != nil {
			t.Errorf("%+v", c)
		}
	})
	t.Run("DPS-265 405, 415, 429 and 500 of the device API", func(t *testing.T) {
		d := k.enrol(t, "err-1")
		d.http("GET", d.path("/register"), "").want(405, 405000)
		d.register("<a/>", "Content-Type: application/xml").want(415, 415001)
		operation := d.assigned("").get("operationId")
		k.freeze()
		for range 6 {
			if a := d.poll(operation); a.code == 429 {
				a.want(429, 429001).errorForm()
				operation = ""
				break
			}
		}
		if operation != "" {
			t.Error("six polls at once are not too many")
		}
		clear := k.inject(t, gate.Rule{Op: "dps.register", Code: 500001})
		d.register("").want(500, 500001)
		clear()
	})
	t.Run("DPS-266 DPS-267 503 with a hint, then success", func(t *testing.T) {
		d := k.enrol(t, "err-2")
		m, p := d.mqtt(), d.amqp()
		clear := k.inject(t, gate.Rule{Op: "dps.*", Code: 503001})
		if a := d.register("").want(503, 503001); a.header.Get("Retry-After") == "" {
			t.Errorf("%v", a.header)
		}
		m.register("").want(503, 503001) // ask wants the hint in the topic
		e, _ := p.rejected(registerMessage(""))
		if e.Condition != amqp.InternalError || e.Info.Get("retry-after") == nil || e.Info.Get("Retry-After") == nil {
			t.Errorf("%+v", e)
		}
		clear()
		d.register("").want(202, 0)
		m.register("").want(202, 0)
		p.ask(registerMessage(""))
	})
	t.Run("DPS-265 a body that is too large", func(t *testing.T) {
		d := k.enrol(t, "err-3")
		d.register(`{"payload":"`+strings.Repeat("x", 97<<10)+`"}`).want(413, 413001)
	})
}

func TestStoreOutage(t *testing.T) {
	t.Run("DPS-267 the store is gone", func(t *testing.T) {
		k := open(t)
		d := k.enrol(t, "store-1")
		m, p := d.mqtt(), d.amqp()
		k.db.Close()
		if a := d.register("").want(503, 503001); a.header.Get("Retry-After") == "" {
			t.Errorf("%v", a.header)
		}
		m.register("").want(503, 503001)
		if e, _ := p.rejected(registerMessage("")); e.Condition != amqp.InternalError || e.Info.Get("retry-after") == nil {
			t.Errorf("%+v", e)
		}
	})
}
