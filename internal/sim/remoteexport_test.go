package sim

import (
	"context"
	"time"
)

// A caller that goes away while the machine stands still must not cut a change.
func init() { changeGrace = time.Minute }

// NewRemote makes the adapter of kind http alone.
var NewRemote Adapter = newRemote

// Limit changes the times of an adapter that nobody calls at the moment, so
// that only what is meant to take too long does.
func Limit(p Platform, timeout, total time.Duration) {
	c := p.(*remote).c
	c.TimeoutMS, c.TotalTimeoutMS = int(timeout.Milliseconds()), int(total.Milliseconds())
}

// Pace returns what awaits a turn of an account.
func Pace(rate, parallel int) func(ctx context.Context, end time.Time) (done func(), err error) {
	return newPace(rate, parallel).wait
}

// Blank returns a text as an adapter would show it.
func Blank(p Platform, text string, most int) string { return p.(*remote).blank(text, most) }
