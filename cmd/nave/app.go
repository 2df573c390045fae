package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// appAnswer is an application.
type appAnswer struct {
	ID          string             `json:"id"`
	Name        string             `json:"name"`
	Contact     string             `json:"contactEmail"`
	Created     string             `json:"createdAt"`
	Permissions []permissionAnswer `json:"permissions"`
	Credentials []credentialAnswer `json:"credentials"`
}

type permissionAnswer struct {
	API     string `json:"api"`
	Version string `json:"version"`
	Access  string `json:"access"`
	URL     string `json:"apiUrl,omitempty"`
}

type credentialAnswer struct {
	Client    string `json:"clientId"`
	Secret    string `json:"clientSecret"`
	Created   string `json:"createdAt"`
	Refreshed string `json:"refreshedAt"`
}

func appCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "app", Short: "Manage applications that call the hub's APIs", Aliases: []string{"apps"}, RunE: group,
		Long: `app manages applications: programs that get access tokens of the hub with a client id
and a secret, and may do what their permissions say. An application is named by its name
or its id.`,
		Example: "  nave app create billing --email ops@example.com --permission connection-management-orchestrator:rw\n  nave app list\n  nave app permit billing connection-management-orchestrator:ro\n  nave app credential refresh billing"}
	c.AddCommand(appCreate(e), appList(e), appShow(e), appPermit(e), appUpdate(e), appDelete(e), appCredential(e))
	return c
}

// apiNames are short names of the APIs.
var apiNames = map[string]string{"connectivity": "connection-management-orchestrator", "devices": "device-management-orchestrator",
	"applications": "application-access-management", "platforms": "platform-management"}

// permissionsOf reads API:ro or API:rw, each once.
func permissionsOf(texts []string) (all []permissionAnswer, err error) {
	for _, text := range texts {
		api, access, ok := strings.Cut(text, ":")
		if !ok {
			return nil, misuse("Write connection-management-orchestrator:rw, or :ro for reading only.", "the permission %q does not say how much", text)
		}
		if long := apiNames[api]; long != "" {
			api = long
		}
		all = append(all, permissionAnswer{API: api, Version: "v1", Access: access})
	}
	return all, nil
}

func (a *appAnswer) permits() string {
	var all []string
	for _, p := range a.Permissions {
		all = append(all, p.API+":"+p.Access)
	}
	return strings.Join(all, ", ")
}

// appPath returns the path of an application and what is below it.
func appPath(id string, below ...string) string {
	path := "/application/" + url.PathEscape(id)
	for _, part := range below {
		path += "/" + url.PathEscape(part)
	}
	return path
}

// app finds an application by its name or its id.
func (s *simClient) app(ctx context.Context, name string) (*appAnswer, error) {
	if taskID.MatchString(name) {
		a := new(appAnswer)
		return a, s.call(ctx, simRequest{method: http.MethodGet, path: appPath(name), apps: true}, a)
	}
	var found struct {
		Entities []appAnswer `json:"entities"`
	}
	if err := s.call(ctx, simRequest{method: http.MethodGet, path: "/application", query: url.Values{"pageSize": {"200"}}, apps: true}, &found); err != nil {
		return nil, err
	}
	for n := range found.Entities {
		if found.Entities[n].Name == name {
			return &found.Entities[n], nil
		}
	}
	return nil, trouble("'nave app list' shows which there are.", "there is no application %q", name)
}

// ofApp calls a path of an application that a person has named.
func (e *env) ofApp(ctx context.Context, name string, q simRequest, below []string, out any) (a *appAnswer, told bool, err error) {
	s, err := e.sims(ctx)
	if err != nil {
		return nil, false, err
	}
	if a, err = s.app(ctx, name); err != nil {
		return nil, false, err
	}
	q.path, q.apps = appPath(a.ID, below...), true
	told, err = s.show(ctx, q, out)
	return a, told, err
}

func appList(e *env) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the applications", Args: cobra.NoArgs, Aliases: []string{"ls"}, Example: "  nave app list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found struct {
				Entities []appAnswer `json:"entities"`
			}
			_, told, err := e.simCall(cmd.Context(), simRequest{method: http.MethodGet, path: "/application", query: url.Values{"pageSize": {"200"}}, apps: true}, &found)
			if err != nil || told {
				return err
			}
			if len(found.Entities) == 0 {
				e.say("There are no applications. 'nave app create' makes one.")
				return nil
			}
			t := newTable("NAME", "ID", "CONTACT", "PERMISSIONS", "CREDENTIALS")
			for n := range found.Entities {
				a := &found.Entities[n]
				t.add(a.Name, a.ID, a.Contact, a.permits(), strconv.Itoa(len(a.Credentials)))
			}
			return e.table(t)
		}}
}

func appShow(e *env) *cobra.Command {
	return &cobra.Command{Use: "show APP", Short: "Show an application with its credentials; never their secrets", Args: cobra.ExactArgs(1), Example: "  nave app show billing",
		RunE: func(cmd *cobra.Command, args []string) error {
			var a appAnswer
			_, told, err := e.ofApp(cmd.Context(), args[0], simRequest{method: http.MethodGet}, nil, &a)
			if err != nil || told {
				return err
			}
			return e.showApp(&a)
		}}
}

