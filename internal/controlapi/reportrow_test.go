package controlapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

func TestReportRows(t *testing.T) {
	s := openSite(t)
	closingRows(s, t)
	adoptionRows(s, t)
}

func closingRows(s *site, t *testing.T) {
	for _, c := range []struct {
		name     string
		change   []any
		became   string
		reported string
		warned   []string
	}{
		{"IOT-122 applied", nil, "applied", "1.0", nil},
		{"IOT-123 without report_status", []any{"report_status", absent}, "applied", "1.0", nil},
		{"IOT-125 rejected", []any{"report_status", "rejected", "value", "0.0"}, "rejected", "0.0", nil},
		{"IOT-126 stale", []any{"report_status", "stale"}, "stale", "1.0", nil},
		{"IOT-132 another sequence number", []any{"sequence_number", 6}, "applied", "1.0", []string{"sequence_mismatch"}},
		{"IOT-133 another value", []any{"value", "0.0"}, "applied", "0.0", []string{"applied_value_differs"}},
	} {
		s.row(t, c.name, func(x *row) {
			d := x.d(1)
			g := d.g1()
			d.feed(d.a1(g).with(c.change...)).want(201, 2000).warned(c.warned...)
			d.became(g, c.became)
			d.reported(d.c1, c.reported, "1.0")
		})
	}
	s.row(t, "IOT-124 report_status written out", func(x *row) {
		d := x.d(1)
		g := d.g1()
		d.feed(d.a1(g).with("report_status", absent)).want(201, 2000)
		d.feed(d.a1(g)).want(200, 2000, "status", "idempotent")
	})
	s.row(t, "IOT-127 unknown desired_id", func(x *row) {
		d := x.d(1)
		d.feed(d.k0().with("desired_id", "des_00000000000000000000000000")).fields("/desired_id unknown_reference")
		d.stored(d.c1, 0)
	})
	s.row(t, "IOT-128 desired_id of another command", func(x *row) {
		d := x.d(1)
		d.feed(d.k0().with("desired_id", d.set(d.c2, "5").ID)).fields("/desired_id unknown_reference")
	})
	s.row(t, "IOT-129 superseded", func(x *row) {
		d := x.d(1)
		g := d.g1()
		g2 := d.set(d.c1, "0.0")
		d.feed(d.a1(g)).want(201, 2000).warned("desired_superseded")
		d.became(g2, "pending")
	})
	s.row(t, "IOT-130 expired", func(x *row) {
		d := x.d(1)
		g := d.g1()
		x.Clock.Freeze(noon.Add(24 * time.Hour))
		defer x.Clock.Freeze(noon)
		d.feed(d.a1(g)).want(201, 2000).warned("desired_expired")
		d.became(g, "expired")
		d.reported(d.c1, "1.0", "")
	})
	s.row(t, "IOT-131 closed already", func(x *row) {
		d := x.d(1)
		g := d.g1()
		d.feed(d.a1(g)).want(201, 2000)
		d.feed(d.a1(g).with("message_id", "k-2", "report_status", "rejected")).want(201, 2000).warned("desired_already_closed")
		d.became(g, "applied")
	})
}

