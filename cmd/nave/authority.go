package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// authorityAnswer is a CA certificate as the console shows it.
type authorityAnswer struct {
	Name       string    `json:"name"`
	Subject    string    `json:"subject"`
	Thumbprint string    `json:"thumbprint"`
	Expires    time.Time `json:"expires"`
	Created    time.Time `json:"created"`
	Verified   bool      `json:"verified"`
	PEM        string    `json:"pem"`
}

func authorityCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "ca", Short: "Manage the CAs whose certificates devices may present",
		Example: "  nave ca add plant plant-root.pem\n  nave ca list", RunE: group}
	c.AddCommand(authorityAdd(e), authorityList(e), authorityDelete(e))
	return c
}

func authorityAdd(e *env) *cobra.Command {
	return &cobra.Command{Use: "add NAME FILE", Short: "Accept device certificates that a CA has issued", Args: cobra.ExactArgs(2),
		Long:    "Add registers a CA certificate, PEM. It counts as verified, since the operator vouches\nfor it. FILE may be - for the standard input.",
		Example: "  nave ca add plant plant-root.pem",
		RunE: func(cmd *cobra.Command, args []string) error {
			from := "@" + args[1]
			if args[1] == "-" {
				from = "-"
			}
			pem, err := e.text("FILE", from)
			if err != nil {
				return err
			}
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			var a authorityAnswer
			if err := c.askHub(cmd.Context(), http.MethodPut, "/authorities/"+url.PathEscape(args[0]), pem, &a); err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(a)
			}
			e.facts("CA", a.Name, "Subject", a.Subject, "Thumbprint", a.Thumbprint, "Expires", a.Expires.UTC().Format(time.RFC3339))
			return nil
		}}
}

func authorityList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the CAs", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave ca list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			var all []authorityAnswer
			if err := c.askHub(cmd.Context(), http.MethodGet, "/authorities", nil, &all); err != nil {
				return err
			}
			switch {
			case e.json():
				return e.printJSON(all)
			case len(all) == 0:
				e.say("The hub knows no CAs. 'nave ca add NAME FILE' adds one.")
				return nil
			}
			t := newTable("CA", "SUBJECT", "EXPIRES", "THUMBPRINT")
			for _, a := range all {
				t.add(a.Name, a.Subject, a.Expires.UTC().Format("2006-01-02"), a.Thumbprint)
			}
			return e.table(t)
		}}
}

func authorityDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete NAME", Short: "No longer accept what a CA has issued", Args: cobra.ExactArgs(1), Aliases: []string{"rm"},
		Example: "  nave ca delete plant",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.operator(cmd.Context())
			if err != nil {
				return err
			}
			if err := c.askHub(cmd.Context(), http.MethodDelete, "/authorities/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			e.say("Deleted the CA %s.", args[0])
			return nil
		}}
}
