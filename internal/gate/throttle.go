package gate

import "time"

// Throttle is the state of one throttle key, for metrics, console and the rules
// of hub-semantics 19. Counters run since the gate was made.
type Throttle struct {
	Key    string  `json:"key"`
	Rate   float64 `json:"rate"`   // per second, operations or bytes
	Minute float64 `json:"minute"` // cost that came in during the last 60 s
	Credit float64 `json:"credit"` // cost that may run at once

	Waiting  int           `json:"waiting"`  // operations in line now
	Backlog  float64       `json:"backlog"`  // their cost
	Attempts int64         `json:"attempts"` // operations that came
	Delayed  int64         `json:"delayed"`  // of them, those that joined the line
	Refused  int64         `json:"refused"`  // of them, those that were refused or gave up
	Slow     int64         `json:"slow"`     // waits of more than 5 s
	Waited   time.Duration `json:"waited"`   // sum of all waits
}

// Throttles returns the state of every throttle key in the order of Keys, nil
// when throttling is off.
func (g *Gate) Throttles() []Throttle {
	var all []Throttle
	for _, key := range Keys() {
		if s := g.shapers[key]; s != nil {
			all = append(all, s.state())
		}
	}
	return all
}

func (s *shaper) state() Throttle {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.fill(now)
	s.move(now)
	t := s.stats
	t.Key, t.Rate, t.Minute, t.Credit = s.key, s.rate, s.came.sum(now, time.Minute), max(0, s.credit)
	t.Waiting, t.Backlog = s.length, s.ahead
	return t
}