func adoptionRows(s *site, t *testing.T) {
	audits := func(d *unit) int {
		all, err := d.x.control.Audits(context.Background(), d.id, 10)
		if err != nil {
			d.x.Error(err)
		}
		return len(all)
	}
	s.row(t, "IOT-134 local change without adoption", func(x *row) {
		d := x.d(1)
		d.feed(d.k0()).want(201, 2000)
		d.reported(d.c1, "1.0", "0.0")
	})
	s.row(t, "IOT-135 local change with adoption", func(x *row) {
		d := x.d(1)
		d.feed(d.k0().with("command_id", d.c2, "value", "40")).want(201, 2000)
		d.reported(d.c2, "40", "40")
		if s := d.state(d.c2); audits(d) != 1 || s.Sequence != 1 {
			x.Error(audits(d), s)
		}
		all, err := x.control.DesiredHistory(context.Background(), d.id, d.c2, 5)
		if err != nil || len(all) != 1 || all[0].Status != "applied" || all[0].Value != "40" {
			x.Error(all, err)
		}
	})
	s.row(t, "IOT-136 report with desired_id", func(x *row) {
		d := x.d(1)
		g := d.set(d.c2, "30")
		d.feed(d.k0().with("command_id", d.c2, "value", "29", "desired_id", g.ID)).want(201, 2000).warned("applied_value_differs")
		d.reported(d.c2, "29", "30")
		if audits(d) != 0 {
			x.Error("adopted")
		}
	})
	s.row(t, "IOT-137 older than a pending desired state", func(x *row) {
		d := x.d(1)
		g := d.set(d.c2, "30")
		d.feed(d.k0().with("command_id", d.c2, "value", "40")).want(201, 2000)
		d.reported(d.c2, "40", "30")
		if d.became(g, "pending"); audits(d) != 0 {
			x.Error("adopted")
		}
	})
	s.row(t, "IOT-135 late local changes: the last one is adopted", func(x *row) {
		d := x.d(1)
		k := func(id, value, at string) object {
			return d.k0().with("message_id", id, "command_id", d.c2, "value", value, "value_received_at", at)
		}
		d.feed(k("k-1", "40", "2026-05-01T09:00:00Z")).want(201, 2000)
		d.feed(k("k-2", "50", "2026-05-01T09:00:01Z")).want(201, 2000)
		d.reported(d.c2, "50", "50")
		if s := d.state(d.c2); audits(d) != 2 || s.Sequence != 2 {
			x.Error(audits(d), s)
		}
	})
	s.row(t, "adoption supersedes an open request", func(x *row) {
		d := x.d(1)
		g := d.set(d.c2, "30")
		d.feed(d.k0().with("command_id", d.c2, "value", "40", "value_received_at", "2026-05-01T12:00:01Z")).want(201, 2000)
		d.reported(d.c2, "40", "40")
		d.became(g, "superseded")
	})
}

