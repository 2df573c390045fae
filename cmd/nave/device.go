package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nave-hub/nave"
)

func deviceCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "device", Short: "Manage devices", Aliases: []string{"devices"},
		Example: "  nave device create sensor1\n  nave device list\n  nave device connection-string sensor1", RunE: group}
	c.AddCommand(deviceList(e), deviceShow(e), deviceCreate(e), deviceUpdate(e), deviceDelete(e), deviceEnable(e, true),
		deviceEnable(e, false), deviceString(e), deviceRenew(e))
	return c
}

// group is what a command does that only holds others.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	fix := ""
	cmd.SuggestionsMinimumDistance = 2 // letters
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		fix = "Did you mean this? " + strings.Join(near, ", ")
	}
	return misuse(fix, "unknown command %q for %q", args[0], cmd.CommandPath())
}

// altered refuses a change that no flag describes.
func altered(cmd *cobra.Command) error {
	any := false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { any = any || f.Changed })
	if any {
		return nil
	}
	return misuse("Say with a flag what is to change.", "there is nothing to change")
}

func deviceList(e *env) *cobra.Command {
	top := 0
	c := &cobra.Command{Use: "list", Short: "List the devices", Args: cobra.NoArgs, Aliases: []string{"ls"},
		Example: "  nave device list\n  nave device list --output json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.client(cmd.Context())
			if err != nil {
				return err
			}
			var raw json.RawMessage
			q := url.Values{"top": {strconv.Itoa(top)}}
			if err := c.rest(cmd.Context(), request{method: http.MethodGet, path: "/devices", query: q}, &raw); err != nil {
				return err
			}
			return e.listDevices(raw, top)
		}}
	c.Flags().IntVar(&top, "top", 1000, "greatest number of devices, 1 to 1000")
	return c
}

func (e *env) listDevices(raw json.RawMessage, top int) error {
	var all []identity
	if err := json.Unmarshal(raw, &all); err != nil {
		return trouble("Check that the address is one of an IoT hub.", "the answer can't be read: %w", err)
	}
	if len(all) == top {
		e.say("These are the first %d, there may be more.", top)
	}
	if e.json() {
		return e.printRaw(raw)
	}
	if len(all) == 0 {
		e.say("The hub has no devices. 'nave device create NAME' makes one.")
		return nil
	}
	return e.table(identityTable("DEVICE", all))
}

func identityTable(head string, all []identity) *table {
	t := newTable(head, "STATUS", "CONNECTION", "SIGNS IN WITH", "LAST ACTIVITY", "WAITING")
	for n := range all {
		i := &all[n]
		name, auth := i.Device, ""
		if i.Module != "" {
			name = i.Module
		}
		if i.Auth != nil {
			auth = i.Auth.Type
		}
		t.add(name, i.Status, i.State, auth, when(i.Active), strconv.Itoa(i.Pending))
	}
	return t
}

func deviceShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show DEVICE", Short: "Show a device", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeDevice,
		Example: "  nave device show sensor1",
		RunE:    func(cmd *cobra.Command, args []string) error { return e.showOne(cmd.Context(), args[0], false) }}
}

func (e *env) showOne(ctx context.Context, text string, module bool) error {
	id, err := readID(text, module)
	if err != nil {
		return err
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	i, raw, err := c.identity(ctx, id)
	if err != nil {
		return err
	}
	return e.showIdentity(c, i, raw)
}

func deviceUpdate(e *env) *cobra.Command {
	var p proofFlags
	status, reason, edge := "", "", false
	c := &cobra.Command{Use: "update DEVICE", Short: "Change a device", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeDevice,
		Example: "  nave device update sensor1 --status disabled --reason stolen\n  nave device update sensor1 --primary-thumbprint 9F86D081…",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := altered(cmd); err != nil {
				return err
			}
			return e.change(cmd.Context(), args[0], false, func(i *identity) {
				if status != "" {
					i.Status = status
				}
				if cmd.Flags().Changed("reason") {
					i.Reason = &reason
				}
				if cmd.Flags().Changed("edge") {
					i.Edge = &features{edge}
				}
				i.change(&p)
			})
		}}
	c.Flags().StringVar(&status, "status", "", "enabled or disabled")
	c.Flags().StringVar(&reason, "reason", "", "why it has this status, up to 128 characters")
	c.Flags().BoolVar(&edge, "edge", false, "whether it is an edge device")
	p.add(c)
	return c
}

