package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/load"
)

// bench is what the flags of the bench commands say.
type bench struct {
	e     *env
	reach reach

	url, username, password, topic, prefix    string
	plain, amqp                               bool
	connections, window, size, qos, hold, pid int
	rate                                      float64
	warmup, duration, settle                  time.Duration
}

func benchCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a hub, or any MQTT broker",
		Long: `bench makes load and measures the answers. The server is the node on this machine,
the hub of --login, or with --url any MQTT 3.1.1 broker (telemetry and connect only).
On a hub it creates devices for the time of the run.

A closed loop (the default) keeps a window of requests under way and finds the
highest rate; its latencies say more about the window than about the server. With
--rate the load is given, and each latency is measured from the moment at which
the message was due.`,
	}
	cmd.AddCommand(benchTelemetry(e), benchConnect(e), benchMethod(e), benchTwin(e), benchEvents(e), benchC2D(e), benchFeed(e), benchProvision(e), benchSIM(e), benchCompare(e))
	return cmd
}

// common adds the flags of all measurements of one server.
func (b *bench) common(cmd *cobra.Command, connections int) {
	f := cmd.Flags()
	f.IntVarP(&b.connections, "connections", "c", connections, "how many connections, each a device")
	f.DurationVarP(&b.duration, "duration", "t", 5*time.Second, "how long to measure")
	f.DurationVar(&b.warmup, "warmup", time.Second, "how long to run before measuring")
	f.StringVar(&b.prefix, "prefix", "", "beginning of the device or client ids (bench-, and six digits that are new each time)")
	f.BoolVar(&b.plain, "plain", false, "use the listener without TLS of the node on this machine (listen.mqttPlain, listen.amqpPlain)")
	b.reach.flags(cmd)
}

func (b *bench) broker(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.url, "url", "", "measure this broker: mqtt://host:port or mqtts://host:port")
	f.StringVar(&b.username, "username", "", "user name for --url")
	f.StringVar(&b.password, "password", "", "password for --url")
}

func benchTelemetry(e *env) *cobra.Command {
	b := &bench{e: e}
	cmd := &cobra.Command{
		Use:   "telemetry",
		Short: "Publishes and their acknowledgements",
		Example: `  nave bench telemetry
  nave bench telemetry --rate 20000 --duration 30s
  nave bench telemetry --amqp
  nave bench telemetry --url mqtt://127.0.0.1:1883`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.qos < 0 || b.qos > 1 {
				return misuse("", "--qos is %d, 0 and 1 are possible", b.qos)
			}
			o := load.Telemetry{Window: b.window, Size: b.size, QoS: byte(b.qos), Rate: b.rate, Warmup: b.warmup, Duration: b.duration}
			if b.amqp && (b.url != "" || b.qos != 1) {
				return misuse("", "--amqp measures a hub and has no QoS: leave --url and --qos out")
			}
			return b.measure(cmd.Context(), func(ctx context.Context, t load.Target, h *loadHub, logins []load.Login, live func(load.Live)) (*load.Result, error) {
				o.Live = live
				if b.amqp {
					return load.RunTelemetryAMQP(ctx, h.Service, t, logins, o)
				}
				return load.RunTelemetry(ctx, t, logins, o)
			})
		},
	}
	b.common(cmd, 50)
	b.broker(cmd)
	f := cmd.Flags()
	f.IntVarP(&b.window, "window", "w", 100, "unacknowledged messages a connection")
	f.IntVar(&b.size, "size", 256, "bytes of a payload")
	f.BoolVar(&b.amqp, "amqp", false, "over AMQP: unsettled transfers, and the hub's accepted outcomes")
	b.reach.flagAMQP(cmd)
	f.IntVar(&b.qos, "qos", 1, "quality of service, 0 or 1")
	f.Float64VarP(&b.rate, "rate", "r", 0, "messages a second of all connections; 0: as many as the window lets")
	f.StringVar(&b.topic, "topic", "bench/{id}", "topic for --url; {id} is the client id")
	return cmd
}

