package gate

import (
	"math"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// window is a limit of the single identity; it follows from the throttle key
// of an op that a device does to itself.
type window uint8

const (
	free window = iota
	connects
	patches
	messages
)

var windows = map[string]window{"connect": connects, "twinUpdate": patches, "d2cSend": messages}

// identities holds a bucket per identity and limit, as far as it is not full.
type identities struct {
	// Set by newIdentities, then read only:
	limits [messages + 1]perWindow

	// Guarded by mu:
	mu      sync.Mutex
	buckets map[bucketKey]bucket
	swept   time.Time
}

// perWindow is a limit: most operations per length of time.
type perWindow struct {
	setting string
	most    float64
	length  time.Duration
}

type bucketKey struct {
	id nave.ID
	w  window
}

// bucket held left operations at the time at.
type bucket struct {
	left float64
	at   time.Time
	came tally
}

// newIdentities returns nil when no limit is set.
func newIdentities(p PerDevice) *identities {
	if p == (PerDevice{}) {
		return nil
	}
	return &identities{buckets: map[bucketKey]bucket{}, limits: [...]perWindow{
		connects: {"throttling.perDevice.connects", p.Connects, time.Minute},
		patches:  {"throttling.perDevice.patches", p.Patches, time.Minute},
		messages: {"throttling.perDevice.messages", p.Messages, time.Second},
	}}
}

// window returns the limit that op counts against.
func (i *identities) window(op *Op) window {
	if i == nil || !op.Own {
		return free
	}
	w := windows[op.Rate]
	if i.limits[w].most == 0 {
		return free
	}
	return w
}

// take answers DeviceThrottlingLimitExceeded when id has used up its bucket.
func (i *identities) take(w window, id nave.ID, now time.Time) *fault.Error {
	l := &i.limits[w]
	key := bucketKey{id, w}
	i.mu.Lock()
	defer i.mu.Unlock()
	b, known := i.buckets[key]
	if !known {
		b = bucket{left: max(1, l.most), at: now}
	}
	b = l.fill(b, now)
	b.came.add(now, 1, l.length)
	if b.left < 1-slack {
		i.buckets[key] = b
		wait := time.Duration((1 - b.left) / l.most * float64(l.length))
		return fault.DeviceThrottlingLimitExceeded.Over(l.setting, number(l.most), number(math.Round(b.came.sum(now, l.length))),
			"%s exceeds the limit of a single identity per %v", id, l.length).RetryAfter(whole(wait))
	}
	b.left--
	i.buckets[key] = b
	return nil
}

func (l *perWindow) fill(b bucket, now time.Time) bucket {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(max(1, l.most), b.left+l.most*float64(d)/float64(l.length))
		b.at = now
	}
	return b
}

// sweep forgets, once a minute, the identities whose bucket is full again.
func (i *identities) sweep(now time.Time) {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if now.Sub(i.swept) < time.Minute {
		return
	}
	i.swept = now
	for key, b := range i.buckets {
		l := &i.limits[key.w]
		if l.fill(b, now).left >= max(1, l.most) {
			delete(i.buckets, key)
		}
	}
}
