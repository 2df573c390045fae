package node

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/nave-hub/nave"
)

// Setting is one field of Config as it is documented.
type Setting struct {
	Name    string // "listen.https"
	Default string
	Doc     string
	Kind    string // "text", "number", "yes/no", "duration", "list", "map"
}

// Settings returns all settings in the order of Config. Those of a hub stand
// once, under hub.
func Settings() []Setting {
	var all []Setting
	walk(reflect.TypeFor[Config](), "", func(s Setting, _ []int) { all = append(all, s) }, nil)
	return all
}

// walk visits the leaves of a struct type in order.
func walk(t reflect.Type, prefix string, visit func(Setting, []int), index []int) {
	for n := range t.NumField() {
		f := t.Field(n)
		name := prefix + f.Tag.Get("koanf")
		at := append(append([]int(nil), index...), n)
		if f.Type.Kind() == reflect.Struct {
			walk(f.Type, name+".", visit, at)
			continue
		}
		visit(Setting{Name: name, Default: f.Tag.Get("default"), Doc: f.Tag.Get("doc"), Kind: kindOf(f.Type)}, at)
	}
}

func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Map:
		return "map"
	case t.Kind() == reflect.Bool:
		return "yes/no"
	case t.Kind() == reflect.String:
		return "text"
	}
	return "number"
}

// Load reads the configuration: the defaults, then the YAML file unless path is
// empty, then the NAVE_… variables of environ ("NAME=value"), then set, by
// setting name. A name that does not exist is an error that names the nearest.
func Load(path string, environ []string, set map[string]any) (*Config, error) {
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(defaults(), "."), nil); err != nil {
		return nil, err
	}
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return nil, fmt.Errorf("the configuration file %s can't be read: %w", path, err)
		}
	}
	env, err := variables(environ)
	if err != nil {
		return nil, err
	}
	for _, layer := range []map[string]any{env, set} {
		if err := k.Load(confmap.Provider(layer, "."), nil); err != nil {
			return nil, err
		}
	}
	c := &Config{}
	if err := checkNames(k.Raw(), reflect.TypeFor[Config](), ""); err != nil {
		return nil, err
	}
	if err := decode(k.Raw(), c); err != nil {
		return nil, err
	}
	for n := range c.Hubs {
		merged, err := moreHub(k, n)
		if err != nil {
			return nil, err
		}
		c.Hubs[n] = *merged
	}
	return c, c.check()
}

func defaults() map[string]any {
	m := map[string]any{}
	for _, s := range Settings() {
		if s.Default != "" {
			m[s.Name] = s.Default
		}
	}
	return m
}

// moreHub gives the hub number n of hubs the defaults of a hub where it says
// nothing.
func moreHub(k *koanf.Koanf, n int) (*Hub, error) {
	d := koanf.New(".")
	for name, v := range defaults() {
		if rest, ok := strings.CutPrefix(name, "hub."); ok {
			if err := d.Set(rest, v); err != nil {
				return nil, err
			}
		}
	}
	list, _ := k.Get("hubs").([]any)
	own, ok := list[n].(map[string]any)
	if !ok || own["host"] == nil {
		return nil, fmt.Errorf("hubs[%d] needs a host", n)
	}
	if err := d.Load(confmap.Provider(own, "."), nil); err != nil {
		return nil, err
	}
	h := &Hub{}
	if err := decode(d.Raw(), h); err != nil {
		return nil, fmt.Errorf("hubs[%d]: %w", n, err)
	}
	return h, nil
}

func decode(in map[string]any, out any) error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{TagName: "koanf", Result: out, ErrorUnused: true, WeaklyTypedInput: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(durations, mapstructure.StringToSliceHookFunc(","))})
	if err != nil {
		return err
	}
	if err := d.Decode(in); err != nil {
		return fmt.Errorf("the configuration is wrong (docs/config.md lists every setting): %w", err)
	}
	return nil
}

// durations reads Go's form (90s) and ISO 8601 (PT1M30S).
func durations(from, to reflect.Type, v any) (any, error) {
	switch {
	case to != reflect.TypeFor[time.Duration]() || from == to:
		return v, nil
	case from.Kind() != reflect.String:
		return nil, badDuration(fmt.Sprint(v)) // a bare number would count nanoseconds
	}
	return parseDuration(v.(string))
}

func parseDuration(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	rest, ok := strings.CutPrefix(strings.ToUpper(text), "P")
	days, clock, _ := strings.Cut(rest, "T")
	if ok && days != "" {
		n, err := strconv.Atoi(strings.TrimSuffix(days, "D"))
		if err != nil || !strings.HasSuffix(days, "D") {
			return 0, badDuration(text)
		}
		clock = strconv.Itoa(24*n) + "H" + clock
	}
	d, err := time.ParseDuration(strings.ToLower(clock))
	if !ok || err != nil {
		return 0, badDuration(text)
	}
	return d, nil
}

func badDuration(text string) error {
	return fmt.Errorf("%q is no duration: write 90s, 15m, 48h or PT1M30S", text)
}

// variables reads NAVE_LISTEN_HTTPS=… as listen.https and the like; a variable
// that names no setting is an error.
func variables(environ []string) (map[string]any, error) {
	names := map[string]string{}
	for _, s := range Settings() {
		names[variable(s.Name)] = s.Name
	}
	m := map[string]any{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "NAVE_") || outside[name] || strings.HasPrefix(name, "NAVE_TEST_") {
			continue
		}
		setting, ok := names[name]
		if limit, found := strings.CutPrefix(name, "NAVE_HUB_LIMITS_"); found && !ok {
			setting, ok = limitVariable(limit)
		}
		if !ok {
			return nil, unknownVariable(name, slices.Collect(maps.Keys(names)))
		}
		m[setting] = value
	}
	return m, nil
}

