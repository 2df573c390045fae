package sim

import (
	"context"
	"sync"
	"time"
)

// maxPace bounds requestsPerSecond and maxParallel.
const maxPace = 1000

// pace holds calls to an account back: no more than parallel at a time, and no
// more than rate in any second (HA-6).
//
// A turn is given back when its answer is there and rests for a second then: a
// second counted from sending would let the platform see more, because a
// request may take longer to arrive than the one after it.
type pace struct {
	slots chan struct{}
	turns chan time.Time // when each may be used again
}

func newPace(rate, parallel int) *pace {
	p := &pace{make(chan struct{}, parallel), make(chan time.Time, rate)}
	for range rate {
		p.turns <- time.Time{}
	}
	return p
}

// wait awaits a turn; done gives it back. Past end it answers an overloaded
// *PlatformError.
func (p *pace) wait(ctx context.Context, end time.Time) (done func(), err error) {
	begin := time.Now()
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	fail := func() (func(), error) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &PlatformError{Class: ClassRateLimited, Detail: "the call waited in line for too long", Overloaded: true, Took: time.Since(begin)}
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return fail()
	case <-late.C:
		return fail()
	}
	var turn time.Time
	select {
	case turn = <-p.turns:
	case <-ctx.Done():
		<-p.slots
		return fail()
	case <-late.C:
		<-p.slots
		return fail()
	}
	rest := time.NewTimer(time.Until(turn))
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	case <-late.C:
	}
	if time.Now().Before(turn) {
		p.turns <- turn
		<-p.slots
		return fail()
	}
	return func() {
		p.turns <- time.Now().Add(time.Second)
		<-p.slots
	}, nil
}

// Figures of the circuit (HA-10).
const (
	circuitFailures = 5
	circuitOpen     = 30 * time.Second
)

// circuit leaves an account alone after failures in a row, then lets one call
// try.
type circuit struct {
	// Guarded by mu:
	mu       sync.Mutex
	failures int
	class    Class // of the last failure
	until    time.Time
	trial    bool // a call tries
}

// enter answers an open *PlatformError while the account is left alone.
func (c *circuit) enter(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures < circuitFailures {
		return nil
	}
	if left := c.until.Sub(now); left > 0 || c.trial {
		return &PlatformError{Class: c.class, Detail: "the platform is left alone after failures in a row", Open: true, RetryAfter: max(left, time.Second)}
	}
	c.trial = true
	return nil
}

// leave notes how a call went that had entered.
func (c *circuit) leave(now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trial = false
	var e *PlatformError
	switch {
	case asPlatformError(err, &e) && e.Overloaded, err != nil && e == nil:
		// The platform was not asked, or not awaited.
	case e != nil && (e.Class == ClassTimeout || e.Class == ClassUnreachable || e.Class == ClassOutage):
		c.class = e.Class
		if c.failures++; c.failures >= circuitFailures {
			c.until = now.Add(circuitOpen)
		}
	default:
		c.failures = 0
	}
}
