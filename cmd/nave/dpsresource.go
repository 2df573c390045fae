package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// resourceKind is a kind of resource that 'dps resource' reads and writes.
type resourceKind struct {
	name, path, id string
	single         bool     // there is one, without an id
	columns        []string // members that a listing shows, after the id
	about          string
}

var resourceKinds = []*resourceKind{
	{name: "device-record", path: "/deviceRecords", id: "deviceRecordId", columns: []string{"status", "registrationId", "deviceId", "lastUpdatedDateTimeUtc"}, about: "what is remembered of a device; blocks it, overrides its allocation"},
	{name: "group-record", path: "/groupRecords", id: "enrollmentGroupId", columns: []string{"registrationCount", "failedCount", "maxRegistrations", "validToUtc"}, about: "account and limits of an enrolment group"},
	{name: "device-group", path: "/deviceGroups", id: "deviceGroupId", columns: []string{"memberCount", "membership", "description"}, about: "devices for actions in bulk"},
	{name: "settings", path: "/provisioningSettings", id: "id", columns: []string{"priority", "allocationPolicy", "retryAfterSeconds", "limits"}, about: "throttles, quotas and defaults"},
	{name: "record", path: "/provisioningRecords", id: "operationId", columns: []string{"registrationId", "status", "assignedHub", "errorCode", "startedUtc"}, about: "log of registrations"},
	{name: "hub", path: "/linkedHubs", id: "name", columns: []string{"connectionString", "location", "allocationWeight"}, about: "linked hubs"},
	{name: "ca", path: "/certificateAuthorities", id: "name", columns: []string{"certificateAuthorityType", "status", "subject"}, about: "authorities that sign for devices"},
	{name: "credential", path: "/credentialPolicies", id: "name", columns: []string{"certificateAuthorityName", "validityDays"}, about: "what certificates devices may ask for"},
	{name: "trust-bundle", path: "/trustBundles", id: "id", columns: []string{"lastModifiedDateTime"}, about: "certificates that devices get to trust"},
	{name: "registry", path: "/deviceRegistryNamespace", single: true, about: "link to a device registry"},
	{name: "instance", path: "/settings", single: true, about: "state, policies and IP filters of the service"},
}

func (k *resourceKind) at(id string) string {
	if k.single {
		return k.path
	}
	return k.path + "/" + url.PathEscape(id)
}

func findKind(name string) (*resourceKind, error) {
	for _, k := range resourceKinds {
		if strings.EqualFold(k.name, name) || strings.EqualFold(k.name+"s", name) || strings.EqualFold(strings.TrimPrefix(k.path, "/"), name) {
			return k, nil
		}
	}
	return nil, misuse("", "there is no kind %q; kinds are %s", name, strings.Join(kindNames(), ", "))
}

func kindNames() (names []string) {
	for _, k := range resourceKinds {
		names = append(names, k.name)
	}
	return names
}

// resourcePath returns the kind and the path of KIND [ID].
func resourcePath(args []string) (*resourceKind, string, error) {
	k, err := findKind(args[0])
	if err != nil {
		return nil, "", err
	}
	if k.single != (len(args) < 2) {
		return nil, "", misuse("", "%s %s", k.name, map[bool]string{true: "takes no id, there is one", false: "needs an id"}[k.single])
	}
	if k.single {
		return k, k.path, nil
	}
	return k, k.at(args[1]), nil
}

func resourceCommand(e *env) *cobra.Command {
	var about strings.Builder
	for _, k := range resourceKinds {
		fmt.Fprintf(&about, "  %-14s %s\n", k.name, k.about)
	}
	c := &cobra.Command{Use: "resource", Aliases: []string{"resources"}, Short: "Read and write everything else, as JSON",
		Long:    "Resource lists, shows, puts and deletes what belongs to a provisioning service, by kind:\n\n" + about.String(),
		Example: "  nave dps resource list record\n  nave dps resource show settings default\n  nave dps resource put settings default --file settings.json", RunE: group}
	c.AddCommand(resourceList(e), resourceShow(e), resourcePut(e), resourceDelete(e), resourceDo(e))
	return c
}

