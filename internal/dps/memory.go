package dps

import "sync"

// Sizes of what is remembered between calls.
const (
	groupsKept     = 200_000 // registration id → group whose key fitted
	pathsKept      = 10_000  // certificate → certificates that vouch for it
	refusalsKept   = 50_000  // proofs that were refused
	operationsKept = 50_000  // operations that this node started or was asked for
)

// memory is a bounded map that forgets what has not been asked for longest: two
// halves, of which the older is dropped when the newer is full.
type memory[K comparable, V any] struct {
	half int // set by newMemory

	// Guarded by mu:
	mu       sync.Mutex
	new, old map[K]V
}

func newMemory[K comparable, V any](size int) *memory[K, V] {
	return &memory[K, V]{half: max(1, size/2), new: map[K]V{}}
}

func (m *memory[K, V]) get(k K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.new[k]
	if ok {
		return v, true
	}
	if v, ok = m.old[k]; ok {
		m.insert(k, v)
	}
	return v, ok
}

func (m *memory[K, V]) put(k K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.insert(k, v)
}

func (m *memory[K, V]) insert(k K, v V) {
	if len(m.new) >= m.half {
		m.old, m.new = m.new, make(map[K]V, m.half/8)
	}
	m.new[k] = v
}

func (m *memory[K, V]) drop(k K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.new, k)
	delete(m.old, k)
}

// clear forgets everything.
func (m *memory[K, V]) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.new, m.old = map[K]V{}, nil
}
