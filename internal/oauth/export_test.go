package oauth

import "time"

// KeepFor has answers be kept in memory for another time until the function it
// returns is called.
func KeepFor(d time.Duration) (undo func()) {
	was := keepFor
	keepFor = d
	return func() { keepFor = was }
}
