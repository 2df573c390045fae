package controlapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/node"
)

func TestCatalogRows(t *testing.T) {
	s := openSite(t)
	catalogRows(s, t)
	bootstrapRows(s, t)
}

func catalogRows(s *site, t *testing.T) {
	s.row(t, "IOT-037 IOT-042 commands", func(x *row) {
		d := x.d(1)
		a := d.read("commands").want(200, 2000)
		list := a.get("commands").([]any)
		last := ""
		for _, c := range list {
			m := c.(map[string]any)
			if m["id"].(string) <= last {
				x.Errorf("order: %v after %s", m["id"], last)
			}
			last = m["id"].(string)
			switch last {
			case d.c1:
				if m["value"] != "0.0" || m["value_type"] != "NumericRange" || m["kind"] != "relay" || m["pin_port"] != "6" || m["range"] == nil {
					x.Error(m)
				}
			case d.c3:
				if len(m) != 2 || m["error"] == nil {
					x.Error(m)
				}
			}
		}
		if len(list) != 3 {
			x.Error(list)
		}
	})
	s.row(t, "IOT-038 no commands", func(x *row) {
		if a := x.d(6).read("commands").want(200, 2000); !strings.Contains(string(a.raw), `"commands":[]`) {
			x.Error(string(a.raw))
		}
	})
	s.row(t, "IOT-039 one command", func(x *row) {
		d := x.d(1)
		d.read("commands/"+d.c1).want(200, 2000, "commands.0.id", d.c1, "commands.1", "<nil>")
	})
	s.row(t, "IOT-040 foreign command", func(x *row) {
		x.d(1).read("commands/"+x.d(2).c9).reason(404, 4004, "resource_not_found", "error.details.resource", "command")
	})
	s.row(t, "IOT-041 malformed command id", func(x *row) {
		x.d(1).read("commands/abc").reason(404, 4004, "resource_not_found", "error.details.resource", "command")
	})
	s.row(t, "IOT-043 sensors", func(x *row) {
		d := x.d(1)
		a := d.read("sensors").want(200, 2000, "sensors.2", "<nil>")
		for n := range 2 {
			m := a.get(fmt.Sprint("sensors.", n)).(map[string]any)
			if m["id"] == d.s1 && (m["kind"] != "thermistor" || m["qc"] != "celsius_temperature" || m["mu"] != "degree_celsius:0" || m["pin_port"] != "5") {
				x.Error(m)
			}
		}
	})
	s.row(t, "IOT-044 one sensor", func(x *row) {
		d := x.d(1)
		d.read("sensors/"+d.s1).want(200, 2000, "sensors.0.id", d.s1, "sensors.1", "<nil>")
	})
	s.row(t, "IOT-045 foreign sensor", func(x *row) {
		x.d(1).read("sensors/"+x.d(2).s9).reason(404, 4004, "resource_not_found", "error.details.resource", "sensor")
	})
	s.row(t, "IOT-050 POST commands", func(x *row) {
		d := x.d(1)
		if a := d.post("commands", "{}").reason(405, 4000, "method_not_allowed"); a.header.Get("Allow") != "GET, HEAD" {
			x.Error(a.header.Get("Allow"))
		}
	})
	s.row(t, "IOT-051 slash at the end", func(x *row) {
		x.d(1).read("commands/").reason(404, 4004, "resource_not_found", "error.details.resource", "endpoint")
	})
	s.row(t, "IOT-052 unknown path", func(x *row) {
		x.do("GET", "/iot/v1/nothing", "", bearer(x.d(1).token())).reason(404, 4004, "resource_not_found", "error.details.resource", "endpoint")
	})
	s.row(t, "IOT-053 eleven reads at once", func(x *row) {
		d := x.d(1)
		token := d.token()
		got := map[int]int{}
		for _, a := range together(11, func(int) *answer { return x.do("GET", d.path("commands"), "", bearer(token)) }) {
			if got[a.status]++; a.status == 429 {
				a.reason(429, 4029, "cadence_exceeded", "error.details.limit", "catalog")
			}
		}
		if got[200] != 10 || got[429] != 1 {
			x.Error(got)
		}
	})
	s.row(t, "HEAD is GET without a body", func(x *row) {
		if a := x.do("HEAD", x.d(1).path("sensors"), "", bearer(x.d(1).token())); a.status != 200 || len(a.raw) != 0 {
			x.Errorf("%d %s", a.status, a.raw)
		}
	})
}

