package gate

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Shape says how excess over a rate is smoothed (hub-semantics 2.4); a zero
// field has the default, a negative one means none at all.
type Shape struct {
	Burst    time.Duration // credit of an idle key, as time at its rate; 60 s
	Backlog  time.Duration // most work in line, as time at the rate; 60 s
	Estimate time.Duration // longest wait that a Request is let into the line for; 30 s
	Patience time.Duration // longest time in line, then 429003; 60 s
	Connect  time.Duration // longest wait of a Connect; 10 s
}

func (s Shape) withDefaults() Shape {
	for _, f := range []struct {
		d   *time.Duration
		def time.Duration
	}{{&s.Burst, time.Minute}, {&s.Backlog, time.Minute}, {&s.Estimate, 30 * time.Second}, {&s.Patience, time.Minute}, {&s.Connect, 10 * time.Second}} {
		switch {
		case *f.d == 0:
			*f.d = f.def
		case *f.d < 0:
			*f.d = 0
		}
	}
	return s
}

const (
	fewest = 10                    // operations that a backlog holds at any rate
	slack  = 1e-6                  // credit that rounding may have lost
	grain  = 10 * time.Microsecond // of estimates, so that rounding refuses nobody
	slow   = 5 * time.Second       // a wait that hub-semantics 19 calls long
)

// shaper smooths the operations of one throttle key: a bucket of credit that
// fills at the rate, and a line for those who find it empty. Credit that comes
// in while somebody waits goes to the head of the line, so a burst is possible
// again only after the line has emptied.
//
// A waiter is served by whoever moves the line on: the timer set for the head,
// or the next operation that comes. It then leaves through its ready channel.
type shaper struct {
	// Set by newShaper, then read only:
	key   string
	shape Shape
	now   func() time.Time
	stop  <-chan struct{}

	// Guarded by mu:
	mu         sync.Mutex
	rate       float64 // cost per second
	credit     float64 // below 0 after one operation dearer than the bucket is deep
	filled     time.Time
	head, tail *waiter
	length     int
	ahead      float64 // cost of all in line
	timer      *time.Timer
	came       tally
	stats      Throttle
}

// waiter is a place in the line.
type waiter struct {
	prev, next *waiter
	cost       float64
	since      time.Time
	served     bool
	ready      chan struct{} // closed when served
}

// newShaper returns an idle shaper without rate; resize gives it one.
func newShaper(key string, o Options, stop <-chan struct{}) *shaper {
	return &shaper{key: key, shape: o.Shape, now: o.Now, stop: stop, filled: o.Now(), credit: math.Inf(1)}
}

func (s *shaper) resize(rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fill(s.now())
	s.rate = rate
	s.credit = min(s.credit, s.depth())
	s.move(s.filled)
}

// depth is what the bucket holds, at least one operation.
func (s *shaper) depth() float64 { return max(1, s.shape.Burst.Seconds()*s.rate) }

// need is the credit that cost must find. An operation dearer than the bucket
// is deep runs when the bucket is full, and leaves it below 0.
func (s *shaper) need(cost float64) float64 {
	return min(cost, s.depth()) - slack
}

func (s *shaper) fill(now time.Time) {
	d := now.Sub(s.filled)
	if d <= 0 {
		return
	}
	s.filled = now
	if s.rate > 0 {
		s.credit = min(s.depth(), s.credit+d.Seconds()*s.rate)
	}
}

// enter returns when the operation may run, or why it may not.
func (s *shaper) enter(ctx context.Context, kind Kind, cost float64, now time.Time) *fault.Error {
	s.mu.Lock()
	s.came.add(now, cost, time.Minute)
	s.stats.Attempts++
	s.fill(now)
	if s.head == nil && s.credit >= s.need(cost) {
		s.credit -= cost
		s.mu.Unlock()
		return nil
	}
	if err := s.turnAway(kind, cost); err != nil {
		s.stats.Refused++
		s.mu.Unlock()
		return err
	}
	w := s.join(cost, now)
	s.mu.Unlock()
	return s.wait(ctx, kind, w)
}

// turnAway says why an operation may not even join the line.
func (s *shaper) turnAway(kind Kind, cost float64) *fault.Error {
	if kind == Connect {
		return nil
	}
	wait := s.estimate(s.ahead + s.need(cost))
	if kind == Request && wait > s.shape.Estimate {
		return s.over(fault.ThrottlingException, wait, "the wait for it would be %v, longer than %v", whole(wait), s.shape.Estimate)
	}
	room := s.shape.Backlog.Seconds() * s.rate
	if s.shape.Backlog <= 0 || s.length >= fewest && s.ahead+cost > room+slack {
		return s.over(fault.ThrottleBacklogLimitExceeded, wait, "the line is full, %d operations wait", s.length)
	}
	return nil
}

