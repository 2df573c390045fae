package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// env is what every command gets from the program around it.
type env struct {
	// Set by newEnv, then read only:
	in       io.Reader
	out, err io.Writer // answers; everything meant for people
	environ  func(string) string
	width    int           // columns of out, 0 when it is no terminal: then nothing is cut
	colorOut bool          // out may carry colour
	colorErr bool          // err may carry colour
	live     bool          // err is a terminal: progress may be drawn
	shell    time.Duration // how long a shell waits for names from the hub

	// Set by the global flags, then read only:
	output  string // "table" or "json"
	data    string // data folder of a node on this machine
	hub     string // host of the hub, "" for the first
	console string // URL of a console
	token   string // its token
	login   string // service connection string of any hub
	ca      string // PEM file with the CA to trust
	noColor bool
}

func newEnv(in io.Reader, out, err io.Writer) *env {
	e := &env{in: in, out: out, err: err, environ: os.Getenv, output: "table", shell: completeTimeout}
	e.width = columns(out)
	e.colorOut, e.colorErr = colorful(out), colorful(err)
	e.live = columns(err) > 0
	return e
}

// plain takes colour away when the flags ask for it.
func (e *env) plain() {
	if e.noColor || e.environ("NO_COLOR") != "" {
		e.colorOut, e.colorErr = false, false
	}
}

// json says whether answers are for machines.
func (e *env) json() bool { return e.output == "json" }

// say writes a line for people.
func (e *env) say(format string, args ...any) {
	fmt.Fprintf(e.err, format+"\n", args...)
}

// print writes a line of the answer.
func (e *env) print(format string, args ...any) {
	fmt.Fprintf(e.out, format+"\n", args...)
}

// printJSON writes v as indented JSON, without escaping what HTML would need.
func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Styles of text on a terminal.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint returns text in a style, when on.
func paint(on bool, style, text string) string {
	if !on || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// oneLine makes text fit for one line of a terminal: control characters, which
// may come from a device, become blanks.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}
