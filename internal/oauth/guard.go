package oauth

import (
	"sync"
	"time"
)

// maxGuarded bounds how many names a guard remembers.
const maxGuarded = 20_000

// guard counts failures by name in windows of time and blocks a name that had
// limit of them for another window.
type guard struct {
	// Set by Open, then read only:
	limit  int
	window time.Duration
	now    func() time.Time

	mu  sync.Mutex
	all map[string]*failures
}

type failures struct {
	count int
	since time.Time
	until time.Time // blocked
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
	if f == nil || now.Sub(f.since) >= g.window || now.Before(f.since) {
		g.makeRoom(now)
		f = &failures{since: now}
		g.all[name] = f
	}
	if f.count++; f.count >= g.limit && f.until.IsZero() {
		f.until = now.Add(g.window)
	}
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
		if now.Sub(f.since) >= 2*g.window {
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
