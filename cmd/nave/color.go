package main

import (
	"io"
	"os"
)

// colorful says whether w shows colour: a terminal that is not a dumb one.
func colorful(w io.Writer) bool {
	return columns(w) > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
