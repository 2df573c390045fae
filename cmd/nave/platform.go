package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/carrier"
)

func platformCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "platform", Short: "Play a connectivity platform that the hub talks to",
		Long: `platform has what is needed to try the connectivity API against a remote platform
without one: a mock that speaks the same API, with profiles to misbehave.`,
		Example: `  nave platform mock --sims 100
  nave platform profiles`}
	c.AddCommand(platformMock(e), platformProfiles(e), platformSwitch(e))
	return c
}

// mockFlags are the flags of platform mock.
type mockFlags struct {
	listen   string
	profiles []string
	duration time.Duration
	quiet    bool
	cert     string
	key      string
	o        carrier.Options
}

func platformMock(e *env) *cobra.Command {
	var m mockFlags
	var help strings.Builder
	for _, k := range carrier.Kinds {
		name := k.Name
		if k.Value != "" {
			name += "=" + k.Usual
		}
		fmt.Fprintf(&help, "  %-24s %s\n  %-24s Hub: %s.\n", name, k.Does, "", k.Hub)
	}
	c := &cobra.Command{Use: "mock", Short: "Run a remote platform with SIMs in memory", Args: cobra.NoArgs,
		Long: `mock plays a remote connectivity platform: it speaks the connectivity API, with
a token endpoint, products, changes, monitors, usage and data sessions of SIMs that
it keeps in memory. Add it to a hub as an account of adapter http; with --output json
the first answer holds the configuration of that account.

Profiles make it misbehave, several at a time. NAME=VALUE gives the value that
a profile has, NAME@REQUESTS limits it to requests joined by +:
` + carrier.Scopes + `.
Profiles, and what the hub makes of them:

` + help.String() + `
They can be changed while it runs, by 'nave platform switch', or over HTTP:
  PUT /control/profile      ["slow=3s", "forbidden@change"]
  DELETE /control/profile   healthy again
  GET /control/request      what was asked; ?prefix=GET+/product selects
  PUT /control/sim/ICCID    {"status": "SUSPENDED"}`,
		Example: `  nave platform mock --listen 127.0.0.1:8850 --sims 100
  nave platform mock --profile error500
  nave platform mock --profile slow=2s --profile rate-limit=5@change
  nave platform mock --output json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.mock(cmd.Context(), &m) }}
	f := c.Flags()
	f.StringVar(&m.listen, "listen", "127.0.0.1:8850", "address; port 0 takes a free one")
	f.StringSliceVarP(&m.profiles, "profile", "p", nil, "how it misbehaves; may be repeated")
	f.IntVarP(&m.o.SIMs, "sims", "n", 10, "how many SIMs")
	f.IntVar(&m.o.First, "first", 1, "serial number of the first SIM, from which its ICCID is made")
	f.StringVar(&m.o.Tenant, "tenant", "far", "tenant in the path of the API")
	f.StringVar(&m.o.Reference, "reference", "FAR", "prefix of its product ids")
	f.StringVar(&m.o.ClientID, "client-id", "carrier", "client id that it accepts")
	f.StringVar(&m.o.ClientSecret, "client-secret", "carrier-secret", "secret that goes with it")
	f.DurationVar(&m.o.TokenLife, "token-life", 5*time.Minute, "life of its tokens")
	f.StringVar(&m.cert, "cert", "", "PEM file with a certificate, for HTTPS")
	f.StringVar(&m.key, "key", "", "PEM file with its key")
	f.DurationVarP(&m.duration, "duration", "t", 0, "how long; 0: until Ctrl-C")
	f.BoolVarP(&m.quiet, "quiet", "q", false, "do not show requests")
	c.MarkFlagsRequiredTogether("cert", "key")
	c.RegisterFlagCompletionFunc("profile", completeProfile)
	return c
}

func completeProfile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, k := range carrier.Kinds {
		all = append(all, k.Name+"\t"+k.Does)
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

func (m *mockFlags) check() (err error) {
	switch {
	case m.o.SIMs < 1 || m.o.SIMs > 1_000_000:
		return misuse("", "--sims is %d, 1 to 1000000 are possible", m.o.SIMs)
	case m.o.First < 1 || m.o.First > 90_000_000_000:
		return misuse("", "--first is %d, 1 to 90000000000 are possible", m.o.First)
	case m.duration < 0 || m.o.TokenLife < time.Second:
		return misuse("", "--duration can't be negative, --token-life must be 1s at least")
	}
	if m.o.Profiles, err = carrier.ParseProfiles(m.profiles); err != nil {
		return misuse("'nave platform profiles' lists them.", "%v", err)
	}
	return nil
}

// mock serves until ctx ends or the time is up.
func (e *env) mock(ctx context.Context, m *mockFlags) error {
	if err := m.check(); err != nil {
		return err
	}
	if m.duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, m.duration)
		defer stop()
	}
	l, err := net.Listen("tcp", m.listen)
	if err != nil {
		return trouble("Choose another address with --listen.", "the mock cannot listen: %w", err)
	}
	var line sync.Mutex
	if !m.quiet {
		m.o.Tell = func(q carrier.Request) {
			line.Lock()
			defer line.Unlock()
			status := "no answer"
			if q.Status != 0 {
				status = fmt.Sprint(q.Status)
			}
			e.say("%s %s %s %s %s", q.At.Format(time.TimeOnly), status, q.Method, oneLine(q.Path), strings.Join(q.Profiles, " "))
		}
	}
	c := carrier.New(m.o)
	s := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	scheme := "http"
	failed := make(chan error, 1)
	if m.cert != "" {
		scheme = "https"
		go func() { failed <- s.ServeTLS(l, m.cert, m.key) }()
	} else {
		go func() { failed <- s.Serve(l) }()
	}
	line.Lock()
	err = e.showMock(c, scheme+"://"+l.Addr().String(), m)
	line.Unlock()
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
			err = trouble("Check --cert and --key.", "the mock cannot serve: %w", err)
		}
	}
	c.Close()
	s.Close()
	return err
}

// showMock prints where the mock is and how a hub finds it.
func (e *env) showMock(c *carrier.Carrier, at string, m *mockFlags) error {
	api, token := c.Base()
	if e.json() {
		return e.printJSON(map[string]any{"control": at + "/control", "account": map[string]any{
			"account": "REMOTE_1", "platform": "RMT", "adapter": "http", "accountId": m.o.Tenant, "enabled": true, "statusChangeMode": "SYNC",
			"settableStatus": []string{"ACTIVE", "SUSPENDED", "BLOCKED", "TERMINATED"},
			"http":           map[string]any{"baseUrl": at + api, "tokenUrl": at + token, "clientId": m.o.ClientID, "clientSecret": m.o.ClientSecret}}})
	}
	t := &table{head: []string{"", ""}, bare: true}
	t.add("Base URL", at+api)
	t.add("Token URL", at+token)
	t.add("Client", m.o.ClientID+", secret "+m.o.ClientSecret)
	t.add("SIMs", fmt.Sprintf("%d, the first is %s-%s", m.o.SIMs, m.o.Reference, carrier.ICCID(m.o.First)))
	t.add("Profiles", profileNames(c.Profiles()))
	t.add("Control", at+"/control")
	return e.table(t)
}

func profileNames(all []carrier.Profile) string {
	if len(all) == 0 {
		return "healthy"
	}
	var names []string
	for _, p := range all {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}

func platformProfiles(e *env) *cobra.Command {
	return &cobra.Command{Use: "profiles", Short: "List the profiles of the mock", Args: cobra.NoArgs, Example: "  nave platform profiles",
		RunE: func(*cobra.Command, []string) error {
			if e.json() {
				return e.printJSON(carrier.Kinds)
			}
			t := newTable("PROFILE", "VALUE", "REQUESTS", "WHAT IT DOES", "WHAT THE HUB MAKES OF IT")
			for _, k := range carrier.Kinds {
				value := k.Value
				if value != "" {
					value += ", " + k.Usual
				}
				t.add(k.Name, value, k.Scope, k.Does, k.Hub)
			}
			return e.table(t)
		}}
}

func platformSwitch(e *env) *cobra.Command {
	at := "http://127.0.0.1:8850"
	c := &cobra.Command{Use: "switch PROFILE…", Short: "Change the profiles of a mock that runs", Args: cobra.MinimumNArgs(1),
		Example:           "  nave platform switch rate-limit=7 slow\n  nave platform switch healthy",
		ValidArgsFunction: completeProfile,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.switchMock(cmd.Context(), at, args) }}
	c.Flags().StringVar(&at, "at", at, "address of the mock")
	return c
}

func (e *env) switchMock(ctx context.Context, at string, texts []string) error {
	if _, err := carrier.ParseProfiles(texts); err != nil {
		return misuse("'nave platform profiles' lists them.", "%v", err)
	}
	if u, err := url.Parse(at); err != nil || u.Host == "" {
		return misuse("Give it as http://127.0.0.1:8850.", "--at is %q, that is no address", at)
	}
	body, _ := json.Marshal(texts) // strings
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	q, err := http.NewRequestWithContext(ctx, http.MethodPut, strings.TrimRight(at, "/")+"/control/profile", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return trouble("Start one with 'nave platform mock', or say where it is with --at.", "the mock does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return trouble("Check --at.", "there is no mock at %s, the answer was %d", at, resp.StatusCode)
	}
	var all []carrier.Profile
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return trouble("Check --at.", "there is no mock at %s", at)
	}
	if e.json() {
		return e.printJSON(all)
	}
	e.print("Profiles in force: %s", profileNames(all))
	return nil
}
