package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/fault"
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
		Long: `Add makes operations fail that match. The operations are named as in 'nave status
--output json' and may be a pattern: 'twin.*'. Without --device it strikes everybody.`,
		Example: `  nave inject add --code ThrottlingException --op 'telemetry.*' --device sensor1 --count 3 --retry-after 5s
  nave inject add --code 503001 --probability 0.1 --for 10m`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := codeNamed(code)
			if found == nil {
				return misuse("'nave explain' lists the codes.", "there is no code %q; close are %s", code, brief(fault.Find(code)))
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
	c.RegisterFlagCompletionFunc("code", func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return codeNames(start), cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// codeNamed finds a code by its number, the hub's first, or by its name.
func codeNamed(text string) *fault.Code {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fault.ByName(text)
	}
	for _, f := range []fault.Family{fault.Hub, fault.DPS, fault.Control, fault.SIM} {
		if c := fault.Lookup(n, f); c != nil {
			return c
		}
	}
	return nil
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
				return misuse("", "name the rules to end, or say --all")
			}
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			if all {
				return c.askHub(cmd.Context(), http.MethodDelete, "/faults", nil, nil)
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
