package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// wish is a desired state that the back end asks for. What an answer says of it
// is set with the answer.
type wish struct {
	value    string
	id       string // "" without an answer
	sequence int64
	report   int  // number of the item that answers it, -1 none
	done     bool // the report was acknowledged before anything newer was asked for
}

// wishStep asks for a value, lets the device find it and, mostly, answer it;
// false when the hub is gone.
func (f *feeder) wishStep(ctx context.Context, p *process) bool {
	f.mu.Lock()
	w := &wish{value: strconv.Itoa(len(f.wishes)), report: -1}
	f.wishes = append(f.wishes, w)
	last := len(f.wishes)
	f.mu.Unlock()
	status, text, err := p.ask(ctx, http.MethodPost, "/api/hubs/"+host+"/control/"+f.id+"/sources/"+f.command+"/desired", map[string]string{"value": w.value})
	if err != nil {
		return false
	}
	var a wishAnswer
	if err := json.Unmarshal(text, &a); status != http.StatusCreated || err != nil || a.ID == "" || a.Sequence > int64(last) {
		if status < 500 || !f.l.excused() {
			f.l.violate("%s: asking for %s was answered with %d %s", f.id, w.value, status, text)
		}
		return true
	}
	f.mu.Lock()
	w.id, w.sequence = a.ID, a.Sequence
	f.mu.Unlock()
	f.l.wishes.Add(1)
	if last%4 == 0 {
		return true // the next one takes its place
	}
	return f.grantWish(ctx, p, w)
}

// grantWish polls as the device does and reports what it finds.
func (f *feeder) grantWish(ctx context.Context, p *process, w *wish) bool {
	status, text, err := f.call(ctx, p, http.MethodGet, f.path("/desired-states"), nil)
	if err != nil {
		return false
	}
	var a struct {
		States []struct {
			ID       string `json:"desired_id"`
			Command  string `json:"command_id"`
			Value    string
			Sequence int64 `json:"sequence_number"`
		} `json:"desired_states"`
	}
	err = json.Unmarshal(text, &a)
	switch {
	case status >= 500 && f.l.excused():
		return true
	case err != nil || status != http.StatusOK || len(a.States) != 1 || a.States[0].ID != w.id || a.States[0].Command != f.command ||
		a.States[0].Value != w.value || a.States[0].Sequence != w.sequence:
		f.l.violate("%s: %s was asked for as %s; the device's poll is answered with %d %s", f.id, w.value, w.id, status, text)
		return true
	}
	f.mu.Lock()
	n := f.add(w)
	w.report = n
	f.mu.Unlock()
	defer f.land(n)
	if !f.postItem(ctx, p, n) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.done = f.items[n].acked; w.done {
		f.l.granted.Add(1)
	}
	return true
}

// wishAnswer is a desired state as the console shows it.
type wishAnswer struct {
	ID       string `json:"desiredId"`
	Value    string
	Sequence int64 `json:"sequenceNumber"`
	Status   string
	Feed     int64 `json:"feedDataId"`
}

// recentWishes is how many a check after a kill looks at; the last looks at
// all.
const recentWishes = 60

// checkWishes compares what was asked for with the hub.
func (f *feeder) checkWishes(p *process, all bool) error {
	f.mu.Lock()
	left := slices.Clone(f.wishes)
	f.mu.Unlock()
	known, sequence := 0, int64(0)
	for _, w := range left {
		if w.id != "" {
			if known++; w.sequence <= sequence {
				f.l.violate("%s: %s has the sequence number %d after %d", f.id, w.id, w.sequence, sequence)
			}
			sequence = w.sequence
		}
	}
	if !all {
		left = left[max(0, len(left)-recentWishes):]
	}
	for at, w := range left {
		if w.id == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		status, text, err := p.ask(ctx, http.MethodGet, "/api/hubs/"+host+"/control/"+f.id+"/desired/"+w.id, nil)
		cancel()
		var a wishAnswer
		if err == nil && status == http.StatusOK {
			err = json.Unmarshal(text, &a)
		}
		switch {
		case err != nil || status != http.StatusOK && status != http.StatusNotFound:
			return unexpected("reading the desired state "+w.id, status, text, err)
		case status == http.StatusNotFound:
			f.l.violate("%s: the desired state %s was acknowledged and does not exist", f.id, w.id)
		default:
			f.judgeWish(w, &a, at < len(left)-1 && slices.ContainsFunc(left[at+1:], func(o *wish) bool { return o.id != "" }))
		}
	}
	return nil
}

// judgeWish compares one; replaced says that a newer one was acknowledged.
func (f *feeder) judgeWish(w *wish, a *wishAnswer, replaced bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	feed, acked := int64(0), false
	if w.report >= 0 {
		feed, acked = f.items[w.report].feed, f.items[w.report].acked
	}
	good := a.Value == w.value && a.Sequence == w.sequence
	switch a.Status {
	case "applied":
		good = good && w.report >= 0 && (feed == 0 || a.Feed == feed)
	case "pending":
		good = good && !acked && !replaced
	case "superseded":
		good = good && !w.done && (replaced || w != f.wishes[len(f.wishes)-1])
	default:
		good = false
	}
	if !good {
		f.l.violate("%s: %s was asked for as %s, number %d; report %d (stored as %d, acknowledged %v); the hub holds %+v", f.id, w.value, w.id, w.sequence, w.report, feed, acked, *a)
	}
}
