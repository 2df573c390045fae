package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/node"
)

// ruleAnswer is a fault rule as the console shows it.
type ruleAnswer struct {
	ID          string       `json:"id,omitempty"`
	Op          string       `json:"op,omitempty"`
	Device      string       `json:"deviceId,omitempty"`
	Module      string       `json:"moduleId,omitempty"`
	Code        int          `json:"code"`
	Name        string       `json:"name,omitempty"`
	Family      fault.Family `json:"family,omitempty"`
	Text        string       `json:"text,omitempty"`
	After       string       `json:"retryAfter,omitempty"`
	Count       int          `json:"count,omitempty"`
	Probability float64      `json:"probability,omitempty"`
	Until       *time.Time   `json:"until,omitempty"`
}

func injectCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "inject", Short: "Make operations fail on purpose, to test devices and services",
		Example: "  nave inject add --code 503001 --device sensor1 --count 3\n  nave inject list\n  nave inject remove fault-1", RunE: group}
	c.AddCommand(injectAdd(e), injectList(e), injectRemove(e))
	return c
}

func injectAdd(e *env) *cobra.Command {
	var r ruleAnswer
	var after, lasting time.Duration
	code, device := "", ""
	c := &cobra.Command{Use: "add", Short: "Make matching operations fail with a code", Args: cobra.NoArgs,
		Long: "Add makes operations fail that match. --op takes the name of one, or a pattern such as\n" +
			"'twin.*'; without it all match. Without --device it strikes everybody. The operations:\n\n" + operationTable(),
		Example: `  nave inject add --code ThrottlingException --op 'telemetry.*' --device sensor1 --count 3 --retry-after 5s
  nave inject add --code 503001 --probability 0.1 --for 10m`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := codeNamed(code)
			switch {
			case err != nil:
				return err
			case after < 0:
				return misuse("", "--retry-after is %s, it cannot be negative", after)
			case lasting < 0:
				return misuse("", "--for is %s, it cannot be negative", lasting)
			}
			r.Code, r.Family = found.ID, found.Family
			if device != "" {
				id, err := anyID(device)
				if err != nil {
					return err
				}
				r.Device, r.Module = id.Device, id.Module
			}
			if after > 0 {
				r.After = after.String()
			}
			if lasting > 0 {
				until := time.Now().Add(lasting).UTC()
				r.Until = &until
			}
			return e.inject(cmd, &r)
		}}
	f := c.Flags()
	f.StringVar(&code, "code", "", "number or name of the code")
	f.StringVar(&r.Op, "op", "", "name of the operations, or a pattern (all)")
	f.StringVar(&device, "device", "", "only of this DEVICE or DEVICE/MODULE")
	f.StringVar(&r.Text, "text", "", "text of the answer")
	f.DurationVar(&after, "retry-after", 0, "when the answer says to try again")
	f.IntVar(&r.Count, "count", 0, "how many operations to strike (0: no end)")
	f.Float64Var(&r.Probability, "probability", 0, "share of the operations to strike, up to 1 (1)")
	f.DurationVar(&lasting, "for", 0, "how long the rule lasts (0: until removed)")
	c.MarkFlagRequired("code")
	c.RegisterFlagCompletionFunc("device", e.completeDevice)
	c.RegisterFlagCompletionFunc("op", cobra.FixedCompletions(node.Operations(), cobra.ShellCompDirectiveNoFileComp))
	c.RegisterFlagCompletionFunc("code", func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return codeNames(start), cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// operationTable lists the operations for the help, a line for each noun.
func operationTable() string {
	verbs := map[string][]string{}
	for _, name := range node.Operations() {
		noun, verb, _ := strings.Cut(name, ".")
		verbs[noun] = append(verbs[noun], verb)
	}
	var lines []string
	for _, noun := range slices.Sorted(maps.Keys(verbs)) {
		lines = append(lines, fmt.Sprintf("  %-10s %s", noun+".", strings.Join(verbs[noun], " ")))
	}
	return strings.Join(lines, "\n")
}

// codeNamed finds a code by its number, the hub's first, or by its name.
func codeNamed(text string) (*fault.Code, error) {
	if c := fault.ByName(text); c != nil {
		return c, nil
	}
	if n, err := strconv.Atoi(text); err == nil {
		for _, f := range []fault.Family{fault.Hub, fault.DPS, fault.Control, fault.SIM} {
			if c := fault.Lookup(n, f); c != nil {
				return c, nil
			}
		}
	}
	near := ""
	if found := fault.Find(text); text != "" && len(found) > 0 {
		near = "; close are " + brief(found)
	}
	return nil, misuse("'nave explain' lists the codes.", "there is no code %q%s", text, near)
}

func (e *env) inject(cmd *cobra.Command, r *ruleAnswer) error {
	c, err := e.operator(cmd.Context())
	if err != nil {
		return err
	}
	var added ruleAnswer
	if err := c.askHub(cmd.Context(), http.MethodPost, "/faults", r, &added); err != nil {
		return err
	}
	if e.json() {
		return e.printJSON(added)
	}
	e.print("%s", added.ID)
	e.say("'nave inject remove %s' ends it.", added.ID)
	return nil
}

func injectList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the rules in force", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave inject list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			var all []ruleAnswer
			if err := c.askHub(cmd.Context(), http.MethodGet, "/faults", nil, &all); err != nil {
				return err
			}
			return e.listRules(all)
		}}
}

func (e *env) listRules(all []ruleAnswer) error {
	switch {
	case e.json():
		return e.printJSON(all)
	case len(all) == 0:
		e.say("No rules are in force.")
		return nil
	}
	t := newTable("RULE", "OPERATIONS", "DEVICE", "CODE", "LEFT", "SHARE", "UNTIL")
	for _, r := range all {
		op, device, left, share, until := r.Op, r.Device, "no end", "all", ""
		if op == "" {
			op = "all"
		}
		if r.Module != "" {
			device += "/" + r.Module
		}
		if device == "" {
			device = "all"
		}
		if r.Count > 0 {
			left = strconv.Itoa(r.Count)
		}
		if r.Probability > 0 && r.Probability < 1 {
			share = strconv.FormatFloat(100*r.Probability, 'g', 4, 64) + " %"
		}
		if r.Until != nil {
			until = r.Until.UTC().Format(time.RFC3339)
		}
		t.add(r.ID, op, device, fmt.Sprintf("%d %s", r.Code, r.Name), left, share, until)
	}
	return e.table(t)
}

func injectRemove(e *env) *cobra.Command {
	all := false
	c := &cobra.Command{Use: "remove [RULE]...", Short: "End rules", Aliases: []string{"rm"},
		Example: "  nave inject remove fault-1\n  nave inject remove --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return misuse("'nave inject list' shows the rules.", "name the rules to end, or say --all")
			}
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			if all {
				if err := c.askHub(cmd.Context(), http.MethodDelete, "/faults", nil, nil); err != nil {
					return err
				}
				e.say("Ended all rules.")
				return nil
			}
			for _, id := range args {
				if err := c.askHub(cmd.Context(), http.MethodDelete, "/faults/"+url.PathEscape(id), nil, nil); err != nil {
					return err
				}
				e.say("Ended %s.", id)
			}
			return nil
		}}
	c.Flags().BoolVar(&all, "all", false, "end every rule")
	return c
}
