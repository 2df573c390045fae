package dps

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/fault"
)

// FuzzEnrollment reads an enrolment as a client sends it, and again what the
// answer to it would say.
func FuzzEnrollment(f *testing.F) {
	texts, err := filepath.Glob("testdata/enrollments/*.json")
	if err != nil || len(texts) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, path := range texts {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, group bool) {
		e, err := ParseEnrollment(b, group)
		if err != nil {
			var fe *fault.Error
			if !errors.As(err, &fe) || fe.Code.Family != fault.DPS || fe.Code.HTTP != 400 {
				t.Fatal(err)
			}
			return
		}
		if e.IsGroup() != group || idProblem(e.ID()) != "" || e.Attestation == nil {
			t.Fatalf("%+v", e)
		}
		shown, err := jsonv2.Marshal(e.shown())
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseEnrollment(shown, group)
		if err != nil {
			t.Fatalf("%v for its own answer %s", err, shown)
		}
		second, err := jsonv2.Marshal(again.shown())
		if err != nil || string(second) != string(shown) {
			t.Fatalf("%s\nthen\n%s, %v", shown, second, err)
		}
	})
}

func TestEnrollmentSeeds(t *testing.T) {
	for name, group := range map[string]bool{"individual": false, "group": true} {
		b, err := os.ReadFile(fmt.Sprintf("testdata/enrollments/%s.json", name))
		if err != nil {
			t.Fatal(err)
		}
		e, err := ParseEnrollment(b, group)
		if err != nil {
			t.Fatal(name, err)
		}
		if !e.Edge() || e.Enabled() || e.Policy() != (ReprovisionPolicy{UpdateHub: true}) || len(e.Hubs) != 1 || e.Allocation != AllocateGeo || e.ETag == "" {
			t.Errorf("%s: %+v", name, e)
		}
		if e.State != nil || !e.Created.IsZero() || group && (e.RegistrationID != "" || e.DeviceID != "" || e.Information != nil) {
			t.Errorf("%s keeps read-only members: %+v", name, e)
		}
	}
}

func TestSealer(t *testing.T) {
	one, err := NewSealer([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSealer([]byte("0123456789abcdef0123456789abcdeg"))
	if err != nil {
		t.Fatal(err)
	}
	text := one.Seal("enrollment/a", "secret")
	if got, err := one.Open("enrollment/a", text); err != nil || got != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if one.Seal("enrollment/a", "secret") == text {
		t.Error("the same secret looks the same when sealed twice")
	}
	if got, err := one.Open("enrollment/a", one.Seal("enrollment/a", "")); err != nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	for name, open := range map[string]func() (string, error){
		"another place": func() (string, error) { return one.Open("enrollment/b", text) },
		"another key":   func() (string, error) { return other.Open("enrollment/a", text) },
		"changed":       func() (string, error) { return one.Open("enrollment/a", changed(text)) },
		"short":         func() (string, error) { return one.Open("enrollment/a", "v1:AAAA") },
		"plain":         func() (string, error) { return one.Open("enrollment/a", "secret") },
	} {
		if got, err := open(); !errors.Is(err, ErrSealed) || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := NewSealer([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}

// changed returns a sealed text with another character in its middle.
func changed(text string) string {
	n, c := len(text)/2, "A"
	if text[n] == 'A' {
		c = "B"
	}
	return text[:n] + c + text[n+1:]
}

// TestMatch goes through the table of dps 3.2.
func TestMatch(t *testing.T) {
	f := Faults{fault.DPSEnrollmentNotFound, fault.DPSEnrollmentConflict}
	const tag = `"6c00ff5e"`
	for _, c := range []struct {
		match     Match
		body, has string
		put       *fault.Code
		remove    *fault.Code
	}{
		{Match{}, "", "", nil, f.None},
		{Match{}, tag, "", f.None, f.None},
		{Match{}, "", tag, f.Conflict, nil},
		{Match{}, tag, tag, nil, nil},
		{Match{}, `"old"`, tag, fault.DPSPreconditionFailed, nil},
		{Match{IfMatch: "*"}, "", tag, nil, nil},
		{Match{IfMatch: "*"}, "", "", f.None, f.None},
		{Match{IfMatch: tag}, "", "", f.None, f.None},
		{Match{IfMatch: tag}, `"old"`, tag, nil, nil},
		{Match{IfMatch: "6c00ff5e"}, "", tag, nil, nil},
		{Match{IfMatch: `W/"6c00ff5e"`}, "", tag, nil, nil},
		{Match{IfMatch: `""6c00ff5e""`}, "", tag, nil, nil},
		{Match{IfMatch: `"\"6c00ff5e\""`}, "", tag, nil, nil},
		{Match{IfMatch: `"a", "6c00ff5e"`}, "", tag, nil, nil},
		{Match{IfMatch: `"old"`}, tag, tag, fault.DPSPreconditionFailed, fault.DPSPreconditionFailed},
		{Match{IfMatch: `""`}, "", tag, fault.DPSPreconditionFailed, fault.DPSPreconditionFailed},
		{Match{IfNoneMatch: "*"}, "", tag, f.Conflict, nil},
		{Match{IfNoneMatch: "*"}, tag, tag, f.Conflict, nil},
		{Match{IfNoneMatch: "*"}, tag, "", nil, f.None},
		{Match{IfNoneMatch: "*", IfMatch: tag}, "", tag, f.Conflict, nil},
	} {
		if err := c.match.Put(c.body, c.has, f, "it"); !is(err, c.put) {
			t.Errorf("PUT %+v with %q on %q: %v, want %v", c.match, c.body, c.has, err, c.put)
		}
		if err := c.match.Delete(c.has, f, "it"); !is(err, c.remove) {
			t.Errorf("DELETE %+v on %q: %v, want %v", c.match, c.has, err, c.remove)
		}
	}
}

func is(err error, code *fault.Code) bool {
	if code == nil {
		return err == nil
	}
	return errors.Is(err, code)
}

func TestRight(t *testing.T) {
	r, err := ParseRight("EnrollmentRead, enrollmentwrite,ServiceConfig")
	if err != nil || r != ServiceConfig|EnrollmentRead|EnrollmentWrite || r.String() != "ServiceConfig, EnrollmentRead, EnrollmentWrite" {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := ParseRight("EnrollmentRead, Everything"); !errors.Is(err, fault.DPSArgumentInvalid) {
		t.Error(err)
	}
	if r.Has(RegistrationRead) || !r.Has(EnrollmentRead) || allRights.String() == "" {
		t.Error(r)
	}
}
