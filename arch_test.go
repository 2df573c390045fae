package nave_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/nave-hub/nave"

// floors gives each package its floor: a package imports lower floors only.
var floors = map[string]int{
	"internal/fault": 0, "internal/mqtt": 0, "internal/amqp": 0, "internal/query": 0, "internal/route": 0, "internal/dtdl": 0, "internal/cred": 0,
	"": 1, "internal/load": 1, "internal/carrier": 1,
	"internal/store": 2, "internal/bus": 2,
	"internal/gate":  3,
	"internal/hub":   4,
	"internal/fleet": 5, "internal/egress": 5, "internal/dps": 5, "internal/sim": 5, "internal/control": 5, "internal/oauth": 5, "internal/diag": 5,
	"internal/hubmqtt": 6, "internal/hubamqp": 6, "internal/hubhttp": 6, "internal/dpsapi": 6, "internal/simapi": 6, "internal/controlapi": 6, "internal/console": 6,
	"internal/node": 7,
	"cmd/nave":      8, "internal/navetest": 8,
}

// blind lists what a package must not import although the floors allow it.
var blind = map[string][]string{
	"":                 {"internal/mqtt", "internal/amqp", "internal/query", "internal/route", "internal/cred"},
	"internal/store":   {"internal/bus", "internal/fault"},
	"internal/bus":     {"internal/store", "internal/fault"},
	"internal/gate":    {"internal/cred"},
	"internal/hub":     {"internal/mqtt", "internal/amqp", "net/http"},
	"internal/fleet":   {"net/http"},
	"internal/hubmqtt": {"net/http", "internal/store", "internal/bus", "internal/gate", "internal/amqp"},
	"internal/hubamqp": {"net/http", "internal/store", "internal/bus", "internal/gate", "internal/mqtt"},
	"internal/hubhttp": {"internal/mqtt", "internal/amqp", "internal/store", "internal/bus", "internal/gate"},
	"internal/dpsapi":  {"internal/hub", "internal/store", "internal/bus", "internal/gate"},
	"internal/simapi":  {"internal/mqtt", "internal/amqp", "internal/store", "internal/bus", "internal/gate"},
	"internal/console": {"internal/mqtt", "internal/amqp", "internal/store", "internal/bus", "internal/gate"},
	"cmd/nave":         {"internal/store", "internal/bus", "internal/hub"},
}

// only lists imports from outside that one package alone may have.
var only = map[string]string{
	"database/sql":            "internal/store",
	"github.com/nats-io/":     "internal/bus",
	"modernc.org/sqlite":      "internal/store",
	"github.com/jackc/pgx":    "internal/store",
	"github.com/knadh/koanf":  "internal/node",
	"github.com/spf13/cobra":  "cmd/nave",
	"github.com/gorilla/webs": "internal/node",
}

// Limits of house rule 8; files of tables are exempt from the file limit.
const (
	maxFile     = 1000
	maxFunction = 100
)

type source struct {
	path, pkg string
	test      bool
	lines     int
	file      *ast.File
	set       *token.FileSet
}

// sources parses every Go file of the module. What disappears meanwhile was somebody's temporary file.
func sources(t *testing.T) (all []source) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != "." {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == ".venv" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if d.IsDir() && path != "." {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return filepath.SkipDir
			}
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if pkg == "." {
			pkg = ""
		}
		all = append(all, source{path, pkg, strings.HasSuffix(path, "_test.go"), bytes.Count(text, []byte("\n")), f, set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func imports(s source) (all []string) {
	for _, i := range s.file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		all = append(all, path)
	}
	return all
}

// ours cuts the module's name off an import path.
func ours(path string) (pkg string, ok bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestFloors(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.pkg, "test/") || strings.HasPrefix(s.pkg, "examples/") {
			continue
		}
		floor, ok := floors[s.pkg]
		if !ok {
			t.Errorf("%s: package %q has no floor", s.path, s.pkg)
			continue
		}
		for _, path := range imports(s) {
			checkImport(t, s, floor, path)
		}
	}
}

func checkImport(t *testing.T, s source, floor int, path string) {
	t.Helper()
	pkg, own := ours(path)
	if below, ok := floors[pkg]; own && (!ok || below >= floor) {
		t.Errorf("%s: floor %d imports %q", s.path, floor, path)
	}
	if slices.Contains(blind[s.pkg], path) || own && slices.Contains(blind[s.pkg], pkg) {
		t.Errorf("%s: %q must not import %q", s.path, s.pkg, path)
	}
	if !own && floor == 0 && strings.Contains(strings.SplitN(path, "/", 2)[0], ".") {
		t.Errorf("%s: floor 0 imports %q from outside the standard library", s.path, path)
	}
	for prefix, home := range only {
		if strings.HasPrefix(path, prefix) && s.pkg != home {
			t.Errorf("%s: only %s may import %q", s.path, home, path)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.lines > maxFile {
			t.Errorf("%s has %d lines, at most %d are allowed", s.path, s.lines, maxFile)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; n > maxFunction {
				t.Errorf("%s: %s has %d lines, at most %d are allowed", s.set.Position(f.Pos()), f.Name.Name, n, maxFunction)
			}
		}
	}
}

func TestNothingFromTests(t *testing.T) {
	for _, s := range sources(t) {
		for _, path := range imports(s) {
			if pkg, ok := ours(path); ok && pkg == "internal/navetest" && !s.test && !strings.HasPrefix(s.pkg, "test/") {
				t.Errorf("%s: code that is not a test imports %s", s.path, path)
			}
		}
	}
}
