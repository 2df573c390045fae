package controlapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/gate"
)

func TestFeedRows(t *testing.T) {
	s := openSite(t)
	repeatRows(s, t)
	warningRows(s, t)
}

func repeatRows(s *site, t *testing.T) {
	s.row(t, "IOT-054 IOT-055 created, then idempotent", func(x *row) {
		d := x.d(1)
		a := d.feed(d.i0()).want(201, 2000, "status", "created", "message_id", "m-1", "warnings", "[]")
		d.reported(d.s1, "21.5", "")
		d.feed(d.i0()).want(200, 2000, "status", "idempotent", "feed_data_id", fmt.Sprint(a.get("feed_data_id")))
		d.stored(d.s1, 1)
	})
	for _, c := range []struct{ name, field, text string }{
		{"IOT-057 time with another offset", "value_received_at", `"2026-05-01T13:59:58+02:00"`},
		{"IOT-060 number in place of text", "value", `21.5`},
		{"IOT-061 unknown field", "extra", `1`},
	} {
		s.row(t, c.name, func(x *row) {
			d := x.d(1)
			d.feed(d.i0()).want(201, 2000)
			d.feed(d.i0().with(c.field, json.RawMessage(c.text))).want(200, 2000, "status", "idempotent", "warnings", "[]")
		})
	}
	s.row(t, "IOT-056 other order and blanks", func(x *row) {
		d := x.d(1)
		d.feed(d.i0()).want(201, 2000)
		d.feed(fmt.Sprintf("{ \"value\" :\n\"21.5\",\t\"value_received_at\":\"2026-05-01T11:59:58Z\", \"sensor_id\":%q ,\"message_id\": \"m-1\" }", d.s1)).want(200, 2000, "status", "idempotent")
	})
	for _, c := range []struct{ name, value string }{{"IOT-058 another value", "21.6"}, {"IOT-059 the same number written otherwise", "21.50"}} {
		s.row(t, c.name, func(x *row) {
			d := x.d(1)
			a := d.feed(d.i0()).want(201, 2000)
			d.feed(d.i0().with("value", c.value)).reason(409, 4009, "message_conflict", "error.details.feed_data_id", fmt.Sprint(a.get("feed_data_id")), "error.details.message_id", "m-1")
			d.reported(d.s1, "21.5", "")
			d.stored(d.s1, 1)
		})
	}
	s.row(t, "conflict before a value that is no number", func(x *row) {
		d := x.d(1)
		d.feed(d.i0()).want(201, 2000)
		d.feed(d.i0().with("value", "warm")).reason(409, 4009, "message_conflict")
	})
	s.row(t, "IOT-062 another sensor", func(x *row) {
		d := x.d(1)
		d.feed(d.i0()).want(201, 2000)
		d.feed(d.i0().with("sensor_id", d.s2)).want(201, 2000, "status", "created")
	})
	s.row(t, "IOT-063 another device", func(x *row) {
		x.d(1).feed(x.d(1).i0()).want(201, 2000)
		x.d(2).feed(x.d(1).i0().with("sensor_id", x.d(2).s9)).want(201, 2000, "status", "created")
	})
	s.row(t, "IOT-064 twenty at once", func(x *row) {
		d := x.d(1)
		token := d.token()
		body, _ := json.Marshal(d.i0())
		got := map[int]int{}
		ids := map[string]bool{}
		for _, a := range together(20, func(int) *answer { return x.do("POST", d.path("feed-data"), string(body), bearer(token), jsonBody) }) {
			got[a.status]++
			ids[fmt.Sprint(a.get("feed_data_id"))] = true
		}
		if got[201] != 1 || got[200] != 19 || len(ids) != 1 {
			x.Error(got, ids)
		}
		d.stored(d.s1, 1)
	})
	s.row(t, "IOT-065 refused, then good", func(x *row) {
		d := x.d(1)
		d.feed(d.i0().with("value", "abc")).fields("/value format")
		d.feed(d.i0()).want(201, 2000, "status", "created")
	})
	s.row(t, "IOT-066 29 days later", func(x *row) {
		d := x.d(1)
		d.feed(d.i0()).want(201, 2000)
		x.Clock.Freeze(noon.Add(29 * 24 * time.Hour))
		defer x.Clock.Freeze(noon)
		d.feed(d.i0()).want(200, 2000, "status", "idempotent")
	})
	s.row(t, "IOT-067 sensor removed", func(x *row) {
		d := x.d(1)
		d.feed(d.i0()).want(201, 2000)
		if err := x.control.RemoveSource(context.Background(), d.id, d.s1); err != nil {
			x.Fatal(err)
		}
		d.feed(d.i0()).reason(404, 4004, "resource_not_found", "error.details.resource", "sensor")
	})
}