func benchConnect(e *env) *cobra.Command {
	b := &bench{e: e}
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Fresh connections, or idle ones with --hold",
		Long: `connect opens connections and closes them again, each with a TLS handshake of its own.
With --hold it opens that many, leaves them idle and, with --pid, reads the resident
memory of the server's process before and after.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.hold > 0 {
				return b.holdIdle(cmd.Context())
			}
			return b.measure(cmd.Context(), func(ctx context.Context, t load.Target, _ *loadHub, logins []load.Login, live func(load.Live)) (*load.Result, error) {
				return load.RunConnect(ctx, t, logins, b.warmup, b.duration, live)
			})
		},
	}
	b.common(cmd, 16)
	b.broker(cmd)
	f := cmd.Flags()
	f.IntVar(&b.hold, "hold", 0, "open so many connections and hold them idle")
	f.IntVar(&b.pid, "pid", 0, "process id of the server, for its memory")
	f.DurationVar(&b.settle, "settle", 30*time.Second, "longest wait for the server's memory to stand still")
	return cmd
}

func benchMethod(e *env) *cobra.Command {
	b := &bench{e: e}
	cmd := &cobra.Command{
		Use:   "method",
		Short: "Direct methods, called over REST and answered over MQTT",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.measure(cmd.Context(), func(ctx context.Context, t load.Target, h *loadHub, logins []load.Login, live func(load.Live)) (*load.Result, error) {
				return load.RunMethod(ctx, h.Service, t, logins, b.requests(live))
			})
		},
	}
	b.common(cmd, 50)
	b.requestFlags(cmd, 1)
	return cmd
}

func benchTwin(e *env) *cobra.Command {
	b := &bench{e: e}
	cmd := &cobra.Command{
		Use:   "twin",
		Short: "Patches of reported properties over MQTT",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.measure(cmd.Context(), func(ctx context.Context, t load.Target, _ *loadHub, logins []load.Login, live func(load.Live)) (*load.Result, error) {
				return load.RunTwin(ctx, t, logins, b.requests(live))
			})
		},
	}
	b.common(cmd, 50)
	b.requestFlags(cmd, 8)
	return cmd
}

func (b *bench) requestFlags(cmd *cobra.Command, window int) {
	cmd.Flags().IntVarP(&b.window, "window", "w", window, "requests under way for each device")
	cmd.Flags().IntVar(&b.size, "size", 64, "bytes of a payload")
}

func (b *bench) requests(live func(load.Live)) load.Requests {
	return load.Requests{Window: b.window, Size: b.size, Warmup: b.warmup, Duration: b.duration, Live: live}
}

// measurement is one of the load package's.
type measurement func(ctx context.Context, t load.Target, h *loadHub, logins []load.Login, live func(load.Live)) (*load.Result, error)

// measure prepares the server, measures and prints the result.
func (b *bench) measure(ctx context.Context, f measurement) error {
	if b.duration <= 0 || b.warmup < 0 {
		return misuse("", "--duration must be positive, and --warmup not negative")
	}
	return b.with(ctx, b.connections, func(t load.Target, h *loadHub, logins []load.Login) error {
		p := b.e.progress("Measuring")
		r, err := f(ctx, t, h, logins, meter(p))
		p.end()
		if err != nil {
			return err
		}
		if b.e.json() {
			return b.e.printJSON(r)
		}
		b.e.showResult(r)
		return nil
	})
}

// target is where the measurement connects.
func (b *bench) target(h *loadHub) (load.Target, error) {
	switch {
	case b.amqp:
		return b.targetAMQP(h)
	case !b.plain:
		return h.Target(), nil
	case h.plain == "":
		return load.Target{}, misuse("Start the node with NAVE_LISTEN_MQTTPLAIN=127.0.0.1:1883.", "the node has no plain MQTT listener")
	}
	return load.Target{Address: h.plain}, nil
}

// meter shows the rate since its last call.
func meter(p *progress) func(load.Live) {
	var last load.Live
	return func(l load.Live) {
		if s := (l.Elapsed - last.Elapsed).Seconds(); s > 0 {
			p.note("%.1f s: %.0f/s", l.Elapsed.Seconds(), float64(l.Answered-last.Answered)/s)
		}
		last = l
	}
}

// with calls f with so many logins for the server that the flags name.
func (b *bench) with(ctx context.Context, n int, f func(load.Target, *loadHub, []load.Login) error) error {
	if n < 1 || n > 100_000 {
		return misuse("", "%d connections are not possible, 1 to 100000 are", n)
	}
	if b.prefix == "" {
		var digits [3]byte
		rand.Read(digits[:])
		b.prefix = "bench-" + hex.EncodeToString(digits[:]) + "-"
	}
	devices := load.Devices(b.prefix, n)
	if b.url != "" {
		return b.withBroker(devices, f)
	}
	h, err := b.e.loadHub(ctx, &b.reach, b.connections*max(1, b.window))
	if err != nil {
		return err
	}
	defer h.Close()
	t, err := b.target(h)
	if err != nil {
		return err
	}
	return b.e.withDevices(ctx, h, devices, keepOptions{}, func() error {
		logins, err := h.Logins(devices)
		if err != nil {
			return err
		}
		return f(t, h, logins)
	})
}

func (b *bench) withBroker(devices []load.Device, f func(load.Target, *loadHub, []load.Login) error) error {
	conf, err := load.TLSConfig(b.e.ca, b.reach.insecure)
	if err != nil {
		return trouble("Name a PEM file with --ca.", "%w", err)
	}
	t, err := load.ParseTarget(b.url, conf)
	if err != nil {
		return misuse("", "--url: %v", err)
	}
	return loadFailure(f(t, nil, brokerLogins(devices, b.topic, b.username, b.password)))
}

func brokerLogins(devices []load.Device, topic, username, password string) []load.Login {
	logins := make([]load.Login, len(devices))
	for i, d := range devices {
		logins[i] = load.Login{ClientID: d.ID, Username: username, Topic: strings.ReplaceAll(topic, "{id}", d.ID)}
		if password != "" {
			logins[i].Password = []byte(password)
		}
	}
	return logins
}

func (b *bench) holdIdle(ctx context.Context) error {
	return b.with(ctx, b.hold, func(t load.Target, _ *loadHub, logins []load.Login) error {
		p := b.e.progress("Connecting")
		r, err := load.RunHold(ctx, t, logins, load.HoldOptions{PID: b.pid, Settle: b.settle, Step: p.step, Note: func(text string) { p.note("%s", text) }})
		p.end()
		if err != nil {
			return err
		}
		if b.e.json() {
			return b.e.printJSON(r)
		}
		b.e.showHold(r)
		return nil
	})
}

func (e *env) showResult(r *load.Result) {
	what := map[string]string{"telemetry": "acknowledgements", "telemetry-amqp": "accepted outcomes", "events": "events, each exactly once and in order", "c2d": "round trips", "connect": "connections", "method": "calls", "twin": "patches"}[r.Kind]
	if r.Kind == "telemetry" && r.QoS == 0 {
		what = "messages, sent and not acknowledged"
	}
	rate := fmt.Sprintf("%.0f %s a second", r.PerSecond, what)
	if r.BytesPerSecond > 0 {
		rate += fmt.Sprintf(", %.1f MB/s of payload", r.BytesPerSecond/1e6)
	}
	loop := "closed"
	if r.Rate > 0 {
		loop = fmt.Sprintf("open, %.0f a second asked for", r.Rate)
	}
	setting := fmt.Sprintf("%d connections, %s loop", r.Connections, loop)
	if r.Window > 0 {
		setting += fmt.Sprintf(", window %d, %d bytes", r.Window, r.Size)
	}
	latency, unsent, failed, pause := "", "", "", ""
	if r.Kind == "c2d" {
		pause = "the hub's pause between two feedback messages is in the latency: hub.feedbackEvery, 15s by default; --duration has to be longer"
	}
	if r.Latency != nil {
		latency = latencyText(r.Latency)
	}
	if r.Unsent > 0 {
		unsent = fmt.Sprintf("%d, which were due while the window was full", r.Unsent)
	}
	if r.Errors > 0 {
		failed = fmt.Sprintf("%d, last: %s", r.Errors, r.LastError)
	}
	e.facts("Load", setting, "Rate", rate, "Latency", latency, "Answered", fmt.Sprintf("%d of %d in all, %d in the %.1f s measured", r.Answered, r.Sent, r.Done, r.Seconds),
		"Not sent", unsent, "Errors", failed, "Pause", pause)
}

func (e *env) showHold(r *load.HoldResult) {
	kind := "plain"
	if r.TLS {
		kind = "TLS"
	}
	memory, kernel := "", ""
	if r.PID != 0 {
		memory = fmt.Sprintf("%.1f KB a connection: %.1f MB resident before, %.1f MB after", r.BytesPer/1e3, float64(r.Before)/1e6, float64(r.After)/1e6)
		kernel = fmt.Sprintf("%.1f MB more in TCP buffers of this machine; they and the sockets themselves are in no process's memory", float64(r.Kernel)/1e6)
	}
	e.facts("Connections", fmt.Sprintf("%d %s, %d alive at the end", r.Connections, kind, r.Alive), "Opened", fmt.Sprintf("in %.1f s, %.0f a second", r.Seconds, r.PerSecond),
		"Server's memory", memory, "Kernel", kernel)
}
