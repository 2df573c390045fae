package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
)

// identity is a device or module as the registry shows it (service-api 5.1,
// 5.2).
type identity struct {
	Device     string          `json:"deviceId"`
	Module     string          `json:"moduleId,omitempty"`
	ETag       string          `json:"etag,omitempty"`
	Generation string          `json:"generationId,omitempty"`
	State      string          `json:"connectionState,omitempty"`
	Status     string          `json:"status,omitempty"`
	Reason     *string         `json:"statusReason,omitempty"`
	Active     string          `json:"lastActivityTime,omitempty"`
	Pending    int             `json:"cloudToDeviceMessageCount,omitempty"`
	Auth       *proof          `json:"authentication,omitempty"`
	Edge       *features       `json:"capabilities,omitempty"`
	Scope      string          `json:"deviceScope,omitempty"`
	Parents    []string        `json:"parentScopes,omitempty"`
	ManagedBy  string          `json:"managedBy,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
}

type proof struct {
	Type string `json:"type,omitempty"`
	Keys *struct {
		Primary   string `json:"primaryKey,omitempty"`
		Secondary string `json:"secondaryKey,omitempty"`
	} `json:"symmetricKey,omitempty"`
	Prints *struct {
		Primary   string `json:"primaryThumbprint,omitempty"`
		Secondary string `json:"secondaryThumbprint,omitempty"`
	} `json:"x509Thumbprint,omitempty"`
}

type features struct {
	Edge bool `json:"iotEdge"`
}

func (i *identity) id() string { return nave.ID{Device: i.Device, Module: i.Module}.String() }

// readID reads DEVICE, or DEVICE/MODULE when module.
func readID(text string, module bool) (nave.ID, error) {
	id, err := nave.ParseID(text)
	switch {
	case err != nil:
		return id, misuse("Quote ids that hold characters of the shell.", "%v", known(err).text)
	case module && !id.IsModule():
		return id, misuse("Write it as "+id.Device+"/MODULE.", "%q names a device, a module is needed", text)
	case !module && id.IsModule():
		return id, misuse("Use 'nave module' for modules.", "%q names a module, a device is needed", text)
	}
	return id, nil
}

// anyID reads DEVICE or DEVICE/MODULE.
func anyID(text string) (nave.ID, error) {
	id, err := nave.ParseID(text)
	if err != nil {
		return id, misuse("Quote ids that hold characters of the shell.", "%v", known(err).text)
	}
	return id, nil
}

func (c *client) identity(ctx context.Context, id nave.ID) (i *identity, raw json.RawMessage, err error) {
	if err := c.rest(ctx, request{method: http.MethodGet, path: idPath("/devices", id.Device, id.Module)}, &raw); err != nil {
		return nil, nil, err
	}
	i = &identity{}
	if err := json.Unmarshal(raw, i); err != nil {
		return nil, nil, trouble("Check that the address is one of an IoT hub.", "the answer can't be read: %w", err)
	}
	return i, raw, nil
}

// put creates an identity, or updates it when match is its etag.
func (c *client) put(ctx context.Context, i *identity, match string) (*identity, error) {
	out := &identity{}
	return out, c.rest(ctx, request{method: http.MethodPut, path: idPath("/devices", i.Device, i.Module), match: match, body: i}, out)
}

// connectionString returns what the device's SDK takes; "" for an identity
// that has nothing to sign in with.
func (c *client) connectionString(i *identity, secondary bool) string {
	s := cred.ConnectionString{HostName: c.host, DeviceID: i.Device, ModuleID: i.Module}
	switch {
	case i.Auth == nil:
		return ""
	case i.Auth.Type == string(nave.AuthSelfSigned) || i.Auth.Type == string(nave.AuthCA):
		s.X509 = true
	case i.Auth.Keys == nil:
		return ""
	case secondary:
		s.Key = i.Auth.Keys.Secondary
	default:
		s.Key = i.Auth.Keys.Primary
	}
	if s.Key == "" && !s.X509 {
		return ""
	}
	return s.String()
}

// proofFlags are the flags that say how an identity signs in.
type proofFlags struct {
	kind, key, key2, print, print2 string
}

func (p *proofFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.kind, "auth", "", "how it signs in: sas, selfSigned, certificateAuthority or none (sas)")
	f.StringVar(&p.key, "primary-key", "", "its first key, base64 (made at random)")
	f.StringVar(&p.key2, "secondary-key", "", "its second key, base64 (made at random)")
	f.StringVar(&p.print, "primary-thumbprint", "", "thumbprint of its certificate, SHA-1 or SHA-256 in hex")
	f.StringVar(&p.print2, "secondary-thumbprint", "", "thumbprint of its next certificate")
	c.RegisterFlagCompletionFunc("auth", cobra.FixedCompletions([]string{"sas", "selfSigned", "certificateAuthority", "none"}, cobra.ShellCompDirectiveNoFileComp))
}

// given says whether any of the flags was used.
func (p *proofFlags) given() bool { return *p != (proofFlags{}) }

func (p *proofFlags) proof() *proof {
	if !p.given() {
		return nil
	}
	out := &proof{Type: p.kind}
	if out.Type == "" {
		out.Type = string(nave.AuthSAS)
		if p.print != "" || p.print2 != "" {
			out.Type = string(nave.AuthSelfSigned)
		}
	}
	if p.key != "" || p.key2 != "" {
		out.Keys = &struct {
			Primary   string `json:"primaryKey,omitempty"`
			Secondary string `json:"secondaryKey,omitempty"`
		}{p.key, p.key2}
	}
	if p.print != "" || p.print2 != "" {
		out.Prints = &struct {
			Primary   string `json:"primaryThumbprint,omitempty"`
			Secondary string `json:"secondaryThumbprint,omitempty"`
		}{p.print, p.print2}
	}
	return out
}

// showIdentity writes one device or module.
func (e *env) showIdentity(c *client, i *identity, raw json.RawMessage) error {
	if e.json() {
		return e.printRaw(raw)
	}
	auth := ""
	if i.Auth != nil {
		auth = i.Auth.Type
	}
	reason := ""
	if i.Reason != nil {
		reason = *i.Reason
	}
	edge := ""
	if i.Edge != nil && i.Edge.Edge {
		edge = "yes"
	}
	name := "Device"
	if i.Module != "" {
		name = "Module"
	}
	e.facts(name, i.id(), "Status", i.Status, "Reason", reason, "Connection", i.State, "Last activity", when(i.Active),
		"Waiting messages", strconv.Itoa(i.Pending), "Signs in with", auth, "Edge", edge, "Scope", i.Scope,
		"Parents", strings.Join(i.Parents, ", "), "Managed by", i.ManagedBy, "Generation", i.Generation, "ETag", i.ETag,
		"SIM", linkedSIM(raw), "Connection string", c.connectionString(i, false))
	return nil
}

// linkedSIM returns the SIM of a device and its status, or what its registration
// wishes for; "" without any. It is no part of identity, which is written back.
func linkedSIM(raw json.RawMessage) string {
	var i struct {
		Connectivity struct{ ProductID, ICCID, Status string } `json:"connectivity"`
	}
	if json.Unmarshal(raw, &i) != nil {
		return ""
	}
	switch c := i.Connectivity; {
	case c.ProductID != "":
		return c.ProductID + ", " + c.Status
	case c.ICCID != "":
		return "none, wished for is ICCID " + c.ICCID
	}
	return ""
}

// printRaw writes JSON as it came, indented.
func (e *env) printRaw(raw json.RawMessage) error {
	return e.printJSON(raw)
}

// when shows the zero time of the registry as "never".
func when(text string) string {
	if strings.HasPrefix(text, "0001-01-01") {
		return "never"
	}
	if head, _, ok := strings.Cut(text, "."); ok {
		return head + "Z"
	}
	return text
}

// renewKeys makes new keys for identities.
func (e *env) renewKeys(ctx context.Context, ids []nave.ID, which string) error {
	key, ok := map[string]string{"primary": "primaryKey", "secondary": "secondaryKey", "both": "both"}[which]
	if !ok {
		return misuse("", "--key is %q, allowed are primary, secondary and both", which)
	}
	c, err := e.client(ctx)
	if err != nil {
		return err
	}
	type entry struct {
		ID     string `json:"id"`
		Module string `json:"moduleId,omitempty"`
	}
	var list []entry
	for _, id := range ids {
		list = append(list, entry{id.Device, id.Module})
	}
	var raw json.RawMessage
	body := map[string]any{"policyKey": key, "devices": list}
	if err := c.rest(ctx, request{method: http.MethodPost, path: "/devices/keys/regenerate", body: body}, &raw); err != nil {
		return err
	}
	return e.showRenewed(ctx, c, ids, raw)
}

func (e *env) showRenewed(ctx context.Context, c *client, ids []nave.ID, raw json.RawMessage) error {
	var answer struct {
		Errors []struct {
			ID, ModuleID, ErrorStatus string
			ErrorCode                 int
		}
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return trouble("Check that the address is one of an IoT hub.", "the answer can't be read: %w", err)
	}
	if e.json() {
		if err := e.printRaw(raw); err != nil {
			return err
		}
	}
	if len(answer.Errors) > 0 {
		first := answer.Errors[0]
		code := codeOf(first.ErrorCode, "")
		f := &failure{text: nave.ID{Device: first.ID, Module: first.ModuleID}.String() + ": " + first.ErrorStatus, code: code}
		if code != nil {
			f.fix = code.Fix
		}
		return f
	}
	if e.json() {
		return nil
	}
	for _, id := range ids {
		i, _, err := c.identity(ctx, id)
		if err != nil {
			return err
		}
		e.print("%s", c.connectionString(i, false))
	}
	return nil
}