func warningRows(s *site, t *testing.T) {
	s.row(t, "IOT-068 charset", func(x *row) {
		x.d(1).feed(x.d(1).i0(), "Content-Type: application/json; charset=UTF-8").want(201, 2000)
	})
	s.row(t, "IOT-069 value as a number", func(x *row) {
		d := x.d(1)
		d.feed(d.i0().with("value", json.RawMessage("21.5"))).want(201, 2000)
		if all := d.stored(d.s1, 1); all[0].Value != "21.5" {
			x.Error(all[0])
		}
	})
	s.row(t, "IOT-070 unknown field", func(x *row) {
		d := x.d(1)
		d.feed(d.i0().with("extra", 1)).want(201, 2000, "warnings.0.details.fields", "[extra]").warned("unknown_field")
		d.feed(d.i0()).want(200, 2000, "status", "idempotent").warned("unknown_field")
	})
	s.row(t, "IOT-071 out of range", func(x *row) {
		d := x.d(1)
		d.feed(d.i0().with("value", "300")).want(201, 2000).warned("value_out_of_range")
	})
	s.row(t, "IOT-072 time without offset", func(x *row) {
		d := x.d(1)
		d.feed(d.i0().with("value_received_at", "2026-05-01T11:59:58")).want(201, 2000).warned("timestamp_assumed_utc")
		d.feed(d.i0()).want(200, 2000, "status", "idempotent")
	})
	s.row(t, "IOT-073 ten minutes ahead", func(x *row) {
		d := x.d(1)
		d.feed(d.i0().with("value_received_at", "2026-05-01T12:10:00Z")).want(201, 2000, "warnings.0.details.hub_time", "2026-05-01T12:00:00Z").warned("clock_skew")
	})
	s.row(t, "IOT-074 older than the latest", func(x *row) {
		d := x.d(1)
		d.feed(d.i0()).want(201, 2000)
		d.feed(d.i0().with("message_id", "m-2", "value", "5", "value_received_at", "2026-05-01T10:59:58Z")).want(201, 2000).warned("older_than_latest")
		d.reported(d.s1, "21.5", "")
		d.stored(d.s1, 2)
	})
	s.row(t, "IOT-075 text", func(x *row) {
		d := x.d(1)
		d.feed(d.i0().with("sensor_id", d.s2, "value", "door open")).want(201, 2000)
	})
	s.row(t, "IOT-076 sequence number of a sensor", func(x *row) { x.d(1).feed(x.d(1).i0().with("sequence_number", 3)).want(201, 2000) })
	s.row(t, "the event log has each accepted item once", func(x *row) {
		d := x.d(1)
		a := d.feed(d.i0()).want(201, 2000)
		d.feed(d.i0()).want(200, 2000)
		d.feed(d.i0().with("message_id", "m-2")).want(201, 2000)
		events := x.Events(2, func(e *nave.Event) bool { return e.From.Device == d.id })
		ids := map[string]bool{}
		for _, e := range events {
			id, _ := e.AppValue("feedDataId")
			ids[id] = true
			var body map[string]any
			if err := json.Unmarshal(e.Body, &body); err != nil || e.Source != nave.ControlFeed || body["sensor_id"] != d.s1 || body["value"] != "21.5" || body["transport"] != "https" {
				x.Errorf("%v %s %v", e.Source, e.Body, err)
			}
		}
		if !ids[fmt.Sprint(a.get("feed_data_id"))] || len(ids) != 2 {
			x.Error(ids)
		}
	})
}

