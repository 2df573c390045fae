package dpsapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

// Every error answer's form (DPS-263) and its x-ms-error-code are checked by do.
func TestErrorRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	t.Run("DPS-242 CODE-404201 DPS-263 GET missing enrolment", func(t *testing.T) {
		c.in(t).do("GET", "/enrollments/none", "").want(404, 404201)
	})
	t.Run("DPS-243 CODE-404202 DPS-263 GET missing registration", func(t *testing.T) {
		c.in(t).do("GET", "/registrations/none", "").want(404, 404202)
	})
	t.Run("DPS-244 CODE-404203 DPS-263 made-up operation", func(t *testing.T) {
		d := k.enrol(t, "op")
		a := d.poll("5.0000000000000000.00000000-0000-0000-0000-000000000000").want(404, 404203)
		if a.header.Get("x-ms-error-code") != "404203" || a.get("trackingId") == "" || a.get("message") == "" || a.get("timestampUtc") == "" {
			t.Errorf("%s with %v", a.raw, a.header)
		}
	})
	t.Run("DPS-245 CODE-404204 DPS-263 GET missing group", func(t *testing.T) {
		c.in(t).do("GET", "/enrollmentGroups/none", "").want(404, 404204)
	})
	t.Run("DPS-253 CODE-409201 DPS-263 two PUTs of an enrolment", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/two", keyed("two")).want(200, 0)
		c.do("PUT", "/enrollments/two", keyed("two")).want(409, 409201)
		if codes := atOnce(c, "PUT", "/enrollments/race", keyed("race")); codes != "200 409201 409201 409201" {
			t.Error(codes)
		}
	})
	t.Run("DPS-254 CODE-409202 DPS-263 two PUTs of a group", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollmentGroups/two", keyedGroup("two")).want(200, 0)
		c.do("PUT", "/enrollmentGroups/two", keyedGroup("two")).want(409, 409202)
		if codes := atOnce(c, "PUT", "/enrollmentGroups/race", keyedGroup("race")); codes != "200 409202 409202 409202" {
			t.Error(codes)
		}
	})
	t.Run("DPS-264 no 409204", func(t *testing.T) {
		if fault.Lookup(409204, fault.DPS) != nil {
			t.Error("409204 is declared, so something could return it")
		}
	})
	t.Run("DPS-265 405 and 415", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments", keyed("x")).want(405, 405000)
		c.do("DELETE", "/enrollments", "").want(405, 405000)
		c.do("PATCH", "/enrollments/a", keyed("x")).want(405, 405000)
		c.do("PUT", "/enrollments/x", keyed("x"), "Content-Type: application/xml").want(415, 415001)
		c.do("PUT", "/enrollments/x", keyed("x"), "Content-Encoding: br").want(415, 415001)
		c.do("PUT", "/enrollments/x", keyed("x"), "Content-Type:").want(200, 0)
	})
	t.Run("DPS-265 412", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/y", keyed("y")).want(200, 0)
		c.do("PUT", "/enrollments/y", keyed("y"), `If-Match: "first"`).want(412, 412001)
	})
	t.Run("DPS-265 500 and 503", func(t *testing.T) {
		c := c.in(t)
		for code, want := range map[*fault.Code]int{fault.ServerError: 500001, fault.ServiceUnavailable: 503001} {
			rule, err := k.gate.Inject(gate.Rule{Code: code.ID, Op: "dps.enrollment.read"})
			if err != nil {
				t.Fatal(err)
			}
			c.do("GET", "/enrollments/y", "").want(want/1000, want)
			if err := k.gate.Remove(rule.ID); err != nil {
				t.Error(err)
			}
		}
	})
}

// atOnce sends four equal requests at the same time and returns how they ended,
// sorted.
func atOnce(c *caller, method, path, body string) string {
	c.t.Helper()
	ends := make(chan string)
	for range 4 {
		go func() {
			x := c.do(method, path, body)
			if x.code == 200 {
				ends <- "200"
				return
			}
			ends <- x.get("errorCode")
		}()
	}
	var good, bad []string
	for range 4 {
		if end := <-ends; end == "200" {
			good = append(good, end)
		} else {
			bad = append(bad, end)
		}
	}
	return strings.Join(append(good, bad...), " ")
}

func TestServiceThrottle(t *testing.T) {
	k := open(t, func(s *setup) { s.settings.Limits.Service = 3 })
	c := k.owner(t)
	k.freeze()
	t.Run("DPS-265 429", func(t *testing.T) {
		c := c.in(t)
		for range 3 {
			c.do("GET", "/enrollments/none", "").want(404, 404201)
		}
		x := c.do("GET", "/enrollments/none", "").want(429, 429001)
		var seconds int
		if _, err := fmt.Sscan(x.head("Retry-After"), &seconds); err != nil || seconds < 2 || seconds > 20 {
			t.Errorf("Retry-After %q", x.head("Retry-After"))
		}
		k.pass(20e9)
		c.do("GET", "/enrollments/none", "").want(404, 404201)
	})
	if _, err := k.service.Operator().Enrollment(context.Background(), "none"); !isCode(err, fault.DPSEnrollmentNotFound) {
		t.Error("the operator is throttled:", err)
	}
}

func isCode(err error, code *fault.Code) bool { return fault.From(err).Code == code }
