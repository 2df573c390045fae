package bus

import "sync"

// tail is the newest stream sequence number known of a partition; readers wait
// on it instead of asking the server.
type tail struct {
	// Guarded by mu:
	mu  sync.Mutex
	seq uint64
	ch  chan struct{} // closed at the next change; nil when nobody waits
}

func (t *tail) set(seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq <= t.seq {
		return
	}
	t.seq = seq
	if t.ch != nil {
		close(t.ch)
		t.ch = nil
	}
}

// get returns the number and a channel that closes when it grows.
func (t *tail) get() (uint64, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ch == nil {
		t.ch = make(chan struct{})
	}
	return t.seq, t.ch
}

func (t *tail) now() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seq
}
