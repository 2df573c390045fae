package main

import (
	"encoding/json"
	"net/http"

	"github.com/spf13/cobra"
)

func moduleCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "module", Short: "Manage modules of devices", Aliases: []string{"modules"},
		Example: "  nave module create gateway/opc\n  nave module list gateway", RunE: group}
	c.AddCommand(moduleList(e), moduleShow(e), moduleCreate(e), moduleUpdate(e), moduleDelete(e), stringCommand(e, true), moduleRenew(e))
	return c
}

func moduleList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list DEVICE", Short: "List the modules of a device", Args: cobra.ExactArgs(1), Aliases: []string{"ls"},
		ValidArgsFunction: e.completeDevice, Example: "  nave module list gateway",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := readID(args[0], false)
			if err != nil {
				return err
			}
			c, err := e.client(cmd.Context())
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := c.rest(cmd.Context(), request{method: http.MethodGet, path: idPath("/devices", id.Device, "") + "/modules"}, &raw); err != nil {
				return err
			}
			return e.listModules(raw)
		}}
}

func (e *env) listModules(raw json.RawMessage) error {
	var all []identity
	if err := json.Unmarshal(raw, &all); err != nil {
		return trouble("Check that the address is one of an IoT hub.", "the answer can't be read: %w", err)
	}
	switch {
	case e.json():
		return e.printRaw(raw)
	case len(all) == 0:
		e.say("The device has no modules. 'nave module create DEVICE/MODULE' makes one.")
		return nil
	}
	t := newTable("MODULE", "CONNECTION", "SIGNS IN WITH", "LAST ACTIVITY", "MANAGED BY")
	for n := range all {
		i := &all[n]
		auth := ""
		if i.Auth != nil {
			auth = i.Auth.Type
		}
		t.add(i.Module, i.State, auth, when(i.Active), i.ManagedBy)
	}
	return e.table(t)
}

func moduleShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show DEVICE/MODULE", Short: "Show a module", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeModule,
		Example: "  nave module show gateway/opc",
		RunE:    func(cmd *cobra.Command, args []string) error { return e.showOne(cmd.Context(), args[0], true) }}
}

func moduleCreate(e *env) *cobra.Command {
	var p proofFlags
	managed := ""
	c := &cobra.Command{Use: "create DEVICE/MODULE", Short: "Create a module", Args: cobra.ExactArgs(1), Aliases: []string{"add"},
		ValidArgsFunction: e.completeModule, Example: "  nave module create gateway/opc",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := readID(args[0], true)
			if err != nil {
				return err
			}
			return e.createOne(cmd.Context(), &identity{Device: id.Device, Module: id.Module, Auth: p.proof(), ManagedBy: managed})
		}}
	c.Flags().StringVar(&managed, "managed-by", "", "who looks after it, up to 128 characters")
	p.add(c)
	return c
}

func moduleUpdate(e *env) *cobra.Command {
	var p proofFlags
	managed := ""
	c := &cobra.Command{Use: "update DEVICE/MODULE", Short: "Change a module", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeModule,
		Example: "  nave module update gateway/opc --managed-by plant",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := altered(cmd); err != nil {
				return err
			}
			return e.change(cmd.Context(), args[0], true, func(i *identity) {
				if cmd.Flags().Changed("managed-by") {
					i.ManagedBy = managed
				}
				i.change(&p)
			})
		}}
	c.Flags().StringVar(&managed, "managed-by", "", "who looks after it, up to 128 characters")
	p.add(c)
	return c
}

func moduleDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete DEVICE/MODULE...", Short: "Delete modules with their twins and messages", Args: cobra.MinimumNArgs(1),
		Aliases: []string{"rm"}, ValidArgsFunction: e.completeModule, Example: "  nave module delete gateway/opc",
		RunE: func(cmd *cobra.Command, args []string) error { return e.remove(cmd.Context(), args, true) }}
}

func moduleRenew(e *env) *cobra.Command {
	which := ""
	c := &cobra.Command{Use: "renew-key DEVICE/MODULE...", Short: "Make new keys and print the new connection strings", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: e.completeModule, Example: "  nave module renew-key gateway/opc --key both",
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := readIDs(args, true)
			if err != nil {
				return err
			}
			return e.renewKeys(cmd.Context(), ids, which)
		}}
	c.Flags().StringVar(&which, "key", "primary", "primary, secondary or both")
	return c
}
