package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/load"
)

// feedResults are the measurements of feed data over HTTPS.
type feedResults struct {
	Single     *load.Result `json:"feedSingle,omitempty"`
	Batch      *load.Result `json:"feedBatch,omitempty"` // items
	Echo       *load.Result `json:"httpEcho,omitempty"`
	EchoBatch  *load.Result `json:"httpEchoBatch,omitempty"` // items
	Ratio      float64      `json:"feedRatio,omitempty"`     // single to echo
	BatchRatio float64      `json:"feedBatchRatio,omitempty"`
}

// feedBench is what the flags of bench feed say.
type feedBench struct {
	e                *env
	clients, batch   int
	warmup, duration time.Duration
	found            feedResults
}

func benchFeed(e *env) *cobra.Command {
	b := &feedBench{e: e}
	cmd := &cobra.Command{
		Use:   "feed",
		Short: "Feed data of control devices (iot/v1) over HTTPS",
		Long: `feed posts feed data to the node on this machine: single items, then batches, over
connections that are kept. Every item is a new one, checked and synced to disk before
its answer. In the same run it gives the same requests to a bare HTTPS server that
decodes and encodes their JSON and does nothing else, for the ratio. It creates control
devices for the time of the run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.clients < 1 || b.batch < 1 || b.batch > 1000 || b.duration <= 0 || b.warmup < 0 {
				return misuse("", "--connections, --batch (up to 1000) and --duration must be positive")
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
	f.IntVarP(&b.clients, "connections", "c", 50, "how many connections, each a control device")
	f.IntVar(&b.batch, "batch", 100, "items of a batch")
	f.DurationVarP(&b.duration, "duration", "t", 5*time.Second, "how long each measurement takes")
	f.DurationVar(&b.warmup, "warmup", time.Second, "how long to run before each")
	return cmd
}

// benchPlan lifts the limits of control devices that make load.
var benchPlan = map[string]float64{"request_max_bytes": 1 << 20, "batch_max_items": 1000, "feed.interval": 1e-6, "feed.burst": 1e6}

func (b *feedBench) run(ctx context.Context) error {
	c, err := b.e.operator(ctx)
	if err != nil {
		return err
	}
	var o load.ServiceOptions
	if _, _, err := c.ports(ctx, &o); err != nil {
		return err
	}
	conf, err := load.TLSConfig(b.e.ca, false)
	if err != nil {
		return err
	}
	conf.ServerName = c.host
	t := load.Target{Address: o.HTTPS, TLS: conf}
	var clients []load.FeedClient
	defer func() {
		for _, d := range clients {
			c.askHub(context.WithoutCancel(ctx), http.MethodDelete, controlPath(d.Device), nil, nil)
		}
	}()
	p := b.e.progress("Creating control devices")
	for n := range b.clients {
		d, err := b.create(ctx, c, t)
		if err != nil {
			p.end()
			return err
		}
		clients = append(clients, d)
		p.step(n+1, b.clients)
	}
	p.end()
	return b.measure(ctx, t, clients)
}

// create makes a control device and gets its token.
func (b *feedBench) create(ctx context.Context, c *client, t load.Target) (d load.FeedClient, err error) {
	label := "bench"
	var made controlAnswer
	body := controlAnswer{Label: &label, PlanValues: benchPlan, Sources: []sourceAnswer{sensorText("thermistor:degree_celsius:0")}}
	if err := c.askHub(ctx, http.MethodPost, "/control", body, &made); err != nil {
		return d, err
	}
	d = load.FeedClient{Host: c.host, Device: made.ID, Sensor: made.Sources[0].ID}
	d.Token, err = fetchToken(ctx, t, c.host, "/oauth/token", made.ID, made.Secret)
	return d, err
}

func fetchToken(ctx context.Context, t load.Target, host, path, id, secret string) (string, error) {
	transport := &http.Transport{TLSClientConfig: t.TLS, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", t.Address)
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+path, strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(id, secret)
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	var token struct {
		Text string `json:"access_token"`
	}
	if err := json.Unmarshal(text, &token); err != nil || token.Text == "" {
		return "", fmt.Errorf("the token endpoint answered %s: %s", answer.Status, text)
	}
	return token.Text, nil
}

func (b *feedBench) measure(ctx context.Context, t load.Target, clients []load.FeedClient) error {
	echo, err := load.OpenEcho()
	if err != nil {
		return err
	}
	defer echo.Close()
	for _, m := range []struct {
		label string
		to    load.Target
		path  string
		batch int
		found **load.Result
	}{
		{"Echo:", echo.Target, "/", 0, &b.found.Echo}, {"Single items:", t, "", 0, &b.found.Single},
		{"Echo, batches:", echo.Target, "/", b.batch, &b.found.EchoBatch}, {"Batches:", t, "", b.batch, &b.found.Batch},
	} {
		p := b.e.progress(m.label)
		r, err := load.RunFeed(ctx, m.to, clients, load.Feed{Batch: m.batch, Path: m.path, Warmup: b.warmup, Duration: b.duration, Live: meter(p)})
		p.end()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r.Errors > 0 {
			return fmt.Errorf("%s %d errors, the last: %s", m.label, r.Errors, r.LastError)
		}
		*m.found = r
	}
	b.found.Ratio = b.found.Single.PerSecond / max(1, b.found.Echo.PerSecond)
	b.found.BatchRatio = b.found.Batch.PerSecond / max(1, b.found.EchoBatch.PerSecond)
	return nil
}

// lines returns names and texts for people.
func (f *feedResults) lines() []string {
	if f.Single == nil {
		return nil
	}
	text := func(r *load.Result, ratio float64) string {
		return fmt.Sprintf("%.0f items a second, synced, %.2f of a bare HTTPS echo of JSON; %s", r.PerSecond, ratio, latencyOf(r))
	}
	return []string{"Feed, single", text(f.Single, f.Ratio), fmt.Sprintf("Feed, by %d", f.Batch.Size), text(f.Batch, f.BatchRatio),
		"HTTPS echo", fmt.Sprintf("%.0f a second, %.0f items a second in batches", f.Echo.PerSecond, f.EchoBatch.PerSecond)}
}

// feed measures feed data of control devices on a fresh node.
func (c *comparison) feed(ctx context.Context) error {
	n, err := startNave(ctx, c.folder)
	if err != nil {
		return err
	}
	defer n.stop()
	b := &feedBench{e: &env{data: n.dir, environ: func(string) string { return "" }, err: c.e.err, live: c.e.live}, clients: c.connections, batch: 100,
		warmup: c.warmup, duration: c.duration}
	if err := b.run(ctx); err != nil {
		return err
	}
	c.found.feedResults = b.found
	return nil
}
