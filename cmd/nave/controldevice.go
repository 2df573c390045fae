package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// controlAnswer is a control device as the console shows and takes it.
type controlAnswer struct {
	ID         string             `json:"deviceId,omitempty"`
	Label      *string            `json:"label,omitempty"`
	Enabled    *bool              `json:"enabled,omitempty"`
	Active     *bool              `json:"subscriptionActive,omitempty"`
	Until      *string            `json:"subscriptionUntil,omitempty"`
	Protocols  []string           `json:"protocols,omitempty"`
	Plan       *string            `json:"plan,omitempty"`
	PlanValues map[string]float64 `json:"planValues,omitempty"`
	Sources    []sourceAnswer     `json:"sources,omitempty"`
	Count      int                `json:"sourceCount,omitempty"`
	Online     bool               `json:"online,omitempty"`
	Seen       string             `json:"lastSeen,omitempty"`
	Created    string             `json:"created,omitempty"`
	Secret     string             `json:"clientSecret,omitempty"`
	Endpoint   string             `json:"endpoint,omitempty"`
	CAFile     string             `json:"caFile,omitempty"`
}

// sourceAnswer is a command or sensor as the console shows and takes it.
type sourceAnswer struct {
	ID         string `json:"id,omitempty"`
	Type       string `json:"type,omitempty"`
	Label      string `json:"label,omitempty"`
	Kind       string `json:"kind,omitempty"`
	PinPort    string `json:"pinPort,omitempty"`
	ValueType  string `json:"valueType,omitempty"`
	Value      string `json:"value,omitempty"`
	Minimum    string `json:"minimum,omitempty"`
	Maximum    string `json:"maximum,omitempty"`
	Quantity   string `json:"qc,omitempty"`
	Unit       string `json:"mu,omitempty"`
	Adopt      bool   `json:"adopt,omitempty"`
	Reported   string `json:"reported,omitempty"`
	ReportedAt string `json:"reportedAt,omitempty"`
	InSync     *bool  `json:"inSync,omitempty"`
}

func controlCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "control-device", Short: "Manage control devices, whose firmware speaks iot/v1", Aliases: []string{"control-devices", "cdv"},
		Example: "  nave control-device create --command relay:0..1 --sensor thermistor:degree_celsius:0\n  nave control-device list\n  nave control-device set cdv_… cmd_… 1", RunE: group}
	c.AddCommand(controlCreate(e), controlList(e), controlShow(e), controlDelete(e), controlEnable(e, true), controlEnable(e, false), controlRotate(e),
		controlSubscription(e), controlSource(e, "command"), controlSource(e, "sensor"), controlRemove(e), controlSet(e), controlHistory(e))
	return c
}

// controlPath returns the console's path of a control device and what is below
// it.
func controlPath(id string, below ...string) string {
	path := "/control"
	for _, part := range append([]string{id}, below...) {
		if part != "" {
			path += "/" + url.PathEscape(part)
		}
	}
	return path
}

// askControl calls an operation on a control device and prints the answer as
// JSON when that is wanted; told says whether it did.
func (e *env) askControl(ctx context.Context, method, path string, body, out any) (told bool, err error) {
	c, err := e.operator(ctx)
	if err != nil {
		return false, err
	}
	var raw json.RawMessage
	if err := c.askHub(ctx, method, path, body, &raw); err != nil {
		return false, err
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			return false, trouble("Check that the address is one of a nave console.", "the answer can't be read: %w", err)
		}
	}
	if e.json() && len(raw) > 0 {
		return true, e.printRaw(raw)
	}
	return false, nil
}

// controlFlags are the flags of control-device create.
type controlFlags struct {
	label, plan       string
	commands, sensors []string
	protocols, values []string
	inactive          bool
}

func controlCreate(e *env) *cobra.Command {
	var f controlFlags
	c := &cobra.Command{Use: "create", Short: "Create a control device and print its client id, its secret and a transcript", Args: cobra.NoArgs,
		Long: `Create registers a control device and prints its client id and its secret, which is
shown this once, with a transcript for curl that works as printed: token, bootstrap,
feed data, desired states, report.

A command is KIND, KIND:MIN..MAX or KIND:text; a sensor is KIND or KIND:UNIT. Without
any the device gets a relay and a thermistor.`,
		Example: `  nave control-device create
  nave control-device create --label boiler --command relay:0..1 --command valve:0..100 --sensor thermistor:degree_celsius:0
  nave control-device create --plan starter --plan-value feed.burst=10 --protocol https`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := f.body()
			if err != nil {
				return err
			}
			var d controlAnswer
			told, err := e.askControl(cmd.Context(), http.MethodPost, "/control", body, &d)
			if err != nil || told {
				return err
			}
			e.say("Created the control device. Its secret is not shown again.")
			e.print("%s", transcript(&d))
			return nil
		}}
	l := c.Flags()
	l.StringVar(&f.label, "label", "", "name for people")
	l.StringArrayVar(&f.commands, "command", nil, "a command, may be repeated")
	l.StringArrayVar(&f.sensors, "sensor", nil, "a sensor, may be repeated")
	l.StringSliceVar(&f.protocols, "protocol", nil, "https, mqtt or both (both)")
	l.StringVar(&f.plan, "plan", "", "starter or standard (that of the hub)")
	l.StringArrayVar(&f.values, "plan-value", nil, "NAME=NUMBER in place of the plan's, such as batch_max_items=50, may be repeated")
	l.BoolVar(&f.inactive, "inactive", false, "begin without an active subscription")
	return c
}

