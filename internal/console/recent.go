package console

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// recentSize is how many occurrences a Recent keeps when it is not told.
const recentSize = 1000

// Recent keeps the last failures and disconnects of a node. Its methods may be
// called from any goroutine and do not block.
type Recent struct {
	// Guarded by mu:
	mu   sync.Mutex
	ring []Occurrence
	next int
	full bool
}

// Occurrence is one failure, or one connection that ended for a reason.
type Occurrence struct {
	Time     time.Time    `json:"time"`
	Hub      string       `json:"hub"`
	Op       string       `json:"op"`
	Device   string       `json:"deviceId,omitempty"`
	Module   string       `json:"moduleId,omitempty"`
	Code     int          `json:"code"`
	Name     string       `json:"name"`
	Family   fault.Family `json:"family"`
	Text     string       `json:"text"`
	Why      string       `json:"why"`
	Fix      string       `json:"fix"`
	Retry    string       `json:"retry"`
	Tracking string       `json:"trackingId"`
}

// What a SIM that carries no traffic does to its device, in place of what the
// code says (connectivity-api RP-6).
const (
	whySIM = "The device is linked to a SIM that carries no traffic, so it is treated like a disabled one."
	fixSIM = "Put the SIM into service with 'nave sim activate', or part it from the device with 'nave sim unlink'."
)

// NewRecent returns a Recent for n occurrences, 1,000 when n is 0.
func NewRecent(n int) *Recent {
	if n <= 0 {
		n = recentSize
	}
	return &Recent{ring: make([]Occurrence, n)}
}

// Record keeps an occurrence; the oldest one goes when there is no room.
func (r *Recent) Record(host, op string, on nave.ID, why *fault.Error) {
	if why == nil {
		return
	}
	e := fault.From(why)
	o := Occurrence{Time: e.At, Hub: host, Op: op, Device: on.Device, Module: on.Module, Code: e.Code.ID, Name: e.Code.Name,
		Family: e.Code.Family, Text: e.Text, Why: e.Code.Why, Fix: e.Code.Fix, Retry: e.Code.Retry.String(), Tracking: e.Tracking}
	if hub.Stopped(e) != "" {
		o.Why, o.Fix = whySIM, fixSIM
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.next] = o
	r.next++
	if r.next == len(r.ring) {
		r.next, r.full = 0, true
	}
}

// Filter chooses occurrences; an empty field matches all.
type Filter struct {
	Hub, Device string
	Besides     string // another host that counts with Hub
	Module      string
	Code        string // number or name, in any letter case
	Top         int    // greatest number, 0 for all
}

func (f *Filter) matches(o *Occurrence) bool {
	return (f.Hub == "" || strings.EqualFold(f.Hub, o.Hub) || f.Besides != "" && strings.EqualFold(f.Besides, o.Hub)) && (f.Device == "" || f.Device == o.Device) &&
		(f.Module == "" || f.Module == o.Module) &&
		(f.Code == "" || f.Code == strconv.Itoa(o.Code) || strings.EqualFold(f.Code, o.Name))
}

// List returns the occurrences that match, the newest first.
func (r *Recent) List(f Filter) []Occurrence {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Occurrence{}
	count := r.next
	if r.full {
		count = len(r.ring)
	}
	for n := range count {
		o := &r.ring[(r.next-1-n+len(r.ring))%len(r.ring)]
		if !f.matches(o) {
			continue
		}
		all = append(all, *o)
		if f.Top > 0 && len(all) == f.Top {
			break
		}
	}
	return all
}

func (s *server) listRecent(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := Filter{Hub: q.Get("hub"), Device: q.Get("device"), Module: q.Get("module"), Code: q.Get("code")}
	if s.o.DPS != nil { // a device's registrations are part of its history
		f.Besides = s.o.DPS.Host()
	}
	if text := q.Get("top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			s.fail(w, r, fault.ArgumentInvalid.New("top is %q, expected is a number above zero", text))
			return
		}
		f.Top = n
	}
	writeJSON(w, http.StatusOK, s.o.Recent.List(f))
}