func TestBatchRows(t *testing.T) {
	s := openSite(t)
	item := func(d *unit, id, value string) object { return d.i0().with("message_id", id, "value", value) }
	s.row(t, "IOT-138 IOT-152 IOT-153 three good items", func(x *row) {
		d := x.d(1)
		items := []any{item(d, "a", "1"), item(d, "b", "2"), item(d, "c", "3")}
		d.batch(items...).want(200, 2000, "status", "processed", "summary.created", "3", "summary.idempotent", "0", "summary.rejected", "0",
			"results.0.message_id", "a", "results.2.message_id", "c", "results.2.index", "2")
		d.batch(items...).want(200, 2000, "summary.created", "0", "summary.idempotent", "3")
		d.feed(items[1]).want(200, 2000, "status", "idempotent")
	})
	s.row(t, "IOT-139 one bad item", func(x *row) {
		d := x.d(1)
		d.batch(item(d, "a", "1"), item(d, "b", "warm"), item(d, "c", "3")).want(200, 2000, "summary.created", "2", "summary.rejected", "1",
			"results.1.code", "4022", "results.1.error.details.errors.0.field", "/items/1/value", "results.1.error.details.errors.0.reason", "format")
	})
	s.row(t, "IOT-140 two bad items", func(x *row) {
		d := x.d(1)
		d.batch(item(d, "a", "warm"), object{}).want(200, 2000, "status", "processed", "summary.rejected", "2", "summary.created", "0")
	})
	s.row(t, "IOT-141 the same item twice", func(x *row) {
		d := x.d(1)
		a := d.batch(item(d, "a", "1"), item(d, "a", "1")).want(200, 2000, "results.0.status", "created", "results.1.status", "idempotent")
		if a.get("results.0.feed_data_id") != a.get("results.1.feed_data_id") {
			x.Error(string(a.raw))
		}
	})
	s.row(t, "IOT-142 the same key, two values", func(x *row) {
		d := x.d(1)
		d.batch(item(d, "a", "1"), item(d, "a", "2")).want(200, 2000, "results.0.status", "created", "results.1.status", "rejected", "results.1.code", "4009")
	})
	for _, c := range []struct{ name, body, want string }{
		{"IOT-143 no items", `{"items":[]}`, "/items too_short"}, {"IOT-144 items missing", `{}`, "/items required"}, {"IOT-145 items is an object", `{"items":{}}`, "/items type"},
	} {
		s.row(t, c.name, func(x *row) { x.d(1).post("feed-data/batches", c.body).fields(c.want) })
	}
	s.row(t, "IOT-146 six items", func(x *row) {
		d := x.d(1)
		i := item(d, "a", "1")
		d.batch(i, i, i, i, i, i).reason(413, 4013, "too_many_items", "error.details.max_items", "5")
		d.stored(d.s1, 0)
	})
	s.row(t, "IOT-147 an item that is a number", func(x *row) {
		d := x.d(1)
		d.batch(1, d.i0()).want(200, 2000, "results.0.status", "rejected", "results.0.code", "4022", "results.0.message_id", "<nil>",
			"results.0.error.details.errors.0.field", "/items/0", "results.1.status", "created")
	})
	s.row(t, "IOT-148 a sensor of another device", func(x *row) {
		d := x.d(1)
		d.batch(item(d, "a", "1"), item(d, "b", "2").with("sensor_id", x.d(2).s9), item(d, "c", "3")).want(200, 2000,
			"results.0.status", "created", "results.1.code", "4004", "results.1.status", "rejected", "results.2.status", "created")
	})
	s.row(t, "IOT-149 IOT-150 store fails after the first", func(x *row) {
		d := x.d(1)
		items := []any{item(d, "a", "1"), item(d, "b", "2"), item(d, "c", "3")}
		clear := d.inject(gate.Rule{Op: "control.feed", Code: 5003, Family: "iot/v1", Skip: 1})
		d.batch(items...).want(200, 2000, "results.0.status", "created", "results.1.code", "5003", "results.2.code", "5003", "results.2.status", "rejected")
		d.stored(d.s1, 1)
		clear()
		d.batch(items...).want(200, 2000, "results.0.status", "idempotent", "results.1.status", "created", "results.2.status", "created")
	})
	s.row(t, "IOT-151 store fails at the first", func(x *row) {
		d := x.d(1)
		d.inject(gate.Rule{Op: "control.feed", Code: 5003, Family: "iot/v1"})
		d.batch(item(d, "a", "1"), item(d, "b", "2")).reason(503, 5003, "storage_unavailable")
		d.stored(d.s1, 0)
	})
	s.row(t, "IOT-154 a batch costs one token", func(x *row) {
		d := x.d(1)
		for n := range 19 {
			d.feed(item(d, fmt.Sprint("m-", n), "1"), bearer(d.once())).want(201, 2000)
		}
		token := bearer(d.once())
		five, _ := json.Marshal(object{"items": []any{item(d, "a", "1"), item(d, "b", "1"), item(d, "c", "1"), item(d, "d", "1"), item(d, "e", "1")}})
		x.do("POST", d.path("feed-data/batches"), string(five), token, jsonBody).want(200, 2000, "summary.created", "5")
		d.feed(item(d, "z", "1"), token).reason(429, 4029, "cadence_exceeded")
	})
	s.row(t, "IOT-155 scope", func(x *row) {
		d := x.d(1)
		body, _ := json.Marshal(object{"items": []any{d.i0()}})
		x.do("POST", d.path("feed-data/batches"), string(body), bearer(d.token("iot:catalog:read")), jsonBody).reason(403, 4003, "insufficient_scope")
		d.stored(d.s1, 0)
	})
	s.row(t, "reports and readings keep their order in a batch", func(x *row) {
		d := x.d(1)
		g := d.set(d.c1, "1")
		d.batch(item(d, "a", "1"), d.k0().with("desired_id", g.ID), item(d, "a", "warm"), item(d, "b", "2")).want(200, 2000,
			"results.0.status", "created", "results.1.status", "created", "results.2.code", "4009", "results.3.status", "created")
		d.became(g, "applied")
	})
}

