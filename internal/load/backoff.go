package load

import (
	"math/rand/v2"
	"time"
)

const (
	firstDelay = 500 * time.Millisecond
	lastDelay  = 30 * time.Second
)

// backoff grows pauses from half a second to half a minute, each drawn from its upper half, so that a fleet does not come back in step.
type backoff struct{ next time.Duration }

// pause returns the next pause.
func (b *backoff) pause() time.Duration {
	d := max(b.next, firstDelay)
	b.next = min(2*d, lastDelay)
	return d/2 + rand.N(d/2)
}

// lasted starts again from the shortest pause when a connection outlived the next one: one that is accepted and dropped at once does not.
func (b *backoff) lasted(d time.Duration) {
	if d > b.next {
		b.next = 0
	}
}
