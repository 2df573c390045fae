package oauth

import (
	"slices"
	"sync"
	"time"
)

// maxGuarded bounds how many names a guard remembers.
const maxGuarded = 20_000

// guard counts failures by name and blocks a name that had limit of them within
// a window of time for another window.
type guard struct {
	// Set by Open, then read only:
	limit  int
	window time.Duration
	now    func() time.Time

	mu  sync.Mutex
	all map[string]*failures
}

type failures struct {
	times []time.Time // of the last ones, the oldest first, fewer than limit
	until time.Time   // blocked
}

// blocked returns how long the name has to wait, 0 when it need not.
func (g *guard) blocked(name string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.all[name]
	if f == nil || f.until.IsZero() {
		return 0
	}
	wait := f.until.Sub(g.now())
	if wait <= 0 || wait > g.window {
		delete(g.all, name)
		return 0
	}
	return wait
}

func (g *guard) fail(name string) {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.all[name]
	if f == nil {
		g.makeRoom(now)
		f = &failures{}
		g.all[name] = f
	}
	if !f.until.IsZero() {
		return
	}
	f.times = slices.DeleteFunc(f.times, func(at time.Time) bool { return now.Sub(at) >= g.window || now.Before(at) })
	if f.times = append(f.times, now); len(f.times) >= g.limit {
		f.times, f.until = nil, now.Add(g.window)
	}
}

// over says whether nothing of it counts any more.
func (f *failures) over(now time.Time, window time.Duration) bool {
	last := f.until
	if n := len(f.times); n > 0 {
		last = f.times[n-1].Add(window)
	}
	return !now.Before(last)
}

// makeRoom forgets what is over, and when that does not help anything.
func (g *guard) makeRoom(now time.Time) {
	if g.all == nil {
		g.all = map[string]*failures{}
	}
	if len(g.all) < maxGuarded {
		return
	}
	for name, f := range g.all {
		if f.over(now, g.window) {
			delete(g.all, name)
		}
	}
	for name := range g.all {
		if len(g.all) < maxGuarded {
			return
		}
		delete(g.all, name)
	}
}
