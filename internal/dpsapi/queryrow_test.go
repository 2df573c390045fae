package dpsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// query asks for pages until there are no more and returns the ids of each.
func (c *caller) query(path, text, member string, size int) (pages [][]string) {
	c.t.Helper()
	token := ""
	for range 100 {
		x := c.do("POST", path, `{"query":`+quoted(text)+`}`, "x-ms-continuation:"+token, fmt.Sprint("x-ms-max-item-count: ", size)).want(200, 0)
		pages = append(pages, x.list(member))
		if token = x.head("x-ms-continuation"); token == "" {
			return pages
		}
	}
	c.t.Fatal("the pages do not end")
	return nil
}

func TestQueryRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	for _, id := range []string{"e", "b", "D", "a", "c"} {
		c.do("PUT", "/enrollments/"+id, keyed(id, `"deviceId":"dev-`+id+`"`)).want(200, 0)
	}
	c.do("PUT", "/enrollmentGroups/g", keyedGroup("g")).want(200, 0)
	t.Run("DPS-198 fact 7, risk 7: header names on the wire", func(t *testing.T) {
		c := c.in(t)
		lines := c.rawHeaders("POST", "/enrollments/query?api-version="+serviceVersion, `{"query":"SELECT * FROM enrollments"}`, "x-ms-max-item-count: 2")
		for _, name := range []string{"x-ms-continuation: ", "x-ms-item-type: Enrollment", "x-ms-max-item-count: 2"} {
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, name) }) {
				t.Errorf("no %q in %q", name, lines)
			}
		}
	})
	t.Run("DPS-199 item types", func(t *testing.T) {
		c := c.in(t)
		for path, want := range map[string]string{"/enrollments/query": "Enrollment", "/enrollmentGroups/query": "EnrollmentGroup", "/registrations/g/query": "DeviceRegistration"} {
			if got := c.do("POST", path, "{}").want(200, 0).head("x-ms-item-type"); got != want {
				t.Errorf("%s: %s", path, got)
			}
		}
	})
	t.Run("DPS-200 pages", func(t *testing.T) {
		c := c.in(t)
		pages := c.query("/enrollments/query", "SELECT * FROM enrollments", "registrationId", 2)
		if fmt.Sprint(pages) != "[[a b] [c D] [e]]" {
			t.Error(pages)
		}
		if got := c.query("/enrollments/query", "SELECT * FROM enrollments", "registrationId", 5); fmt.Sprint(got) != "[[a b c D e]]" {
			t.Error(got)
		}
		for _, bad := range []string{"-1", "x", "1.5"} {
			c.do("POST", "/enrollments/query", "{}", "x-ms-max-item-count: "+bad).want(400, 400004)
		}
		if x := c.do("POST", "/enrollments/query", "{}", "x-ms-max-item-count: 5000"); x.head("x-ms-max-item-count") != "1000" {
			t.Error(x.header)
		}
		if x := c.do("POST", "/enrollments/query", "{}", "x-ms-max-item-count: 0"); x.head("x-ms-max-item-count") != "100" {
			t.Error(x.header)
		}
	})
	t.Run("DPS-201 garbage as token", func(t *testing.T) {
		c := c.in(t)
		c.do("POST", "/enrollments/query", "{}", "x-ms-continuation: garbage").want(400, 400004)
		token := c.do("POST", "/enrollments/query", "{}", "x-ms-max-item-count: 1").head("x-ms-continuation")
		c.do("POST", "/enrollmentGroups/query", "{}", "x-ms-continuation: "+token).want(400, 400004)
		c.do("POST", "/enrollments/query", "{}", "x-ms-continuation: "+token).want(200, 0)
	})
	t.Run("DPS-202 all", func(t *testing.T) {
		c := c.in(t)
		x := c.do("POST", "/enrollments/query", `{"query":"SELECT * FROM enrollments"}`).want(200, 0)
		if got := x.list("registrationId"); fmt.Sprint(got) != "[a b c D e]" || strings.Contains(string(x.raw), "primaryKey") {
			t.Errorf("%s", x.raw)
		}
		for text, want := range map[string]string{
			"": "[a b c D e]", "*": "[a b c D e]", "SELECT *": "[a b c D e]",
			"SELECT * FROM enrollments WHERE registrationId = 'd'":                                "[D]",
			"SELECT * FROM enrollments WHERE registrationId = 'none'":                             "[]",
			"SELECT * FROM enrollments WHERE deviceId = 'dev-b' OR deviceId = 'dev-e'":            "[b e]",
			"SELECT * FROM enrollments WHERE STARTSWITH(deviceId, 'dev-') AND deviceId > 'dev-a'": "[b c e]",
			"SELECT * FROM enrollments WHERE registrationState.status = 'assigned'":               "[]",
			"SELECT * FROM enrollments WHERE attestation.symmetricKey.primaryKey > ''":            "[]",
		} {
			if got := slices.Concat(c.query("/enrollments/query", text, "registrationId", 1)...); fmt.Sprint(got) != want {
				t.Errorf("%s: %v", text, got)
			}
		}
		c.do("POST", "/enrollments/query", "").want(200, 0)
	})
	t.Run("DPS-203 broken text", func(t *testing.T) {
		c := c.in(t)
		for _, text := range []string{"SELECT", "DROP TABLE", "SELECT * FROM enrollmentGroups", "SELECT * FROM enrollments WHERE a ="} {
			c.do("POST", "/enrollments/query", `{"query":`+quoted(text)+`}`).want(400, 400004)
		}
		c.do("POST", "/enrollments/query", `{"query":5}`).want(400, 400012)
	})
	t.Run("an enrolment called query", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/query", keyed("query")).want(200, 0)
		c.do("GET", "/enrollments/query", "").want(200, 0)
		c.do("DELETE", "/enrollments/query", "").want(204, 0)
	})
}

