package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/load"
)

// comparison is what the flags of bench compare say, and what it found.
type comparison struct {
	e *env

	mosquitto, folder                 string
	rounds, idle, connections, window int
	size, twinWindow, methodWindow    int
	sims                              int
	events                            int64
	warmup, duration, settle          time.Duration
	found                             compared
}

// compared is the result of bench compare.
type compared struct {
	CPUs        int     `json:"cpus"`
	Connections int     `json:"connections"`
	Window      int     `json:"window"`
	Size        int     `json:"size"`
	Rounds      []round `json:"rounds"`
	Nave        float64 `json:"naveMedian"`      // synced acknowledgements a second
	Mosquitto   float64 `json:"mosquittoMedian"` // of acknowledgements that nothing is written for
	Ratio       float64 `json:"ratio"`

	HalfLoad *load.Result `json:"halfLoad,omitempty"`
	// Latency at 1.25 times mosquitto's rate: half of the rate that is aimed at.
	Steady  *load.Result `json:"steadyLoad,omitempty"`
	Twin    *load.Result `json:"twin,omitempty"`
	Method  *load.Result `json:"method,omitempty"`
	Connect *load.Result `json:"connectTLS,omitempty"`
	backEndResults
	feedResults
	provisionResults
	simResults
	Plain *load.HoldResult `json:"idlePlain,omitempty"`
	TLS   *load.HoldResult `json:"idleTLS,omitempty"`
}

// round is one measurement of both.
type round struct {
	Mosquitto *load.Result `json:"mosquitto"`
	Nave      *load.Result `json:"nave"`
}

