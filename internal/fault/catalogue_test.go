package fault_test

import (
	"encoding/csv"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
)

// rows returns the records of a published list without its heading.
func rows(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all[1:]
}

// extras are the hub codes outside iothub.csv: service-api 7.3 has them from other published sources.
var extras = map[int]bool{400033: true, 400034: true, 404103: true, 500000: true, 500002: true, 500009: true, 503003: true}

// TestPublished compares the declarations with the published lists. It proves the catalogue, not an answer on the
// wire, so its subtests do not carry the ids of the CODE rows.
func TestPublished(t *testing.T) {
	t.Run("iothub.csv", publishedHub)
	t.Run("iothub-rest.csv", publishedREST)
	t.Run("dps.csv", publishedDPS)
	t.Run("iot-v1.csv", publishedControl)
}

func publishedHub(t *testing.T) {
	declared := map[int]bool{}
	for _, row := range rows(t, "iothub.csv") {
		t.Run(strings.TrimSpace(row[0]+" "+row[1]), func(t *testing.T) {
			if row[0] == "" {
				want := map[string]*fault.Code{
					"ServiceUnavailable": fault.ServiceUnavailable, "InternalServerError": fault.ServerError}[row[1]]
				if got := fault.ByName(row[1]); want == nil || got != want {
					t.Fatalf("ByName(%q) = %v, want %v", row[1], got, want)
				}
				return
			}
			id, _ := strconv.Atoi(row[0])
			declared[id] = true
			status := row[2]
			if id == 401001 { // service-api 7.2: SDKs look for the name in a 404
				status = "404"
			}
			check(t, id, fault.Hub, row[1], status)
		})
	}
	for c := range fault.All() {
		if c.Family == fault.Hub && declared[c.ID] == extras[c.ID] {
			t.Errorf("%v: in iothub.csv %v, in service-api 7.3 alone %v", c, declared[c.ID], extras[c.ID])
		}
	}
}

func publishedREST(t *testing.T) {
	for _, row := range rows(t, "iothub-rest.csv") {
		t.Run(strings.TrimSpace(row[0]+" "+row[1]), func(t *testing.T) {
			if strings.HasSuffix(row[0], "xxx") {
				if c := fault.ByName(row[0]); c == nil || strconv.Itoa(c.HTTP) != row[0][:3] {
					t.Fatalf("ByName(%q) = %v", row[0], c)
				}
				return
			}
			id, _ := strconv.Atoi(row[0])
			c := fault.Lookup(id, fault.Hub)
			switch {
			case c == nil:
				t.Fatal("not declared")
			case row[1] == "Internal": // the reference names the family, the REST table the code
				if fault.ByName(row[1]) != c {
					t.Errorf("ByName(%q) is not %v", row[1], c)
				}
			case id == 404104 && row[1] == "DeviceNotFound": // one entry with both readings
				if !strings.Contains(c.Why, row[1]) || !strings.Contains(fault.DeviceNotFound.Why, "404104") {
					t.Error("the second reading of 404104 is not explained")
				}
			case row[1] != "" && !strings.EqualFold(row[1], c.Name):
				t.Errorf("name %s, published %s", c.Name, row[1])
			}
			if number, _, _ := strings.Cut(row[2], " "); number != "N/A" && number != strconv.Itoa(c.HTTP) {
				t.Errorf("HTTP %d, published %s", c.HTTP, row[2])
			} else if number == "N/A" && c.HTTP != id/1000 {
				t.Errorf("HTTP %d is not the class of %d", c.HTTP, id)
			}
		})
	}
}

