// Command all is "make test": formatting, vet, every Go test of both modules,
// the vendor SDKs, and the join of the conformance rows with the tests. It prints the closing
// line "N passed, N failed, N skipped" and exits with 1 when anything failed.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/nave-hub/nave/test/report"
)

func main() { os.Exit(run()) }

func run() int {
	ok := step("tools", install) && step("modules", download) && step("gofmt", unformatted) && step("go vet", vet)
	fmt.Println("== go test (packages of the vendors' SDKs are installed into test/sdk)")
	result, err := report.Everything(os.Stdout)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("== conformance")
	rows, err := result.Join("test/conformance")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ok = report.PrintRows(os.Stdout, rows) && ok
	if !ok {
		fmt.Println("FAIL: see above")
	}
	result.Print(os.Stdout)
	if !ok || !result.OK() {
		return 1
	}
	return 0
}

func step(name string, f func() error) bool {
	fmt.Println("==", name)
	if err := f(); err != nil {
		fmt.Println(err)
		return false
	}
	return true
}

// download brings the Go modules that packages and tests need, so that nothing
// after it depends on the network.
func download() (err error) {
	for _, dir := range []string{".", report.TPM} {
		err = again(func() error {
			cmd := exec.Command("go", "list", "-deps", "-test", "./...")
			cmd.Dir, cmd.Stderr = dir, os.Stderr
			return cmd.Run()
		})
		if err != nil {
			fmt.Println("go list in", dir, "failed:", err) // the next steps say more
		}
	}
	return nil
}

// vet checks every module; what can't be built here is left out, and its tests
// say so.
func vet() error {
	for _, dir := range []string{".", report.TPM} {
		if dir == report.TPM && report.LackForTPM() != "" {
			continue
		}
		cmd := exec.Command("go", "vet", "./...")
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}

func unformatted() error {
	out, err := exec.Command("gofmt", "-l", ".").Output()
	var files []string
	for _, f := range strings.Fields(string(out)) {
		if !strings.Contains(f, "node_modules") && !strings.Contains(f, ".venv") {
			files = append(files, f)
		}
	}
	if err == nil && len(files) > 0 {
		err = fmt.Errorf("not formatted: %s", strings.Join(files, " "))
	}
	return err
}
