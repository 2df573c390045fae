package main

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
)

// policyAnswer is a shared access policy as the console shows it.
type policyAnswer struct {
	Name       string `json:"name"`
	Rights     string `json:"rights"`
	Primary    string `json:"primaryKey,omitempty"`
	Secondary  string `json:"secondaryKey,omitempty"`
	Connection string `json:"connectionString,omitempty"`
}

func policyCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Manage shared access policies, which services sign in with", Aliases: []string{"policies"},
		Example: "  nave policy list\n  nave policy connection-string service", RunE: group}
	c.AddCommand(policyList(e), policyCreate(e), policyDelete(e), policyString(e))
	return c
}

func (e *env) policies(ctx context.Context) (c *client, all []policyAnswer, err error) {
	if c, err = e.operator(ctx); err != nil {
		return nil, nil, err
	}
	err = c.askHub(ctx, http.MethodGet, "/policies", nil, &all)
	return c, all, err
}

func policyList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the policies and their rights", Args: cobra.NoArgs, Aliases: []string{"ls"},
		Example: "  nave policy list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, all, err := e.policies(cmd.Context())
			if err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(all)
			}
			t := newTable("POLICY", "RIGHTS")
			for _, p := range all {
				t.add(p.Name, p.Rights)
			}
			return e.table(t)
		}}
}

func policyCreate(e *env) *cobra.Command {
	var p policyAnswer
	c := &cobra.Command{Use: "create NAME", Short: "Create a policy, or replace it", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completePolicy,
		Example: "  nave policy create backend --rights RegistryRead,ServiceConnect",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			var made policyAnswer
			if err := c.askHub(cmd.Context(), http.MethodPut, "/policies/"+url.PathEscape(args[0]), p, &made); err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(made)
			}
			e.print("%s", made.Connection)
			return nil
		}}
	f := c.Flags()
	f.StringVar(&p.Rights, "rights", "", "RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect, separated by commas")
	f.StringVar(&p.Primary, "primary-key", "", "its first key, base64 (made at random)")
	f.StringVar(&p.Secondary, "secondary-key", "", "its second key, base64 (made at random)")
	c.MarkFlagRequired("rights")
	return c
}

func policyDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Short: "Delete a policy; its tokens stop working at once", Args: cobra.ExactArgs(1), Aliases: []string{"rm"},
		ValidArgsFunction: e.completePolicy, Example: "  nave policy delete backend",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.askHub(cmd.Context(), http.MethodDelete, "/policies/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			e.say("Deleted the policy %s.", args[0])
			return nil
		}}
}

// stringsAnswer is what clients need to reach a hub.
type stringsAnswer struct {
	Host     string            `json:"host"`
	Service  string            `json:"service,omitempty"`
	Events   string            `json:"eventHub,omitempty"`
	Policies map[string]string `json:"policies"`
	CAFile   string            `json:"caFile,omitempty"`
}

func policyString(e *env) *cobra.Command {
	events := false
	c := &cobra.Command{Use: "connection-string [NAME]", Short: "Print what a service's SDK takes to connect (policy iothubowner)", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: e.completePolicy, Example: "  nave policy connection-string service\n  nave policy connection-string --events",
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "iothubowner"
			if len(args) > 0 {
				name = args[0]
			}
			text, err := e.serviceString(cmd.Context(), name, events)
			switch {
			case err != nil:
				return err
			case e.json():
				return e.printJSON(map[string]string{"connectionString": text})
			}
			e.print("%s", text)
			return nil
		}}
	c.Flags().BoolVar(&events, "events", false, "the one of the Event Hubs-compatible endpoint, with the policy service")
	return c
}

func (e *env) serviceString(ctx context.Context, name string, events bool) (string, error) {
	if events {
		c, err := e.operator(ctx)
		if err != nil {
			return "", err
		}
		var s stringsAnswer
		err = c.askHub(ctx, http.MethodGet, "/strings", nil, &s)
		return s.Events, err
	}
	_, all, err := e.policies(ctx)
	if err != nil {
		return "", err
	}
	n := slices.IndexFunc(all, func(p policyAnswer) bool { return p.Name == name })
	if n < 0 {
		return "", trouble("'nave policy list' shows them.", "the hub has no policy %q", name)
	}
	return all[n].Connection, nil
}