func publishedDPS(t *testing.T) {
	// dps 5.2: what goes out for a plain status.
	wire := map[string]*fault.Code{"400": fault.DPSGenericBadRequest, "401": fault.DPSIotHubUnauthorizedAccess,
		"404": fault.DPSGenericNotFound, "405": fault.DPSGenericMethodNotAllowed, "409": fault.DPSGenericConflict,
		"412": fault.DPSPreconditionFailed, "415": fault.DPSIncompatibleDataType, "429": fault.DPSThrottlingException,
		"500": fault.DPSServerError}
	for _, row := range rows(t, "dps.csv") {
		t.Run(strings.TrimSpace(row[0]+" "+row[1]), func(t *testing.T) {
			if row[1] == "" {
				if c := wire[row[0]]; c == nil || strconv.Itoa(c.HTTP) != row[0] || c.Family != fault.DPS {
					t.Fatalf("status %s goes out as %v", row[0], c)
				}
				return
			}
			id, _ := strconv.Atoi(row[0])
			check(t, id, fault.DPS, row[1], row[2])
		})
	}
}

func publishedControl(t *testing.T) {
	published := 0
	for _, row := range rows(t, "iot-v1.csv") {
		t.Run(row[0]+" "+strings.ReplaceAll(row[2], "/", ""), func(t *testing.T) {
			published++
			id, _ := strconv.Atoi(row[0])
			label := row[2]
			if label == "n/a" { // success has no label
				label = "ok"
			}
			check(t, id, fault.Control, label, strconv.Itoa(id/1000)+row[0][2:])
		})
	}
	for c := range fault.All() {
		if c.Family == fault.Control {
			published--
		}
	}
	if published != 0 {
		t.Errorf("the registry is closed, but differs from the declarations by %d", published)
	}
}

func check(t *testing.T, id int, family fault.Family, name, status string) {
	t.Helper()
	c := fault.Lookup(id, family)
	if c == nil {
		t.Fatal("not declared")
	}
	if c.Name != name {
		t.Errorf("name %s, published %s", c.Name, name)
	}
	if status == "200" {
		status = strconv.Itoa(c.HTTP)
	}
	if strconv.Itoa(c.HTTP) != status {
		t.Errorf("HTTP %d, published %s", c.HTTP, status)
	}
}

// TestConditions compares Condition with the map of service-api 7.3, where that names one.
func TestConditions(t *testing.T) {
	for _, row := range rows(t, "service-map.csv") {
		t.Run(row[0], func(t *testing.T) {
			id, _ := strconv.Atoi(row[0])
			c := fault.Lookup(id, fault.Hub)
			if c == nil || c.Name != row[1] {
				t.Fatalf("%s %s is declared as %v", row[0], row[1], c)
			}
			if row[2] != "N/A" && row[2] != strconv.Itoa(c.HTTP) {
				t.Errorf("HTTP %d, want %s", c.HTTP, row[2])
			}
			if row[3] != "" && row[3] != c.Condition() {
				t.Errorf("condition %s, want %s", c.Condition(), row[3])
			}
		})
	}
}