// change applies the flags; keys of another kind of proof do not stay.
func (i *identity) change(p *proofFlags) {
	if next := p.proof(); next != nil {
		if i.Auth != nil && i.Auth.Type == next.Type && next.Keys == nil {
			next.Keys = i.Auth.Keys
		}
		if i.Auth != nil && i.Auth.Type == next.Type && next.Prints == nil {
			next.Prints = i.Auth.Prints
		}
		i.Auth = next
	}
}

// change reads an identity, has it changed and writes it, unless somebody else
// wrote it in between.
func (e *env) change(ctx context.Context, text string, module bool, edit func(*identity)) error {
	id, err := readID(text, module)
	if err != nil {
		return err
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	i, _, err := c.identity(ctx, id)
	if err != nil {
		return err
	}
	edit(i)
	if _, err := c.put(ctx, i, i.ETag); err != nil {
		return err
	}
	if i, raw, err := c.identity(ctx, id); err == nil {
		return e.showIdentity(c, i, raw)
	}
	return nil
}

func deviceDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete DEVICE...", Short: "Delete devices with their modules, twins and messages", Args: cobra.MinimumNArgs(1),
		Aliases: []string{"rm"}, ValidArgsFunction: e.completeDevices, Example: "  nave device delete sensor1 sensor2",
		RunE: func(cmd *cobra.Command, args []string) error { return e.remove(cmd.Context(), args, false) }}
}

func (e *env) remove(ctx context.Context, args []string, module bool) error {
	ids, err := readIDs(args, module)
	if err != nil {
		return err
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := c.rest(ctx, request{method: http.MethodDelete, path: idPath("/devices", id.Device, id.Module), match: "*"}, nil); err != nil {
			return err
		}
		e.say("Deleted %s.", id)
	}
	return nil
}

func readIDs(args []string, module bool) (ids []nave.ID, err error) {
	for _, text := range args {
		id, err := readID(text, module)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func deviceEnable(e *env, on bool) *cobra.Command {
	verb, short, status := "enable", "Let a device in again", nave.Enabled
	if !on {
		verb, short, status = "disable", "Lock a device out and end its connection", nave.Disabled
	}
	reason := ""
	c := &cobra.Command{Use: verb + " DEVICE", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeDevice,
		Example: "  nave device " + verb + " sensor1 --reason \"by hand\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.change(cmd.Context(), args[0], false, func(i *identity) { i.Status, i.Reason = status, &reason })
		}}
	c.Flags().StringVar(&reason, "reason", "", "why, up to 128 characters")
	return c
}

func deviceString(e *env) *cobra.Command { return stringCommand(e, false) }

// stringCommand prints what the SDK of a device or module takes.
func stringCommand(e *env, module bool) *cobra.Command {
	secondary, what, complete := false, "DEVICE", e.completeDevice
	if module {
		what, complete = "DEVICE/MODULE", e.completeModule
	}
	c := &cobra.Command{Use: "connection-string " + what, Short: "Print what its SDK takes to connect", Args: cobra.ExactArgs(1),
		ValidArgsFunction: complete, Example: "  export CONNECTION=$(nave device connection-string sensor1)",
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.printString(cmd.Context(), args[0], module, secondary)
		}}
	if module {
		c.Example = "  nave module connection-string gateway/opc"
	}
	c.Flags().BoolVar(&secondary, "secondary", false, "with the second key")
	return c
}

func (e *env) printString(ctx context.Context, text string, module, secondary bool) error {
	id, err := readID(text, module)
	if err != nil {
		return err
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	i, _, err := c.identity(ctx, id)
	if err != nil {
		return err
	}
	s := c.connectionString(i, secondary)
	switch {
	case s == "":
		return trouble("Give it keys with 'nave device update --auth sas'.", "%s has no key to sign in with", id)
	case e.json():
		return e.printJSON(map[string]string{"connectionString": s})
	}
	e.print("%s", s)
	return nil
}

func deviceRenew(e *env) *cobra.Command {
	which := ""
	c := &cobra.Command{Use: "renew-key DEVICE...", Short: "Make new keys and print the new connection strings", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: e.completeDevices, Example: "  nave device renew-key sensor1 --key both",
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := readIDs(args, false)
			if err != nil {
				return err
			}
			return e.renewKeys(cmd.Context(), ids, which)
		}}
	c.Flags().StringVar(&which, "key", "primary", "primary, secondary or both")
	return c
}
