package simapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
	"github.com/nave-hub/nave/internal/simapi"
)

// TestFaults makes a problem of every code of the family: it is valid, and its
// type leads to a page that explains it.
func TestFaults(t *testing.T) {
	x := &row{open(t), t}
	for code := range fault.All() {
		if code.Family != fault.SIM {
			continue
		}
		e := code.New("")
		if code == fault.SIMValidationFailed {
			e.Detail = map[string]any{sim.DetailIssues: []sim.Issue{{In: "body", Code: "required", Detail: "x"}}}
		}
		p := sim.NewProblem(e, noon, "/x", "7a3c0f0e-3a0c-4a6b-9f2f-1d3f0d6f2a10")
		if err := valid("Problem", []byte(mustJSON(p))); err != nil {
			t.Errorf("%s: %v", code.Name, err)
		}
		if !strings.HasPrefix(p.Type, "/") {
			continue
		}
		if page := x.do(request{method: "GET", path: p.Type, as: anonymous}).want(200); !strings.Contains(string(page.raw), "<code>"+code.Name+"</code>") {
			t.Errorf("%s does not explain %s", p.Type, code.Name)
		}
	}
}

// TestLog holds the log against connectivity-api HT-15 and ER-7.
func TestLog(t *testing.T) {
	var log bytes.Buffer
	s := open(t, func(o *simapi.Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	x := &row{s, t}
	x.get(list).want(200)
	if log.Len() > 0 {
		t.Errorf("a success was logged: %s", log.String())
	}
	a := x.get(list + "/NO-1").want(404)
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatal(err, log.String())
	}
	for name, want := range map[string]any{"traceId": a.get("traceId"), "tenant": "acme", "application": x.w.ID, "method": "GET", "path": list + "/NO-1",
		"status": 404.0, "code": "product_not_found", "duration": 0.0} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	log.Reset()
	token := x.token(x, x.w)
	x.get(list, "Authorization: Bearer "+token+"x").want(401)
	x.form(tokenURL, nil, "grant_type", "client_credentials", "client_id", x.w.Credentials[0].ClientID, "client_secret", "my-secret").want(401)
	if text := log.String(); strings.Count(text, "\n") != 2 || strings.Contains(text, token) || strings.Contains(text, "my-secret") {
		t.Error(text)
	}
}

// TestAdmin lets a signed-in user manage applications, and nothing else.
func TestAdmin(t *testing.T) {
	s := open(t, func(o *simapi.Options) {
		o.Admin = func(_ context.Context, token, tenant string) (string, bool) {
			return "eve", token == "foreign" && tenant == "acme"
		}
	})
	x := &row{s, t}
	const token = "Authorization: Bearer foreign"
	x.post(aam+"/application", appBody, token).want(201)
	x.get(list, token).problem(401, "Unauthorized", "token_invalid")
	x.get("/api/applications/v1/globex/application", token).problem(401, "Unauthorized", "token_invalid")
}
