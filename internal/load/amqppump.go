package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
)

// shot is one message under way.
type shot struct{ at int64 }

// amqpPump is one AMQP link that publishes: it keeps a window of unsettled transfers under way, as far as the hub's credit lets.
type amqpPump struct {
	// Set before attach, then read only:
	id      string
	p       *peer
	l       *amqp.Link
	payload []byte
	base    time.Time
	from    int64         // nanoseconds since base: what is acknowledged from here
	until   int64         // to here is measured, and nothing is sent after it
	budget  *atomic.Int64 // messages that all pumps may still send; nil: the time alone decides
	sched   *pace         // nil for a closed loop
	count   *counter
	failed  *faults

	// Guarded by mu:
	mu     sync.Mutex
	free   []*shot
	window int
	issued int64 // open loop: events of the schedule that were sent
	stop   bool
	hist   Histogram
	over   chan struct{} // closed when nothing is under way and nothing more will be
	ended  bool          // over is closed
}

// attach opens the link; nothing is sent before the first fill.
func (p *amqpPump) attach(ctx context.Context, window int) error {
	p.window, p.over = window, make(chan struct{})
	shots := make([]shot, window)
	for i := range shots {
		p.free = append(p.free, &shots[i])
	}
	p.stop = true // credit comes before the run begins
	p.l = &amqp.Link{Name: "telemetry", Role: amqp.RoleSender, SndMode: amqp.SettleUnsettled, Target: &amqp.Terminus{Address: "/devices/" + p.id + "/messages/events"},
		OnCredit: func(uint32, bool) { p.fill() }, OnDisposition: p.settled, OnDetach: p.lost}
	return p.p.s.Attach(ctx, p.l)
}

// begin starts the clock.
func (p *amqpPump) begin(base time.Time, warmup, duration time.Duration) {
	p.mu.Lock()
	p.base, p.from, p.until, p.stop = base, int64(warmup), int64(warmup+duration), false
	p.mu.Unlock()
}

// due says how many more may be sent now: those of the schedule, or as many as are free.
func (p *amqpPump) due(now int64) int64 {
	switch {
	case p.stop || p.sched == nil && now >= p.until:
		return 0
	case p.sched == nil:
		return int64(len(p.free))
	}
	return p.sched.due(p.base.Add(time.Duration(min(now, p.until-1)))) - p.issued
}

// fill sends what may be sent.
func (p *amqpPump) fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := int64(time.Since(p.base))
	for n := min(p.due(now), int64(len(p.free))); n > 0; n-- {
		if !p.take() {
			p.stop = true
			break
		}
		s := p.free[len(p.free)-1]
		s.at = now
		if p.sched != nil {
			s.at = int64(p.sched.at(p.issued).Sub(p.base))
		}
		if _, err := p.l.Send(p.payload, nil, 0, false, s); err != nil {
			if p.budget != nil {
				p.budget.Add(1)
			}
			if !errors.Is(err, amqp.ErrNoCredit) {
				p.stop = true
			}
			break // OnCredit or OnDetach goes on
		}
		p.free = p.free[:len(p.free)-1]
		p.issued++
		p.count.sent.Add(1)
	}
	p.finish(now)
}

// take uses up one message of the budget; false when it is spent. Whoever gives one back tries again itself.
func (p *amqpPump) take() bool {
	if p.budget == nil {
		return true
	}
	for n := p.budget.Load(); n > 0; n = p.budget.Load() {
		if p.budget.CompareAndSwap(n, n-1) {
			return true
		}
	}
	return false
}

// finish notes the end. mu.
func (p *amqpPump) finish(now int64) {
	if !p.ended && !p.base.IsZero() && len(p.free) == p.window && (p.stop || now >= p.until) {
		p.ended = true
		close(p.over)
	}
}

// settled takes one outcome and sends the next message.
func (p *amqpPump) settled(out *amqp.Out, state amqp.State, settled bool) {
	if _, partly := state.(amqp.Received); partly {
		return
	}
	if !settled {
		out.Settle(state)
	}
	s := out.App.(*shot)
	now := int64(time.Since(p.base))
	p.mu.Lock()
	if _, ok := state.(amqp.Accepted); ok {
		moment := now
		if p.sched != nil {
			moment = s.at
		}
		p.count.acked.Add(1)
		if moment >= p.from && moment < p.until {
			p.count.inTime.Add(1)
			p.hist.Record(time.Duration(now - s.at))
		}
	} else {
		p.failed.add(fmt.Errorf("%s: the outcome is %s", p.id, outcome(state)))
	}
	p.free = append(p.free, s)
	p.mu.Unlock()
	p.fill()
}

func outcome(state amqp.State) string {
	if r, ok := state.(amqp.Rejected); ok && r.Error != nil {
		return "rejected: " + r.Error.Error()
	}
	return fmt.Sprintf("%T", state)
}

// lost ends the pump with its link.
func (p *amqpPump) lost(cause error, lost []*amqp.Out) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.failed.add(fmt.Errorf("%s: the link ended with %d messages unsettled: %w", p.id, len(lost), orClosed(cause)))
		p.ended = true
		close(p.over)
	}
}

// run sends until the end, and returns when all is settled. The end of ctx stops the sending early, and is no error.
func (p *amqpPump) run(ctx context.Context) {
	defer context.AfterFunc(ctx, p.halt)()
	p.fill()
	for p.sched != nil && ctx.Err() == nil && int64(time.Since(p.base)) < p.until {
		p.mu.Lock()
		next := p.sched.at(p.issued)
		p.mu.Unlock()
		wait(ctx, min(max(time.Until(next), minSleep), max(0, time.Duration(p.until)-time.Since(p.base))))
		p.fill()
	}
	if p.sched != nil {
		p.mu.Lock()
		p.count.unsent.Add(max(0, p.due(p.until)))
		p.stop = true // at once: what is counted as unsent must not be sent
		p.mu.Unlock()
		p.halt()
	}
	end := time.NewTimer(time.Until(p.base.Add(time.Duration(p.until))))
	defer end.Stop()
	select {
	case <-p.over:
		return
	case <-end.C:
	}
	p.halt()
	grace := time.NewTimer(drainTimeout)
	defer grace.Stop()
	select {
	case <-p.over:
	case <-grace.C:
		p.mu.Lock()
		waiting := p.window - len(p.free)
		p.ended = true
		p.mu.Unlock()
		p.failed.add(fmt.Errorf("%s: %d outcomes were missing %s after the end", p.id, waiting, drainTimeout))
	}
}

// halt sends nothing more.
func (p *amqpPump) halt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop = true
	p.finish(int64(time.Since(p.base)))
}
