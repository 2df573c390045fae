// Command conformance joins the rows of the specifications with the tests and
// prints, a document at a time, how many are proven, failing, without a test,
// answered otherwise on purpose, or not yet owned. It exits with 1 when a row
// that a finished part owns has no passing test.
package main

import (
	"fmt"
	"os"

	"github.com/nave-hub/nave/test/report"
)

func main() { os.Exit(run()) }

func run() int {
	result, err := report.Everything(os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	rows, err := result.Join("test/conformance")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !report.PrintRows(os.Stdout, rows) || !result.OK() {
		result.Print(os.Stderr)
		return 1
	}
	return 0
}
