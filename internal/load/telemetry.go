package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Telemetry says how to publish. The zero value of a field means its default.
type Telemetry struct {
	Window   int           // unacknowledged packets a connection; default 100, at most 65,535
	Size     int           // bytes of a payload; default 256
	QoS      byte          // 0 or 1
	Rate     float64       // packets a second in total; 0: as fast as the window lets
	Warmup   time.Duration // sent before measuring begins
	Duration time.Duration // measured; default 5 s
	Live     func(Live)    // called a few times a second; may be nil
}

func (o Telemetry) withDefaults() (Telemetry, error) {
	if o.Window == 0 {
		o.Window = 100
	}
	if o.Size == 0 {
		o.Size = 256
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Second
	}
	switch {
	case o.Window < 1 || o.Window > 65535:
		return o, fmt.Errorf("a window of %d packets is impossible: 1 to 65535 packet identifiers exist", o.Window)
	case o.Size < 0 || o.Size > 256<<10:
		return o, fmt.Errorf("a payload of %d bytes is impossible: 0 to 262144 are taken", o.Size)
	case o.QoS > 1:
		return o, fmt.Errorf("QoS %d is not spoken: 0 or 1 is", o.QoS)
	case o.Rate < 0:
		return o, errors.New("a rate cannot be negative")
	}
	return o, nil
}

// RunTelemetry opens one connection for each login, publishes, and measures. A lost connection is an error in the result and is not
// opened again; the error is for what prevented the measurement, among it a connection that could not be opened.
func RunTelemetry(ctx context.Context, t Target, logins []Login, o Telemetry) (*Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	conns, err := openAll(ctx, t, logins, 0, nil)
	if err != nil {
		return nil, err
	}
	count, payload := new(counter), body(o.Size)
	pumps := make([]*pump, len(conns))
	base := time.Now()
	for i, nc := range conns {
		p := newPump(nc, logins[i].Topic, payload, o.QoS, o.Window, count)
		p.base, p.from, p.until = base, int64(o.Warmup), int64(o.Warmup+o.Duration)
		pumps[i] = p
	}
	stop := watch(count.acked.Load, o.Live)
	failed := runPumps(ctx, pumps, o)
	stop()
	measured := min(o.Duration, max(0, time.Since(base)-o.Warmup))
	r := &Result{Kind: "telemetry", Connections: len(conns), Window: o.Window, Size: o.Size, QoS: int(o.QoS), Rate: o.Rate,
		Sent: count.sent.Load(), Answered: count.acked.Load(), Unsent: count.unsent.Load(), Done: count.inTime.Load()}
	var all Histogram
	for _, p := range pumps {
		all.Merge(&p.hist)
	}
	r.finish(&all, failed, measured)
	return r, nil
}

// runPumps returns when all have ended and their sockets are closed. The end of ctx stops the sending early, and is no error.
func runPumps(ctx context.Context, pumps []*pump, o Telemetry) *faults {
	failed, all := new(faults), new(sync.WaitGroup)
	for i, p := range pumps {
		all.Go(func() {
			defer context.AfterFunc(ctx, func() {
				p.stop.Store(true)
				p.nc.SetReadDeadline(time.Now().Add(partingTime))
			})()
			var s *pace
			if o.Rate > 0 {
				own := newPace(p.base, o.Rate, i, len(pumps))
				s = &own
			}
			var err error
			switch {
			case o.QoS == 0:
				err = p.flood(ctx, s)
			case s != nil:
				err = p.paced(ctx, *s)
			default:
				err = p.closed()
			}
			failed.add(err)
			leave(p.nc)
		})
	}
	all.Wait()
	return failed
}

// body returns JSON of the size, or of as much of it as JSON allows.
func body(size int) []byte {
	const head, tail = `{"temperature":21.5,"humidity":48.2,"pad":"`, `"}`
	b := make([]byte, 0, size)
	if size < len(head)+len(tail) {
		for len(b) < size {
			b = append(b, '1')
		}
		return b
	}
	b = append(b, head...)
	for len(b) < size-len(tail) {
		b = append(b, 'x')
	}
	return append(b, tail...)
}

// openAll connects all logins, some at a time; after the first failure it gives up and closes what it has.
func openAll(ctx context.Context, t Target, logins []Login, keepAlive uint16, step func(done, total int)) ([]net.Conn, error) {
	conns := make([]net.Conn, len(logins))
	err := each(ctx, len(logins), 32, step, func(ctx context.Context, i int) (err error) {
		conns[i], err = t.open(ctx, &logins[i], keepAlive)
		if err != nil {
			return fmt.Errorf("connection %d of %d (%s): %w", i+1, len(logins), logins[i].ClientID, err)
		}
		return nil
	})
	if err != nil {
		for _, nc := range conns {
			if nc != nil {
				nc.Close()
			}
		}
		return nil, err
	}
	return conns, nil
}

// each calls f for 0 to n-1, at most so many at a time, until the first error, which it returns.
func each(ctx context.Context, n, parallel int, step func(done, total int), f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var all sync.WaitGroup
	next, done := 0, 0
	take := func() (i int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == n || ctx.Err() != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(n, parallel) {
		all.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := f(ctx, i); err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				done++
				if step != nil {
					step(done, n)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
