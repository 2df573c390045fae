package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// RunConnect opens and closes connections, a fresh TLS handshake each: one worker a login, each as fast as the server lets it, for the
// duration. The latency is that of TCP, TLS and CONNACK together.
func RunConnect(ctx context.Context, t Target, logins []Login, warmup, duration time.Duration, live func(Live)) (*Result, error) {
	// One that works is the condition for measuring the others.
	nc, err := t.open(ctx, &logins[0], 0)
	if err != nil {
		return nil, err
	}
	leave(nc)
	base := time.Now()
	from, until := base.Add(warmup), base.Add(warmup+duration)
	short, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	var sent, answered, done atomic.Int64
	var failed faults
	hists, all := make([]Histogram, len(logins)), sync.WaitGroup{}
	stop := watch(answered.Load, live)
	for i := range logins {
		all.Go(func() {
			for short.Err() == nil {
				begun := time.Now()
				sent.Add(1)
				nc, err := t.open(short, &logins[i], 0)
				switch now := time.Now(); {
				case err != nil && (short.Err() != nil || !now.Before(until)):
					sent.Add(-1) // cut off by the end
				case err != nil:
					failed.add(err)
					wait(short, 10*time.Millisecond)
				default:
					if answered.Add(1); now.After(from) && now.Before(until) {
						done.Add(1)
						hists[i].Record(now.Sub(begun))
					}
					leave(nc)
				}
			}
		})
	}
	all.Wait()
	stop()
	r := &Result{Kind: "connect", Connections: len(logins), Sent: sent.Load(), Answered: answered.Load(), Done: done.Load()}
	var sum Histogram
	for i := range hists {
		sum.Merge(&hists[i])
	}
	r.finish(&sum, &failed, min(duration, max(0, time.Since(base)-warmup)))
	return r, nil
}
