// Command fuzz is "make fuzz": it finds every fuzz target of the module in its
// test files and runs one after the other. It stops at the first finding, whose
// input the go command has put under the package's testdata/fuzz.
package main

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	f.SetOutput(stderr)
	span := f.Duration("time", 10*time.Second, "for each target")
	only := f.String("run", "", "regular expression: only targets whose package and name match")
	list := f.Bool("list", false, "only print the targets")
	if f.Parse(args) != nil || f.NArg() > 0 {
		return 2
	}
	if err := fuzz(*span, *only, *list, stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// fuzz runs the targets of the module in the current folder.
func fuzz(span time.Duration, only string, list bool, out io.Writer) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	all, err := targets(".")
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(t target) bool { return !wanted.MatchString(t.String()) })
	if len(all) == 0 {
		return errors.New("there is no such fuzz target")
	}
	fmt.Fprintf(out, "%d fuzz targets, %v each:\n", len(all), span)
	for _, t := range all {
		fmt.Fprintln(out, " ", t)
	}
	if list {
		return nil
	}
	for n, t := range all {
		begun := time.Now()
		last, err := t.run(span, out)
		if err != nil {
			return fmt.Errorf("FINDING in %s: %w", t, err)
		}
		fmt.Fprintf(out, "%d/%d %s: %v, %s\n", n+1, len(all), t, time.Since(begun).Round(time.Second), last)
	}
	fmt.Fprintf(out, "%d fuzz targets, no finding\n", len(all))
	return nil
}

// target is one fuzz function.
type target struct{ pkg, name string }

func (t target) String() string { return t.pkg + " " + t.name }

// targets returns the fuzz functions of all packages below root, by package and
// name.
func targets(root string) (all []target, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody builds or installs something meanwhile
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skip(root, path, d)
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		names, err := functions(path)
		for _, name := range names {
			pkg, _ := filepath.Rel(root, filepath.Dir(path))
			all = append(all, target{strings.TrimSuffix("./"+filepath.ToSlash(pkg), "/."), name})
		}
		return err
	})
	slices.SortFunc(all, func(a, b target) int { return strings.Compare(a.String(), b.String()) })
	return all, err
}

// skip passes over what the go command passes over too, and other modules.
func skip(root, path string, d fs.DirEntry) error {
	name := d.Name()
	if path == root {
		return nil
	}
	if name == "testdata" || name == "node_modules" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// functions returns the names of FuzzXxx(f *testing.F) in a file.
func functions(path string) (names []string, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") || len(fn.Type.Params.List) != 1 {
			continue
		}
		if star, ok := fn.Type.Params.List[0].Type.(*ast.StarExpr); ok {
			if s, ok := star.X.(*ast.SelectorExpr); ok && s.Sel.Name == "F" {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names, nil
}

// run fuzzes and returns the last figures that the go command printed.
func (t target) run(span time.Duration, out io.Writer) (last string, err error) {
	c := exec.Command("go", "test", "-run=^$", "-fuzz=^"+t.name+"$", "-fuzztime="+span.String(), t.pkg)
	text, err := c.CombinedOutput()
	if err != nil {
		out.Write(text)
		return "", err
	}
	last = "no figures"
	for line := range strings.Lines(string(text)) {
		if _, figures, ok := strings.Cut(line, "execs: "); ok {
			last = "execs: " + strings.TrimSpace(figures)
		}
	}
	return last, nil
}
