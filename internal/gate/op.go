package gate

import "github.com/nave-hub/nave"

// Kind says how the caller of an operation waits when its rate is exceeded
// (hub-semantics 2.4).
type Kind uint8

// The three kinds.
const (
	Request Kind = iota // request and response: refused at once when the wait would pass 30 s (429001)
	Stream              // telemetry: waits unacknowledged, refused when the backlog is full (429002)
	Connect             // a new connection: waits up to 10 s, then refused (429001)
)

// Op declares one operation. Ops are package variables: the gate keeps an
// entry for each one it has seen.
type Op struct {
	Name     string                    // noun.verb, unique: "c2d.purge"
	Right    nave.Right                // what a policy needs; 0: any authenticated principal
	Either   nave.Right                // suffices in place of Right; 0: nothing else does
	Own      bool                      // a device or module acting on itself; DeviceConnect suffices for policies
	Rate     string                    // throttle key of hub-semantics 2.3; empty: not throttled
	Kind     Kind                      // how the caller waits
	Standard bool                      // refused with 403010 on B1 to B3
	Charge   func(size, chunk int) int // message units for size bytes; nil: free. See Chunks and Once
	Cost     func(size int) float64    // what the operation takes from its rate; nil: 1. See Blocks and Entries
}

// Chunks returns the units of a message of size bytes when one unit covers
// chunk bytes; an empty message takes one (hub-semantics 2.2).
func Chunks(size, chunk int) int {
	return max(1, (size+chunk-1)/chunk)
}

// Once returns 1: the charge of an operation that has a fixed price.
func Once(_, _ int) int { return 1 }

const block = 4 << 10

// Blocks returns the bytes of size rounded up to 4 KB, at least 4 KB: the cost
// of a direct method (hub-semantics 2.3).
func Blocks(size int) float64 {
	return float64(max(1, (size+block-1)/block)) * block
}

// Entries returns size itself, at least 1: the cost of a bulk call that enters
// with the number of its entries as size.
func Entries(size int) float64 {
	return float64(max(1, size))
}
