package simapi

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Abuse says when an address is banned for its errors (connectivity-api RL-8).
// Zero values stand for the defaults.
type Abuse struct {
	Enabled    bool
	Threshold  int            // answers 400 to 499 but 429 within Window, 300
	Window     time.Duration  // 60 s
	Ban        time.Duration  // 48 h
	Exceptions []netip.Prefix // never banned
}

func (a Abuse) withDefaults() Abuse {
	a.Threshold = cmp.Or(a.Threshold, 300)
	a.Window = cmp.Or(a.Window, time.Minute)
	a.Ban = cmp.Or(a.Ban, 48*time.Hour)
	return a
}

// Ban is an address that is refused until a time.
type Ban struct {
	Address string
	Until   time.Time
}

// bans counts errors by address and refuses the worst.
type bans struct {
	// Set by New, then read only:
	abuse Abuse

	// Guarded by mu:
	mu     sync.Mutex
	errors map[string]*tally // left counts up here
	banned map[string]time.Time
}

// maxBans bounds both tables.
const maxBans = 20_000

func newBans(a Abuse) *bans {
	return &bans{abuse: a.withDefaults(), errors: map[string]*tally{}, banned: map[string]time.Time{}}
}

// rest returns how long the address is still banned, 0 when it is not.
func (b *bans) rest(key string, now time.Time) time.Duration {
	if !b.abuse.Enabled {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.banned[key]
	if !ok {
		return 0
	}
	if rest := until.Sub(now); rest > 0 {
		return rest
	}
	delete(b.banned, key)
	return 0
}

// note counts an answer of the status to the address.
func (b *bans) note(from netip.Addr, key string, status int, now time.Time) {
	if !b.abuse.Enabled || status < 400 || status > 499 || status == 429 || within(b.abuse.Exceptions, from) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.errors[key]
	if t == nil || now.Sub(t.since) >= b.abuse.Window || now.Before(t.since) {
		makeRoom(b.errors, func(t *tally) bool { return now.Sub(t.since) >= b.abuse.Window })
		t = &tally{since: now}
		b.errors[key] = t
	}
	if t.left++; int(t.left) < b.abuse.Threshold {
		return
	}
	delete(b.errors, key)
	makeRoom(b.banned, func(until time.Time) bool { return !until.After(now) })
	b.banned[key] = now.Add(b.abuse.Ban)
}

// makeRoom keeps the table below maxBans: first without what is over, then
// without anything.
func makeRoom[V any](all map[string]V, over func(V) bool) {
	if len(all) < maxBans {
		return
	}
	for key, v := range all {
		if over(v) {
			delete(all, key)
		}
	}
	for key := range all {
		if len(all) < maxBans {
			return
		}
		delete(all, key)
	}
}

// Bans returns the addresses that are banned on this node, sorted.
func (s *Server) Bans() (all []Ban) {
	b, now := s.bans, s.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, until := range b.banned {
		if until.After(now) {
			all = append(all, Ban{key, until})
		}
	}
	slices.SortFunc(all, func(a, b Ban) int { return cmp.Compare(a.Address, b.Address) })
	return all
}

// Lift ends the ban of an address of Bans on this node; false when it is not
// banned.
func (s *Server) Lift(address string) bool {
	b := s.bans
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.banned[address]
	delete(b.banned, address)
	delete(b.errors, address)
	return ok
}
