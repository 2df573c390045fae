package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/nave-hub/nave"
)

// feedRow is an item of the history as the console shows it.
type feedRow struct {
	ID       int64  `json:"feedDataId"`
	Message  string `json:"messageId"`
	Value    string
	Observed string
	Desired  string `json:"desiredId"`
	Report   string `json:"reportStatus"`
	Sequence int64  `json:"sequenceNumber"`
}

// check compares a control device with the hub: its history, what is sent
// again, its desired states. With all the history is read once more after
// that.
func (f *feeder) check(p *process, all bool) error {
	if err := f.checkHistory(p); err != nil {
		return err
	}
	if err := f.sendAgain(p); err != nil {
		return err
	}
	if err := f.checkWishes(p, all); err != nil || !all {
		return err
	}
	return f.checkHistory(p)
}

// checkHistory reads all there is of both sources.
func (f *feeder) checkHistory(p *process) error {
	var rows [2][]feedRow
	for at, source := range []string{f.sensor, f.command} {
		for before := int64(0); ; {
			page, err := f.history(p, source, before)
			if err != nil {
				return err
			}
			rows[at] = append(rows[at], page...)
			if len(page) < historyPage {
				break
			}
			before = page[len(page)-1].ID
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.items {
		i.stored = 0
	}
	f.judge(rows[0], false)
	f.judge(rows[1], true)
	f.judgeMissing()
	return nil
}

const historyPage = 1000

func (f *feeder) history(p *process, source string, before int64) (page []feedRow, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	path := fmt.Sprintf("/api/hubs/%s/control/%s/sources/%s/history?top=%d&before=%d", host, f.id, source, historyPage, before)
	status, text, err := p.ask(ctx, http.MethodGet, path, nil)
	if err != nil || status != http.StatusOK {
		return nil, unexpected("reading the history of "+f.id, status, text, err)
	}
	return page, json.Unmarshal(text, &page)
}

// judge holds the history of a source, the newest first, against what was sent;
// mu is held. What is there although no answer said so is settled by it.
func (f *feeder) judge(rows []feedRow, command bool) {
	for at, row := range rows {
		n := numberOf(row.Message)
		if n < 0 || n >= len(f.items) || (f.items[n].wish != nil) != command {
			f.l.violate("%s: the history has %s, which nobody sent", f.id, row.Message)
			continue
		}
		i := f.items[n]
		if i.stored++; i.stored > 1 {
			f.l.violate("%s: %s is stored twice, as %d and as %d", f.id, row.Message, i.feed, row.ID)
			continue
		}
		if at > 0 && row.ID >= rows[at-1].ID {
			f.l.violate("%s: the history has %d behind %d", f.id, row.ID, rows[at-1].ID)
		}
		if what := row.differs(f.content(n, i.wish)); what != "" {
			f.l.violate("%s: %s was stored with another %s: %+v", f.id, row.Message, what, row)
		}
		if i.feed != 0 && i.feed != row.ID {
			f.l.violate("%s: %s was acknowledged as %d and is stored as %d", f.id, row.Message, i.feed, row.ID)
		}
		if i.feed == 0 {
			i.feed = row.ID
		}
		if other := f.owners.claim(row.ID, f.id+" "+row.Message); other != "" {
			f.l.violate("%s: %s has the feed_data_id %d, which %s has too", f.id, row.Message, row.ID, other)
		}
	}
}

func (r *feedRow) differs(c content) string {
	at, err := nave.ParseTime(r.Observed)
	switch {
	case r.Value != c.Value:
		return "value"
	case err != nil || at.UTC().Format(timeForm) != c.Observed:
		return "time"
	case r.Desired != c.Desired || r.Report != c.Report || r.Sequence != c.Sequence:
		return "desired state"
	}
	return ""
}

// judgeMissing finds items that were stored and are not; mu is held.
func (f *feeder) judgeMissing() {
	for n, i := range f.items {
		switch {
		case i.stored > 0 || i.feed == 0:
		case i.acked:
			f.l.violate("%s: %s was acknowledged as %d and is not in the history", f.id, messageOf(n), i.feed)
		default:
			f.l.violate("%s: %s was in the history as %d and is not any more", f.id, messageOf(n), i.feed)
		}
	}
}

// againLast and againOld are how many acknowledged items a check sends again:
// the last ones, and others.
const againLast, againOld = 20, 20

// sendAgain sends what has no answer, which must be stored or have been, and
// some of what has one, which must be idempotent; accepted judges. All goes over
// HTTPS, also what came by MQTT (iot-v1 FD-15).
func (f *feeder) sendAgain(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	for _, taken := range f.chosen() {
		alone := taken[:min(3, len(taken))]
		for _, n := range alone {
			if !f.postItem(ctx, p, n) {
				return fmt.Errorf("%s: sending an item again had no answer", f.id)
			}
		}
		if !f.postBatch(ctx, p, taken) {
			return fmt.Errorf("%s: sending a batch again had no answer", f.id)
		}
		f.land(taken...)
	}
	return nil
}

// chosen returns the items for sendAgain in batches; they fly.
func (f *feeder) chosen() (batches [][]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pick := map[int]bool{}
	for _, n := range f.waiting {
		pick[n] = true
	}
	for n, left := len(f.items)-1, againLast; n >= 0 && left > 0; n-- {
		if f.items[n].acked {
			pick[n] = true
			left--
		}
	}
	for range min(againOld, len(f.items)) {
		pick[rand.IntN(len(f.items))] = true
	}
	var taken []int
	for n := range pick {
		f.items[n].tries += 2 // alone or in the batch, or both
		f.items[n].flying = true
		if taken = append(taken, n); len(taken) == 50 {
			batches, taken = append(batches, taken), nil
		}
	}
	if taken != nil {
		batches = append(batches, taken)
	}
	return batches
}

// forget clears what the last reading of the log found.
func (f *feeder) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.items {
		i.logged, i.must = 0, i.feed != 0
	}
}

// loggedEvent notes an event of the log at its item.
func (f *feeder) loggedEvent(e *event) error {
	var have struct {
		content
		Feed int64 `json:"feed_data_id"`
	}
	if err := json.Unmarshal(e.Body, &have); err != nil {
		return fmt.Errorf("%w in %s", err, e.Body)
	}
	n, id := numberOf(have.Message), e.Properties["feedDataId"]
	f.mu.Lock()
	defer f.mu.Unlock()
	if n < 0 || n >= len(f.items) || e.System.MessageID != have.Message || id == nil || *id != strconv.FormatInt(have.Feed, 10) {
		return fmt.Errorf("nobody sent %s, feedDataId %v", e.Body, id)
	}
	i := f.items[n]
	if i.logged++; i.logged > 1 && i.inLog != have.Feed {
		return fmt.Errorf("%s is in the log as %d and as %d", have.Message, i.inLog, have.Feed)
	}
	i.inLog = have.Feed
	if want := f.content(n, i.wish); have.content != want {
		return fmt.Errorf("%s was sent as %+v", e.Body, want)
	}
	return nil
}

// checkLogged compares the last reading of the log with the history and with
// what was acknowledged before it: each item is there at least once, and nothing
// that is not stored.
func (f *feeder) checkLogged() (copies int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, i := range f.items {
		switch {
		case i.must && i.logged == 0:
			f.l.violate("%s: %s is stored as %d and is not in the event log", f.id, messageOf(n), i.feed)
		case i.logged > 0 && i.inLog != i.feed:
			f.l.violate("%s: %s is in the event log as %d and in the history as %d", f.id, messageOf(n), i.inLog, i.feed)
		case i.logged > 1:
			copies++
		}
	}
	return copies
}
