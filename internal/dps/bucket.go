package dps

import (
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// buckets are token buckets by name on this node. The zero value is ready.
type buckets struct {
	mu  sync.Mutex
	all map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
	full   time.Time // when it will be full again
}

// whole is one token but for what the rounding of time takes.
const whole = 1 - 1e-6

// take takes a token out of the named bucket, which holds burst and fills
// within the window; it returns how long until there is one, 0 when it was
// there.
func (b *buckets) take(name string, burst float64, window time.Duration, now time.Time) time.Duration {
	return b.draw(name, 1, burst, window, now)
}

// wait returns what take would, and takes nothing.
func (b *buckets) wait(name string, burst float64, window time.Duration, now time.Time) time.Duration {
	return b.draw(name, 0, burst, window, now)
}

func (b *buckets) draw(name string, n, burst float64, window time.Duration, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.all[name]
	if k == nil {
		if n == 0 {
			return 0
		}
		if b.all == nil {
			b.all = map[string]*bucket{}
		}
		k = &bucket{tokens: burst, at: now}
		b.all[name] = k
	}
	each := window.Seconds() / burst
	if gone := now.Sub(k.at).Seconds(); gone > 0 {
		k.tokens = min(burst, k.tokens+gone/each)
		k.at = now
	}
	if k.tokens < whole {
		return time.Duration((1 - k.tokens) * each * float64(time.Second))
	}
	k.tokens = max(0, k.tokens-n)
	k.full = now.Add(time.Duration((burst - k.tokens) * each * float64(time.Second)))
	return 0
}

// sweep forgets full buckets.
func (b *buckets) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, k := range b.all {
		if now.After(k.full) {
			delete(b.all, name)
		}
	}
}

// Retry-after of refusals lies in what all clients honour (dps 2.4).
const (
	leastRetry = 2 * time.Second
	mostRetry  = 5 * time.Minute
)

// retryAfter returns the hint for a wait: whole seconds, and never less than the
// wait, so that who keeps to it is not refused again.
func retryAfter(wait time.Duration) time.Duration {
	whole := (wait + time.Second - 1).Truncate(time.Second)
	return min(max(whole, leastRetry), mostRetry)
}

// throttled is the answer of an empty bucket (dps 2.11.2).
func throttled(setting string, limit any, wait time.Duration) error {
	wait = retryAfter(wait)
	e := fault.DPSThrottlingException.New("Operations are being throttled for this tenant. The limit is %s of the provisioning settings.", setting)
	e.Setting, e.Limit = setting, limit
	return e.RetryAfter(wait)
}
