package main

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// enrolmentKind is what individual enrolments and groups differ in.
type enrolmentKind struct {
	group           bool
	word, noun, arg string // of the command line
	path, id, table string // of the service API
}

var (
	individual = &enrolmentKind{word: "enrollment", noun: "enrolment", arg: "REGISTRATION-ID", path: "/enrollments", id: "registrationId", table: "enrollments"}
	groups     = &enrolmentKind{group: true, word: "group", noun: "group", arg: "GROUP", path: "/enrollmentGroups", id: "enrollmentGroupId", table: "enrollmentGroups"}
)

func (k *enrolmentKind) at(id string) string { return k.path + "/" + url.PathEscape(id) }

func (k *enrolmentKind) command() string { return "nave dps " + k.word }

func enrollmentCommand(e *env, k *enrolmentKind) *cobra.Command {
	c := &cobra.Command{Use: k.word, Aliases: []string{k.word + "s", "enrolment"}, Short: "Manage enrolments: single devices that may register",
		Example: "  nave dps enrollment create sensor1\n  nave dps enrollment list", RunE: group}
	if k.group {
		c.Aliases = []string{"groups", "enrollment-group"}
		c.Short, c.Example = "Manage enrolment groups: many devices that share a key or a CA", "  nave dps group create fleet\n  nave dps group list"
	}
	c.AddCommand(enrolmentWrite(e, k, false), enrolmentList(e, k), enrolmentShow(e, k), enrolmentWrite(e, k, true), enrolmentDelete(e, k), enrolmentKeys(e, k))
	return c
}

// completeEnrolment offers ids of enrolments or groups.
func (e *env) completeEnrolment(k *enrolmentKind) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return e.completeDPS(func(ctx context.Context, c *dpsClient) []string {
		all, _, _ := c.pages(ctx, http.MethodPost, k.path+"/query", nil, map[string]string{}, pageSize)
		return ids(all, k.id)
	})
}

// enrolmentWrite makes create and update.
func enrolmentWrite(e *env, k *enrolmentKind, update bool) *cobra.Command {
	var f enrolmentFlags
	c := &cobra.Command{Use: "create " + k.arg, Short: "Let a device register, by a symmetric key unless told otherwise", Args: cobra.ExactArgs(1), Aliases: []string{"add"},
		Example: `  nave dps enrollment create sensor1
  nave dps enrollment create sensor2 --x509 sensor2.pem --device-id press-7
  nave dps enrollment create sensor3 --tpm AToAAQALAAMAsgAg… --tags '{"site":"north"}'`,
		RunE: func(cmd *cobra.Command, args []string) error { return e.writeEnrolment(cmd, k, args[0], &f, update) }}
	if k.group {
		c.Short = "Let many devices register, by keys derived from one unless told otherwise"
		c.Example = `  nave dps group create fleet
  nave dps group create plant --x509 plant-root.pem
  nave dps group create east --hub hub-a.example.com --hub hub-b.example.com --allocation static
  nave dps group create chosen --webhook https://example.com/choose`
	}
	if update {
		c.Use, c.Short, c.Aliases = "update "+k.arg, "Change what the flags name, and nothing else", nil
		c.Example = "  " + k.command() + " update NAME --disable\n  " + k.command() + " update NAME --reprovision never"
		c.ValidArgsFunction = e.completeEnrolment(k)
	}
	f.add(c, k)
	return c
}

func (e *env) writeEnrolment(cmd *cobra.Command, k *enrolmentKind, id string, f *enrolmentFlags, update bool) error {
	ctx := cmd.Context()
	doc := map[string]any{k.id: id}
	c, err := e.dps(ctx)
	if err != nil {
		return err
	}
	header := []string{}
	if update {
		if _, err := c.api(ctx, http.MethodGet, k.at(id), nil, nil, &doc); err != nil {
			return err
		}
		etag, _ := doc["etag"].(string)
		header = []string{"If-Match", quoted(etag)}
	}
	if err := f.apply(e, cmd, doc, update); err != nil {
		return err
	}
	var raw json.RawMessage
	if _, err := c.api(ctx, http.MethodPut, k.at(id), nil, doc, &raw, header...); err != nil {
		return err
	}
	if e.json() {
		return e.printRaw(raw)
	}
	if !update {
		e.say("Created the %s %s.", k.noun, id)
	}
	return e.showEnrolment(k, raw)
}