func bootstrapRows(s *site, t *testing.T) {
	s.row(t, "IOT-046 bootstrap", func(x *row) {
		d := x.d(1)
		a := d.read("bootstrap").want(200, 2000, "device_id", d.id, "available_protocols", "[https mqtt]", "protocols.https.limits.request_max_bytes", "2048",
			"protocols.https.limits.batch_max_items", "5", "protocols.mqtt.catalog_endpoint", d.path("mqtt"), "protocols.https.endpoints.feed_data", d.path("feed-data"))
		for _, kind := range []string{"commands", "sensors"} {
			plain := d.read(kind).get(kind).([]any)
			for n, item := range a.get(kind).([]any) {
				m := item.(map[string]any)
				if m["error"] == nil && m["cadence"] == nil {
					x.Errorf("%v has no cadence", m)
				}
				delete(m, "cadence")
				if fmt.Sprint(m) != fmt.Sprint(plain[n]) {
					x.Errorf("%v is not %v", m, plain[n])
				}
			}
		}
	})
	s.row(t, "IOT-047 bootstrap without HTTPS", func(x *row) {
		x.d(5).read("bootstrap").want(200, 2000, "available_protocols", "[mqtt]", "protocols.https", "<nil>")
	})
	s.row(t, "IOT-048 a new sensor", func(x *row) {
		d := x.d(1)
		before := d.read("bootstrap").want(200, 2000)
		if _, err := x.control.AddSource(context.Background(), d.id, control.SourceDraft{ControlSource: nave.ControlSource{Kind: "hygrometer"}}, false); err != nil {
			x.Fatal(err)
		}
		after := d.read("bootstrap").want(200, 2000, "runtime_revision", before.get("runtime_revision").(string))
		if after.get("catalog_revision") == before.get("catalog_revision") {
			x.Error("catalog_revision did not change")
		}
		if _, err := x.control.Change(context.Background(), d.id, func(c *nave.ControlDevice) error { c.Plan = "starter"; return nil }); err != nil {
			x.Fatal(err)
		}
		if d.read("bootstrap").get("runtime_revision") == before.get("runtime_revision") {
			x.Error("runtime_revision did not change with the plan")
		}
	})
	s.row(t, "IOT-049 a person sets C1", func(x *row) {
		d := x.d(1)
		before := d.read("commands/"+d.c1).want(200, 2000, "commands.0.value", "0.0")
		d.set(d.c1, "1")
		after := d.read("commands/"+d.c1).want(200, 2000, "commands.0.value", "1")
		if after.header.Get("X-Catalog-Revision") != before.header.Get("X-Catalog-Revision") {
			x.Error("catalog_revision changed")
		}
	})
}

func TestDesiredRows(t *testing.T) {
	s := openSite(t)
	s.row(t, "IOT-156 no desired state", func(x *row) {
		if a := x.d(1).read("desired-states").want(200, 2000, "poll_after", "30"); !strings.Contains(string(a.raw), `"desired_states":[]`) {
			x.Error(string(a.raw))
		}
	})
	s.row(t, "IOT-157 IOT-160 pending", func(x *row) {
		d := x.d(1)
		g := d.g1()
		one := d.read("desired-states").want(200, 2000, "desired_states.0.desired_id", g.ID, "desired_states.0.value", "1.0", "desired_states.0.sequence_number", "7",
			"desired_states.0.issued_at", "2026-05-01T11:57:41Z", "desired_states.0.expires_at", "2026-05-02T11:57:41Z", "desired_states.0.command_id", d.c1, "desired_states.1", "<nil>")
		if two := d.read("desired-states"); string(one.raw) != string(two.raw) {
			x.Errorf("%s, then %s", one.raw, two.raw)
		}
	})
	s.row(t, "IOT-158 replaced", func(x *row) {
		d := x.d(1)
		g := d.g1()
		d.set(d.c1, "0")
		d.read("desired-states").want(200, 2000, "desired_states.0.sequence_number", "8", "desired_states.1", "<nil>")
		d.became(g, nave.DesiredSuperseded)
	})
	s.row(t, "IOT-159 expired", func(x *row) {
		d := x.d(1)
		g := d.g1()
		x.Clock.Freeze(noon.Add(24 * time.Hour))
		defer x.Clock.Freeze(noon)
		d.read("desired-states").want(200, 2000, "desired_states.0", "<nil>")
		d.became(g, nave.DesiredExpired)
	})
	s.row(t, "IOT-161 after a report", func(x *row) {
		d := x.d(1)
		d.feed(d.a1(d.g1())).want(201, 2000)
		d.read("desired-states").want(200, 2000, "desired_states.0", "<nil>")
	})
	s.row(t, "IOT-162 HTTPS not enabled", func(x *row) { x.d(5).read("desired-states").reason(403, 4003, "protocol_not_available") })
	s.row(t, "six polls at once", func(x *row) {
		d := x.d(1)
		token := d.token()
		got := map[int]int{}
		for _, a := range together(6, func(int) *answer { return x.do("GET", d.path("desired-states"), "", bearer(token)) }) {
			got[a.status]++
		}
		if got[200] != 5 || got[429] != 1 {
			x.Error(got)
		}
	})
}

