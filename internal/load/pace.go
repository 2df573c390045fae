package load

import "time"

// pace is a schedule of evenly spaced moments: number i is due i/rate after start plus an offset, which keeps many of them apart.
type pace struct {
	start time.Time
	gap   float64 // nanoseconds
}

// newPace returns the schedule of member of n that share the rate, in events a second.
func newPace(start time.Time, rate float64, member, n int) pace {
	gap := 1e9 * float64(n) / rate
	return pace{start: start.Add(time.Duration(gap * float64(member) / float64(n))), gap: gap}
}

// at returns the moment of event i.
func (p pace) at(i int64) time.Time { return p.start.Add(time.Duration(float64(i) * p.gap)) }

// due returns how many events lie at or before now.
func (p pace) due(now time.Time) int64 {
	gone := now.Sub(p.start)
	if gone < 0 {
		return 0
	}
	n := int64(float64(gone)/p.gap) + 1
	// The quotient may be off by one where the moments were rounded.
	for n > 0 && p.at(n-1).After(now) {
		n--
	}
	for !p.at(n).After(now) {
		n++
	}
	return n
}