func (f *controlFlags) body() (*controlAnswer, error) {
	active := !f.inactive
	d := &controlAnswer{Label: &f.label, Plan: &f.plan, Protocols: f.protocols, Active: &active}
	if f.commands == nil && f.sensors == nil {
		f.commands, f.sensors = []string{"relay:0..1"}, []string{"thermistor:degree_celsius:0"}
	}
	for _, text := range f.commands {
		s, err := commandText(text)
		if err != nil {
			return nil, err
		}
		d.Sources = append(d.Sources, s)
	}
	for _, text := range f.sensors {
		d.Sources = append(d.Sources, sensorText(text))
	}
	for _, text := range f.values {
		name, value, _ := strings.Cut(text, "=")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, misuse("Write --plan-value NAME=NUMBER.", "the plan value %q has no number", text)
		}
		if d.PlanValues == nil {
			d.PlanValues = map[string]float64{}
		}
		d.PlanValues[name] = n
	}
	return d, nil
}

// commandText reads KIND, KIND:MIN..MAX or KIND:text.
func commandText(text string) (sourceAnswer, error) {
	kind, rest, _ := strings.Cut(text, ":")
	s := sourceAnswer{Type: "command", Kind: kind, ValueType: "NumericRange"}
	low, high, ranged := strings.Cut(rest, "..")
	switch {
	case ranged:
		s.Minimum, s.Maximum = low, high
	case strings.EqualFold(rest, "text"):
		s.ValueType = "Text"
	case rest != "":
		return s, misuse("Write KIND, KIND:MIN..MAX or KIND:text, such as relay:0..1.", "the command %q has the values %q, which is no range and not text", text, rest)
	}
	return s, nil
}

// sensorText reads KIND or KIND:UNIT.
func sensorText(text string) sourceAnswer {
	kind, unit, _ := strings.Cut(text, ":")
	return sourceAnswer{Type: "sensor", Kind: kind, Unit: unit}
}

func controlList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the control devices", Args: cobra.NoArgs, Aliases: []string{"ls"},
		Example: "  nave control-device list\n  nave control-device list --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []controlAnswer
			told, err := e.askControl(cmd.Context(), http.MethodGet, "/control", nil, &all)
			if err != nil || told {
				return err
			}
			if len(all) == 0 {
				e.say("The hub has no control devices. 'nave control-device create' makes one.")
				return nil
			}
			t := newTable("DEVICE", "LABEL", "STATUS", "SUBSCRIPTION", "SPEAKS", "SOURCES", "LAST SEEN")
			for n := range all {
				d := &all[n]
				t.add(d.ID, deref(d.Label), d.status(), d.subscription(), strings.Join(d.Protocols, ", "), strconv.Itoa(d.Count), when(d.Seen))
			}
			return e.table(t)
		}}
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func (d *controlAnswer) status() string {
	if d.Enabled != nil && !*d.Enabled {
		return "disabled"
	}
	return "enabled"
}

func (d *controlAnswer) subscription() string {
	switch {
	case d.Active != nil && !*d.Active:
		return "inactive"
	case deref(d.Until) != "":
		return "until " + when(*d.Until)
	}
	return "active"
}

func controlShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show DEVICE", Short: "Show a control device with its commands and sensors", Args: cobra.ExactArgs(1),
		Example: "  nave control-device show cdv_01hzk4v8q2m7n3p5r9s0t1w2d1",
		RunE: func(cmd *cobra.Command, args []string) error {
			var d controlAnswer
			told, err := e.askControl(cmd.Context(), http.MethodGet, controlPath(args[0]), nil, &d)
			if err != nil || told {
				return err
			}
			return e.showControl(&d)
		}}
}

func (e *env) showControl(d *controlAnswer) error {
	online, plan := "no", deref(d.Plan)
	if d.Online {
		online = "yes"
	}
	if plan == "" {
		plan = "that of the hub"
	}
	e.facts("Device", d.ID, "Label", deref(d.Label), "Status", d.status(), "Subscription", d.subscription(), "Speaks", strings.Join(d.Protocols, ", "),
		"Plan", plan, "Online", online, "Last seen", when(d.Seen))
	if len(d.Sources) == 0 {
		return nil
	}
	e.print("")
	t := newTable("SOURCE", "KIND", "DESIRED", "REPORTED", "AT", "IN SYNC")
	for n := range d.Sources {
		s := &d.Sources[n]
		same := ""
		if s.InSync != nil {
			same = map[bool]string{true: "yes", false: "no"}[*s.InSync]
		}
		t.add(s.ID, s.Kind, s.Value, s.Reported, when(s.ReportedAt), same)
	}
	return e.table(t)
}

func controlDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete DEVICE", Short: "Delete a control device with its feed data", Args: cobra.ExactArgs(1), Aliases: []string{"rm"},
		Example: "  nave control-device delete cdv_01hzk4v8q2m7n3p5r9s0t1w2d1",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := e.askControl(cmd.Context(), http.MethodDelete, controlPath(args[0]), nil, nil)
			if err == nil {
				e.say("Deleted the control device %s.", args[0])
			}
			return err
		}}
}

func controlEnable(e *env, on bool) *cobra.Command {
	verb, short := "enable", "Let a control device call again"
	if !on {
		verb, short = "disable", "Refuse a control device's calls and end its MQTT connection"
	}
	return &cobra.Command{Use: verb + " DEVICE", Short: short, Args: cobra.ExactArgs(1),
		Example: "  nave control-device " + verb + " cdv_01hzk4v8q2m7n3p5r9s0t1w2d1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.changeControl(cmd.Context(), args[0], map[string]any{"enabled": on})
		}}
}

func (e *env) changeControl(ctx context.Context, id string, change map[string]any) error {
	var d controlAnswer
	told, err := e.askControl(ctx, http.MethodPatch, controlPath(id), change, &d)
	if err != nil || told {
		return err
	}
	return e.showControl(&d)
}

func controlSubscription(e *env) *cobra.Command {
	until := ""
	c := &cobra.Command{Use: "subscription DEVICE active|inactive", Short: "Begin or end a control device's subscription", Args: cobra.ExactArgs(2),
		Example: "  nave control-device subscription cdv_01hzk4v8q2m7n3p5r9s0t1w2d1 inactive\n  nave control-device subscription cdv_01hzk4v8q2m7n3p5r9s0t1w2d1 active --until 2027-01-01T00:00:00Z",
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] != "active" && args[1] != "inactive" {
				return misuse("", "the subscription is active or inactive, not %q", args[1])
			}
			return e.changeControl(cmd.Context(), args[0], map[string]any{"subscriptionActive": args[1] == "active", "subscriptionUntil": until})
		}}
	c.Flags().StringVar(&until, "until", "", "when it ends by itself, RFC 3339 (never)")
	return c
}

func controlRotate(e *env) *cobra.Command {
	return &cobra.Command{Use: "rotate DEVICE", Short: "Make a new client secret; tokens and MQTT credentials end at once", Args: cobra.ExactArgs(1),
		Example: "  nave control-device rotate cdv_01hzk4v8q2m7n3p5r9s0t1w2d1",
		RunE: func(cmd *cobra.Command, args []string) error {
			var d controlAnswer
			told, err := e.askControl(cmd.Context(), http.MethodPost, controlPath(args[0], "rotate"), nil, &d)
			if err != nil || told {
				return err
			}
			e.say("The new secret is not shown again:")
			e.print("%s", d.Secret)
			return nil
		}}
}

func controlSource(e *env, kind string) *cobra.Command {
	var s sourceAnswer
	c := &cobra.Command{Use: kind + " DEVICE KIND", Short: "Give a control device another " + kind, Args: cobra.ExactArgs(2),
		Example: "  nave control-device " + kind + " cdv_01hzk4v8q2m7n3p5r9s0t1w2d1 " + map[string]string{"command": "valve:0..100 --adopt", "sensor": "hygrometer:percent:0"}[kind],
		RunE: func(cmd *cobra.Command, args []string) error {
			made := sensorText(args[1])
			if kind == "command" {
				var err error
				if made, err = commandText(args[1]); err != nil {
					return err
				}
			}
			made.Label, made.PinPort, made.Value, made.Adopt, made.Quantity = s.Label, s.PinPort, s.Value, s.Adopt, s.Quantity
			told, err := e.askControl(cmd.Context(), http.MethodPost, controlPath(args[0], "sources"), made, &made)
			if err == nil && !told {
				e.print("%s", made.ID)
			}
			return err
		}}
	f := c.Flags()
	f.StringVar(&s.Label, "label", "", "name for people")
	f.StringVar(&s.PinPort, "pin", "", "where it is wired")
	if kind == "command" {
		f.StringVar(&s.Value, "value", "", "first desired value (the minimum)")
		f.BoolVar(&s.Adopt, "adopt", false, "a change by hand becomes the desired value")
	} else {
		f.StringVar(&s.Quantity, "quantity", "", "what it measures, such as celsius_temperature")
	}
	return c
}

func controlRemove(e *env) *cobra.Command {
	return &cobra.Command{Use: "remove DEVICE SOURCE", Short: "Take a command or sensor from a control device", Args: cobra.ExactArgs(2),
		Example: "  nave control-device remove cdv_01hzk4v8q2m7n3p5r9s0t1w2d1 sen_01hzk4v8q2m7n3p5r9s0t1w2s1",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := e.askControl(cmd.Context(), http.MethodDelete, controlPath(args[0], "sources", args[1]), nil, nil)
			if err == nil {
				e.say("Removed %s.", args[1])
			}
			return err
		}}
}