func benchCompare(e *env) *cobra.Command {
	c := &comparison{e: e}
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Measure this nave against mosquitto, on this machine",
		Long: `compare starts nave and mosquitto in turn, each fresh, and gives both the same load:
publishes of QoS 1 over plain MQTT on loopback. mosquitto takes them from anybody and
writes nothing; nave authenticates each device, checks everything and acknowledges what
is synced to disk. Then it measures nave alone: latency at half of its rate, twins,
methods, connections with TLS, telemetry over AMQP, events read over Event Hubs
links, round trips of commands, feed data of control devices, registrations at the
provisioning service, lists and changes of SIMs, and the memory of idle connections.

Servers and load share this machine's processors, so that ratios carry over to others,
and absolute figures do not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.mosquitto, "mosquitto", "", "the program to compare with (mosquitto in PATH or sbin)")
	f.StringVar(&c.folder, "folder", "", "where nave's data goes, and so the disk that is measured (the system's folder for temporary files)")
	f.IntVar(&c.rounds, "rounds", 3, "rounds of both; 0: leave the comparison out")
	f.IntVarP(&c.connections, "connections", "c", 50, "connections, each a device")
	f.IntVarP(&c.window, "window", "w", 100, "unacknowledged messages a connection")
	f.IntVar(&c.size, "size", 256, "bytes of a payload")
	f.DurationVarP(&c.duration, "duration", "t", 5*time.Second, "how long each measurement takes")
	f.DurationVar(&c.warmup, "warmup", time.Second, "how long to run before each")
	f.IntVar(&c.idle, "idle", 10_000, "idle connections for the memory, plain and TLS; 0: leave it out")
	f.DurationVar(&c.settle, "settle", 30*time.Second, "longest wait for nave's memory to stand still")
	f.IntVar(&c.twinWindow, "twin-window", 8, "twin patches under way for each device")
	f.Int64Var(&c.events, "events", 1_000_000, "events that are stored and read over Event Hubs links")
	f.IntVar(&c.sims, "sims", 1_000_000, "SIMs for the measurements of the connectivity API; 0: leave them out")
	f.IntVar(&c.methodWindow, "method-window", 1, "method calls under way for each device")
	return cmd
}

func (c *comparison) run(ctx context.Context) error {
	if c.rounds < 0 || c.idle < 0 || c.sims != 0 && c.sims < 1000 || c.connections < 1 || c.duration <= 0 || c.events < 1 {
		return misuse("", "--rounds and --idle can't be negative, --sims is 0 or at least 1000, --connections, --events and --duration must be positive")
	}
	c.found = compared{CPUs: runtime.NumCPU(), Connections: c.connections, Window: c.window, Size: c.size}
	for _, part := range []func(context.Context) error{c.race, c.alone, c.backEnd, c.feed, c.provision, c.connectivity, c.idlePlain, c.idleTLS} {
		if err := part(ctx); err != nil {
			return loadFailure(err)
		}
	}
	if c.e.json() {
		return c.e.printJSON(&c.found)
	}
	return c.e.showCompared(&c.found)
}

func (c *comparison) telemetry(rate float64, live func(load.Live)) load.Telemetry {
	return load.Telemetry{Window: c.window, Size: c.size, QoS: 1, Rate: rate, Warmup: c.warmup, Duration: c.duration, Live: live}
}

// race is the comparison.
func (c *comparison) race(ctx context.Context) error {
	if c.rounds == 0 {
		return nil
	}
	path, err := findMosquitto(c.mosquitto)
	if err != nil {
		return err
	}
	var theirs, ours []float64
	for i := range c.rounds {
		var r round
		if r.Mosquitto, err = c.oneMosquitto(ctx, path, i); err != nil {
			return err
		}
		err = c.withNave(ctx, c.connections, func(n *naveChild, logins []load.Login) error {
			r.Nave, err = c.show(fmt.Sprintf("Round %d, nave:", i+1), func(live func(load.Live)) (*load.Result, error) {
				return load.RunTelemetry(ctx, n.plainTarget(), logins, c.telemetry(0, live))
			})
			return err
		})
		if err != nil {
			return err
		}
		c.found.Rounds = append(c.found.Rounds, r)
		theirs, ours = append(theirs, r.Mosquitto.PerSecond), append(ours, r.Nave.PerSecond)
	}
	c.found.Mosquitto, c.found.Nave = median(theirs), median(ours)
	if c.found.Mosquitto > 0 {
		c.found.Ratio = c.found.Nave / c.found.Mosquitto
	}
	return nil
}

func (c *comparison) oneMosquitto(ctx context.Context, path string, i int) (*load.Result, error) {
	m, target, err := startMosquitto(ctx, path)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	logins := brokerLogins(load.Devices("bench-", c.connections), "devices/{id}/messages/events/", "", "")
	return c.show(fmt.Sprintf("Round %d, mosquitto:", i+1), func(live func(load.Live)) (*load.Result, error) {
		return load.RunTelemetry(ctx, target, logins, c.telemetry(0, live))
	})
}

// show measures with a line of progress. A measurement with errors is none.
func (c *comparison) show(label string, f func(live func(load.Live)) (*load.Result, error)) (*load.Result, error) {
	settle()
	p := c.e.progress(label)
	defer p.end()
	r, err := f(meter(p))
	if err != nil {
		return nil, fmt.Errorf("%s %w", label, err)
	}
	if r.Errors > 0 {
		return nil, fmt.Errorf("%s %d errors, the last: %s", label, r.Errors, r.LastError)
	}
	return r, nil
}

// withNave starts a fresh node with so many devices.
func (c *comparison) withNave(ctx context.Context, devices int, f func(*naveChild, []load.Login) error) error {
	n, err := startNave(ctx, c.folder)
	if err != nil {
		return err
	}
	defer n.stop()
	p := c.e.progress("Creating devices")
	logins, err := n.logins(ctx, devices, p.step)
	p.end()
	if err != nil {
		return err
	}
	if err := f(n, logins); err != nil {
		if text := n.said.String(); text != "" {
			err = fmt.Errorf("%w; the node said: %s", err, text)
		}
		return err
	}
	return ctx.Err()
}

// alone measures nave: half of its rate, twins, methods, connections.
func (c *comparison) alone(ctx context.Context) error {
	return c.withNave(ctx, c.connections, func(n *naveChild, logins []load.Login) (err error) {
		o := load.Requests{Window: c.twinWindow, Warmup: c.warmup, Duration: c.duration}
		c.found.Twin, err = c.show("Twins:", func(live func(load.Live)) (*load.Result, error) {
			o.Live = live
			return load.RunTwin(ctx, n.plainTarget(), logins, o)
		})
		if err != nil {
			return err
		}
		c.found.Method, err = c.show("Methods:", func(live func(load.Live)) (*load.Result, error) {
			o.Window, o.Live = c.methodWindow, live
			return load.RunMethod(ctx, n.hub.Service, n.plainTarget(), logins, o)
		})
		if err != nil {
			return err
		}
		c.found.Connect, err = c.show("Connections:", func(live func(load.Live)) (*load.Result, error) {
			return load.RunConnect(ctx, n.hub.Target(), logins[:min(16, len(logins))], c.warmup, c.duration, live)
		})
		if err != nil {
			return err
		}
		// Last: the disk is busy for some seconds with what the race has left.
		if err = c.atRate(ctx, n, logins, "Half load:", c.found.Nave/2, &c.found.HalfLoad); err != nil {
			return err
		}
		return c.atRate(ctx, n, logins, "Steady load:", 1.25*c.found.Mosquitto, &c.found.Steady)
	})
}

// atRate measures latency at a rate; nothing at zero.
func (c *comparison) atRate(ctx context.Context, n *naveChild, logins []load.Login, label string, rate float64, to **load.Result) (err error) {
	if rate <= 0 {
		return nil
	}
	*to, err = c.show(label, func(live func(load.Live)) (*load.Result, error) {
		return load.RunTelemetry(ctx, n.plainTarget(), logins, c.telemetry(rate, live))
	})
	return err
}

func (c *comparison) idlePlain(ctx context.Context) (err error) {
	c.found.Plain, err = c.hold(ctx, "Idle, plain:", (*naveChild).plainTarget)
	return err
}

func (c *comparison) idleTLS(ctx context.Context) (err error) {
	c.found.TLS, err = c.hold(ctx, "Idle, TLS:", func(n *naveChild) load.Target { return n.hub.Target() })
	return err
}

// hold measures the memory of idle connections on a fresh node.
func (c *comparison) hold(ctx context.Context, label string, target func(*naveChild) load.Target) (r *load.HoldResult, err error) {
	if c.idle == 0 {
		return nil, nil
	}
	err = c.withNave(ctx, c.idle, func(n *naveChild, logins []load.Login) error {
		p := c.e.progress(label)
		defer p.end()
		r, err = load.RunHold(ctx, target(n), logins, load.HoldOptions{PID: n.pid(), Settle: c.settle, Step: p.step,
			Note: func(text string) { p.note("%s", text) }})
		return err
	})
	return r, err
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	if n%2 == 1 {
		return all[n/2]
	}
	return (all[n/2-1] + all[n/2]) / 2
}

func (e *env) showCompared(c *compared) error {
	if len(c.Rounds) > 0 {
		e.print("Acknowledged QoS 1 publishes a second: %d connections, window %d, %d bytes, plain MQTT on loopback, %d processors for servers and load.",
			c.Connections, c.Window, c.Size, c.CPUs)
		e.print("")
		t := newTable("ROUND", "MOSQUITTO (not stored)", "NAVE (synced)", "RATIO")
		for i, r := range c.Rounds {
			t.add(fmt.Sprint(i+1), fmt.Sprintf("%.0f", r.Mosquitto.PerSecond), fmt.Sprintf("%.0f", r.Nave.PerSecond),
				fmt.Sprintf("%.2f", r.Nave.PerSecond/max(1, r.Mosquitto.PerSecond)))
		}
		t.add("median", fmt.Sprintf("%.0f", c.Mosquitto), fmt.Sprintf("%.0f", c.Nave), fmt.Sprintf("%.2f", c.Ratio))
		if err := e.table(t); err != nil {
			return err
		}
		e.print("")
	}
	rate := func(r *load.Result, what string) string {
		if r == nil {
			return ""
		}
		return fmt.Sprintf("%.0f %s a second; %s", r.PerSecond, what, latencyOf(r))
	}
	idle := func(r *load.HoldResult) string {
		if r == nil {
			return ""
		}
		return fmt.Sprintf("%.1f KB resident a connection, %d of %d alive; sockets and TCP buffers are the kernel's, and not in it", r.BytesPer/1e3, r.Alive, r.Connections)
	}
	e.facts("Half load", rate(c.HalfLoad, "acknowledged"), "1.25 x mosquitto", rate(c.Steady, "acknowledged"), "Twins", rate(c.Twin, "patches, synced"), "Methods", rate(c.Method, "calls"),
		"Connections", rate(c.Connect, "with TLS"), "AMQP telemetry", rate(c.AMQP, "accepted and synced"), "Events", c.eventsText(), "Commands", c.commandsText(), "Idle, plain", idle(c.Plain), "Idle, TLS", idle(c.TLS))
	if lines := slices.Concat(c.feedResults.lines(), c.provisionResults.lines(), c.simResults.lines()); lines != nil {
		e.facts(lines...)
	}
	return nil
}

func latencyOf(r *load.Result) string {
	if r.Latency == nil {
		return "no latency"
	}
	return latencyText(r.Latency)
}
