package dps

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
)

// queryDoc is what the queries below are asked of.
const queryDoc = `{"registrationId":"Pump-17","deviceId":"pump","etag":"\"e\"","provisioningStatus":"enabled","count":3,
	"capabilities":{"iotEdge":true},"initialTwin":{"tags":{"it's":"o'k","Größe":"ö","a":null}},"registrationState":{"errorCode":404210}}`

func TestQuery(t *testing.T) {
	var doc any
	if err := json.Unmarshal([]byte(queryDoc), &doc); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"": true, " ": true, "*": true, "SELECT *": true, "select * from Enrollments": true,
		"SELECT * FROM enrollments WHERE registrationId = 'pump-17'":                     true,
		"SELECT * FROM enrollments WHERE registrationId='PUMP-17'":                       true,
		"SELECT * FROM enrollments WHERE deviceId = 'PUMP'":                              false,
		"SELECT * FROM enrollments WHERE deviceid = \"pump\"":                            true,
		"SELECT * FROM enrollments WHERE count = 3":                                      true,
		"SELECT * FROM enrollments WHERE count = 3.0e0":                                  true,
		"SELECT * FROM enrollments WHERE count>2 AND count<4":                            true,
		"SELECT * FROM enrollments WHERE count >= -3 and count <= 3":                     true,
		"SELECT * FROM enrollments WHERE count = '3'":                                    false,
		"SELECT * FROM enrollments WHERE count != '3'":                                   false,
		"SELECT * FROM enrollments WHERE count <> 4":                                     true,
		"SELECT * FROM enrollments WHERE capabilities.iotEdge = true":                    true,
		"SELECT * FROM enrollments WHERE capabilities.iotEdge != false":                  true,
		"SELECT * FROM enrollments WHERE capabilities.iotEdge < true":                    false,
		"SELECT * FROM enrollments WHERE none = 'x' OR provisioningStatus='enabled'":     true,
		"SELECT * FROM enrollments WHERE none != 'x'":                                    false,
		"SELECT * FROM enrollments WHERE initialTwin.tags.a = 'x'":                       false,
		"SELECT * FROM enrollments WHERE initialTwin.tags.Größe = 'ö'":                   true,
		"SELECT * FROM enrollments WHERE registrationState.errorCode IN [1, 404210]":     true,
		"SELECT * FROM enrollments WHERE registrationState.errorCode in ['404210']":      false,
		"SELECT * FROM enrollments WHERE STARTSWITH(registrationId, 'PU')":               true,
		"SELECT * FROM enrollments WHERE startswith(deviceId,'PU')":                      false,
		"SELECT * FROM enrollments WHERE deviceId='pump' OR deviceId='x' AND none='y'":   true,
		"SELECT * FROM enrollments WHERE (deviceId='pump' OR deviceId='x') AND none='y'": false,
		`SELECT * FROM enrollments WHERE etag = '"e"'`:                                   true,
		`SELECT * FROM enrollments WHERE etag = "\"e\""`:                                 true,
		`SELECT * FROM enrollments WHERE deviceId < 'pumpe' AND deviceId > 'pum'`:        true,
	} {
		q, err := parseQuery(text, "enrollments")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := q.where == nil || q.where.match(doc); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

func TestBadQuery(t *testing.T) {
	for text, at := range map[string]string{
		"SELECT":                                        "character 7",
		"SELECT a":                                      "character 8",
		"SELECT * FROM":                                 "character 14",
		"SELECT * FROM enrollmentGroups":                "character 15",
		"SELECT * FROM enrollments WHERE":               "character 32",
		"SELECT * FROM enrollments WHERE a":             "character 34",
		"SELECT * FROM enrollments WHERE a = ":          "character 37",
		"SELECT * FROM enrollments WHERE a = b":         "character 37",
		"SELECT * FROM enrollments WHERE a == 'b'":      "character 36",
		"SELECT * FROM enrollments WHERE a = 'b":        "character 37",
		"SELECT * FROM enrollments WHERE a = 'b' c":     "character 41",
		"SELECT * FROM enrollments WHERE a = 1.2.3":     "character 37",
		"SELECT * FROM enrollments WHERE (a = 1":        "character 39",
		"SELECT * FROM enrollments WHERE a = 1)":        "character 38",
		"SELECT * FROM enrollments WHERE a. = 1":        "character 33",
		"SELECT * FROM enrollments WHERE a IN []":       "character 39",
		"SELECT * FROM enrollments WHERE a IN (1)":      "character 38",
		"SELECT * FROM enrollments WHERE AND a = 1":     "character 33",
		"SELECT * FROM enrollments WHERE STARTSWITH(a)": "character 45",
		"SELECT * FROM enrollments; DROP":               "character 26",
		"garbage":                                       "character 1",
	} {
		_, err := parseQuery(text, "enrollments")
		var e *fault.Error
		if !errors.As(err, &e) || e.Code != fault.DPSArgumentInvalid || !strings.Contains(e.Text, at+":") {
			t.Errorf("%s: got %v, want %s", text, err, at)
		}
	}
	deep := "SELECT * WHERE " + strings.Repeat("(", 1000) + "a=1" + strings.Repeat(")", 1000)
	wide := "SELECT * WHERE a IN [" + strings.Repeat("1,", 1000) + "1]"
	for _, text := range []string{deep, wide} {
		if _, err := parseQuery(text, "enrollments"); !errors.Is(err, fault.DPSArgumentInvalid) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}

func TestQueryOnly(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT * WHERE registrationId = 'a'":                       "a",
		"SELECT * WHERE deviceId = 'b' AND registrationId = 'a'":    "a",
		"SELECT * WHERE registrationId = 'a' OR deviceId = 'b'":     "",
		"SELECT * WHERE registrationId > 'a'":                       "",
		"SELECT * WHERE registrationState.registrationId = 'a'":     "",
		"SELECT * WHERE (REGISTRATIONID = 'a') AND deviceId != 'c'": "a",
	} {
		q, err := parseQuery(text, "enrollments")
		if err != nil {
			t.Fatal(text, err)
		}
		if got, _ := q.where.only("registrationId"); got != want {
			t.Errorf("%s: got %q", text, got)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add("SELECT * FROM enrollments WHERE (a.b = 'x''y' OR NOT) AND STARTSWITH(c, \"d\") OR e IN [1, true, 'f']")
	f.Add("SELECT * WHERE a=-1e5 AND b <> false")
	var doc any
	if err := json.Unmarshal([]byte(queryDoc), &doc); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseQuery(text, "enrollments")
		if err != nil {
			if !errors.Is(err, fault.DPSArgumentInvalid) {
				t.Fatal(err)
			}
			return
		}
		id, only := q.where.only("registrationId")
		if q.where != nil && q.where.match(doc) && only && !strings.EqualFold(id, "pump-17") {
			t.Fatalf("%q matches a document that does not have the id it asks for", text)
		}
	})
}
