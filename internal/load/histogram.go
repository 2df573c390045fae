package load

import (
	"math"
	"math/bits"
	"time"
)

// Each power of two is cut into 64 buckets, so that a bucket is at most 1.6 % wide; the last one holds all above an hour.
const (
	subBits = 6
	topBits = 42
	buckets = (topBits-subBits-1)<<subBits + 2<<subBits
)

// Histogram counts durations in logarithmic buckets; quantiles are off by at most 0.8 %. The zero value is empty. It has no lock.
type Histogram struct {
	counts   [buckets]uint32
	n        int64
	sum      time.Duration
	min, max time.Duration
}

func bucket(v uint64) int {
	shift := max(0, bits.Len64(v)-subBits-1)
	return min(shift<<subBits+int(v>>shift), buckets-1)
}

// middle is the value that a bucket stands for.
func middle(i int) time.Duration {
	if i < 2<<subBits {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	return time.Duration(i-shift<<subBits)<<shift + 1<<shift/2
}

// Record adds one duration; a negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.n++
	h.sum += d
}

// Merge adds what other holds.
func (h *Histogram) Merge(other *Histogram) {
	if other.n == 0 {
		return
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	if h.n == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.n += other.n
	h.sum += other.sum
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() int64 { return h.n }

// Mean returns the exact mean, 0 when empty.
func (h *Histogram) Mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return h.sum / time.Duration(h.n)
}

// Max returns the exact maximum, 0 when empty.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that a share q, 0 to 1, of the recorded ones does not exceed; 0 when empty.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(1, int64(math.Ceil(q*float64(h.n))))
	for i, n := range h.counts {
		if rank -= int64(n); rank <= 0 && n > 0 {
			return min(max(middle(i), h.min), h.max)
		}
	}
	return h.max
}

// Latency is a histogram as figures, in milliseconds.
type Latency struct {
	Mean float64 `json:"meanMs"`
	P50  float64 `json:"p50Ms"`
	P90  float64 `json:"p90Ms"`
	P99  float64 `json:"p99Ms"`
	Max  float64 `json:"maxMs"`
}

// Latency returns the usual quantiles.
func (h *Histogram) Latency() Latency {
	ms := func(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
	return Latency{Mean: ms(h.Mean()), P50: ms(h.Quantile(0.5)), P90: ms(h.Quantile(0.9)), P99: ms(h.Quantile(0.99)), Max: ms(h.max)}
}
