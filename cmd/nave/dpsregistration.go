package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// registrationText is a registration as it is shown.
type registrationText struct {
	ID        string          `json:"registrationId"`
	Status    string          `json:"status"`
	Substatus string          `json:"substatus"`
	Hub       string          `json:"assignedHub"`
	Device    string          `json:"deviceId"`
	Code      int             `json:"errorCode"`
	Message   string          `json:"errorMessage"`
	Created   string          `json:"createdDateTimeUtc"`
	Updated   string          `json:"lastUpdatedDateTimeUtc"`
	Payload   json.RawMessage `json:"payload"`
	ETag      string          `json:"etag"`
}

func (t *registrationText) failure() string {
	if t.Code == 0 {
		return ""
	}
	return strconv.Itoa(t.Code) + " " + t.Message
}

func registrationCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "registration", Aliases: []string{"registrations"}, Short: "See which devices have registered, and forget them",
		Example: "  nave dps registration list fleet\n  nave dps registration show sensor1", RunE: group}
	c.AddCommand(registrationList(e), registrationShow(e), registrationDelete(e))
	return c
}

func registrationPath(id string) string { return "/registrations/" + url.PathEscape(id) }

func registrationList(e *env) *cobra.Command {
	top := 0
	c := &cobra.Command{Use: "list GROUP", Short: "List the devices that have registered by a group", Args: cobra.ExactArgs(1), Aliases: []string{"ls"},
		Long:    "List shows the members of a group. Single devices are in 'nave dps enrollment list'.",
		Example: "  nave dps registration list fleet", ValidArgsFunction: e.completeEnrolment(groups),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			all, cut, err := c.pages(cmd.Context(), http.MethodPost, registrationPath(args[0])+"/query", nil, nil, top)
			if err != nil {
				return err
			}
			defer e.more(cut, len(all))
			switch {
			case e.json():
				return e.printJSON(all)
			case len(all) == 0:
				e.say("No device has registered by the group %s.", args[0])
				return nil
			}
			t := newTable("REGISTRATION", "STATUS", "HUB", "DEVICE", "CHANGED", "FAILURE")
			for _, raw := range all {
				var r registrationText
				if err := json.Unmarshal(raw, &r); err != nil {
					return err
				}
				t.add(r.ID, r.Status, r.Hub, r.Device, moment(r.Updated), r.failure())
			}
			return e.table(t)
		}}
	c.Flags().IntVar(&top, "top", 1000, "how many at most; 0: all")
	return c
}

func registrationShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show REGISTRATION-ID", Short: "Show how a registration ended", Args: cobra.ExactArgs(1), Example: "  nave dps registration show sensor1",
		ValidArgsFunction: e.completeEnrolment(individual),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if _, err := c.api(cmd.Context(), http.MethodGet, registrationPath(args[0]), nil, nil, &raw); err != nil {
				return err
			}
			if e.json() {
				return e.printRaw(raw)
			}
			return e.showRegistration(raw)
		}}
}

func (e *env) showRegistration(raw json.RawMessage) error {
	var t registrationText
	if err := json.Unmarshal(raw, &t); err != nil {
		return trouble("Check that the address is one of a provisioning service.", "the answer can't be read: %w", err)
	}
	e.facts("Registration", t.ID, "Status", t.Status, "Substatus", t.Substatus, "Hub", t.Hub, "Device id", t.Device, "Failure", t.failure(),
		"Payload", compact(t.Payload), "First", moment(t.Created), "Changed", moment(t.Updated), "ETag", t.ETag)
	return nil
}

func registrationDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete REGISTRATION-ID...", Short: "Forget registrations; devices stay on their hubs", Args: cobra.MinimumNArgs(1), Aliases: []string{"rm"},
		Example: "  nave dps registration delete sensor1", ValidArgsFunction: e.completeEnrolment(individual),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			for _, id := range args {
				if _, err := c.api(cmd.Context(), http.MethodDelete, registrationPath(id), nil, nil, nil); err != nil {
					return err
				}
				e.say("Forgot the registration %s.", id)
			}
			return nil
		}}
}

// linkedHubText is a linked hub as it is shown.
type linkedHubText struct {
	Name       string `json:"name"`
	Connection string `json:"connectionString,omitempty"` // masked
	Local      bool   `json:"local,omitempty"`
	Location   string `json:"location,omitempty"`
	Weight     int    `json:"allocationWeight"`
	Apply      *bool  `json:"applyAllocationPolicy"`
}

func dpsHubCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "hub", Aliases: []string{"hubs", "linked-hub"}, Short: "Link the hubs that devices are assigned to",
		Example: "  nave dps hub list\n  nave dps hub link 'HostName=…;SharedAccessKeyName=iothubowner;SharedAccessKey=…'", RunE: group}
	c.AddCommand(dpsHubList(e), dpsHubLink(e), dpsHubUnlink(e))
	return c
}

func (e *env) completeHub() func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return e.completeDPS(func(ctx context.Context, c *dpsClient) []string {
		all, _, _ := c.pages(ctx, http.MethodGet, "/linkedHubs", nil, nil, 0)
		return ids(all, "name")
	})
}

