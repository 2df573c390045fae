package simapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite the schemas in schema/openapi.json")

const (
	schemaFile  = "schema/connectivity-v1.json"
	openapiFile = "schema/openapi.json"
)

// compiled returns the schema of a name in schema/connectivity-v1.json.
var compiled = func() func(name string) (*jsonschema.Schema, error) {
	var mu sync.Mutex
	all := map[string]*jsonschema.Schema{}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		panic(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(err)
	}
	const at = "https://hub.example.com/schema.json"
	if err := c.AddResource(at, doc); err != nil {
		panic(err)
	}
	return func(name string) (*jsonschema.Schema, error) {
		mu.Lock()
		defer mu.Unlock()
		if s := all[name]; s != nil {
			return s, nil
		}
		s, err := c.Compile(at + "#/$defs/" + name)
		all[name] = s
		return s, err
	}
}()

// valid checks text against a schema of section 14.
func valid(name string, text []byte) error {
	s, err := compiled(name)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// shapes are the schemas of successes by the path behind the tenant.
var shapes = []struct{ verb, path, schema string }{
	{"GET", `product`, "ProductList"}, {"POST", `product`, "ProductList"}, {"POST", `product/find`, "ProductList"},
	{"GET", `product/[^/]*-(simCard|terminal|dataConnectivity|usageVolume-[a-z]+)`, "SubProduct"}, {"GET", `product/[^/]*`, "Product"},
	{"GET", `product/[^/]*/usage`, "UsageList"}, {"GET", `product/[^/]*/dataSession`, "DataSessionList"},
	{"GET", `product/[^/]*/sms`, "SmsList"}, {"POST", `product/[^/]*/sms`, "Sms"}, {"GET", `product/[^/]*/sms/.*`, "Sms"},
	{"GET", `product/[^/]*/location`, "Location"}, {"GET", `product/[^/]*/history`, "HistoryList"},
	{"GET", `product/[^/]*/device`, "DeviceLink"}, {"PUT", `product/[^/]*/device`, "DeviceLink"},
	{"GET", `monitor`, "MonitorList"}, {"GET", `monitor/.*`, "Monitor"},
	{"GET", `task`, "TaskList"}, {"GET", `task/.*`, "Task"}, {"POST", `task/productStatusChange`, "Task"},
	{"GET", `productOffering`, "OfferingList"}, {"POST", `productOffering`, "Offering"}, {"GET", `productOffering/.*`, "Offering"}, {"PATCH", `productOffering/.*`, "Offering"},
	{"GET", `platform`, "PlatformList"}, {"POST", `platform`, "Platform"}, {"GET", `platform/[^/]*`, "Platform"}, {"PUT", `platform/[^/]*`, "Platform"},
	{"POST", `platform/[^/]*/check`, "CheckResult"}, {"POST", `platform/[^/]*/synchronise`, "Monitor"},
	{"GET", `api`, "ApiList"}, {"GET", `application`, "ApplicationList"}, {"POST", `application`, "Application"}, {"GET", `application/[^/]*`, "Application"},
	{"PATCH", `application/[^/]*`, "Application"}, {"POST", `application/[^/]*/credential`, "Credential"}, {"POST", `application/.*/refresh`, "Credential"},
}

var (
	tokenPath = regexp.MustCompile(`^/oauth2/token$|^/auth/realms/`)
	underPath = regexp.MustCompile(`^(?:/api/connectivity/v1|/api-gw/connection-management-orchestrator/v5|/api/applications/v1)/[^/]*/(.*)$`)
)

// schemaFor returns the schema of an answer, "" when it has none.
func schemaFor(r *http.Request, status int, body map[string]any) string {
	path := r.URL.Path
	if tokenPath.MatchString(path) {
		if status == 200 {
			return "TokenResponse"
		}
		return "OAuthError"
	}
	m := underPath.FindStringSubmatch(path)
	switch {
	case status >= 400:
		return "Problem"
	case m == nil:
		return ""
	case status == 202 && body["@type"] == "monitor":
		return "Monitor"
	case r.Method == "PATCH" && strings.HasPrefix(m[1], "product/"):
		return "SubProduct"
	case r.URL.Query().Has("fields") && !strings.HasSuffix(path, "/product"):
		return ""
	}
	for _, s := range shapes {
		if s.verb == r.Method && regexp.MustCompile(`^`+s.path+`$`).MatchString(m[1]) {
			return s.schema
		}
	}
	return ""
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// check holds every answer against what all must have: correlation id, limits,
// a body that its schema allows, and of problems SIM-046.
func (a *answer) check(r *http.Request) {
	a.x.Helper()
	if !uuid.MatchString(a.header.Get("X-Correlation-Id")) {
		a.x.Errorf("X-Correlation-Id is %q", a.header.Get("X-Correlation-Id"))
	}
	if len(a.raw) == 0 || !strings.Contains(a.header.Get("Content-Type"), "json") {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(a.raw))
	dec.UseNumber()
	if err := dec.Decode(&a.body); err != nil {
		a.x.Fatalf("%v in %s", err, a.raw)
	}
	name := schemaFor(r, a.status, a.body)
	if name == "" {
		return
	}
	if err := valid(name, a.raw); err != nil {
		a.x.Errorf("%s %s: %s is not valid against %s: %v", r.Method, r.URL, a.raw, name, err)
	}
	if name == "Problem" {
		a.checkProblem(r)
	}
}

func (a *answer) checkProblem(r *http.Request) {
	a.x.Helper()
	if a.get("message") != a.get("detail") || a.get("status") != json.Number(itoa(a.status)) || a.get("traceId") != a.header.Get("X-Correlation-Id") ||
		a.get("instance") != r.URL.EscapedPath() {
		a.x.Errorf("%s %s: %s", r.Method, r.URL, a.raw)
	}
	if a.status == 401 && a.header.Get("WWW-Authenticate") == "" {
		a.x.Error("a 401 without WWW-Authenticate")
	}
	if a.status == 429 && a.header.Get("Retry-After") == "" {
		a.x.Error("a 429 without Retry-After")
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// translate turns references into those of components.
func translate(v any) any {
	switch in := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, v := range in {
			if ref, ok := v.(string); ok && k == "$ref" {
				v = strings.Replace(ref, "#/$defs/", "#/components/schemas/", 1)
			}
			out[k] = translate(v)
		}
		return out
	case []any:
		out := make([]any, len(in))
		for n := range in {
			out[n] = translate(in[n])
		}
		return out
	}
	return v
}

// TestDocumentsAgree compares the schemas of the OpenAPI document with those of
// section 14; -update rewrites them.
func TestDocumentsAgree(t *testing.T) {
	var schema, doc map[string]any
	for file, to := range map[string]*map[string]any{schemaFile: &schema, openapiFile: &doc} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, to); err != nil {
			t.Fatal(err)
		}
	}
	want := translate(schema["$defs"])
	components := doc["components"].(map[string]any)
	if reflect.DeepEqual(components["schemas"], want) {
		return
	}
	if !*update {
		t.Fatal("schema/openapi.json has other schemas than schema/connectivity-v1.json; run with -update")
	}
	components["schemas"] = want
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(openapiFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

var example = regexp.MustCompile("(?s)<!-- schema: ([A-Za-z]+) -->\n```json\n(.*?)\n```")

// TestExamples checks the examples of the specification.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile("../../docs/spec/connectivity-api.md")
	if err != nil {
		t.Fatal(err)
	}
	all := example.FindAllSubmatch(text, -1)
	if len(all) < 20 {
		t.Errorf("%d examples", len(all))
	}
	for _, m := range all {
		if err := valid(string(m[1]), m[2]); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
}

// TestRoutesDocumented compares the routes with the OpenAPI document: each
// answers 401 without a token, and no path of the document is unknown.
func TestRoutesDocumented(t *testing.T) {
	text, err := os.ReadFile(openapiFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	x := &row{open(t), t}
	admin := x.app(t, "all", "rw connection-management-orchestrator", "rw platform-management", "rw application-access-management")
	for path, item := range doc.Paths {
		to := b + path
		if _, own := item["servers"]; own {
			if to = aam + path; strings.Contains(path, "oauth") {
				continue
			}
		}
		to = regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(to, "x")
		verbs := map[string]bool{}
		for verb := range strings.SplitSeq(x.do(request{method: "OPTIONS", path: to, as: admin}).want(204).header.Get("Allow"), ", ") {
			verbs[strings.ToLower(verb)] = true
		}
		for _, verb := range []string{"get", "post", "put", "patch", "delete"} {
			if _, documented := item[verb]; documented != verbs[verb] {
				t.Errorf("%s %s: documented %v, served %v", verb, path, documented, verbs[verb])
			}
		}
	}
}