func TestSchemaRows(t *testing.T) {
	s := openSite(t)
	spec, err := os.ReadFile("../../docs/spec/iot-v1.md")
	if err != nil {
		t.Fatal(err)
	}
	part := spec[bytes.Index(spec, []byte("## 14. JSON Schemas")):bytes.Index(spec, []byte("## 15. Conformance"))]
	blocks := regexp.MustCompile("(?s)### ([a-z-]+)\n\n```json\n(.*?)```").FindAllSubmatch(part, -1)
	s.row(t, "IOT-204 every schema of section 14", func(x *row) {
		for _, b := range blocks {
			a := x.do("GET", "/iot/v1/schemas/"+string(b[1])+".schema.json", "")
			if a.status != 200 || a.header.Get("Content-Type") != "application/schema+json" || !bytes.Equal(a.raw, b[2]) || !strings.Contains(a.header.Get("Cache-Control"), "86400") {
				x.Errorf("%s: %d %v", b[1], a.status, a.header)
			}
		}
		if len(blocks) != 18 {
			x.Errorf("%d schemas", len(blocks))
		}
	})
	s.row(t, "IOT-205 unknown schema", func(x *row) {
		x.do("GET", "/iot/v1/schemas/none.schema.json", "").reason(404, 4004, "resource_not_found", "error.details.resource", "schema")
	})
	s.row(t, "IOT-206 a code with another's label", func(x *row) {
		for label, good := range map[string]bool{"forbidden": false, "conflict": true} {
			err := closedSchema("http-error-response", []byte(`{"code":4009,"error":{"type":"`+label+`","message":"m","details":{"reason":"message_conflict"}},"request_id":"req_01hzk4v8q2m7n3p5r9s0t1w2q1"}`))
			if (err == nil) != good {
				x.Errorf("%s: %v", label, err)
			}
		}
	})
	s.row(t, "every example of the specification is valid", func(x *row) {
		all := regexp.MustCompile("(?s)<!-- schema: ([a-z-]+) -->\n```json\n(.*?)```").FindAllSubmatch(spec, -1)
		for _, e := range all {
			if err := closedSchema(string(e[1]), e[2]); err != nil {
				x.Errorf("%s: %v", e[1], err)
			}
		}
		if len(all) < 15 {
			x.Errorf("%d examples", len(all))
		}
	})
}

// once returns a token and keeps it: the token endpoint has a cadence, too.
func (d *unit) once() string {
	d.x.Helper()
	if d.kept == "" {
		d.kept = d.token()
	}
	return d.kept
}

// TestRegistry provokes each of the twelve codes and no other (iot-v1 15.11).
func TestRegistry(t *testing.T) {
	s := openSite(t)
	s.row(t, "CODE-2000 CODE-4000 CODE-4001 CODE-4002 CODE-4003 CODE-4004 CODE-4009 CODE-4013 CODE-4015 CODE-4022 CODE-4029 CODE-5003 twelve codes", func(x *row) {
		d := x.d(1)
		d.feed(d.i0()).want(201, 2000)
		d.feed("{").want(400, 4000)
		x.do("GET", d.path("commands"), "").want(401, 4001)
		x.d(3).read("commands").want(402, 4002)
		x.d(4).read("commands").want(403, 4003)
		x.do("GET", "/iot/v1/", "").want(404, 4004)
		d.feed(d.i0().with("value", "2")).want(409, 4009)
		d = x.another(1)
		d.feed(strings.Repeat(" ", 3000)).want(413, 4013)
		d.feed("{}", "Content-Type: text/xml").want(415, 4015)
		d.feed("{}").want(422, 4022)
		clear := d.inject(gate.Rule{Op: "control.feed", Code: 503005})
		d.feed(d.i0()).want(503, 5003)
		clear()
		token := d.once()
		for range 40 {
			d.x.do("POST", d.path("feed-data"), "{}", bearer(token), jsonBody)
		}
		var all []int
		for _, code := range []int{2000, 4000, 4001, 4002, 4003, 4004, 4009, 4013, 4015, 4022, 4029, 5003} {
			if x.codes.n[code] == 0 {
				x.Errorf("%d never came", code)
			}
			all = append(all, code)
			delete(x.codes.n, code)
		}
		if len(all) != 12 || len(x.codes.n) != 0 {
			x.Errorf("other codes: %v", x.codes.n)
		}
	})
}

// TestInjected answers every fault of every family with one of the twelve
// codes, in a valid body.
func TestInjected(t *testing.T) {
	s := openSite(t)
	s.row(t, "every code of the catalogue", func(x *row) {
		d := x.d(1)
		token := d.once()
		for c := range fault.All() {
			if c.ID == 2000 {
				continue
			}
			clear := d.inject(gate.Rule{Op: "control.read", Code: c.ID, Family: c.Family})
			a := x.do("GET", d.path("sensors"), "", bearer(token))
			if a.number("code") == 2000 || a.get("error.details.reason") == nil {
				x.Errorf("%s %d: %s", c.Family, c.ID, a.raw)
			}
			clear()
			x.Clock.Add(time.Second)
		}
	})
}