// estimate is the time until the rate has brought credit for cost.
func (s *shaper) estimate(cost float64) time.Duration {
	const most = 365 * 24 * time.Hour
	seconds := min(max(0, cost-s.credit)/s.rate, most.Seconds())
	return time.Duration(seconds * float64(time.Second)).Round(grain)
}

// over makes a refusal that shows the limit and the demand, both per minute.
func (s *shaper) over(c *fault.Code, wait time.Duration, format string, args ...any) *fault.Error {
	args = append([]any{s.key}, args...)
	limit, seen := number(s.rate*60), number(math.Round(s.came.sum(s.filled, time.Minute)))
	return c.Over("throttling."+s.key, limit, seen, "the rate limit of %s per minute is exceeded: "+format, args...).RetryAfter(whole(wait))
}

// number returns f for people: an integer when it is one, up to rounding.
func number(f float64) any {
	if n := math.Round(f); math.Abs(f-n) < slack {
		return int64(n)
	}
	return math.Round(f*1000) / 1000
}

// whole rounds up to seconds, at least one.
func whole(d time.Duration) time.Duration {
	return max(time.Second, (d + time.Second - time.Millisecond).Truncate(time.Second))
}

func (s *shaper) join(cost float64, now time.Time) *waiter {
	w := &waiter{cost: cost, since: now, ready: make(chan struct{}), prev: s.tail}
	if s.tail == nil {
		s.head = w
	} else {
		s.tail.next = w
	}
	s.tail = w
	s.length++
	s.ahead += cost
	s.stats.Delayed++
	if s.head == w {
		s.arm()
	}
	return w
}

func (s *shaper) leave(w *waiter) {
	if w.prev == nil {
		s.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		s.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	s.length--
	s.ahead -= w.cost
	if s.length == 0 {
		s.ahead = 0 // drops what rounding has left
	}
}

// move serves the head of the line as long as there is credit, and sets the
// timer for the next.
func (s *shaper) move(now time.Time) {
	for s.head != nil && s.credit >= s.need(s.head.cost) {
		w := s.head
		s.leave(w)
		s.credit -= w.cost
		w.served = true
		s.account(now.Sub(w.since))
		close(w.ready)
	}
	if s.head != nil {
		s.arm()
	} else if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *shaper) account(waited time.Duration) {
	s.stats.Waited += waited
	if waited > slow {
		s.stats.Slow++
	}
}

// arm sets the timer to the moment when the head can be served.
func (s *shaper) arm() {
	d := max(1, time.Duration((s.need(s.head.cost)+slack-s.credit)/s.rate*float64(time.Second)))
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.tick)
		return
	}
	s.timer.Reset(d)
}

func (s *shaper) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.fill(now)
	s.move(now)
}

func (s *shaper) wait(ctx context.Context, kind Kind, w *waiter) *fault.Error {
	limit := s.shape.Patience
	if kind == Connect {
		limit = s.shape.Connect
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-w.ready:
		return nil
	case <-late.C:
		return s.give(w, func() *fault.Error { return s.late(kind, limit) })
	case <-ctx.Done():
		return s.give(w, func() *fault.Error {
			return fault.ClientClosedRequest.Wrap(context.Cause(ctx), "the caller gave up while the operation waited for throttling.%s", s.key)
		})
	case <-s.stop:
		return s.give(w, func() *fault.Error {
			return fault.RequestCanceled.New("the hub stops, the operation was waiting for throttling.%s", s.key)
		})
	}
}

// late is the refusal of one who has waited as long as it may; its place in
// line is already gone.
func (s *shaper) late(kind Kind, limit time.Duration) *fault.Error {
	wait := s.estimate(s.ahead + 1)
	if kind == Connect {
		return s.over(fault.ThrottlingException, wait, "the connection waited for %v", limit)
	}
	return s.over(fault.ThrottlingBacklogTimeout, wait, "the operation waited in line for %v", limit)
}

// give takes w out of the line and returns why. One whose turn has come in the
// same moment runs.
func (s *shaper) give(w *waiter, why func() *fault.Error) *fault.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.fill(now)
	s.move(now)
	if w.served {
		return nil
	}
	s.leave(w)
	s.account(now.Sub(w.since))
	s.stats.Refused++
	s.move(now) // w may have been a dear head with cheap ones behind it
	return why()
}
