package load_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/load"
)

func TestHistogram(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) time.Duration{
		"uniform":     func(r *rand.Rand) time.Duration { return time.Duration(r.Int64N(int64(time.Second))) },
		"exponential": func(r *rand.Rand) time.Duration { return time.Duration(r.ExpFloat64() * 1e6) },
		"wide":        func(r *rand.Rand) time.Duration { return time.Duration(math.Exp(r.Float64() * 28)) },
		"small":       func(r *rand.Rand) time.Duration { return time.Duration(r.IntN(300)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var a, b, h load.Histogram
			values := make([]time.Duration, 20_001)
			for i := range values {
				values[i] = draw(r)
				if i%3 == 0 {
					a.Record(values[i])
				} else {
					b.Record(values[i])
				}
			}
			h.Merge(&a)
			h.Merge(&b)
			slices.Sort(values)
			for _, q := range []float64{0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
				want := values[max(0, int(math.Ceil(q*float64(len(values))))-1)]
				if got := h.Quantile(q); math.Abs(float64(got-want)) > float64(want)*0.008+1 {
					t.Errorf("quantile %g is %d, want %d", q, got, want)
				}
			}
			if h.Max() != values[len(values)-1] || h.Count() != int64(len(values)) {
				t.Errorf("max %v, count %d", h.Max(), h.Count())
			}
		})
	}
}

func TestHistogramEdges(t *testing.T) {
	var h load.Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 || h.Max() != 0 {
		t.Error("an empty histogram is not 0")
	}
	h.Record(-time.Second)
	h.Record(1000 * time.Hour)
	if h.Quantile(0) != 0 || h.Quantile(1) < time.Hour || h.Max() != 1000*time.Hour {
		t.Error(h.Quantile(0), h.Quantile(1), h.Max())
	}
}
