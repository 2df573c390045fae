package gate

import "time"

// tally estimates a sum over the last length of time, always the same one, from
// two adjoining intervals.
type tally struct {
	interval        int64
	before, current float64
}

func (t *tally) add(now time.Time, n float64, length time.Duration) {
	t.turn(now.UnixNano() / int64(length))
	t.current += n
}

func (t *tally) sum(now time.Time, length time.Duration) float64 {
	at := now.UnixNano()
	t.turn(at / int64(length))
	gone := float64(at%int64(length)) / float64(length)
	return t.before*(1-gone) + t.current
}

func (t *tally) turn(interval int64) {
	switch {
	case interval <= t.interval:
	case interval == t.interval+1:
		t.interval, t.before, t.current = interval, t.current, 0
	default:
		t.interval, t.before, t.current = interval, 0, 0
	}
}
