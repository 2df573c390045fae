package sim

import (
	"regexp"
	"sync"
)

var iccidForm = regexp.MustCompile(`^89[0-9]{16,20}$`)

// maxFarNames bounds the memory for products under another reference than
// most.
const maxFarNames = 100_000

// farNames knows under which reference the platform keeps a native id. Most
// platforms have one for all.
type farNames struct {
	own string // the account's reference; set before use, then read only

	// Guarded by mu:
	mu     sync.Mutex
	main   string            // the reference seen first
	others map[string]string // native id: reference that is not main
}

// of returns the reference of a native id, "" when none is known; sure is
// false for that of most products.
func (f *farNames) of(native string) (reference string, sure bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reference, ok := f.others[native]; ok {
		return reference, true
	}
	return f.main, false
}

func (f *farNames) learn(native, reference string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.main == "" || f.main == reference:
		f.main = reference
		delete(f.others, native)
	case len(f.others) < maxFarNames:
		if f.others == nil {
			f.others = map[string]string{}
		}
		f.others[native] = reference
	}
}
