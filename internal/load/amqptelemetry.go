package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
)

// RunTelemetryAMQP is RunTelemetry over AMQP: a connection and a token for each device, unsettled transfers; an accepted outcome is an
// acknowledgement. t is an AMQP listener. Any other outcome, and a lost link, is an error in the result. QoS plays no part.
func RunTelemetryAMQP(ctx context.Context, s *Service, t Target, logins []Login, o Telemetry) (*Result, error) {
	o.QoS = 1
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	pumps, done, err := openPumps(ctx, s, t, logins, o)
	if err != nil {
		return nil, err
	}
	defer done()
	base := time.Now()
	stop := watch(pumps[0].count.acked.Load, o.Live)
	runAMQP(ctx, base, pumps, o)
	stop()
	r := amqpResult(pumps, o)
	r.Kind, r.Rate = "telemetry-amqp", o.Rate
	var all Histogram
	for _, p := range pumps {
		p.mu.Lock()
		all.Merge(&p.hist)
		p.mu.Unlock()
	}
	r.finish(&all, pumps[0].failed, min(o.Duration, max(0, time.Since(base)-o.Warmup)))
	return r, nil
}

// openPumps connects all devices; done closes the connections.
func openPumps(ctx context.Context, s *Service, t Target, logins []Login, o Telemetry) (pumps []*amqpPump, done func(), err error) {
	peers, err := openPeers(ctx, len(logins), func(ctx context.Context, i int) (*peer, error) { return s.openDevice(ctx, t, &logins[i]) })
	if err != nil {
		return nil, nil, err
	}
	count, failed, payload := new(counter), new(faults), telemetryMessage(o.Size)
	pumps = make([]*amqpPump, len(peers))
	for i, c := range peers {
		pumps[i] = &amqpPump{id: logins[i].ClientID, p: c, payload: payload, count: count, failed: failed}
		if err := pumps[i].attach(ctx, o.Window); err != nil {
			closePeers(peers)
			return nil, nil, fmt.Errorf("%s: the telemetry link: %w", logins[i].ClientID, err)
		}
	}
	return pumps, func() { closePeers(peers) }, nil
}

// telemetryMessage is an encoded message with a body of the size.
func telemetryMessage(size int) []byte { return amqp.AppendData(nil, body(size)) }

// runAMQP returns when all pumps have ended.
func runAMQP(ctx context.Context, base time.Time, pumps []*amqpPump, o Telemetry) {
	for i, p := range pumps {
		if o.Rate > 0 {
			own := newPace(base, o.Rate, i, len(pumps))
			p.sched = &own
		}
		p.begin(base, o.Warmup, o.Duration)
	}
	var all sync.WaitGroup
	for _, p := range pumps {
		all.Go(func() { p.run(ctx) })
	}
	all.Wait()
}

func amqpResult(pumps []*amqpPump, o Telemetry) *Result {
	c := pumps[0].count
	return &Result{Connections: len(pumps), Window: o.Window, Size: o.Size, Sent: c.sent.Load(), Answered: c.acked.Load(),
		Unsent: c.unsent.Load(), Done: c.inTime.Load()}
}

// storeTime is the longest that storing events may take.
const storeTime = time.Hour

// storeAMQP sends n messages, and returns when all are acknowledged.
func storeAMQP(ctx context.Context, s *Service, t Target, logins []Login, n int64, o Telemetry) error {
	o.QoS, o.Duration = 1, storeTime
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	pumps, done, err := openPumps(ctx, s, t, logins, o)
	if err != nil {
		return err
	}
	defer done()
	budget := new(atomic.Int64)
	budget.Store(n)
	for _, p := range pumps {
		p.budget = budget
	}
	stop := watch(pumps[0].count.acked.Load, o.Live)
	runAMQP(ctx, time.Now(), pumps, o)
	stop()
	if got := pumps[0].count.acked.Load(); got < n && ctx.Err() == nil {
		_, last := pumps[0].failed.read()
		return fmt.Errorf("only %d of %d events could be stored: %s", got, n, last)
	}
	return ctx.Err()
}