func TestRefusalRows(t *testing.T) {
	s := openSite(t)
	fieldRows(s, t)
	bodyRows(s, t)
	limitRows(s, t)
}

func fieldRows(s *site, t *testing.T) {
	raw := func(text string) any { return json.RawMessage(text) }
	for _, c := range []struct {
		name   string
		change func(d *unit) []any
		want   []string
	}{
		{"IOT-077 no message_id", func(*unit) []any { return []any{"message_id", absent} }, []string{"/message_id required"}},
		{"IOT-078 empty message_id", func(*unit) []any { return []any{"message_id", ""} }, []string{"/message_id too_short"}},
		{"IOT-079 long message_id", func(*unit) []any { return []any{"message_id", strings.Repeat("a", 129)} }, []string{"/message_id too_long"}},
		{"IOT-080 blank in message_id", func(*unit) []any { return []any{"message_id", "a b"} }, []string{"/message_id pattern"}},
		{"IOT-081 message_id is a number", func(*unit) []any { return []any{"message_id", 17} }, []string{"/message_id type"}},
		{"IOT-082 no value", func(*unit) []any { return []any{"value", absent} }, []string{"/value required"}},
		{"IOT-083 value null", func(*unit) []any { return []any{"value", nil} }, []string{"/value type"}},
		{"IOT-083 value true", func(*unit) []any { return []any{"value", true} }, []string{"/value type"}},
		{"IOT-083 value array", func(*unit) []any { return []any{"value", raw("[]")} }, []string{"/value type"}},
		{"IOT-083 value object", func(*unit) []any { return []any{"value", raw("{}")} }, []string{"/value type"}},
		{"IOT-084 empty value", func(*unit) []any { return []any{"value", ""} }, []string{"/value too_short"}},
		{"IOT-085 long value", func(d *unit) []any { return []any{"sensor_id", d.s2, "value", strings.Repeat("é", 128) + "x"} }, []string{"/value too_long"}},
		{"IOT-086 value is no number", func(*unit) []any { return []any{"value", "warm"} }, []string{"/value format"}},
		{"IOT-087 no time", func(*unit) []any { return []any{"value_received_at", absent} }, []string{"/value_received_at required"}},
		{"IOT-088 time is a word", func(*unit) []any { return []any{"value_received_at", "yesterday"} }, []string{"/value_received_at format"}},
		{"IOT-088 decimal comma", func(*unit) []any { return []any{"value_received_at", "2026-05-01T11:59:58,5Z"} }, []string{"/value_received_at format"}},
		{"IOT-088 offset of 24 hours", func(*unit) []any { return []any{"value_received_at", "2026-05-01T11:59:58+24:00"} }, []string{"/value_received_at format"}},
		{"IOT-088 offset of 60 minutes", func(*unit) []any { return []any{"value_received_at", "2026-05-01T11:59:58.25-01:60"} }, []string{"/value_received_at format"}},
		{"IOT-089 time is a number", func(*unit) []any { return []any{"value_received_at", 1777636798} }, []string{"/value_received_at type"}},
		{"IOT-090 25 hours ahead", func(*unit) []any { return []any{"value_received_at", "2026-05-02T13:00:00Z"} }, []string{"/value_received_at out_of_range"}},
		{"IOT-091 clock not set", func(*unit) []any { return []any{"value_received_at", "1970-01-01T00:00:12Z"} }, []string{"/value_received_at out_of_range"}},
		{"IOT-092 two sources", func(d *unit) []any { return []any{"command_id", d.c1} }, []string{" mutually_exclusive"}},
		{"IOT-093 no source", func(*unit) []any { return []any{"sensor_id", absent} }, []string{" required"}},
		{"IOT-096 malformed sensor", func(*unit) []any { return []any{"sensor_id", "1"} }, []string{"/sensor_id pattern"}},
		{"IOT-098 desired_id of a sensor", func(d *unit) []any { return []any{"desired_id", d.g1().ID} }, []string{"/desired_id not_allowed"}},
		{"IOT-100 sequence_number -1", func(*unit) []any { return []any{"sequence_number", -1} }, []string{"/sequence_number out_of_range"}},
		{"IOT-100 sequence_number 0", func(*unit) []any { return []any{"sequence_number", 0} }, []string{"/sequence_number out_of_range"}},
		{"IOT-100 sequence_number 1.5", func(*unit) []any { return []any{"sequence_number", 1.5} }, []string{"/sequence_number type"}},
		{"IOT-101 two faults", func(*unit) []any { return []any{"message_id", absent, "value", true} }, []string{"/message_id required", "/value type"}},
	} {
		s.row(t, c.name, func(x *row) {
			d := x.d(1)
			d.feed(d.i0().with(c.change(d)...)).fields(c.want...)
			d.stored(d.s1, 0)
		})
	}
	s.row(t, "IOT-094 unknown sensor", func(x *row) {
		x.d(1).feed(x.d(1).i0().with("sensor_id", "sen_00000000000000000000000000")).reason(404, 4004, "resource_not_found", "error.details.resource", "sensor")
	})
	s.row(t, "IOT-095 sensor of another device", func(x *row) {
		x.d(1).feed(x.d(1).i0().with("sensor_id", x.d(2).s9)).reason(404, 4004, "resource_not_found", "error.details.resource", "sensor")
	})
	s.row(t, "IOT-097 report_status without desired_id", func(x *row) {
		x.d(1).feed(x.d(1).k0().with("report_status", "applied")).fields("/report_status not_allowed")
	})
	s.row(t, "IOT-099 unknown report_status", func(x *row) {
		d := x.d(1)
		d.feed(d.a1(d.g1()).with("report_status", "done")).fields("/report_status unknown_value")
	})
}

