// Package report runs "go test -json" and keeps what became of each test.
package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Outcome of a test.
const (
	Pass = "pass"
	Fail = "fail"
	Skip = "skip"
)

// Test is one test or subtest.
type Test struct {
	Package, Name, Outcome string
	Output                 []string
}

// Result is what a run found.
type Result struct {
	Tests    map[string]*Test // by package and name
	Packages map[string]string
	broken   []string            // what did not compile, and panics
	said     map[string][]string // by package: what it printed outside of its tests
}

func newResult() *Result {
	return &Result{Tests: map[string]*Test{}, Packages: map[string]string{}, said: map[string][]string{}}
}

type event struct{ Action, Package, ImportPath, Test, Output string }

// Run runs go test in a folder with the arguments, prints a line a package to
// out, and returns what became of each test. The error tells that go itself
// failed.
func Run(out io.Writer, dir string, env []string, args ...string) (*Result, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), env...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := newResult()
	readErr := r.read(out, pipe)
	err = cmd.Wait()
	r.settle()
	if err != nil && r.OK() {
		return r, fmt.Errorf("go test: %w", err)
	}
	return r, readErr
}

// read takes the events, a line each, however long it is.
func (r *Result) read(out io.Writer, in io.Reader) error {
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			r.take(out, &e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			io.Copy(io.Discard, in) // or go test would never end
			return err
		}
	}
}

// settle gives tests whose end was not told what the verdict on their package
// says of them.
func (r *Result) settle() {
	for _, t := range r.Tests {
		if t.Outcome == "" && r.Packages[t.Package] == Pass {
			t.Outcome, t.Output = Pass, nil
		}
	}
}

func (r *Result) take(out io.Writer, e *event) {
	if e.Test == "" {
		r.takePackage(out, e)
		return
	}
	key := e.Package + " " + e.Test
	t := r.Tests[key]
	if t == nil {
		t = &Test{Package: e.Package, Name: e.Test}
		r.Tests[key] = t
	}
	switch e.Action {
	case "output":
		t.Output = append(t.Output, e.Output)
	case Pass, Fail, Skip:
		t.Outcome = e.Action
		if e.Action == Pass {
			t.Output = nil
		}
	}
}

// saidMost is how many lines of a package are kept.
const saidMost = 500

func (r *Result) takePackage(out io.Writer, e *event) {
	switch e.Action {
	case "build-output":
		r.broken = append(r.broken, e.Output)
	case "output":
		if all := append(r.said[e.Package], e.Output); len(all) <= saidMost {
			r.said[e.Package] = all
		}
		if strings.HasPrefix(e.Output, "panic:") || strings.HasPrefix(e.Output, "--- FAIL") {
			r.broken = append(r.broken, e.Package+": "+e.Output)
		}
	case Pass, Fail, Skip:
		r.Packages[e.Package] = e.Action
		if e.Action != Skip {
			fmt.Fprintf(out, "%-5s %s\n", e.Action, e.Package)
		}
	}
}

// Failed returns the tests that failed or never ended, innermost only.
func (r *Result) Failed() (failed []*Test) {
	for _, t := range r.Tests {
		if (t.Outcome == Fail || t.Outcome == "") && !r.below(t) {
			failed = append(failed, t)
		}
	}
	slices.SortFunc(failed, func(a, b *Test) int { return strings.Compare(a.Package+a.Name, b.Package+b.Name) })
	return failed
}

// below says whether a subtest of t failed.
func (r *Result) below(t *Test) bool {
	for _, other := range r.Tests {
		if other.Outcome == Fail && other.Package == t.Package && strings.HasPrefix(other.Name, t.Name+"/") {
			return true
		}
	}
	return false
}

// Skipped returns the tests that were skipped.
func (r *Result) Skipped() (skipped []*Test) {
	for _, t := range r.Tests {
		if t.Outcome == Skip {
			skipped = append(skipped, t)
		}
	}
	slices.SortFunc(skipped, func(a, b *Test) int { return strings.Compare(a.Package+a.Name, b.Package+b.Name) })
	return skipped
}

// OK says whether nothing failed.
func (r *Result) OK() bool {
	for _, outcome := range r.Packages {
		if outcome == Fail {
			return false
		}
	}
	return len(r.broken) == 0 && len(r.Failed()) == 0
}

// Print writes what failed with its output, what was skipped and why, and the
// closing line "N passed, N failed, N skipped".
func (r *Result) Print(out io.Writer) {
	for _, line := range r.broken {
		fmt.Fprint(out, line)
	}
	r.printSilent(out)
	for _, t := range r.Failed() {
		fmt.Fprintf(out, "FAIL %s %s\n%s", t.Package, t.Name, strings.Join(t.Output, ""))
	}
	for _, t := range r.Skipped() {
		fmt.Fprintf(out, "SKIP %s %s: %s\n", t.Package, t.Name, reason(t))
	}
	var passed int
	for _, t := range r.Tests {
		if t.Outcome == Pass {
			passed++
		}
	}
	failed := len(r.Failed())
	if failed == 0 && !r.OK() {
		failed = 1
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, len(r.Skipped()))
}

// printSilent writes what packages printed that failed without a failed test.
func (r *Result) printSilent(out io.Writer) {
	told := map[string]bool{}
	for _, t := range r.Failed() {
		told[t.Package] = true
	}
	for _, name := range slices.Sorted(maps.Keys(r.Packages)) {
		if r.Packages[name] == Fail && !told[name] {
			fmt.Fprintf(out, "FAIL %s\n%s", name, strings.Join(r.said[name], ""))
		}
	}
}

func reason(t *Test) string {
	for _, line := range t.Output {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}