func TestConditionOfStatus(t *testing.T) {
	for status, want := range map[int]string{400: "com.microsoft:argument-error", 401: "amqp:unauthorized-access",
		403: "amqp:not-allowed", 404: "amqp:not-found", 405: "amqp:not-allowed", 409: "amqp:not-allowed",
		412: "com.microsoft:precondition-failed", 413: "amqp:link:message-size-exceeded", 415: "amqp:not-implemented",
		422: "com.microsoft:argument-error", 429: "com.microsoft:device-container-throttled", 500: "amqp:internal-error",
		502: "amqp:internal-error", 503: "com.microsoft:server-busy", 504: "com.microsoft:timeout"} {
		if got := (&fault.Code{HTTP: status}).Condition(); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
	if got := (&fault.Code{HTTP: 404, AMQP: "x:y"}).Condition(); got != "x:y" {
		t.Errorf("a declared condition is replaced by %s", got)
	}
}

// TestRetry holds the rule at the end of hub-semantics 20.
func TestRetry(t *testing.T) {
	later := map[int]bool{403002: true, 403004: true, 403006: true, 403800: true,
		404012: true, 404101: true, 404102: true, 404103: true}
	for c := range fault.All() {
		if c.Family != fault.Hub && c.Family != fault.DPS {
			continue
		}
		want := fault.Never
		switch class := c.ID / 1000; {
		case c.Family == fault.Hub && later[c.ID]:
			want = fault.Later
		case class == 412:
			want = fault.Refresh
		case class == 429 || class >= 500:
			want = fault.Backoff
		}
		if c.Retry != want {
			t.Errorf("%v: retry %v, want %v", c, c.Retry, want)
		}
	}
}

func TestTexts(t *testing.T) {
	whys := map[string]*fault.Code{}
	for c := range fault.All() {
		for _, text := range []string{c.Why, c.Fix} {
			if text == "" || strings.ContainsAny(text, ";{") || !strings.HasSuffix(text, ".") || strings.Count(text, ". ") > 2 {
				t.Errorf("%s %v: text %q is empty, too long or not fit for every surface", c.Family, c, text)
			}
		}
		if other := whys[c.Why]; other != nil {
			t.Errorf("%v and %v share their cause", c, other)
		}
		whys[c.Why] = c
	}
}

// TestVariables checks that each code is reachable under the name of its variable.
func TestVariables(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			call, ok := spec.Values[0].(*ast.CallExpr)
			if !ok {
				return true
			}
			if fun, ok := call.Fun.(*ast.Ident); !ok || fun.Name != "define" {
				return true
			}
			found++
			fields := map[string]string{}
			for _, element := range call.Args[0].(*ast.CompositeLit).Elts {
				pair := element.(*ast.KeyValueExpr)
				switch value := pair.Value.(type) {
				case *ast.BasicLit:
					fields[pair.Key.(*ast.Ident).Name] = value.Value
				case *ast.Ident:
					fields[pair.Key.(*ast.Ident).Name] = value.Name
				}
			}
			id, _ := strconv.Atoi(fields["ID"])
			family := map[string]fault.Family{"Hub": fault.Hub, "DPS": fault.DPS, "Control": fault.Control, "SIM": fault.SIM}[fields["Family"]]
			variable := spec.Names[0].Name
			c := fault.Lookup(id, family)
			if c == nil || fault.ByName(variable) != c {
				t.Errorf("ByName(%s) = %v, want %v", variable, fault.ByName(variable), c)
			}
			if family == fault.Hub && variable != c.Name && c != fault.DeviceNotOnlineOlder {
				t.Errorf("variable %s of %v has another name", variable, c)
			}
			return true
		})
	}
	all, last := 0, (*fault.Code)(nil)
	for c := range fault.All() {
		if last != nil && last.Family == c.Family && last.ID >= c.ID {
			t.Errorf("%v does not follow %v", c, last)
		}
		all, last = all+1, c
	}
	if found != all {
		t.Errorf("%d declarations, %d codes", found, all)
	}
}

func TestLookup(t *testing.T) {
	if c := fault.Lookup(404001, fault.Hub); c != fault.DeviceNotFound {
		t.Errorf("Lookup(404001) = %v", c)
	}
	if fault.Lookup(409001, fault.DPS) != nil || fault.Lookup(0, fault.Hub) != nil || fault.Lookup(404001, "none") != nil {
		t.Error("a code that is not declared was found")
	}
	for name, want := range map[string]*fault.Code{"devicenotonline": fault.DeviceNotOnline,
		"DeviceNotOnlineOlder": fault.DeviceNotOnlineOlder, "EnrollmentNotFound": fault.DPSEnrollmentNotFound,
		"ThrottlingException": fault.ThrottlingException, "DPSThrottlingException": fault.DPSThrottlingException,
		"rate_limited": fault.ControlRateLimited, "SIMRateLimited": fault.SIMRateLimited,
		"InternalServerError": fault.ServerError, "": nil, "none": nil} {
		if got := fault.ByName(name); got != want {
			t.Errorf("ByName(%q) = %v, want %v", name, got, want)
		}
	}
}
