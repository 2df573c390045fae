package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/load"
)

// simulation is what the flags of simulate say.
type simulation struct {
	reach    reach
	keep     keepOptions
	fleet    load.FleetOptions
	devices  int
	duration time.Duration
	prefix   string
	qos      int
	enrol    enrolFlags
}

func simulateCommand(e *env) *cobra.Command {
	s := &simulation{}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run a fleet of devices against a hub",
		Long: `simulate creates devices on a hub and runs them: each connects by MQTT over TLS with
a SAS token, sends telemetry, answers direct methods with their own payload,
receives messages and desired properties, renews its token, and comes back after a
loss, sending again what was not acknowledged. Ctrl-C disconnects them in order,
deletes them and prints what they did.

With --provision the devices are not created: each registers at the provisioning
service with a key that is derived from its group's, waits until the service has
assigned a hub, and connects there. The group is made when there is none, and deleted
with the devices and their registrations, unless --keep says otherwise.

The hub is the node on this machine, or that of --login.`,
		Example: `  nave simulate --devices 100 --rate 50
  nave simulate --provision --devices 1000 --group fleet
  nave simulate --devices 2000 --rate 500 --duration 10m --twin 30s --output json
  nave simulate --login "HostName=…;SharedAccessKeyName=iothubowner;SharedAccessKey=…"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), e) },
	}
	f := cmd.Flags()
	f.IntVarP(&s.devices, "devices", "n", 10, "how many devices")
	f.Float64VarP(&s.fleet.Rate, "rate", "r", 10, "telemetry messages a second, of all devices together")
	f.DurationVarP(&s.duration, "duration", "t", 0, "how long; 0: until Ctrl-C")
	f.IntVar(&s.fleet.Size, "size", 0, "bytes of a message at least; 0: a measurement")
	f.IntVar(&s.qos, "qos", 1, "quality of service of telemetry, 0 or 1")
	f.StringVar(&s.prefix, "prefix", "sim-", "beginning of the device ids")
	f.BoolVar(&s.fleet.Methods, "methods", true, "answer direct methods with their own payload")
	f.DurationVar(&s.fleet.Twin, "twin", 0, "how often each device reports a property; 0: never")
	f.DurationVar(&s.fleet.TokenLife, "token-life", time.Hour, "life of a device's SAS token; it is renewed before its end")
	f.BoolVar(&s.keep.keep, "keep", false, "leave the devices on the hub")
	f.BoolVar(&s.keep.reuse, "reuse", false, "take devices that exist, with new keys, and leave them")
	s.reach.flags(cmd)
	s.enrol.add(cmd, e)
	return cmd
}

func (s *simulation) check() error {
	switch {
	case !s.enrol.on && (s.enrol.group != "" || s.enrol.reach.over != load.OverMQTT):
		return misuse("Add --provision.", "--group and --provision-over are for fleets that provision themselves")
	case s.devices < 1 || s.devices > 100_000:
		return misuse("", "--devices is %d, 1 to 100000 are possible", s.devices)
	case s.qos < 0 || s.qos > 1:
		return misuse("", "--qos is %d, 0 and 1 are possible", s.qos)
	case s.fleet.Rate < 0:
		return misuse("", "--rate is %g, it can't be negative", s.fleet.Rate)
	case s.duration < 0 || s.fleet.Twin < 0:
		return misuse("", "a duration can't be negative")
	case s.fleet.TokenLife < time.Second:
		return misuse("", "--token-life is %s, it must be 1s at least", s.fleet.TokenLife)
	}
	s.fleet.QoS = byte(s.qos)
	return nil
}

func (s *simulation) run(ctx context.Context, e *env) error {
	if err := s.check(); err != nil {
		return err
	}
	h, err := e.loadHub(ctx, &s.reach, 0)
	if err != nil {
		return err
	}
	defer h.Close()
	if s.enrol.on {
		return s.runProvisioned(ctx, e, h)
	}
	devices := load.Devices(s.prefix, s.devices)
	fleet, err := load.NewFleet(h.Service, h.Target(), devices, s.fleet)
	if err != nil {
		return misuse("", "%v", err)
	}
	err = e.withDevices(ctx, h, devices, s.keep, func() error {
		live(ctx, e, fleet, s.duration)
		return nil
	})
	if err != nil {
		return err
	}
	return e.reportFleet(fleet)
}

// reportFleet prints what a fleet has done.
func (e *env) reportFleet(fleet *load.Fleet) (err error) {
	sum := fleet.Summary()
	if e.json() {
		err = e.printJSON(sum)
	} else {
		e.showFleet(&sum)
	}
	if err == nil && sum.Connects == 0 {
		return trouble("The cause of the last failure: "+sum.LastError, "no device could connect")
	}
	return err
}

// live runs the fleet and shows what it does: a line that is redrawn on a
// terminal, one every ten seconds elsewhere.
func live(ctx context.Context, e *env, fleet *load.Fleet, duration time.Duration) {
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	ended := make(chan struct{})
	go func() { fleet.Run(ctx); close(ended) }()
	every := 10 * time.Second
	if e.live {
		every = 500 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	connecting, running := e.progress("Connecting"), e.progress("Running")
	defer running.end()
	for last, all := (load.Summary{}), false; ; {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		s := fleet.Recent()
		if all = all || s.Connected == int64(s.Devices); !all && s.Errors == 0 && e.live {
			connecting.step(int(s.Connected), s.Devices)
			continue
		}
		text := fleetLine(&s, &last)
		if last = s; e.live {
			running.note("%s", text)
		} else {
			e.say("%s", text)
		}
	}
}

func fleetLine(s, last *load.Summary) string {
	rate := 0.0
	if s.Seconds > last.Seconds {
		rate = float64(s.Sent-last.Sent) / (s.Seconds - last.Seconds)
	}
	text := fmt.Sprintf("%s: %d of %d connected, %d sent (%.0f/s), %d acked", time.Duration(s.Seconds*float64(time.Second)).Round(time.Second),
		s.Connected, s.Devices, s.Sent, rate, s.Acked)
	if s.Latency != nil {
		text += fmt.Sprintf(", ack p50 %.1f ms p99 %.1f ms", s.Latency.P50, s.Latency.P99)
	}
	for _, c := range []struct {
		n    int64
		name string
	}{{s.C2D, "c2d"}, {s.Methods, "methods"}, {s.Desired, "desired"}, {s.Reported, "reported"}} {
		if c.n > 0 {
			text += fmt.Sprintf(", %d %s", c.n, c.name)
		}
	}
	if s.Errors > 0 {
		text += fmt.Sprintf(", %d errors, last: %s", s.Errors, oneLine(s.LastError))
	}
	return text
}

func (e *env) showFleet(s *load.Summary) {
	count := func(n int64) string {
		if n == 0 {
			return ""
		}
		return fmt.Sprint(n)
	}
	telemetry := fmt.Sprintf("%d sent in %.1f s (%.1f/s), %d acknowledged", s.Sent, s.Seconds, s.PerSecond, s.Acked)
	if s.Unacked > 0 {
		telemetry += fmt.Sprintf(", %d not", s.Unacked)
	}
	latency := ""
	if s.Latency != nil {
		latency = latencyText(s.Latency)
	}
	trouble := ""
	if s.Errors > 0 {
		trouble = fmt.Sprintf("%d, last: %s", s.Errors, s.LastError)
	}
	e.facts("Devices", fmt.Sprint(s.Devices), "Telemetry", telemetry, "Acknowledged after", latency, "Sent again", count(s.Resent), "Skipped", count(s.Skipped),
		"Messages received", count(s.C2D), "Methods answered", count(s.Methods), "Desired updates", count(s.Desired), "Reported patches", count(s.Reported),
		"Connections", fmt.Sprint(s.Connects), "Connections lost", count(s.Losses), "Tokens renewed", count(s.Renewals), "Errors", trouble)
}

func latencyText(l *load.Latency) string {
	return fmt.Sprintf("p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", l.P50, l.P90, l.P99, l.Max)
}