// enrolmentText is an enrolment as it is shown.
type enrolmentText struct {
	Registration string `json:"registrationId"`
	Group        string `json:"enrollmentGroupId"`
	Device       string `json:"deviceId"`
	State        struct {
		Status string `json:"status"`
		Hub    string `json:"assignedHub"`
		Device string `json:"deviceId"`
	} `json:"registrationState"`
	Attestation struct {
		Type string `json:"type"`
		Key  struct {
			Primary   string `json:"primaryKey"`
			Secondary string `json:"secondaryKey"`
		} `json:"symmetricKey"`
		TPM struct {
			EK string `json:"endorsementKey"`
		} `json:"tpm"`
		X509 struct {
			Client     certificatesText                    `json:"clientCertificates"`
			Signing    certificatesText                    `json:"signingCertificates"`
			References struct{ Primary, Secondary string } `json:"caReferences"`
		} `json:"x509"`
	} `json:"attestation"`
	Capabilities struct {
		Edge bool `json:"iotEdge"`
	} `json:"capabilities"`
	Status      string          `json:"provisioningStatus"`
	Twin        json.RawMessage `json:"initialTwin"`
	Reprovision struct {
		Hub  bool `json:"updateHubAssignment"`
		Data bool `json:"migrateDeviceData"`
	} `json:"reprovisionPolicy"`
	Allocation string   `json:"allocationPolicy"`
	Hubs       []string `json:"iotHubs"`
	Custom     struct {
		URL string `json:"webhookUrl"`
	} `json:"customAllocationDefinition"`
	Updated string `json:"lastUpdatedDateTimeUtc"`
	ETag    string `json:"etag"`
}

type certificatesText struct {
	Primary struct {
		Info struct {
			Subject string `json:"subjectName"`
			SHA1    string `json:"sha1Thumbprint"`
			Until   string `json:"notAfterUtc"`
		} `json:"info"`
	} `json:"primary"`
}

func (t *enrolmentText) id() string { return cmp.Or(t.Registration, t.Group) }

// proof says how devices prove themselves.
func (t *enrolmentText) proof() string {
	a := &t.Attestation
	subject := cmp.Or(a.X509.Client.Primary.Info.Subject, a.X509.Signing.Primary.Info.Subject)
	switch {
	case subject != "":
		return a.Type + ", " + subject
	case a.X509.References.Primary != "":
		return a.Type + ", CA " + a.X509.References.Primary
	}
	return a.Type
}

func (t *enrolmentText) policy() string {
	switch {
	case !t.Reprovision.Hub:
		return "never"
	case t.Reprovision.Data:
		return "migrate"
	}
	return "reset"
}

func (e *env) showEnrolment(k *enrolmentKind, raw json.RawMessage) error {
	var t enrolmentText
	if err := json.Unmarshal(raw, &t); err != nil {
		return trouble("Check that the address is one of a provisioning service.", "the answer can't be read: %w", err)
	}
	state, edge := t.State.Status, ""
	if t.State.Hub != "" {
		state += " to " + t.State.Hub + " as " + t.State.Device
	}
	if t.Capabilities.Edge {
		edge = "yes"
	}
	name := "Registration id"
	if k.group {
		name = "Group"
	}
	e.facts(name, t.id(), "Status", t.Status, "Registration", state, "Device id", t.Device, "Proof", t.proof(), "Primary key", t.Attestation.Key.Primary,
		"Secondary key", t.Attestation.Key.Secondary, "Endorsement key", t.Attestation.TPM.EK, "Hubs", strings.Join(t.Hubs, ", "), "Allocation", t.Allocation,
		"Webhook", hideQuery(t.Custom.URL), "Reprovisioning", t.policy(), "Edge", edge, "Initial twin", compact(t.Twin), "Changed", moment(t.Updated), "ETag", t.ETag)
	return nil
}

// hideQuery leaves the query of a URL away, which may hold a key.
func hideQuery(at string) string {
	head, _, ok := strings.Cut(at, "?")
	if ok {
		head += "?…"
	}
	return head
}

