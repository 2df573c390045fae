package main

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/node"
)

func configCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show the settings of a node and what they mean",
		Example: "  nave config show --config nave.yaml\n  nave config docs > config.md", RunE: group}
	c.AddCommand(configShow(e), configDocs(e))
	return c
}

// settingAnswer is a setting as JSON.
type settingAnswer struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Default  string `json:"default"`
	Variable string `json:"variable,omitempty"`
	Doc      string `json:"doc"`
	Value    any    `json:"value,omitempty"`
}

func configShow(e *env) *cobra.Command {
	f := serveFlags{}
	changed := false
	c := &cobra.Command{Use: "show", Short: "Show the settings that 'nave serve' would run with", Args: cobra.NoArgs,
		Long:    "Show reads the configuration file, the NAVE_ variables and --set as serve does, and\nprints the outcome. Keys are left out.",
		Example: "  nave config show --changed\n  nave config show --config nave.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := f.load(cmd, e)
			if err != nil {
				return err
			}
			return e.showConfig(conf, changed)
		}}
	c.Flags().StringVar(&f.config, "config", "", "YAML file with settings (NAVE_CONFIG)")
	c.Flags().StringArrayVar(&f.set, "set", nil, "NAME=VALUE, may be repeated")
	c.Flags().BoolVar(&changed, "changed", false, "only what differs from the default")
	c.MarkFlagFilename("config", "yaml", "yml")
	return c
}

func (e *env) showConfig(conf *node.Config, changed bool) error {
	t := newTable("SETTING", "VALUE", "DEFAULT")
	list := []settingAnswer{}
	for _, s := range node.Settings() {
		text := shown(settingValue(reflect.ValueOf(conf).Elem(), s.Name))
		if changed && same(text, s.Default) {
			continue
		}
		t.add(s.Name, text, s.Default)
		list = append(list, settingAnswer{Name: s.Name, Kind: s.Kind, Default: s.Default, Variable: settingVariable(s), Doc: s.Doc, Value: text})
	}
	if e.json() {
		return e.printJSON(list)
	}
	return e.table(t)
}

// same compares a value with a default; durations have several spellings.
func same(value, standard string) bool {
	return value == standard || strings.TrimSuffix(strings.TrimSuffix(value, "0s"), "0m") == standard || value == "1m0s" && standard == "60s" ||
		standard == "" && (value == "0" || value == "false")
}

// settingValue finds the field of a configuration by the setting's name.
func settingValue(v reflect.Value, name string) reflect.Value {
	head, rest, more := strings.Cut(name, ".")
	for n := range v.NumField() {
		if v.Type().Field(n).Tag.Get("koanf") != head {
			continue
		}
		if more {
			return settingValue(v.Field(n), rest)
		}
		return v.Field(n)
	}
	return reflect.Value{}
}

// shown prints a value without what is secret in it.
func shown(v reflect.Value) string {
	switch {
	case !v.IsValid():
		return ""
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		if v.Len() == 0 {
			return ""
		}
		return fmt.Sprintf("%d entries", v.Len())
	case v.Kind() == reflect.Slice:
		var parts []string
		for n := range v.Len() {
			parts = append(parts, fmt.Sprint(v.Index(n)))
		}
		return strings.Join(parts, ",")
	case v.Kind() == reflect.Map:
		if v.Len() == 0 {
			return ""
		}
		return strings.TrimPrefix(fmt.Sprint(v.Interface()), "map")
	}
	text := fmt.Sprint(v.Interface())
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}

func configDocs(e *env) *cobra.Command {
	return &cobra.Command{Use: "docs", Short: "Explain every setting, as Markdown", Args: cobra.NoArgs,
		Example: "  nave config docs\n  nave config docs --output json",
		RunE: func(*cobra.Command, []string) error {
			if !e.json() {
				_, err := fmt.Fprint(e.out, configPage())
				return err
			}
			list := []settingAnswer{}
			for _, s := range node.Settings() {
				list = append(list, settingAnswer{Name: s.Name, Kind: s.Kind, Default: s.Default, Variable: settingVariable(s), Doc: s.Doc})
			}
			for _, s := range node.LimitSettings() {
				s.Name = "hub.limits." + s.Name
				list = append(list, settingAnswer{Name: s.Name, Kind: s.Kind, Default: s.Default, Variable: settingVariable(s), Doc: s.Doc})
			}
			return e.printJSON(list)
		}}
}

// settingVariable returns the environment variable of a setting, "" for one
// that has none because its value is no single text.
func settingVariable(s node.Setting) string {
	if s.Kind == "map" || s.Kind == "list" && strings.Contains(s.Doc, ", name") {
		return ""
	}
	return "NAVE_" + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// configPage returns docs/config.md.
func configPage() string {
	var b strings.Builder
	b.WriteString(`# Settings

Made from the program by 'nave config docs'; do not edit.

A setting is read from a YAML file (` + "`--config FILE` or `NAVE_CONFIG`" + `), then from its
environment variable, then from the command line (` + "`--set NAME=VALUE`" + `); the last one
wins. In the file the parts of a name between dots are levels:

` + "```yaml\nhub:\n  host: hub.example.com\n  events:\n    retention: 48h\nlisten:\n  https: :443\n```" + `

A duration is written as ` + "`90s`, `15m`, `48h` or `PT1M30S`" + `. A list is separated by commas in
variables and on the command line. More hubs stand under ` + "`hubs`" + `, each with the
settings of ` + "`hub`" + `.

`)
	writeSettings(&b, node.Settings(), "")
	b.WriteString("\n## Limits\n\nUnder `hub.limits`, for example `--set hub.limits.c2d.maxPending=100`. The published\nvalues of the cloud service are the defaults.\n\n")
	writeSettings(&b, node.LimitSettings(), "hub.limits.")
	return b.String()
}

func writeSettings(b *strings.Builder, all []node.Setting, prefix string) {
	b.WriteString("| Setting | Kind | Default | Meaning |\n|---|---|---|---|\n")
	for _, s := range all {
		standard := ""
		if s.Default != "" {
			standard = "`" + s.Default + "`"
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s | %s |\n", prefix, s.Name, s.Kind, standard, strings.ReplaceAll(s.Doc, "|", `\|`))
	}
}
