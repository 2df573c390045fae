package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// groupAnswer is a consumer group as the console shows it.
type groupAnswer struct {
	Name string `json:"name"`
}

func groupCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "group", Short: "Manage consumer groups, in which back ends read the hub's events", Aliases: []string{"groups"},
		Example: "  nave group list\n  nave group create dashboard", RunE: group}
	c.AddCommand(groupList(e), groupCreate(e), groupDelete(e))
	return c
}

func groupList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the consumer groups", Args: cobra.NoArgs, Aliases: []string{"ls"},
		Example: "  nave group list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			var all []groupAnswer
			if err := c.askHub(cmd.Context(), http.MethodGet, "/groups", nil, &all); err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(all)
			}
			t := newTable("GROUP")
			for _, g := range all {
				t.add(g.Name)
			}
			return e.table(t)
		}}
}

func groupCreate(e *env) *cobra.Command {
	return &cobra.Command{Use: "create NAME", Short: "Create a consumer group", Args: cobra.ExactArgs(1),
		Example: "  nave group create dashboard",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			var made groupAnswer
			if err := c.askHub(cmd.Context(), http.MethodPut, "/groups/"+url.PathEscape(args[0]), nil, &made); err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(made)
			}
			e.say("The consumer group %s is there.", made.Name)
			return nil
		}}
}

func groupDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Short: "Delete a consumer group and end its readers", Args: cobra.ExactArgs(1), Aliases: []string{"rm"},
		ValidArgsFunction: e.completeGroup, Example: "  nave group delete dashboard",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.askHub(cmd.Context(), http.MethodDelete, "/groups/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			e.say("Deleted the consumer group %s.", args[0])
			return nil
		}}
}

// completeGroup offers the consumer groups that can be deleted.
func (e *env) completeGroup(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.forShell(cmd, start, func(ctx context.Context, c *client) (names []string) {
		var all []groupAnswer
		if c.askHub(ctx, http.MethodGet, "/groups", nil, &all) != nil {
			return nil
		}
		for _, g := range all {
			if g.Name != "$Default" {
				names = append(names, g.Name)
			}
		}
		return names
	})
}