func enrolmentList(e *env, k *enrolmentKind) *cobra.Command {
	top, query := 0, ""
	c := &cobra.Command{Use: "list", Short: "List them, without keys", Args: cobra.NoArgs, Aliases: []string{"ls"},
		Example: "  " + k.command() + " list\n  " + k.command() + " list --where \"provisioningStatus = 'disabled'\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			spec := map[string]string{"query": "SELECT * FROM " + k.table}
			if query != "" {
				spec["query"] += " WHERE " + query
			}
			all, cut, err := c.pages(cmd.Context(), http.MethodPost, k.path+"/query", nil, spec, top)
			if err != nil {
				return err
			}
			return e.listEnrolments(k, all, cut)
		}}
	c.Flags().IntVar(&top, "top", 1000, "how many at most; 0: all")
	c.Flags().StringVar(&query, "where", "", "only those that this condition of the query language holds for")
	return c
}

func (e *env) listEnrolments(k *enrolmentKind, all []json.RawMessage, cut bool) error {
	defer e.more(cut, len(all))
	switch {
	case e.json():
		return e.printJSON(all)
	case len(all) == 0:
		e.say("There are none. '%s create NAME' makes one.", k.command())
		return nil
	}
	t := newTable(strings.ToUpper(k.word), "STATUS", "PROOF", "HUBS", "REPROVISIONING", "REGISTERED")
	if k.group {
		t = newTable("GROUP", "STATUS", "PROOF", "HUBS", "REPROVISIONING")
	}
	for _, raw := range all {
		var v enrolmentText
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		hubs, state := strings.Join(v.Hubs, ", "), v.State.Status
		if v.Custom.URL != "" && v.Allocation == "custom" {
			hubs = "by webhook"
		}
		if v.State.Hub != "" {
			state = v.State.Hub
		}
		t.add(v.id(), v.Status, v.proof(), cmp.Or(hubs, "all"), v.policy(), state)
	}
	return e.table(t)
}

func enrolmentShow(e *env, k *enrolmentKind) *cobra.Command {
	return &cobra.Command{Use: "show " + k.arg, Short: "Show one, without keys", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeEnrolment(k),
		Example: "  " + k.command() + " show NAME",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if _, err := c.api(cmd.Context(), http.MethodGet, k.at(args[0]), nil, nil, &raw); err != nil {
				return err
			}
			if e.json() {
				return e.printRaw(raw)
			}
			return e.showEnrolment(k, raw)
		}}
}

func enrolmentDelete(e *env, k *enrolmentKind) *cobra.Command {
	short := "Delete them with their registrations; devices stay on their hubs"
	if k.group {
		short = "Delete them; registrations and devices stay"
	}
	return &cobra.Command{Use: "delete " + k.arg + "...", Short: short, Args: cobra.MinimumNArgs(1), Aliases: []string{"rm"}, ValidArgsFunction: e.completeEnrolment(k),
		Example: "  " + k.command() + " delete NAME",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			for _, id := range args {
				if _, err := c.api(cmd.Context(), http.MethodDelete, k.at(id), nil, nil, nil); err != nil {
					return err
				}
				e.say("Deleted the %s %s.", k.noun, id)
			}
			return nil
		}}
}

func enrolmentKeys(e *env, k *enrolmentKind) *cobra.Command {
	return &cobra.Command{Use: "keys " + k.arg, Short: "Show how devices prove themselves, with keys", Args: cobra.ExactArgs(1), ValidArgsFunction: e.completeEnrolment(k),
		Example: "  " + k.command() + " keys NAME",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.dps(cmd.Context())
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if _, err := c.api(cmd.Context(), http.MethodPost, k.at(args[0])+"/attestationmechanism", nil, nil, &raw); err != nil {
				return err
			}
			if e.json() {
				return e.printRaw(raw)
			}
			var t enrolmentText
			if err := json.Unmarshal(raw, &t.Attestation); err != nil {
				return err
			}
			a := &t.Attestation
			e.facts("Proof", t.proof(), "Primary key", a.Key.Primary, "Secondary key", a.Key.Secondary, "Endorsement key", a.TPM.EK)
			return nil
		}}
}

// key returns the primary key of a symmetric-key enrolment or group.
func (c *dpsClient) key(ctx context.Context, k *enrolmentKind, id string) (string, error) {
	var t enrolmentText
	if _, err := c.api(ctx, http.MethodPost, k.at(id)+"/attestationmechanism", nil, nil, &t.Attestation); err != nil {
		return "", err
	}
	if t.Attestation.Key.Primary == "" {
		return "", misuse("Its devices register with what they hold themselves: --cert and --cert-key.", "the %s %s has no symmetric key, its proof is %s", k.noun, id, t.proof())
	}
	return t.Attestation.Key.Primary, nil
}