func unknownVariable(name string, all []string) error {
	slices.Sort(all)
	if near := nearest(name, all); near != "" {
		return fmt.Errorf("the variable %s names no setting, did you mean %s? docs/config.md lists them", name, near)
	}
	return fmt.Errorf("the variable %s names no setting, docs/config.md lists them", name)
}

// outside are variables that belong to the command line, not to the node.
var outside = map[string]bool{"NAVE_CONFIG": true, "NAVE_CONSOLE": true, "NAVE_TOKEN": true, "NAVE_LOGIN": true, "NAVE_HUB": true}

func variable(setting string) string {
	return "NAVE_" + strings.ToUpper(strings.ReplaceAll(setting, ".", "_"))
}

func limitVariable(name string) (string, bool) {
	for _, l := range LimitSettings() {
		if strings.EqualFold(strings.ReplaceAll(l.Name, ".", "_"), name) {
			return "hub.limits." + l.Name, true
		}
	}
	return "", false
}

// LimitSettings returns the names that hub.limits may hold.
func LimitSettings() (all []Setting) {
	t, d := reflect.TypeFor[nave.Limits](), reflect.ValueOf(nave.Defaults())
	for n := range t.NumField() {
		f := t.Field(n)
		all = append(all, Setting{Name: f.Tag.Get("setting"), Doc: f.Tag.Get("doc"), Default: fmt.Sprint(d.Field(n)), Kind: kindOf(f.Type)})
	}
	return all
}

// limits returns the limits of a hub: the defaults with what the map says.
func limits(set map[string]any) (nave.Limits, error) {
	l := nave.Defaults()
	flat := map[string]any{}
	flatten("", set, flat)
	t, v := reflect.TypeFor[nave.Limits](), reflect.ValueOf(&l).Elem()
	for n := range t.NumField() {
		name := t.Field(n).Tag.Get("setting")
		value, ok := flat[name]
		if !ok {
			continue
		}
		delete(flat, name)
		if err := setLimit(v.Field(n), fmt.Sprint(value)); err != nil {
			return l, fmt.Errorf("hub.limits.%s: %w", name, err)
		}
	}
	for name := range flat {
		var all []string
		for _, s := range LimitSettings() {
			all = append(all, s.Name)
		}
		if near := nearest(name, all); near != "" {
			return l, fmt.Errorf("hub.limits.%s is no limit, did you mean %s? docs/config.md lists them", name, near)
		}
		return l, fmt.Errorf("hub.limits.%s is no limit, docs/config.md lists them", name)
	}
	return l, nil
}

func flatten(prefix string, in, out map[string]any) {
	for name, v := range in {
		if below, ok := v.(map[string]any); ok {
			flatten(prefix+name+".", below, out)
			continue
		}
		out[prefix+name] = v
	}
}

func setLimit(field reflect.Value, text string) error {
	switch field.Interface().(type) {
	case time.Duration:
		d, err := parseDuration(text)
		if err == nil && d <= 0 {
			err = errors.New("must be above zero")
		}
		field.SetInt(int64(d))
		return err
	case bool:
		b, err := strconv.ParseBool(text)
		field.SetBool(b)
		return err
	}
	n, err := strconv.Atoi(text)
	if err == nil && n < 1 {
		err = errors.New("must be above zero")
	}
	field.SetInt(int64(n))
	return err
}

// maxRetention is how long events may be kept (hub-semantics 4).
const maxRetention = 7 * 24 * time.Hour

var bodyForms = []string{"default", "legacy", "json", "hybrid"}

// check answers what is wrong with a configuration before anything is opened.
func (c *Config) check() error {
	seen := map[string]bool{}
	for _, h := range c.hubs() {
		host := strings.ToLower(h.Host)
		switch {
		case host == "" || strings.ContainsAny(host, "/:; "):
			return fmt.Errorf("hub.host is %q: a host name without port is needed", h.Host)
		case seen[host]:
			return fmt.Errorf("two hubs have the host %s", h.Host)
		case h.State != "active" && h.State != "suspended":
			return fmt.Errorf("hub.state is %q: allowed are active and suspended", h.State)
		case h.Events.Partitions < 1 || h.Events.Partitions > 32:
			return fmt.Errorf("hub.events.partitions is %d: allowed are 1 to 32", h.Events.Partitions)
		case h.Events.Retention <= 0 || h.Events.Retention > maxRetention:
			return fmt.Errorf("hub.events.retention is %v: allowed are durations up to %v", h.Events.Retention, maxRetention)
		case h.Events.ConnectionEvery <= 0 || h.Feedback <= 0:
			return errors.New("hub.events.connectionEvery and hub.feedbackEvery must be above zero")
		case !slices.Contains(bodyForms, h.Errors.BodyForm):
			return fmt.Errorf("hub.errors.bodyForm is %q: allowed are %s", h.Errors.BodyForm, strings.Join(bodyForms, ", "))
		}
		seen[host] = true
		if _, err := limits(h.Limits); err != nil {
			return err
		}
		if err := h.Control.check(); err != nil {
			return err
		}
		if _, err := h.verifier(nil); err != nil {
			return err
		}
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return errors.New("tls.cert and tls.key go together")
	}
	return errors.Join(c.DPS.check(), c.Connectivity.check(), c.checkTenants(), c.checkFiles())
}

func (c *Config) checkFiles() error {
	for _, name := range []string{c.TLS.Cert, c.TLS.Key} {
		if name == "" {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	return nil
}

func (c *Config) hubs() []*Hub {
	all := []*Hub{&c.Hub}
	for n := range c.Hubs {
		all = append(all, &c.Hubs[n])
	}
	return all
}
