package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

const (
	twinReport = "$iothub/twin/PATCH/properties/reported/"
	twinReply  = "$iothub/twin/res/"
)

// section is what the writer of one half of a twin knows: every patch sets n to
// its number and one of eight keys, so that the state tells which were applied.
type section struct {
	version int64
	values  map[string]int
	patches int            // numbers used
	open    map[string]int // a patch that was sent and not answered, nil none
}

// twin is what is known of a device's twin. Guarded by device.mu.
type twin struct{ reported, desired section }

func (t *twin) init() {
	for _, s := range []*section{&t.reported, &t.desired} {
		s.values, s.version = map[string]int{}, 1
	}
}

// begin returns the next patch.
func (s *section) begin() map[string]int {
	s.patches++
	s.open = map[string]int{"n": s.patches, "key" + strconv.Itoa(s.patches%8): s.patches}
	return s.open
}

// applied notes that the open patch is in the twin.
func (s *section) applied() {
	maps.Copy(s.values, s.open)
	s.open = nil
	s.version++
}

// check compares with what the hub shows and settles the open patch.
func (s *section) check(shown map[string]json.RawMessage) error {
	have := map[string]int{}
	var version int64
	for name, raw := range shown {
		var err error
		switch name {
		case "$version":
			err = json.Unmarshal(raw, &version)
		case "$metadata":
		default:
			n := 0
			err = json.Unmarshal(raw, &n)
			have[name] = n
		}
		if err != nil {
			return fmt.Errorf("%s is %s", name, raw)
		}
	}
	if s.open != nil && have["n"] == s.open["n"] {
		s.applied()
	}
	if version != s.version || !maps.Equal(have, s.values) {
		return fmt.Errorf("$version %d with %v; acknowledged were $version %d with %v; unanswered %v", version, have, s.version, s.values, s.open)
	}
	s.open = nil
	return nil
}

// reply is the answer to a twin request.
type reply struct {
	rid     string
	status  int
	version int64
}

func (r *rider) twinReply(p *mqtt.Publish) {
	status, query, _ := strings.Cut(strings.TrimPrefix(p.Topic, twinReply), "/")
	q, err := url.ParseQuery(strings.TrimPrefix(query, "?"))
	code, err2 := strconv.Atoi(status)
	if err != nil || err2 != nil {
		r.d.l.violate("%s: a twin answer on %s", r.d.id, p.Topic)
		return
	}
	version, _ := strconv.ParseInt(q.Get("$version"), 10, 64)
	select {
	case r.replies <- reply{q.Get("$rid"), code, version}:
	default:
		r.d.l.violate("%s: more twin answers than requests: %s", r.d.id, p.Topic)
	}
}

// report patches reported properties, one patch at a time, until the
// connection ends. A patch without answer is settled by reading the twin.
func (r *rider) report(ctx context.Context) {
	d := r.d
	for ctx.Err() == nil {
		d.mu.Lock()
		if d.twin.reported.open != nil {
			d.mu.Unlock()
			return // of an earlier connection: the next check settles it
		}
		patch := d.twin.reported.begin()
		rid := strconv.Itoa(patch["n"])
		d.mu.Unlock()
		body, _ := json.Marshal(patch)
		if r.c.Publish(&mqtt.Publish{Topic: twinReport + "?$rid=" + rid, Payload: body}) != nil {
			return
		}
		select {
		case <-r.c.Done():
			return
		case a := <-r.replies:
			if !r.reported(a, rid) {
				return
			}
		}
	}
}

func (r *rider) reported(a reply, rid string) bool {
	d := r.d
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.twin.reported
	switch {
	case a.rid != rid:
		d.l.violate("%s: twin answer for $rid %s, the request was %s", d.id, a.rid, rid)
		return false
	case a.status != http.StatusNoContent:
		if a.status < 500 || !d.l.excused() {
			d.l.violate("%s: reported patch %s was answered with %d", d.id, rid, a.status)
		}
		return false
	case a.version != s.version+1:
		d.l.violate("%s: reported patch %s was acknowledged with $version %d, expected is %d", d.id, rid, a.version, s.version+1)
		return false
	}
	s.applied()
	d.l.reports.Add(1)
	return true
}

// desire patches desired properties through the service REST; false when the
// hub is gone.
func (d *device) desire(ctx context.Context, p *process) bool {
	d.mu.Lock()
	if d.twin.desired.open != nil {
		d.mu.Unlock()
		return true
	}
	patch := d.twin.desired.begin()
	d.mu.Unlock()
	body := map[string]any{"properties": map[string]any{"desired": patch}}
	status, answer, err := p.rest(ctx, http.MethodPatch, "/twins/"+d.id, body)
	if err != nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if status != http.StatusOK {
		if status < 500 || !d.l.excused() {
			d.l.violate("%s: the patch of desired properties was answered with %d %s", d.id, status, answer)
		}
		return true
	}
	d.twin.desired.applied()
	d.l.desired.Add(1)
	return true
}

// checkTwin compares the twin with what was acknowledged.
func (d *device) checkTwin(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	status, body, err := p.rest(ctx, http.MethodGet, "/twins/"+d.id, nil)
	if err != nil || status != http.StatusOK {
		return unexpected("reading the twin of "+d.id, status, body, err)
	}
	var t struct {
		Properties struct{ Desired, Reported map[string]json.RawMessage }
	}
	if err := json.Unmarshal(body, &t); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.twin.reported.check(t.Properties.Reported); err != nil {
		d.l.violate("%s: reported properties: %v", d.id, err)
	}
	if err := d.twin.desired.check(t.Properties.Desired); err != nil {
		d.l.violate("%s: desired properties: %v", d.id, err)
	}
	return nil
}