func TestBulkRows(t *testing.T) {
	k := open(t)
	c := k.owner(t)
	bulk := func(mode string, items ...string) string {
		return fmt.Sprintf(`{"mode":%q,"enrollments":[%s]}`, mode, strings.Join(items, ","))
	}
	many := func(prefix string, n int) (items []string) {
		for i := range n {
			items = append(items, keyed(fmt.Sprint(prefix, i)))
		}
		return items
	}
	t.Run("DPS-204 create ten", func(t *testing.T) {
		c := c.in(t)
		x := c.do("POST", "/enrollments", bulk("create", many("ten-", 10)...)).want(200, 0)
		if string(x.raw) != `{"isSuccessful":true,"errors":[]}` {
			t.Errorf("%s", x.raw)
		}
		c.do("GET", "/enrollments/ten-9", "").want(200, 0)
	})
	t.Run("DPS-205 eleven items", func(t *testing.T) {
		c := c.in(t)
		c.do("POST", "/enrollments", bulk("create", many("eleven-", 11)...)).want(400, 400004)
		c.do("GET", "/enrollments/eleven-0", "").want(404, 404201)
		c.do("POST", "/enrollments", bulk("create")).want(400, 400004)
		c.do("POST", "/enrollments", bulk("burn", keyed("x"))).want(400, 400004)
		c.do("POST", "/enrollments", `{"enrollments":[`+keyed("x")+`]}`).want(400, 400005)
		c.do("POST", "/enrollments", `{"mode":"create","enrollments":[5]}`).want(400, 400012)
	})
	t.Run("DPS-206 spellings of the mode", func(t *testing.T) {
		c := c.in(t)
		etag := c.do("PUT", "/enrollments/mode", keyed("mode")).want(200, 0).get("etag")
		for _, mode := range []string{"updateIfMatchEtag", "updateIfMatchETag"} {
			c.do("POST", "/enrollments", bulk(mode, keyed("mode", `"etag":`+quoted(etag)))).want(200, 0).is("isSuccessful", "true")
			etag = c.do("GET", "/enrollments/mode", "").get("etag")
		}
		x := c.do("POST", "/enrollments", bulk("updateIfMatchETag", keyed("mode", `"etag":"\"old\""`), keyed("none", `"etag":"x"`), keyed("ten"))).want(200, 0).is("isSuccessful", "false")
		if got := codes(x, "registrationId"); fmt.Sprint(got) != "[mode 412001 none 404201 ten 400005]" {
			t.Errorf("%s", x.raw)
		}
	})
	t.Run("DPS-207 one exists", func(t *testing.T) {
		c := c.in(t)
		c.do("PUT", "/enrollments/old", keyed("old")).want(200, 0)
		x := c.do("POST", "/enrollments", bulk("create", keyed("new-1"), keyed("OLD"), `{"registrationId":"bad"}`, keyed("new-2"))).want(200, 0).is("isSuccessful", "false")
		if got := codes(x, "registrationId"); fmt.Sprint(got) != "[OLD 409201 bad 400005]" {
			t.Errorf("%s", x.raw)
		}
		c.do("GET", "/enrollments/new-2", "").want(200, 0)
		x = c.do("POST", "/enrollments", bulk("update", keyed("new-1", `"provisioningStatus":"disabled"`), keyed("none"))).want(200, 0)
		if got := codes(x, "registrationId"); fmt.Sprint(got) != "[none 404201]" {
			t.Errorf("%s", x.raw)
		}
		c.do("GET", "/enrollments/new-1", "").is("provisioningStatus", "disabled")
		x = c.do("POST", "/enrollments", bulk("delete", `{"registrationId":"new-1"}`, `{"registrationId":"none"}`, `{"registrationId":"new-2","etag":"x"}`)).want(200, 0)
		if got := codes(x, "registrationId"); fmt.Sprint(got) != "[none 404201 new-2 412001]" {
			t.Errorf("%s", x.raw)
		}
		c.do("GET", "/enrollments/new-1", "").want(404, 404201)
	})
	t.Run("DPS-208 the same id twice", func(t *testing.T) {
		c := c.in(t)
		c.do("POST", "/enrollments", bulk("create", keyed("dup"), keyed("DUP"))).want(400, 400206)
		c.do("GET", "/enrollments/dup", "").want(404, 404201)
	})
	t.Run("DPS-209 trailing slash", func(t *testing.T) {
		c.in(t).do("POST", "/enrollments/", bulk("create", keyed("slash"))).want(200, 0).is("isSuccessful", "true")
	})
	t.Run("DPS-210 groups", func(t *testing.T) {
		c := c.in(t)
		body := fmt.Sprintf(`{"mode":"create","enrollmentGroups":[%s,%s]}`, keyedGroup("g1"), keyedGroup("g2"))
		c.do("POST", "/enrollmentGroups", body).want(200, 0).is("isSuccessful", "true")
		x := c.do("POST", "/enrollmentGroups", body).want(200, 0).is("isSuccessful", "false")
		if got := codes(x, "enrollmentGroupId"); fmt.Sprint(got) != "[g1 409202 g2 409202]" {
			t.Errorf("%s", x.raw)
		}
	})
}

// codes returns id and code of each failed item.
func codes(x *result, member string) (all []string) {
	x.t.Helper()
	items, _ := x.at("errors").([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		all = append(all, fmt.Sprint(m[member]), fmt.Sprint(m["errorCode"]))
		if m["errorStatus"] == "" || m["errorStatus"] == nil {
			x.t.Errorf("an error without errorStatus: %s", x.raw)
		}
	}
	return all
}
