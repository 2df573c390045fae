//go:build !unix

package main

import (
	"io"
	"os"

	"github.com/mattn/go-isatty"
)

// columns returns the width of a terminal, 0 when w is none; here it is taken
// for 80.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return 80
	}
	return 0
}
