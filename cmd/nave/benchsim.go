package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/load"
)

// simResults are the measurements of the connectivity API.
type simResults struct {
	SIMs     int          `json:"sims,omitempty"`
	Import   float64      `json:"simImportSeconds,omitempty"`
	First    *load.Result `json:"simFirstPage,omitempty"`
	Deep     *load.Result `json:"simDeepPage,omitempty"`
	Filtered *load.Result `json:"simFilteredPage,omitempty"`
	One      *load.Result `json:"simOne,omitempty"`
	Changes  *load.Result `json:"simChanges,omitempty"`
}

// simBench is what the flags of bench sim say.
type simBench struct {
	e                *env
	sims, clients    int
	keep             bool // leave the SIMs: the node goes away
	warmup, duration time.Duration
	found            simResults
}

// simPageSize is how many SIMs a page of the measurements has.
const simPageSize = 100

func benchSIM(e *env) *cobra.Command {
	b := &simBench{e: e}
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Lists and status changes of SIMs in the connectivity API",
		Long: `sim imports SIMs into an account of its own of the node on this machine and measures
the connectivity API as an application calls it, over HTTPS with an access token: pages
of 100 SIMs from the beginning, from deep inside and by filter, single SIMs, and single
status changes, each synced to disk with its history and event before the answer.

The node must run without rate limits: start it with
NAVE_CONNECTIVITY_RATELIMIT_ADDRESSPERSECOND, _TENANTPERSECOND and _APPLICATIONPERHOUR
set to 0. Account and application are deleted at the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.sims < 1000 || b.sims > 10_000_000 || b.clients < 1 || b.duration <= 0 || b.warmup < 0 {
				return misuse("", "--sims (1000 to 10000000), --connections and --duration must be positive")
			}
			if err := b.run(cmd.Context()); err != nil {
				return loadFailure(err)
			}
			if e.json() {
				return e.printJSON(&b.found)
			}
			e.facts(b.found.lines()...)
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVarP(&b.sims, "sims", "n", 1_000_000, "how many SIMs")
	f.IntVarP(&b.clients, "connections", "c", 16, "how many connections")
	f.DurationVarP(&b.duration, "duration", "t", 5*time.Second, "how long each measurement takes")
	f.DurationVar(&b.warmup, "warmup", time.Second, "how long to run before each")
	f.BoolVar(&b.keep, "keep", false, "leave account and SIMs where they are")
	return cmd
}

// benchAccount is the account that the measurement makes.
const benchAccount, benchReference = "BENCH_1", "BENCH"

func (b *simBench) run(ctx context.Context) (err error) {
	s, err := b.e.sims(ctx)
	if err != nil {
		return err
	}
	var o load.ServiceOptions
	if _, _, err := s.ports(ctx, &o); err != nil {
		return err
	}
	conf, err := load.TLSConfig(b.e.ca, false)
	if err != nil {
		return err
	}
	conf.ServerName = s.host
	t := load.Target{Address: o.HTTPS, TLS: conf}
	account := map[string]any{"account": benchAccount, "platform": benchReference, "adapter": "embedded", "enabled": true}
	if err := s.call(ctx, simRequest{method: http.MethodPost, path: "/platform", body: account}, nil); err != nil {
		return err
	}
	if !b.keep {
		defer func() {
			p := b.e.progress("Deleting the SIMs")
			p.note("")
			err = errors.Join(err, s.call(context.WithoutCancel(ctx), simRequest{method: http.MethodDelete, path: "/platform/" + benchAccount}, nil))
			p.end()
		}()
	}
	if err := b.fill(ctx, s); err != nil {
		return err
	}
	var app appAnswer
	body := map[string]any{"name": "bench " + strconv.FormatInt(time.Now().UnixNano(), 36), "contactEmail": "bench@example.com",
		"permissions": []permissionAnswer{{API: apiNames["connectivity"], Version: "v1", Access: "rw"}}}
	if err := s.call(ctx, simRequest{method: http.MethodPost, path: "/application", body: body, apps: true}, &app); err != nil {
		return err
	}
	defer s.call(context.WithoutCancel(ctx), simRequest{method: http.MethodDelete, path: appPath(app.ID), apps: true}, nil)
	return b.measure(ctx, s, t, &app)
}

// benchICCID returns the ICCID of a number; its check digit is what it is.
func benchICCID(n int) string { return fmt.Sprintf("8999900%012d", n) }

// fill imports the SIMs by thousands.
func (b *simBench) fill(ctx context.Context, s *simClient) error {
	p := b.e.progress("Importing SIMs")
	defer p.end()
	begun := time.Now()
	for at := 0; at < b.sims; at += importBatch {
		rows := make([]simRow, min(importBatch, b.sims-at))
		for n := range rows {
			rows[n] = simRow{ICCID: benchICCID(at + n), IMSI: fmt.Sprintf("99999%010d", at+n)}
		}
		if err := s.call(ctx, simRequest{method: http.MethodPost, path: "/product", body: map[string]any{"account": benchAccount, "sim": rows}}, nil); err != nil {
			return err
		}
		p.step(at+len(rows), b.sims)
	}
	b.found.SIMs, b.found.Import = b.sims, time.Since(begun).Seconds()
	return nil
}

func (b *simBench) measure(ctx context.Context, s *simClient, t load.Target, app *appAnswer) error {
	root := simRoot + url.PathEscape(s.Tenant) + "/product"
	page := func(query string) func(int, int) (string, string) {
		path := root + "?pageSize=" + strconv.Itoa(simPageSize) + "&" + query
		return func(int, int) (string, string) { return path, "" }
	}
	full := func(int, int) string { return `"count":` + strconv.Itoa(simPageSize) }
	// Each client has SIMs of its own; it activates one after the other, then
	// suspends them, and so on.
	own := b.sims / b.clients
	card := func(client, n int) string { return benchReference + "-" + benchICCID(client*own+n%own) }
	status := func(_, n int) string { return []string{"ACTIVE", "SUSPENDED"}[n/own%2] }
	for _, m := range []struct {
		label string
		to    **load.Result
		o     load.Calls
	}{
		{"First page:", &b.found.First, load.Calls{Kind: "simFirstPage", Method: http.MethodGet, Next: page("pageNumber=1"), Want: full}},
		{"Deep page:", &b.found.Deep, load.Calls{Kind: "simDeepPage", Method: http.MethodGet, Next: page("pageNumber=" + strconv.Itoa(b.sims/simPageSize*9/10)), Want: full}},
		{"One SIM:", &b.found.One, load.Calls{Kind: "simOne", Method: http.MethodGet, Want: func(c, n int) string { return card(c, n) },
			Next: func(c, n int) (string, string) { return root + "/" + card(c, n), "" }}},
		{"Filtered page:", &b.found.Filtered, load.Calls{Kind: "simFilteredPage", Method: http.MethodGet, Next: page("status=INVENTORY&linked=false&relatedParty.name=" + benchAccount), Want: full}},
		{"Status changes:", &b.found.Changes, load.Calls{Kind: "simChanges", Method: http.MethodPatch, Type: "application/json",
			Next: func(c, n int) (string, string) {
				return root + "/" + card(c, n) + "-simCard", `{"status":"` + status(c, n) + `"}`
			},
			Want: func(c, n int) string { return `"status":"` + status(c, n) + `"` }}},
	} {
		token, err := fetchToken(ctx, t, s.host, "/oauth2/token", app.Credentials[0].Client, app.Credentials[0].Secret)
		if err != nil {
			return err
		}
		p := b.e.progress(m.label)
		o := m.o
		o.Host, o.Token, o.Clients, o.Warmup, o.Duration, o.Live = s.host, token, b.clients, b.warmup, b.duration, meter(p)
		r, err := load.RunCalls(ctx, t, o)
		p.end()
		if err != nil {
			return err
		}
		if r.Errors > 0 {
			return fmt.Errorf("%s %d errors, the last: %s", m.label, r.Errors, r.LastError)
		}
		*m.to = r
	}
	return nil
}

// lines returns names and texts for people.
func (f *simResults) lines() []string {
	if f.First == nil {
		return nil
	}
	text := func(r *load.Result, what string) string {
		return fmt.Sprintf("%.0f %s a second; %s", r.PerSecond, what, latencyOf(r))
	}
	pages := fmt.Sprintf("pages of %d", simPageSize)
	return []string{"SIMs", fmt.Sprintf("%d, imported in %.0f s, %.0f a second", f.SIMs, f.Import, float64(f.SIMs)/max(f.Import, 1e-3)),
		"SIM list, first", text(f.First, pages), "SIM list, deep", text(f.Deep, pages), "SIM list, filtered", text(f.Filtered, pages),
		"One SIM", text(f.One, "reads"), "SIM changes", text(f.Changes, "status changes, synced")}
}

// connectivity measures the connectivity API on a fresh node.
func (c *comparison) connectivity(ctx context.Context) error {
	if c.sims == 0 {
		return nil
	}
	n, err := startNave(ctx, c.folder)
	if err != nil {
		return err
	}
	defer n.stop()
	b := &simBench{e: &env{data: n.dir, environ: func(string) string { return "" }, err: c.e.err, live: c.e.live}, sims: c.sims, clients: min(16, c.connections),
		keep: true, warmup: c.warmup, duration: c.duration}
	if err := b.run(ctx); err != nil {
		return err
	}
	c.found.simResults = b.found
	return nil
}
