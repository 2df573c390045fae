package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// TestDocs compares docs/config.md and docs/cli.md with the program.
func TestDocs(t *testing.T) {
	for name, text := range map[string]string{"config.md": configPage(), "cli.md": commandPage()} {
		path := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != text {
			t.Errorf("docs/%s is out of date: run 'make golden'", name)
		}
	}
}

// TestHelp asks every command for what the manual needs.
func TestHelp(t *testing.T) {
	each(rootCommand(newEnv(nil, &bytes.Buffer{}, &bytes.Buffer{})), func(c *cobra.Command) {
		measures := strings.HasPrefix(c.CommandPath(), "nave bench")
		if c.Short == "" || c.Example == "" && !measures {
			t.Errorf("'%s' has no short help or no example", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("--%s of '%s' is not explained", f.Name, c.CommandPath())
			}
		})
	})
}

// each visits a command and those below it, in order.
func each(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() && below.Name() != "help" && below.Name() != "completion" {
			each(below, visit)
		}
	}
}

// commandPage returns docs/cli.md.
func commandPage() string {
	var b strings.Builder
	b.WriteString("# The command line\n\nMade from the program; do not edit. 'make golden' makes it anew. 'nave completion --help' tells how a\nshell learns to complete commands, device ids and codes.\n")
	root := rootCommand(newEnv(nil, &bytes.Buffer{}, &bytes.Buffer{}))
	each(root, func(c *cobra.Command) { writeCommand(&b, c) })
	return b.String()
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	text := c.Short + "."
	if c.Long != "" {
		text = c.Long
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n", c.CommandPath(), text)
	if c.Runnable() && !c.HasSubCommands() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n\n```\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	if usages := c.LocalFlags().FlagUsagesWrapped(110); usages != "" {
		fmt.Fprintf(b, "\n```\n%s```\n", usages)
	}
}