func bodyRows(s *site, t *testing.T) {
	for _, c := range []struct{ name, body, reason string }{
		{"IOT-102 broken JSON", `{"message_id":`, "malformed_json"},
		{"IOT-103 empty body", "", "empty_body"},
		{"IOT-104 repeated key", `{"value":"1","value":"2"}`, "duplicate_key"},
		{"IOT-105 byte FF", "{\"value\":\"\xff\"}", "invalid_encoding"},
		{"IOT-106 nested too deep", `{"x":` + strings.Repeat("[", 17) + strings.Repeat("]", 17) + `}`, "nesting_too_deep"},
		{"two values", `{} {}`, "malformed_json"},
		{"half a surrogate pair", `{"value":"\ud800"}`, "invalid_encoding"},
	} {
		s.row(t, c.name, func(x *row) { x.d(1).feed(c.body).reason(400, 4000, c.reason) })
	}
	s.row(t, "IOT-107 array", func(x *row) {
		d := x.d(1)
		b, _ := json.Marshal([]any{d.i0()})
		d.feed(string(b)).fields(" type")
	})
	for _, c := range []struct{ name, header, reason string }{
		{"IOT-108 text", "Content-Type: text/plain", "content_type"},
		{"IOT-109 no type", "Content-Type: ", "content_type"},
		{"IOT-110 charset", "Content-Type: application/json; charset=iso-8859-1", "charset"},
		{"IOT-111 gzip", "Content-Encoding: gzip", "content_encoding"},
	} {
		s.row(t, c.name, func(x *row) { x.d(1).feed(x.d(1).i0(), c.header).reason(415, 4015, c.reason) })
	}
	long := func(d *unit, size int) string {
		b, _ := json.Marshal(d.i0())
		return string(b) + strings.Repeat(" ", size-len(b))
	}
	s.row(t, "IOT-112 2048 bytes", func(x *row) { x.d(1).feed(long(x.d(1), 2048)).want(201, 2000) })
	s.row(t, "IOT-113 2049 bytes", func(x *row) {
		x.d(1).feed(long(x.d(1), 2049)).reason(413, 4013, "body_too_large", "error.details.max_bytes", "2048")
	})
	s.row(t, "IOT-114 2049 bytes, chunked", func(x *row) {
		x.d(1).feed(long(x.d(1), 2049), "Transfer-Encoding: chunked").reason(413, 4013, "body_too_large")
	})
	s.row(t, "IOT-115 size before type", func(x *row) {
		x.d(1).feed(long(x.d(1), 2049), "Content-Type: text/plain").reason(413, 4013, "body_too_large")
	})
}

