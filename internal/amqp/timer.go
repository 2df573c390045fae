package amqp

import "time"

// arm sets the timer to the next moment something is due. mu.
func (c *Conn) arm() {
	if c.nc == nil || c.phase == closed {
		return
	}
	d := max(c.due(time.Now()), time.Millisecond)
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.tick)
		return
	}
	c.timer.Reset(d)
}

// due is the time until the next check. mu.
func (c *Conn) due(now time.Time) time.Duration {
	switch c.phase {
	case opening:
		return c.start.Add(c.o.HandshakeTimeout).Sub(now)
	case closing:
		return c.closeBy.Sub(now)
	}
	return min(c.lastSent().Add(c.beat).Sub(now), c.silentAt().Sub(now))
}

func (c *Conn) lastSent() time.Time {
	if c.sentAt.IsZero() {
		return c.start
	}
	return c.sentAt
}

// silentAt is when the peer counts as gone: we advertise half of what we grant (2.4.5).
func (c *Conn) silentAt() time.Time {
	return c.start.Add(time.Duration(c.in.last.Load())).Add(2 * c.o.IdleTimeout)
}

// tick runs on the timer's goroutine.
func (c *Conn) tick() {
	c.mu.Lock()
	var kill func()
	now := time.Now()
	switch {
	case c.phase == closed:
		c.mu.Unlock()
		return
	case c.phase == opening || c.phase == closing:
		if c.due(now) <= 0 {
			c.end(ErrHandshake)
			kill = func() { c.nc.Close() }
		}
	case c.writing && now.Sub(c.sentAt) >= c.o.IdleTimeout:
		c.end(ErrStalled)
		kill = c.reset
	case !c.paused && !now.Before(c.silentAt()):
		c.end(ErrIdle)
		c.sendClose(Errorf(ResourceLimitExceeded, "local timeout: nothing arrived for %v", 2*c.o.IdleTimeout))
	case !c.writing && now.Sub(c.lastSent()) >= c.beat:
		c.out = closeFrame(c.out, c.begin(0))
	}
	if kill != nil {
		c.wake.Broadcast()
		c.mu.Unlock()
		kill()
		return
	}
	c.rearm(now)
	c.unlock()
}

// rearm is arm with a pause, so that a busy writer or reader is not polled hot. mu.
func (c *Conn) rearm(now time.Time) {
	d := c.due(now)
	if d <= 0 {
		d = min(c.beat, c.o.IdleTimeout) / 4
	}
	c.timer.Reset(max(d, time.Millisecond))
}
