package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nave-hub/nave/internal/load"
)

// compareFeedback is the pause between feedback messages of the node that bench compare starts: with the default, 15 s as specified, the
// round trip of a command would measure nothing but that pause.
const compareFeedback = time.Millisecond

// targetAMQP is where the measurement connects by AMQP.
func (b *bench) targetAMQP(h *loadHub) (load.Target, error) {
	if !b.plain {
		return h.AMQP(), nil
	}
	if h.plainAMQP == "" {
		return load.Target{}, misuse("Start the node with NAVE_LISTEN_AMQPPLAIN=127.0.0.1:5672.", "the node has no plain AMQP listener")
	}
	return load.Target{Address: h.plainAMQP}, nil
}

func benchEvents(e *env) *cobra.Command {
	b := &bench{e: e, amqp: true}
	var o load.Events
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Stored events, read over Event Hubs links",
		Long: `events reads the hub's events as Event Hubs clients do: one AMQP connection a
partition, consumer group $Default, from the earliest event to the last. When the hub
holds fewer events than --count, bench first stores what lacks, by devices that it
creates; that is not measured, and the events remain. Sequence numbers must ascend, and
as many events must come as were counted before and stored.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Count < 1 || o.Size < 1 || o.Size > 256<<10 || o.Window < 1 {
				return misuse("", "--count, --size and --window must be positive, --size at most 262144")
			}
			return b.with(cmd.Context(), b.connections, func(t load.Target, h *loadHub, logins []load.Login) error {
				r, err := e.readEvents(cmd.Context(), "Events:", h, t, logins, o)
				if err != nil {
					return err
				}
				if e.json() {
					return e.printJSON(r)
				}
				e.showEvents(r)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.Int64VarP(&o.Count, "count", "n", 1_000_000, "events that the hub holds at least")
	f.IntVar(&o.Size, "size", 256, "bytes of an event that is stored")
	f.IntVarP(&o.Window, "window", "w", 1000, "credit of each link")
	f.IntVarP(&b.connections, "connections", "c", 50, "connections that store events, each a device")
	f.StringVar(&b.prefix, "prefix", "", "beginning of the device ids (bench-, and six digits that are new each time)")
	f.BoolVar(&b.plain, "plain", false, "use the plain AMQP listener of the node on this machine (listen.amqpPlain)")
	b.reach.flags(cmd)
	b.reach.flagAMQP(cmd)
	return cmd
}

// readEvents stores and reads with a line of progress for each.
func (e *env) readEvents(ctx context.Context, label string, h *loadHub, t load.Target, logins []load.Login, o load.Events) (*load.Result, error) {
	p := e.progress(label)
	defer p.end()
	stored, read := meter(p), meter(p)
	o.Stored, o.Live = stored, read
	r, err := load.RunEvents(ctx, h.Service, t, logins, o)
	if err == nil && r.Errors > 0 {
		err = fmt.Errorf("%d of %d events were read: %s", r.Answered, r.Sent, r.LastError)
	}
	return r, err
}

func (e *env) showEvents(r *load.Result) {
	e.facts("Load", fmt.Sprintf("%d connections, a partition each, credit %d", r.Connections, r.Window), "Rate", fmt.Sprintf("%.0f events a second", r.PerSecond),
		"Read", fmt.Sprintf("%d of %d in %.1f s, each exactly once and in order", r.Answered, r.Sent, r.Seconds))
}

func benchC2D(e *env) *cobra.Command {
	b := &bench{e: e}
	cmd := &cobra.Command{
		Use:   "c2d",
		Short: "Round trips of cloud-to-device messages: send, acknowledge, feedback",
		Long: `c2d sends messages with ack=full over AMQP to devices on MQTT, which acknowledge them,
and waits for the feedback over AMQP. The latency is that of the whole round.

A hub pauses between two feedback messages when fewer than 64 records wait: 15 s by
default, as specified. That pause is part of the latency; set hub.feedbackEvery to 1ms to
measure the hub itself. Feedback for messages of others is taken while this runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.measure(cmd.Context(), func(ctx context.Context, t load.Target, h *loadHub, logins []load.Login, live func(load.Live)) (*load.Result, error) {
				at, err := b.targetAMQP(h)
				if err != nil {
					return nil, err
				}
				return load.RunC2D(ctx, h.Service, at, t, logins, b.requests(live))
			})
		},
	}
	b.common(cmd, 1)
	b.requestFlags(cmd, 1)
	b.reach.flagAMQP(cmd)
	return cmd
}

// backEndResults is what bench compare finds about AMQP.
type backEndResults struct {
	AMQP     *load.Result `json:"telemetryAMQP,omitempty"`
	Events   *load.Result `json:"events,omitempty"`
	C2D      *load.Result `json:"c2d,omitempty"`
	Feedback float64      `json:"c2dFeedbackEveryMs,omitempty"` // pause between feedback messages of the node that was measured
}

// backEnd measures what goes over AMQP, on a fresh node's listener without TLS.
func (c *comparison) backEnd(ctx context.Context) error {
	return c.withNave(ctx, c.connections, func(n *naveChild, logins []load.Login) (err error) {
		at := load.Target{Address: n.hub.plainAMQP}
		c.found.Events, err = c.e.readEvents(ctx, "Events:", n.hub, at, logins, load.Events{Count: c.events, Size: c.size})
		if err != nil {
			return err
		}
		c.found.C2D, err = c.show("Commands:", func(live func(load.Live)) (*load.Result, error) {
			return load.RunC2D(ctx, n.hub.Service, at, n.plainTarget(), logins[:1], load.Requests{Warmup: c.warmup, Duration: c.duration, Live: live})
		})
		if err != nil {
			return err
		}
		c.found.Feedback = float64(compareFeedback) / float64(time.Millisecond)
		c.found.AMQP, err = c.show("Telemetry over AMQP:", func(live func(load.Live)) (*load.Result, error) {
			return load.RunTelemetryAMQP(ctx, n.hub.Service, at, logins, c.telemetry(0, live))
		})
		return err
	})
}

func (r *backEndResults) eventsText() string {
	if r.Events == nil {
		return ""
	}
	return fmt.Sprintf("%.0f a second read over Event Hubs links; %d of %d, %d partitions", r.Events.PerSecond, r.Events.Answered, r.Events.Sent, r.Events.Connections)
}

func (r *backEndResults) commandsText() string {
	if r.C2D == nil {
		return ""
	}
	return fmt.Sprintf("from send to feedback, one at a time, hub.feedbackEvery=%s (default 15s); %s", compareFeedback, latencyOf(r.C2D))
}
