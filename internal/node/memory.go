package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory is given back to the system when the process has become quiet: after a
// storm of connections most of the heap is what their handshakes left behind.
const (
	quietEvery = 2 * time.Second
	quietRate  = 1 << 20 // bytes allocated a second below which the process is quiet
	quietGain  = 8 << 20 // bytes allocated since the last time that make it worth while
)

// housekeeping decides when to give memory back.
type housekeeping struct {
	last  uint64 // bytes allocated in all, at the last look
	given uint64 // the same, when memory was given back last
}

// due says whether memory should be given back, with allocated bytes in all.
func (k *housekeeping) due(allocated uint64) bool {
	quiet := allocated-k.last < uint64(quietRate*quietEvery/time.Second)
	k.last = allocated
	if !quiet || allocated-k.given < quietGain {
		return false
	}
	k.given = allocated
	return true
}

// tidy runs until ctx ends.
func (n *Node) tidy(ctx context.Context) {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	k := &housekeeping{}
	for pause(ctx, quietEvery) {
		metrics.Read(sample)
		if k.due(sample[0].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}
