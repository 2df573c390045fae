package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// record is what the hub answers of an identity, as far as it must stay.
type record struct {
	Generation string `json:"generationId"`
	ETag       string `json:"etag"`
	Status     string `json:"status"`
	Reason     string `json:"statusReason"`
	Auth       struct {
		Key struct {
			Primary string `json:"primaryKey"`
		} `json:"symmetricKey"`
	} `json:"authentication"`
}

// entry is one identity of a clerk: what it is, nil absent, and what it may be
// as well because an operation was not answered.
type entry struct {
	now     *record
	unsure  bool
	removal bool // the unanswered operation is a deletion
	reason  string
}

// clerk registers, changes and deletes devices; it is used by one goroutine at
// a time.
type clerk struct {
	name    string
	l       *ledger
	entries map[string]*entry
	ids     []string
	touched map[string]bool // since the last check
}

func newClerk(n int, l *ledger) *clerk {
	return &clerk{name: "clerk" + strconv.Itoa(n), l: l, entries: map[string]*entry{}, touched: map[string]bool{}}
}

// step does one operation; false when the hub is gone.
func (c *clerk) step(ctx context.Context, p *process) bool {
	id := c.name + "-" + strconv.Itoa(len(c.ids))
	if old := len(c.ids); old > 0 && rand.IntN(10) < 4 {
		id = c.ids[rand.IntN(old)]
	} else {
		c.ids = append(c.ids, id)
		c.entries[id] = &entry{}
	}
	e := c.entries[id]
	if e.unsure {
		return true // the next check settles it
	}
	c.touched[id] = true
	if e.now != nil && rand.IntN(3) > 0 {
		return c.remove(ctx, p, id, e)
	}
	return c.put(ctx, p, id, e)
}

func (c *clerk) put(ctx context.Context, p *process, id string, e *entry) bool {
	e.unsure, e.removal, e.reason = true, false, "reason "+strconv.Itoa(rand.IntN(1e9))
	body := map[string]any{"deviceId": id, "status": "disabled", "statusReason": e.reason}
	var header []string
	if e.now != nil {
		header = []string{"If-Match", `"` + e.now.ETag + `"`}
		body["authentication"] = map[string]any{"symmetricKey": map[string]string{"primaryKey": e.now.Auth.Key.Primary, "secondaryKey": e.now.Auth.Key.Primary}}
	}
	status, answer, err := p.rest(ctx, http.MethodPut, "/devices/"+id, body, header...)
	if err != nil {
		return false
	}
	if status != http.StatusOK {
		return c.refused("registration", id, status, answer, e)
	}
	var r record
	if err := json.Unmarshal(answer, &r); err != nil || r.Reason != e.reason || r.Generation == "" || r.ETag == "" {
		c.l.violate("%s: the registration was answered with %s", id, answer)
	}
	if e.now == nil {
		c.l.registered.Add(1)
	} else {
		c.l.changed.Add(1)
	}
	e.now, e.unsure = &r, false
	return true
}

func (c *clerk) remove(ctx context.Context, p *process, id string, e *entry) bool {
	e.unsure, e.removal = true, true
	status, answer, err := p.rest(ctx, http.MethodDelete, "/devices/"+id, nil, "If-Match", "*")
	if err != nil {
		return false
	}
	if status != http.StatusNoContent {
		return c.refused("deletion", id, status, answer, e)
	}
	c.l.removed.Add(1)
	e.now, e.unsure = nil, false
	return true
}

func (c *clerk) refused(what, id string, status int, answer []byte, e *entry) bool {
	if status < 500 || !c.l.excused() {
		c.l.violate("%s: the %s was answered with %d %s", id, what, status, answer)
		e.unsure = false
	}
	return true
}

// check compares the identities with the hub: those touched, or all.
func (c *clerk) check(p *process, all bool) error {
	for _, id := range c.ids {
		if !all && !c.touched[id] {
			continue
		}
		if err := c.checkOne(p, id, c.entries[id]); err != nil {
			return err
		}
		delete(c.touched, id)
	}
	return nil
}

func (c *clerk) checkOne(p *process, id string, e *entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	status, answer, err := p.rest(ctx, http.MethodGet, "/devices/"+id, nil)
	if err != nil {
		return err
	}
	var have *record
	switch status {
	case http.StatusOK:
		have = &record{}
		if err := json.Unmarshal(answer, have); err != nil {
			return err
		}
	case http.StatusNotFound:
	default:
		return unexpected("reading "+id, status, answer, nil)
	}
	same := have == nil && e.now == nil || have != nil && e.now != nil && *have == *e.now
	if !same && !(e.unsure && e.explains(have)) {
		c.l.violate("%s: the hub holds %s, acknowledged was %s", id, show(have), show(e.now))
	}
	e.now, e.unsure = have, false
	return nil
}

// explains says whether the unanswered operation would have led to have.
func (e *entry) explains(have *record) bool {
	if e.removal || have == nil {
		return e.removal && have == nil
	}
	return have.Reason == e.reason && (e.now == nil || have.Generation == e.now.Generation && have.Auth == e.now.Auth)
}

func show(r *record) string {
	if r == nil {
		return "no device"
	}
	return fmt.Sprintf("generation %s, etag %s, %q", r.Generation, r.ETag, r.Reason)
}
