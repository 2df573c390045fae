package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/load"
)

// provisionResults are the measurements of registrations.
type provisionResults struct {
	HTTPS *load.Result `json:"provisionHTTPS,omitempty"`
	MQTT  *load.Result `json:"provisionMQTT,omitempty"`
	Echo  *load.Result `json:"provisionEcho,omitempty"` // requests a second to a bare HTTPS server
	Ratio float64      `json:"provisionRatio,omitempty"`
}

// provisionBench is what the flags of bench provision say.
type provisionBench struct {
	e                *env
	clients, window  int
	over             string
	keep             bool // leave what was registered: the node goes away
	warmup, duration time.Duration
	found            provisionResults
}

func benchProvision(e *env) *cobra.Command {
	b := &provisionBench{e: e}
	cmd := &cobra.Command{
		Use:   "provision",
		Short: "Whole registrations of devices at the provisioning service",
		Long: `provision registers new devices of a symmetric-key group at the provisioning service of
the node on this machine: each registers and asks until it is assigned, when its
identity and twin are on its hub's disk. Over HTTPS requests share connections that are
kept; over MQTT each device has a connection of its own, with a TLS handshake.

The service asks devices to come back after 3 s and answers 200 as soon as it is
finished: the first question comes at once here, later ones obey the pause. The service
has no long wait, so that a closed loop needs many devices under way (--window).

In the same run a bare HTTPS server that decodes and encodes the same JSON gives the
requests a second to compare with. What was made is deleted at the end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.clients < 1 || b.window < 1 || b.duration <= 0 || b.warmup < 0 {
				return misuse("", "--connections, --window and --duration must be positive")
			}
			if b.over != "" && b.over != load.OverHTTPS && b.over != load.OverMQTT {
				return misuse("", "--over is %q, https and mqtt are possible", b.over)
			}
			if e.login != "" {
				return misuse("Leave --login away.", "bench provision needs the console of a node")
			}
			if err := b.run(cmd.Context()); err != nil {
				return provisionFailure(err)
			}
			if e.json() {
				return e.printJSON(&b.found)
			}
			e.facts(b.found.lines()...)
			return nil
		},
	}
	f := cmd.Flags()
	f.IntVarP(&b.clients, "connections", "c", 50, "kept HTTPS connections; over MQTT, devices that are busy at the same time")
	f.IntVarP(&b.window, "window", "w", 1000, "devices under way")
	f.StringVar(&b.over, "over", "", "only https or mqtt (both)")
	f.DurationVarP(&b.duration, "duration", "t", 5*time.Second, "how long each measurement takes")
	f.DurationVar(&b.warmup, "warmup", 2*time.Second, "how long to run before each")
	return cmd
}

func (b *provisionBench) run(ctx context.Context) error {
	var digits [3]byte
	rand.Read(digits[:])
	run := "bench-" + hex.EncodeToString(digits[:])
	w := &crew{e: b.e, s: &simulation{prefix: run, enrol: enrolFlags{group: run}}}
	if err := w.join(ctx); err != nil {
		return err
	}
	var devices []load.Device
	if !b.keep {
		defer func() { w.leave(context.WithoutCancel(ctx), devices) }()
	}
	if b.over != load.OverMQTT {
		if err := b.echo(ctx); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		over  string
		found **load.Result
	}{{load.OverHTTPS, &b.found.HTTPS}, {load.OverMQTT, &b.found.MQTT}} {
		if b.over != "" && b.over != m.over {
			continue
		}
		r, made, err := b.measure(ctx, w, m.over, run)
		devices = append(devices, made...)
		if err != nil {
			return err
		}
		*m.found = r
	}
	if b.found.Echo != nil && b.found.HTTPS != nil {
		b.found.Ratio = b.found.HTTPS.PerSecond * (1 + b.found.HTTPS.Polls) / max(1, b.found.Echo.PerSecond)
	}
	return nil
}

func (b *provisionBench) measure(ctx context.Context, w *crew, over, run string) (*load.Result, []load.Device, error) {
	o, err := b.e.provisionOptions(ctx, &dpsReach{over: over})
	if err != nil {
		return nil, nil, err
	}
	o.Parallel = b.clients
	p, err := load.NewProvisioner(*o)
	if err != nil {
		return nil, nil, err
	}
	defer p.Close()
	bar := b.e.progress("Provisioning over " + over + ":")
	r, made, err := load.RunProvision(ctx, p, load.ProvisionRun{Key: w.key, Prefix: run + "-" + over + "-", Window: b.window, Warmup: b.warmup, Duration: b.duration, Live: meter(bar)})
	bar.end()
	if err == nil && r.Errors > 0 {
		err = fmt.Errorf("provisioning over %s: %d errors, the last: %s", over, r.Errors, r.LastError)
	}
	return r, made, err
}

// echo measures a bare HTTPS server with bodies of about the size.
func (b *provisionBench) echo(ctx context.Context) error {
	echo, err := load.OpenEcho()
	if err != nil {
		return err
	}
	defer echo.Close()
	clients := make([]load.FeedClient, b.clients)
	for i := range clients {
		clients[i] = load.FeedClient{Host: "localhost", Device: "echo", Sensor: "registrationId", Token: "echo"}
	}
	bar := b.e.progress("Echo:")
	b.found.Echo, err = load.RunFeed(ctx, echo.Target, clients, load.Feed{Path: "/", Warmup: b.warmup, Duration: b.duration, Live: meter(bar)})
	bar.end()
	return err
}

// lines returns names and texts for people.
func (f *provisionResults) lines() (lines []string) {
	text := func(r *load.Result) string {
		return fmt.Sprintf("%.0f registrations a second until assigned, %.2f questions each (the first at once, later ones after the service's 3 s), %d devices under way; %s",
			r.PerSecond, r.Polls, r.Window, latencyOf(r))
	}
	if f.HTTPS != nil {
		lines = append(lines, "Provisioning, HTTPS", text(f.HTTPS)+fmt.Sprintf("; %d connections, requests %.2f of a bare HTTPS echo of JSON", f.HTTPS.Connections, f.Ratio))
	}
	if f.MQTT != nil {
		lines = append(lines, "Provisioning, MQTT", text(f.MQTT)+"; a TLS connection for each device")
	}
	return lines
}

// provision measures registrations on a fresh node.
func (c *comparison) provision(ctx context.Context) error {
	n, err := startNave(ctx, c.folder)
	if err != nil {
		return err
	}
	defer n.stop()
	b := &provisionBench{e: &env{data: n.dir, environ: func(string) string { return "" }, err: c.e.err, live: c.e.live}, clients: c.connections, window: 1000, keep: true,
		warmup: max(c.warmup, 2*time.Second), duration: c.duration}
	if err := b.run(ctx); err != nil {
		return fmt.Errorf("%w; the node said: %s", err, n.said)
	}
	c.found.provisionResults = b.found
	return nil
}
