package control

import (
	"math"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// buckets are the token buckets of all devices and classes on this node (iot-v1
// LP-3). The zero value is ready.
type buckets struct {
	mu    sync.Mutex
	all   map[bucketKey]*bucket
	swept time.Time
}

type bucketKey struct {
	device string
	class  nave.ControlClass
}

type bucket struct {
	tokens float64
	at     time.Time
	full   time.Time // when it will be full again
}

// take takes a token, or returns how long until there is one.
func (b *buckets) take(device string, class nave.ControlClass, r nave.ControlRate, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[bucketKey]*bucket{}
	}
	key := bucketKey{device, class}
	k := b.all[key]
	if k == nil {
		k = &bucket{tokens: float64(r.Burst), at: now}
		b.all[key] = k
	}
	if gone := now.Sub(k.at).Seconds(); gone > 0 {
		k.tokens = min(float64(r.Burst), k.tokens+gone/r.Every)
	}
	k.at = now
	// A token is there when the rounding of time is all that it lacks.
	const whole = 1 - 1e-6
	if k.tokens < whole {
		return time.Duration((1 - k.tokens) * r.Every * float64(time.Second))
	}
	k.tokens = max(0, k.tokens-1)
	k.full = now.Add(time.Duration((float64(r.Burst) - k.tokens) * r.Every * float64(time.Second)))
	return 0
}

// sweep forgets full buckets, once a minute.
func (b *buckets) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.swept).Abs() < time.Minute {
		return
	}
	b.swept = now
	for key, k := range b.all {
		if now.After(k.full) {
			delete(b.all, key)
		}
	}
}

// tooFast is the answer to a bucket that is empty (iot-v1 RC-9).
func tooFast(class nave.ControlClass, wait time.Duration) error {
	e := refuse(fault.ControlRateLimited, CadenceExceeded, "the plan's cadence for %s is exceeded", class).RetryAfter(wait)
	e.Detail["limit"] = class.String()
	return e
}

// Seconds rounds a wait up to whole seconds, at least 1 (iot-v1 RC-9).
func Seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()-1e-3))) }