func dpsHubList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the linked hubs", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave dps hub list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			all, _, err := c.pages(cmd.Context(), http.MethodGet, "/linkedHubs", nil, nil, 0)
			if err != nil {
				return err
			}
			switch {
			case e.json():
				return e.printJSON(all)
			case len(all) == 0:
				e.say("No hub is linked, so that no device can be assigned. 'nave dps hub link' links one.")
				return nil
			}
			t := newTable("HUB", "LINKED BY", "LOCATION", "WEIGHT", "TAKES DEVICES OF ANY ENROLMENT")
			for _, raw := range all {
				var h linkedHubText
				if err := json.Unmarshal(raw, &h); err != nil {
					return err
				}
				by, apply := "this node", "yes"
				if !h.Local {
					by = h.Connection
				}
				if h.Apply != nil && !*h.Apply {
					apply = "only where it is named"
				}
				t.add(h.Name, by, h.Location, strconv.Itoa(max(1, h.Weight)), apply)
			}
			return e.table(t)
		}}
}

func dpsHubLink(e *env) *cobra.Command {
	var name, location string
	weight, named := 0, false
	c := &cobra.Command{Use: "link CONNECTION-STRING|HOST", Short: "Link a hub, or change its link", Args: cobra.ExactArgs(1),
		Long: `Link takes the service connection string of a hub; its policy needs RegistryRead,
RegistryWrite and ServiceConnect, as iothubowner has. A bare host name is a hub of the
node itself, or one that is linked already and gets other options.`,
		Example:           "  nave dps hub link 'HostName=hub-b.example.com;SharedAccessKeyName=iothubowner;SharedAccessKey=…'\n  nave dps hub link hub-b.example.com --weight 3",
		ValidArgsFunction: e.completeHub(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, changed := cmd.Context(), cmd.Flags().Changed
			host, connection, err := hubArgument(args[0])
			if err != nil {
				return err
			}
			c, err := e.dps(ctx)
			if err != nil {
				return err
			}
			path := "/linkedHubs/" + url.PathEscape(cmp.Or(name, host))
			doc := map[string]any{"local": connection == ""}
			var before map[string]any
			if _, err := c.api(ctx, http.MethodGet, path, nil, nil, &before); err == nil && connection == "" {
				doc = before
			} else if err != nil && !isMissing(err) {
				return err
			}
			if connection != "" {
				doc["connectionString"] = connection
			}
			for _, f := range []struct {
				flag, member string
				value        any
			}{{"location", "location", location}, {"weight", "allocationWeight", weight}, {"only-named", "applyAllocationPolicy", !named}} {
				if changed(f.flag) {
					doc[f.member] = f.value
				}
			}
			etag, _ := before["etag"].(string)
			var h linkedHubText
			if err := c.write(ctx, path, doc, etag, &h); err != nil {
				return err
			}
			if e.json() {
				return e.printJSON(h)
			}
			e.say("Linked the hub %s.", h.Name)
			return nil
		}}
	f := c.Flags()
	f.StringVar(&name, "name", "", "host name that devices are told, where it is not that of the connection string")
	f.StringVar(&location, "location", "", "location, for the allocation policy geoLatency")
	f.IntVar(&weight, "weight", 1, "share of devices, 1 to 1000")
	f.BoolVar(&named, "only-named", false, "takes only devices of enrolments that name it")
	return c
}

// hubArgument tells a connection string from a host name.
func hubArgument(text string) (host, connection string, err error) {
	s, err := parseServiceString(text)
	switch {
	case err == nil:
		return hostOnly(s.HostName), text, nil
	case hasSign(text):
		return "", "", misuse("Quote the whole string for the shell; 'nave policy connection-string iothubowner' prints one.", "the connection string is unusable: %v", err)
	}
	return text, "", nil
}

func dpsHubUnlink(e *env) *cobra.Command {
	force := false
	c := &cobra.Command{Use: "unlink HOST", Short: "Assign no more devices to a hub", Args: cobra.ExactArgs(1), Aliases: []string{"delete", "rm"},
		Example: "  nave dps hub unlink hub-b.example.com", ValidArgsFunction: e.completeHub(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := c.api(cmd.Context(), http.MethodDelete, "/linkedHubs/"+url.PathEscape(args[0]), forced(force), nil, nil); err != nil {
				return hintForce(err, force)
			}
			e.say("Unlinked the hub %s.", args[0])
			return nil
		}}
	c.Flags().BoolVar(&force, "force", false, "even though enrolments or devices refer to it")
	return c
}

// hintForce adds to a conflict how the command line forces a removal.
func hintForce(err error, force bool) error {
	var f *failure
	if !force && errors.As(err, &f) && f.code != nil && f.code.HTTP == http.StatusConflict {
		f.fix = strings.TrimSpace(f.fix + " --force deletes it all the same.")
	}
	return err
}

// forced is the query of a removal.
func forced(force bool) url.Values {
	if force {
		return url.Values{"force": {"true"}}
	}
	return nil
}
