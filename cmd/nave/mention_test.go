package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
)

// mention is a command that a text names: 'nave device show ID'.
var mention = regexp.MustCompile(`'nave ([a-z][^'\n]*)'`)

// TestMentions looks for every command that a remedy, a help or a document names:
// a remedy that does not exist is none.
func TestMentions(t *testing.T) {
	texts := map[string]string{}
	for c := range fault.All() {
		texts[c.Name+" of "+string(c.Family)] = c.Why + "\n" + c.Fix
	}
	documents, err := filepath.Glob(filepath.Join("..", "..", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range slices.Concat(documents, more, sources) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
	}
	found := 0
	for where, text := range texts {
		text = strings.ReplaceAll(text, "'nave help%s'", "") // any command
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			found++
			if !exists(strings.Fields(m[1])) {
				t.Errorf("%s names 'nave %s', which is no command", where, m[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d commands are named", found)
	}
}

// exists says whether words begin with a command; what only holds commands needs
// no more than its name.
func exists(words []string) bool {
	root := rootCommand(newEnv(nil, &bytes.Buffer{}, &bytes.Buffer{}))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(words)
	if err != nil || c == root {
		return false
	}
	for _, w := range rest {
		if name, ok := strings.CutPrefix(w, "--"); ok && name != "help" && c.Flag(strings.TrimRight(name, ",;.")) == nil {
			return false
		}
	}
	return !c.HasSubCommands() || len(rest) == 0 || strings.HasPrefix(rest[0], "-")
}
