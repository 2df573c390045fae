package load

import "sync"

// faults counts what went wrong and keeps the last cause.
type faults struct {
	mu   sync.Mutex
	n    int64
	last error
}

func (f *faults) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	f.n++
	f.last = err
	f.mu.Unlock()
}

// read returns the number and the last cause, "" when there is none.
func (f *faults) read() (n int64, last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil {
		last = f.last.Error()
	}
	return f.n, last
}
