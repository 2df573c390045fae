package carrier

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Request is one request that the carrier has seen. Status is 0 while it is
// not answered.
type Request struct {
	No       int       `json:"no"`
	At       time.Time `json:"at"`
	Method   string    `json:"method"`
	Path     string    `json:"path"` // with the query
	Status   int       `json:"status"`
	Profiles []string  `json:"profiles,omitempty"` // that had a hand in it
}

// journalSize is how many requests are remembered.
const journalSize = 10_000

// journal remembers requests, the oldest first.
type journal struct {
	all  []Request
	next int
	busy int // under way, but for token requests
	peak int
}

func (j *journal) begin(mu *sync.Mutex, at time.Time, r *http.Request) int {
	mu.Lock()
	defer mu.Unlock()
	j.next++
	if len(j.all) == journalSize {
		j.all = append(j.all[:0], j.all[1:]...)
	}
	j.all = append(j.all, Request{No: j.next, At: at, Method: r.Method, Path: r.URL.RequestURI()})
	if !strings.HasPrefix(r.URL.Path, "/oauth2/") {
		j.busy++
		j.peak = max(j.peak, j.busy)
	}
	return j.next
}

func (j *journal) end(mu *sync.Mutex, no, status int, by []string, token bool) Request {
	mu.Lock()
	defer mu.Unlock()
	if !token {
		j.busy--
	}
	for n := len(j.all) - 1; n >= 0; n-- {
		if r := &j.all[n]; r.No == no {
			r.Status, r.Profiles = status, by
			return *r
		}
	}
	return Request{No: no, Status: status, Profiles: by}
}

// Requests returns the requests seen since the last Forget, the oldest first.
// prefix, such as "GET /product", selects by method and path below the API's
// base; "" for all.
func (c *Carrier) Requests(prefix string) (all []Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.log.all {
		if strings.HasPrefix(r.Method+" "+strings.TrimPrefix(r.Path, c.base), prefix) {
			all = append(all, r)
		}
	}
	return all
}

// Peak returns the largest number of requests under way at one time, but for
// token requests, since the last Forget.
func (c *Carrier) Peak() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.peak
}

// Forget empties the list of requests.
func (c *Carrier) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.all, c.log.peak = nil, c.log.busy
}
