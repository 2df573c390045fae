package gate

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Usage is what the operations of a gate have done since it was made, by name
// of the operation.
type Usage map[string]Meter

// Meter is the account of one operation. Count and Refused together are the
// attempts.
type Meter struct {
	Count   int64         `json:"count"`             // entered
	Refused map[int]int64 `json:"refused,omitempty"` // by code
	Units   int64         `json:"units"`             // message units charged
	Bytes   int64         `json:"bytes"`             // sum of the sizes entered with
}

// entry is what a gate keeps of an Op: its account, and what its names stand
// for.
type entry struct {
	// Set when the op is first seen, then read only:
	op      *Op
	shaper  *shaper // nil: not throttled
	window  window  // limit of the single identity
	unknown bool    // Rate names no throttle

	count, units, bytes atomic.Int64

	// Guarded by mu:
	mu      sync.Mutex
	refused map[int]int64
}

func (g *Gate) entry(op *Op) *entry {
	if e := (*g.entries.Load())[op]; e != nil {
		return e
	}
	return g.learn(op)
}

func (g *Gate) learn(op *Op) *entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := *g.entries.Load()
	if e := old[op]; e != nil {
		return e
	}
	e := &entry{op: op, shaper: g.shapers[op.Rate], window: g.identities.window(op)}
	e.unknown = op.Rate != "" && g.Tier().Rate(op.Rate) == 0
	next := maps.Clone(old)
	next[op] = e
	g.entries.Store(&next)
	return e
}

func (e *entry) refuse(code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused == nil {
		e.refused = map[int]int64{}
	}
	e.refused[code]++
}

// Usage returns the accounts of all operations seen so far.
func (g *Gate) Usage() Usage {
	all := Usage{}
	for op, e := range *g.entries.Load() {
		m := all[op.Name]
		m.Count += e.count.Load()
		m.Units += e.units.Load()
		m.Bytes += e.bytes.Load()
		e.mu.Lock()
		for code, n := range e.refused {
			if m.Refused == nil {
				m.Refused = map[int]int64{}
			}
			m.Refused[code] += n
		}
		e.mu.Unlock()
		all[op.Name] = m
	}
	return all
}