// completeKind offers kinds, then ids of the kind.
func (e *env) completeKind(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return kindNames(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		k, err := findKind(args[0])
		if err != nil || k.single || cmd.Name() == "list" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return e.completeDPS(func(ctx context.Context, c *dpsClient) []string {
			all, _, _ := c.pages(ctx, http.MethodGet, k.path, nil, nil, pageSize)
			return ids(all, k.id)
		})(cmd, nil, start)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func resourceList(e *env) *cobra.Command {
	top, query := 0, ""
	var where []string
	c := &cobra.Command{Use: "list KIND", Short: "List resources of a kind", Args: cobra.ExactArgs(1), Aliases: []string{"ls"}, ValidArgsFunction: e.completeKind,
		Example: "  nave dps resource list record --where registrationId=sensor1\n  nave dps resource list device-record --query \"SELECT * FROM deviceRecords WHERE status = 'blocked'\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := findKind(args[0])
			if err != nil {
				return err
			}
			if k.single {
				return misuse("Use 'nave dps resource show "+k.name+"'.", "there is one %s", k.name)
			}
			values := url.Values{}
			for _, text := range where {
				name, value, ok := strings.Cut(text, "=")
				if !ok {
					return misuse("Write --where NAME=VALUE.", "--where %q has no value", text)
				}
				values.Set(name, value)
			}
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			method, path, body := http.MethodGet, k.path, any(nil)
			if query != "" {
				method, path, body = http.MethodPost, k.path+"/query", map[string]string{"query": query}
			}
			all, cut, err := c.pages(cmd.Context(), method, path, values, body, top)
			if err != nil {
				return err
			}
			return e.listResources(k, all, cut)
		}}
	c.Flags().IntVar(&top, "top", 1000, "how many at most; 0: all")
	c.Flags().StringArrayVar(&where, "where", nil, "parameter of the listing, NAME=VALUE, may be repeated: registrationId, from, to of records")
	c.Flags().StringVar(&query, "query", "", "query, for kinds that have one (device-record)")
	return c
}

func (e *env) listResources(k *resourceKind, all []json.RawMessage, cut bool) error {
	defer e.more(cut, len(all))
	switch {
	case e.json():
		return e.printJSON(all)
	case len(all) == 0:
		e.say("There are none.")
		return nil
	}
	heads := []string{strings.ToUpper(k.name)}
	for _, name := range k.columns {
		heads = append(heads, strings.ToUpper(name))
	}
	t := newTable(heads...)
	for _, raw := range all {
		var v map[string]json.RawMessage
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		cells := []string{}
		for _, name := range append([]string{k.id}, k.columns...) {
			cells = append(cells, plainText(v[name]))
		}
		t.add(cells...)
	}
	return e.table(t)
}

// plainText shows a JSON text without its quotes, all else on one line.
func plainText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return moment(text)
	}
	return compact(raw)
}

func resourceShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show KIND [ID]", Short: "Show a resource as JSON", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: e.completeKind,
		Example: "  nave dps resource show settings default\n  nave dps resource show instance",
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.callResource(cmd.Context(), args, func(ctx context.Context, c *dpsClient, path string, out *json.RawMessage) error {
				_, err := c.api(ctx, http.MethodGet, path, nil, nil, out)
				return err
			})
		}}
}

// callResource calls an operation on KIND [ID] and prints the answer.
func (e *env) callResource(ctx context.Context, args []string, do func(ctx context.Context, c *dpsClient, path string, out *json.RawMessage) error) error {
	_, path, err := resourcePath(args)
	if err != nil {
		return err
	}
	c, err := e.dps(ctx)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := do(ctx, c, path, &raw); err != nil || len(raw) == 0 {
		return err
	}
	return e.printRaw(raw)
}

func resourcePut(e *env) *cobra.Command {
	file, etag := "", ""
	c := &cobra.Command{Use: "put KIND [ID] --file FILE", Short: "Create a resource, or replace it", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: e.completeKind,
		Example: "  nave dps resource put settings default --file settings.json\n  echo '{\"status\":\"blocked\",\"registrationId\":\"pump-17\"}' | nave dps resource put device-record pump-17 --file -",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := e.rawJSON(file)
			if err != nil {
				return err
			}
			return e.callResource(cmd.Context(), args, func(ctx context.Context, c *dpsClient, path string, out *json.RawMessage) error {
				return c.write(ctx, path, []byte(body), etag, out)
			})
		}}
	c.Flags().StringVarP(&file, "file", "f", "", "JSON file, - for the standard input")
	c.Flags().StringVar(&etag, "etag", "", "only when it is still at this etag; * when it exists")
	c.MarkFlagRequired("file")
	return c
}