func (e *env) showApp(a *appAnswer) error {
	e.facts("Application", a.Name, "Id", a.ID, "Contact", a.Contact, "Created", when(a.Created))
	e.print("")
	t := newTable("PERMISSION", "ACCESS", "URL")
	for _, p := range a.Permissions {
		t.add(p.API+" "+p.Version, p.Access, p.URL)
	}
	if err := e.table(t); err != nil {
		return err
	}
	e.print("")
	t = newTable("CLIENT ID", "CREATED", "REFRESHED")
	for _, c := range a.Credentials {
		refreshed := "never"
		if c.Refreshed != "" {
			refreshed = when(c.Refreshed)
		}
		t.add(c.Client, when(c.Created), refreshed)
	}
	return e.table(t)
}

func appPermit(e *env) *cobra.Command {
	return &cobra.Command{Use: "permit APP [API:ACCESS…]", Short: "Replace what an application may do; no permission takes all away", Args: cobra.MinimumNArgs(1),
		Long: `Permit replaces the permissions of an application. Taking one away works at once; one
that is new needs a new token, so 300 s at most.`,
		Example: "  nave app permit billing connection-management-orchestrator:ro\n  nave app permit billing connectivity:rw platforms:rw",
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := permissionsOf(args[1:])
			if err != nil {
				return err
			}
			if all == nil {
				all = []permissionAnswer{}
			}
			return e.changeApp(cmd.Context(), args[0], map[string]any{"permissions": all})
		}}
}

func appUpdate(e *env) *cobra.Command {
	name, email := "", ""
	c := &cobra.Command{Use: "update APP", Short: "Change name or contact of an application", Args: cobra.ExactArgs(1), Example: "  nave app update billing --name invoices",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			for member, text := range map[string]string{"name": name, "contactEmail": email} {
				if text != "" {
					body[member] = text
				}
			}
			if len(body) == 0 {
				return misuse("", "neither --name nor --email says what to change")
			}
			return e.changeApp(cmd.Context(), args[0], body)
		}}
	c.Flags().StringVar(&name, "name", "", "new name")
	c.Flags().StringVar(&email, "email", "", "e-mail address of a contact")
	return c
}

func (e *env) changeApp(ctx context.Context, name string, body map[string]any) error {
	var a appAnswer
	_, told, err := e.ofApp(ctx, name, simRequest{method: http.MethodPatch, body: body}, nil, &a)
	if err != nil || told {
		return err
	}
	return e.showApp(&a)
}

func appDelete(e *env) *cobra.Command {
	return &cobra.Command{Use: "delete APP", Short: "Delete an application; its tokens end at once", Args: cobra.ExactArgs(1), Aliases: []string{"rm"}, Example: "  nave app delete billing",
		RunE: func(cmd *cobra.Command, args []string) error {
			a, _, err := e.ofApp(cmd.Context(), args[0], simRequest{method: http.MethodDelete}, nil, nil)
			if err == nil {
				e.say("Deleted the application %s.", a.Name)
			}
			return err
		}}
}

func appCredential(e *env) *cobra.Command {
	c := &cobra.Command{Use: "credential", Short: "Client ids of an application: add, refresh, delete", Aliases: []string{"credentials"}, RunE: group,
		Example: "  nave app credential add billing\n  nave app credential refresh billing b7c1f6a2-0d0e-4f7e-8d55-0c7c8f0d9a41"}
	c.AddCommand(&cobra.Command{Use: "add APP", Short: "Give an application another client id and secret", Args: cobra.ExactArgs(1), Example: "  nave app credential add billing",
		RunE: func(cmd *cobra.Command, args []string) error {
			var k credentialAnswer
			_, told, err := e.ofApp(cmd.Context(), args[0], simRequest{method: http.MethodPost}, []string{"credential"}, &k)
			if err == nil && !told {
				e.showSecret(&k)
			}
			return err
		}}, &cobra.Command{Use: "refresh APP [CLIENT-ID]", Short: "Replace a secret; the old one and its tokens end at once", Args: cobra.RangeArgs(1, 2), Example: "  nave app credential refresh billing",
		RunE: func(cmd *cobra.Command, args []string) error {
			var k credentialAnswer
			told, err := e.ofCredential(cmd.Context(), args, http.MethodPost, []string{"refresh"}, &k)
			if err == nil && !told {
				e.showSecret(&k)
			}
			return err
		}}, &cobra.Command{Use: "delete APP CLIENT-ID", Short: "Delete a client id; its tokens end at once", Args: cobra.ExactArgs(2), Aliases: []string{"rm"}, Example: "  nave app credential delete billing b7c1f6a2-0d0e-4f7e-8d55-0c7c8f0d9a41",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := e.ofCredential(cmd.Context(), args, http.MethodDelete, nil, nil)
			if err == nil {
				e.say("Deleted the client id %s.", args[1])
			}
			return err
		}})
	return c
}

// ofCredential calls a path of a client id, which may be left out when the
// application has only one.
func (e *env) ofCredential(ctx context.Context, args []string, method string, below []string, out any) (told bool, err error) {
	s, err := e.sims(ctx)
	if err != nil {
		return false, err
	}
	a, err := s.app(ctx, args[0])
	if err != nil {
		return false, err
	}
	if len(args) == 1 {
		if len(a.Credentials) != 1 {
			return false, misuse("Name the client id; 'nave app show' lists them.", "the application has %d client ids", len(a.Credentials))
		}
		args = append(args, a.Credentials[0].Client)
	}
	path := appPath(a.ID, append([]string{"credential", args[1]}, below...)...)
	return s.show(ctx, simRequest{method: method, path: path, apps: true}, out)
}

func (e *env) showSecret(k *credentialAnswer) {
	e.say("The secret is not shown again:")
	e.facts("Client id", k.Client, "Client secret", k.Secret)
}
