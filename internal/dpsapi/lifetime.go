package dpsapi

import (
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// lifetime ends a connection that has nothing to wait for: one that asks
// nothing, and one whose operation is finished (dps 2.4). answered is called
// from one goroutine at a time.
type lifetime struct {
	linger  time.Duration
	timer   *time.Timer
	settled bool // the last answer was final
}

// newLifetime calls end once the time is up.
func newLifetime(o *DeviceOptions, end func()) *lifetime {
	return &lifetime{linger: o.Linger, timer: time.AfterFunc(o.Idle, end)}
}

// answered prolongs the connection: a running operation and a refusal that
// passes do each time, a final answer only when it is news.
func (l *lifetime) answered(r *reply, e *fault.Error) {
	switch {
	case e != nil && !retryable(e.Code), e == nil && !r.running() && l.settled:
		return
	case e == nil:
		l.settled = !r.running()
	}
	l.timer.Reset(l.linger)
}

func (l *lifetime) stop() { l.timer.Stop() }