func resourceDelete(e *env) *cobra.Command {
	force := false
	c := &cobra.Command{Use: "delete KIND [ID]", Short: "Delete a resource", Args: cobra.RangeArgs(1, 2), Aliases: []string{"rm"}, ValidArgsFunction: e.completeKind,
		Example: "  nave dps resource delete device-group spring",
		RunE: func(cmd *cobra.Command, args []string) error {
			err := e.callResource(cmd.Context(), args, func(ctx context.Context, c *dpsClient, path string, _ *json.RawMessage) error {
				_, err := c.api(ctx, http.MethodDelete, path, forced(force), nil, nil)
				return err
			})
			if err == nil {
				e.say("Deleted the %s.", strings.Join(args, " "))
			}
			return hintForce(err, force)
		}}
	c.Flags().BoolVar(&force, "force", false, "even though something refers to it")
	return c
}

func resourceDo(e *env) *cobra.Command {
	file := ""
	c := &cobra.Command{Use: "do KIND ID ACTION [ARGUMENT]", Short: "Do more with a resource than to read and write it", Args: cobra.RangeArgs(3, 4), ValidArgsFunction: e.completeKind,
		Long: `Do knows these actions:

  ca NAME rotate                   make a new certificate and key; --file has options
  ca NAME revoke SERIAL            trust a certificate no longer
  group-record GROUP resetUsage    count the registrations anew
  device-group GROUP devices       list the members
  device-group GROUP add RECORD    add a device record; remove takes it away
  device-group GROUP block         of all members; also unblock, reprovision, retire
  device-group GROUP action ID     show how such an action stands`,
		Example: "  nave dps resource do ca issuing rotate\n  nave dps resource do device-group spring block",
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := findKind(args[0])
			if err != nil {
				return err
			}
			argument := ""
			if len(args) == 4 {
				argument = args[3]
			}
			a := findAction(k.name, args[2], argument)
			if a == nil {
				return misuse("", "%s has no action %q", k.name, strings.Join(args[2:], " "))
			}
			if file != "" {
				if a.body, err = e.rawJSON(file); err != nil {
					return err
				}
			}
			return e.callResource(cmd.Context(), args[:2], func(ctx context.Context, c *dpsClient, path string, out *json.RawMessage) error {
				_, err := c.api(ctx, a.method, path+a.path, nil, a.body, out)
				return err
			})
		}}
	c.Flags().StringVarP(&file, "file", "f", "", "JSON file with the body of the action, - for the standard input")
	return c
}

// resourceAction is a call below the path of a resource.
type resourceAction struct {
	method, path string
	body         any
}

// findAction returns the call of an action, nil for one that is unknown or lacks
// its argument.
func findAction(kind, name, argument string) *resourceAction {
	below := "/" + url.PathEscape(argument)
	switch {
	case kind == "ca" && name == "rotate" && argument == "":
		return &resourceAction{http.MethodPost, "/rotate", map[string]any{}}
	case kind == "ca" && name == "revoke" && argument != "":
		return &resourceAction{http.MethodPost, "/revoke", map[string]string{"serialNumber": argument}}
	case kind == "group-record" && name == "resetUsage" && argument == "":
		return &resourceAction{http.MethodPost, "/resetUsage", nil}
	case kind != "device-group":
		return nil
	case name == "devices" && argument == "":
		return &resourceAction{http.MethodGet, "/devices", nil}
	case name == "add" && argument != "":
		return &resourceAction{http.MethodPut, "/devices" + below, nil}
	case name == "remove" && argument != "":
		return &resourceAction{http.MethodDelete, "/devices" + below, nil}
	case name == "action" && argument != "":
		return &resourceAction{http.MethodGet, "/actions" + below, nil}
	case argument == "" && (name == "block" || name == "unblock" || name == "reprovision" || name == "retire"):
		return &resourceAction{http.MethodPost, "/actions", map[string]any{"type": name}}
	}
	return nil
}