func limitRows(s *site, t *testing.T) {
	s.row(t, "IOT-116 IOT-117 21 posts at once", func(x *row) {
		d := x.d(1)
		token := d.token()
		post := func(n int) *answer {
			body, _ := json.Marshal(d.i0().with("message_id", fmt.Sprint("m-", n)))
			return x.do("POST", d.path("feed-data"), string(body), bearer(token), jsonBody)
		}
		refused := -1
		for n, a := range together(21, post) {
			if a.status == 429 {
				if a.reason(429, 4029, "cadence_exceeded", "error.details.limit", "feed"); refused >= 0 || a.header.Get("Retry-After") != "1" {
					x.Error(refused, a.header.Get("Retry-After"))
				}
				refused = n
				continue
			}
			a.want(201, 2000)
		}
		if refused < 0 {
			x.Fatal("none was refused")
		}
		x.Clock.Freeze(noon.Add(time.Second))
		defer x.Clock.Freeze(noon)
		post(refused).want(201, 2000, "status", "created")
	})
	s.row(t, "IOT-118 store unavailable", func(x *row) {
		d := x.d(1)
		clear := d.inject(gate.Rule{Op: "control.feed", Code: 5003, Family: "iot/v1"})
		d.feed(d.i0()).reason(503, 5003, "storage_unavailable")
		clear()
		d.stored(d.s1, 0)
		d.feed(d.i0()).want(201, 2000, "status", "created")
	})
	s.row(t, "IOT-120 handler fault", func(x *row) {
		d := x.d(1)
		d.inject(gate.Rule{Op: "control.feed", Code: 500001})
		d.feed(d.i0()).reason(500, 5003, "internal_error")
	})
	s.row(t, "a doubly wrong request gets the earlier answer", func(x *row) {
		d := x.d(3)
		x.do("POST", d.path("feed-data"), "{", bearer(d.token()), "Content-Type: text/plain").reason(402, 4002, "subscription_inactive")
		d = x.d(1)
		d.feed("{", "Content-Type: text/plain").reason(415, 4015, "content_type")
		d.feed(d.i0().with("message_id", "", "sensor_id", "sen_00000000000000000000000000")).fields("/message_id too_short")
	})
}

func TestStopping(t *testing.T) {
	s := openSite(t)
	s.row(t, "IOT-119 hub is stopping", func(x *row) {
		d := x.d(1)
		token := d.token()
		body, _ := json.Marshal(d.i0())
		x.control.Stop()
		x.do("POST", d.path("feed-data"), string(body), bearer(token), jsonBody).reason(503, 5003, "shutting_down")
		x.do("GET", d.path("bootstrap"), "", bearer(token)).reason(503, 5003, "shutting_down")
		d.tokenRequest(grant).want(503, 0, "error", "temporarily_unavailable")
	})
}