// TestCredentialRows are the rows of 15.9 that HTTPS alone answers.
func TestCredentialRows(t *testing.T) {
	s := openSite(t)
	ask := func(x *row, token, body string) *answer {
		return x.do("POST", "/iot/v1/mqtt-credentials", body, bearer(token), jsonBody)
	}
	self := func(d *unit) string { return `{"device_id":"` + d.id + `"}` }
	s.row(t, "IOT-163 MQTT catalogue", func(x *row) {
		d := x.d(1)
		a := x.do("GET", d.path("mqtt"), "", bearer(d.token("iot:catalog:read"))).want(200, 2000, "mqtt_client_id", d.id, "credential_endpoint", "/iot/v1/mqtt-credentials")
		if n := len(a.get("routes").([]any)); n != 5 || !strings.HasPrefix(a.get("broker_url").(string), "mqtts://hub.test:") {
			x.Errorf("%d routes, %s", n, a.raw)
		}
	})
	s.row(t, "IOT-164 catalogue without MQTT", func(x *row) {
		x.d(6).read("mqtt").want(200, 2000, "credential_endpoint", "<nil>", "broker_url", "<nil>")
	})
	s.row(t, "IOT-165 credential", func(x *row) {
		d := x.d(1)
		a := ask(x, d.token(), self(d)).want(201, 2000, "mqtt_client_id", d.id, "mqtt_username", d.id, "expires_in", "3600", "renew_after", "2880")
		if len(a.get("mqtt_credential").(string)) != 43 {
			x.Error(string(a.raw))
		}
	})
	s.row(t, "IOT-166 credential without scope", func(x *row) {
		d := x.d(1)
		ask(x, d.token("iot:catalog:read"), self(d)).reason(403, 4003, "insufficient_scope", "error.details.required_scope", "iot:mqtt:connect")
	})
	s.row(t, "IOT-167 credential of another device", func(x *row) {
		ask(x, x.d(1).token(), self(x.d(2))).reason(403, 4003, "device_mismatch")
	})
	s.row(t, "IOT-168 credential for nobody", func(x *row) {
		ask(x, x.d(1).token(), "{}").fields("/device_id required")
		ask(x, x.d(1).token(), "[]").fields(" type")
	})
	s.row(t, "IOT-169 scope before transport", func(x *row) {
		ask(x, x.d(6).token(), self(x.d(6))).reason(403, 4003, "insufficient_scope")
	})
	s.row(t, "IOT-171 subscription inactive", func(x *row) {
		d := x.d(3)
		ask(x, d.token("iot:mqtt:connect"), self(d)).reason(402, 4002, "subscription_inactive")
	})
	s.row(t, "IOT-203 mqtt removed", func(x *row) {
		d := x.d(1)
		token := d.token()
		if _, err := x.control.Change(context.Background(), d.id, func(c *nave.ControlDevice) error { c.Protocols = []string{"https"}; return nil }); err != nil {
			x.Fatal(err)
		}
		ask(x, token, self(d)).reason(403, 4003, "protocol_not_available")
	})
	s.row(t, "fourth credential at once", func(x *row) {
		d := x.d(1)
		token := d.token()
		got := map[int]int{}
		for _, a := range together(4, func(int) *answer { return ask(x, token, self(d)) }) {
			got[a.status]++
		}
		if got[201] != 3 || got[429] != 1 {
			x.Error(got)
		}
	})
	s.row(t, "IOT-170 injected: no broker", func(x *row) {
		d := x.d(1)
		d.inject(gate.Rule{Op: "control.credential", Code: 5003, Family: "iot/v1"})
		ask(x, d.token(), self(d)).want(503, 5003)
	})
}

func TestNoBroker(t *testing.T) {
	s := openSite(t, func(c *node.Config) { c.Listen.MQTT = "off" })
	s.row(t, "IOT-170 no broker", func(x *row) {
		d := x.d(1)
		x.do("POST", "/iot/v1/mqtt-credentials", `{"device_id":"`+d.id+`"}`, bearer(d.token()), jsonBody).reason(503, 5003, "broker_unavailable")
		d.read("mqtt").want(200, 2000, "credential_endpoint", "<nil>")
	})
}
