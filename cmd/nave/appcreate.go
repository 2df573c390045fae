package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func appCreate(e *env) *cobra.Command {
	email := ""
	var permissions []string
	c := &cobra.Command{Use: "create NAME", Short: "Register an application and print its client id, its secret and a transcript", Args: cobra.ExactArgs(1),
		Long: `Create registers an application and prints its client id and its secret, which is shown
this once, with a transcript for curl that works as printed: token, list of SIMs,
activation, and what became of it.

A permission is API:ro for reading or API:rw. APIs are
connection-management-orchestrator (SIMs; short: connectivity), platform-management
(platforms), application-access-management (applications) and
device-management-orchestrator (devices).`,
		Example: "  nave app create billing --email ops@example.com\n  nave app create stock --email ops@example.com --permission connection-management-orchestrator:rw --permission platform-management:rw",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			all, err := permissionsOf(permissions)
			if err != nil {
				return err
			}
			s, err := e.sims(ctx)
			if err != nil {
				return err
			}
			var a appAnswer
			body := map[string]any{"name": args[0], "contactEmail": email, "permissions": all}
			told, err := s.show(ctx, simRequest{method: http.MethodPost, path: "/application", body: body, apps: true}, &a)
			if err != nil || told {
				return err
			}
			text, err := s.appTranscript(ctx, &a)
			if err != nil {
				return err
			}
			e.say("Created the application %s. Its secret is not shown again.", a.Name)
			e.print("%s", text)
			return nil
		}}
	f := c.Flags()
	f.StringVar(&email, "email", "", "e-mail address of a contact")
	f.StringArrayVarP(&permissions, "permission", "p", []string{"connection-management-orchestrator:rw"}, "API:ro or API:rw, may be repeated")
	c.MarkFlagRequired("email")
	c.RegisterFlagCompletionFunc("permission", cobra.FixedCompletions([]string{"connection-management-orchestrator:rw", "connection-management-orchestrator:ro",
		"platform-management:rw", "application-access-management:rw", "device-management-orchestrator:rw"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// allows says whether the application may do that.
func (a *appAnswer) allows(api, access string) bool {
	for _, p := range a.Permissions {
		if p.API == apiNames[api] && (p.Access == access || p.Access == "rw") {
			return true
		}
	}
	return false
}

// demoSIM returns a SIM for the transcript, best one that waits for its
// activation; "" when there is none.
func (s *simClient) demoSIM(ctx context.Context) (string, error) {
	for _, status := range []string{"INVENTORY", "SUSPENDED", "ACTIVE"} {
		var found simList
		q := url.Values{"status": {status}, "pageSize": {"1"}}
		if err := s.call(ctx, simRequest{method: http.MethodGet, path: "/product", query: q}, &found); err != nil {
			return "", err
		}
		if len(found.Entities) > 0 {
			return found.Entities[0].ID, nil
		}
	}
	return "", nil
}

// appTranscript is a shell script that shows the API with curl.
func (s *simClient) appTranscript(ctx context.Context, a *appAnswer) (string, error) {
	sim, err := s.demoSIM(ctx)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("CLIENT_ID=%s\nCLIENT_SECRET=%s\nHUB=%s", a.Credentials[0].Client, a.Credentials[0].Secret, s.Endpoint)
	curl := "curl -sS"
	if s.CAFile != "" {
		say("CA=%s", shellWord(s.CAFile))
		curl += ` --cacert "$CA"`
	}
	say("\n# 1. a token; it is good for five minutes")
	say(`TOKEN=$(%s "$HUB/oauth2/token" -u "$CLIENT_ID:$CLIENT_SECRET" -d grant_type=client_credentials | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`, curl)
	call := curl + ` -H "Authorization: Bearer $TOKEN"`
	if !a.allows("connectivity", "ro") {
		return strings.TrimSuffix(b.String(), "\n"), nil
	}
	say("\n# 2. which SIMs are there")
	say(`API="$HUB%s%s"`, simRoot, url.PathEscape(s.Tenant))
	say(`%s "$API/product?pageSize=5&fields=id,status,device"; echo`, call)
	if sim == "" {
		say("\n# The hub has no SIMs yet: 'nave sim import' adds some.")
		return strings.TrimSuffix(b.String(), "\n"), nil
	}
	say("\n# 3. one of them, with all its parts")
	say(`SIM=%s`, sim)
	say(`%s "$API/product/$SIM"; echo`, call)
	if a.allows("connectivity", "rw") {
		say("\n# 4. put it into service; respond-async makes any platform answer at once, with a monitor")
		say(`CHANGE=$(%s -X PATCH "$API/product/$SIM-simCard" -H 'Content-Type: application/json-patch+json' -H 'Prefer: respond-async' -d '[{"op":"replace","path":"/status","value":"ACTIVE"}]'); echo "$CHANGE"`, call)
		say("\n# 5. what became of it")
		say(`MONITOR=$(echo "$CHANGE" | sed -n 's/.*"href":"\([^"]*\/monitor\/[^"]*\)".*/\1/p')`)
		say(`while [ -n "$MONITOR" ]; do`)
		say(`  STATE=$(%s "$MONITOR"); echo "$STATE"`, call)
		say(`  case "$STATE" in *'"state":"InProgress"'*) sleep 2 ;; *) break ;; esac`)
		say("done")
	}
	say("\n# 6. how much data it has used in this period")
	say(`%s "$API/product/$SIM-usageVolume-data"; echo`, call)
	return strings.TrimSuffix(b.String(), "\n"), nil
}
