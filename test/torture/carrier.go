package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// simBase is the connectivity API of the hub, as the console has it.
const simBase = "/api/connectivity/v1/" + host

// card is a SIM as its carrier knows it: what it is, and every change that a
// task has made, in order.
type card struct {
	id      string
	status  string
	changes []cardChange
	touched bool // since the last check

	logged map[string]string // status by event id, of the last reading of the event log
}

type cardChange struct{ from, to, reason string }

// bulk is a task: what was asked for, and what must become of each SIM.
type bulk struct {
	id      string // "" without an answer
	reason  string // unlike that of any other task
	to      string
	cards   []*card
	unknown []string // ICCIDs that no SIM has
	killed  bool     // the hub was killed before the task was seen to end
}

// carrier owns SIMs and changes them by tasks of hundreds, one task after the
// other. Its step is used by one goroutine at a time.
type carrier struct {
	// Set by newCarrier, then read only:
	name  string
	l     *ledger
	cards []*card

	// Guarded by mu:
	mu    sync.Mutex
	tasks int
	open  *bulk // under way, or not known to be; nil none
}

const cardsOfCarrier = 400

// newCarrier imports SIMs.
func newCarrier(p *process, n int, l *ledger) (*carrier, error) {
	c := &carrier{name: "carrier" + strconv.Itoa(n), l: l}
	body := map[string]any{"account": "HUBSIM_1", "sim": make([]struct{}, cardsOfCarrier)}
	status, text, err := p.ask(context.Background(), http.MethodPost, simBase+"/product", body, "Content-Type", "application/json")
	if err != nil || status != http.StatusCreated {
		return nil, unexpected("importing SIMs", status, text, err)
	}
	var made struct{ Entities []struct{ ID, Status string } }
	if err := json.Unmarshal(text, &made); err != nil {
		return nil, err
	}
	for _, e := range made.Entities {
		c.cards = append(c.cards, &card{id: e.ID, status: e.Status, touched: true})
	}
	if len(c.cards) != cardsOfCarrier {
		return nil, fmt.Errorf("%d SIMs were imported of %d", len(c.cards), cardsOfCarrier)
	}
	return c, nil
}

// allowed says whether a SIM may go from one status to another
// (connectivity-api SC-7), as far as carriers ask for it.
func allowed(from, to string) bool {
	switch from {
	case "INVENTORY":
		return to == "ACTIVE" || to == "TERMINATED"
	case "TERMINATED":
		return false
	}
	return true
}

// plan makes the next task.
func (c *carrier) plan() *bulk {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks++
	b := &bulk{reason: c.name + " task " + strconv.Itoa(c.tasks), to: []string{"ACTIVE", "SUSPENDED", "BLOCKED"}[rand.IntN(3)]}
	size := 20 + rand.IntN(len(c.cards)-20)
	if rand.IntN(20) == 0 {
		b.to, size = "TERMINATED", 3
	}
	for _, n := range rand.Perm(len(c.cards))[:size] {
		b.cards = append(b.cards, c.cards[n])
	}
	for range rand.IntN(3) {
		b.unknown = append(b.unknown, fmt.Sprintf("8999999%012d", rand.Int64N(1e12)))
	}
	c.open = b
	return b
}

// step follows the task that is under way or makes the next one; false when the
// hub is gone.
func (c *carrier) step(ctx context.Context, p *process) bool {
	c.mu.Lock()
	b := c.open
	c.mu.Unlock()
	if b != nil {
		if b.id == "" {
			return true // the next check settles it
		}
		_, err := c.look(ctx, p, b)
		return err == nil
	}
	b = c.plan()
	body := map[string]any{"status": b.to, "reason": b.reason, "productId": ids(b.cards), "iccid": b.unknown}
	if b.unknown == nil {
		delete(body, "iccid")
	}
	header := []string{"Content-Type", "application/json"}
	if rand.IntN(2) == 0 {
		header = append(header, "Prefer", "respond-async")
	}
	status, text, err := p.ask(ctx, http.MethodPost, simBase+"/task/productStatusChange", body, header...)
	if err != nil {
		return false
	}
	var t taskAnswer
	if err := json.Unmarshal(text, &t); status != http.StatusOK && status != http.StatusAccepted || err != nil || t.ID == "" {
		if status < 500 || !c.l.excused() {
			c.l.violate("%s: it was answered with %d %.300s", b.reason, status, text)
		}
		return true
	}
	c.l.tasks.Add(1)
	b.id = t.ID
	c.judge(b, &t)
	return true
}

func ids(all []*card) (list []string) {
	for _, k := range all {
		list = append(list, k.id)
	}
	return list
}

// taskAnswer is a task as the hub shows it.
type taskAnswer struct {
	ID, State, Status, Reason, FinishedAt string
	Statistics                            struct{ Total, Succeeded, Failed, InProgress int }
	Entities                              []taskItem
	Errors                                []struct{ Code, ProductID string }
}

type taskItem struct {
	ProductID, ICCID, State, Status string
	StatusCode                      int
}

// look reads the task and judges it when it has ended.
func (c *carrier) look(ctx context.Context, p *process, b *bulk) (done bool, err error) {
	status, text, err := p.ask(ctx, http.MethodGet, simBase+"/task/"+b.id, nil)
	if err != nil {
		return false, err
	}
	var t taskAnswer
	switch err := json.Unmarshal(text, &t); {
	case status >= 500 && c.l.excused():
		return false, nil
	case status == http.StatusNotFound:
		c.l.violate("%s: it was acknowledged as %s and does not exist", b.reason, b.id)
		c.close(b)
		return true, nil
	case status != http.StatusOK || err != nil:
		c.l.violate("%s: reading it was answered with %d %.300s", b.reason, status, text)
		return false, nil
	}
	return c.judge(b, &t), nil
}

func (c *carrier) close(b *bulk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == b {
		c.open = nil
	}
}

// judge compares a task that has ended with what must become of each SIM, and
// enters the changes; false while it is under way.
func (c *carrier) judge(b *bulk, t *taskAnswer) (done bool) {
	if t.Status != b.to || t.Reason != b.reason || len(t.Entities) != len(b.cards)+len(b.unknown) {
		c.l.violate("%s: it asks for %s of %d SIMs, the hub holds %s of %d, reason %q", b.reason, b.to, len(b.cards)+len(b.unknown), t.Status, len(t.Entities), t.Reason)
		c.close(b)
		return true
	}
	if t.State == "inProgress" {
		return false
	}
	succeeded := 0
	for n, k := range b.cards {
		ok := k.status == b.to || allowed(k.status, b.to)
		want := taskItem{ProductID: k.id, State: "done", Status: b.to, StatusCode: 200}
		if !ok {
			want = taskItem{ProductID: k.id, State: "failed", Status: k.status, StatusCode: 400}
		}
		if t.Entities[n] != want {
			c.l.violate("%s: %s was %s; the outcome is %+v, expected %+v", b.reason, k.id, k.status, t.Entities[n], want)
		}
		if ok {
			succeeded++
			if k.status != b.to {
				k.changes = append(k.changes, cardChange{k.status, b.to, b.reason})
				k.status = b.to
				c.l.switched.Add(1)
			}
		}
		k.touched = true
	}
	for n, iccid := range b.unknown {
		if want := (taskItem{ICCID: iccid, State: "failed", StatusCode: 404}); t.Entities[len(b.cards)+n] != want {
			c.l.violate("%s: the outcome of an unknown ICCID is %+v, expected %+v", b.reason, t.Entities[len(b.cards)+n], want)
		}
	}
	state := map[bool]string{true: "done", false: "terminatedWithError"}[succeeded > 0]
	if failed := len(t.Entities) - succeeded; t.State != state || t.Statistics.Succeeded != succeeded || t.Statistics.Failed != failed || len(t.Errors) != failed ||
		t.Statistics.InProgress != 0 || t.FinishedAt == "" {
		c.l.violate("%s: it ended as %s with %+v, %d errors, at %q; %d changes are possible", b.reason, t.State, t.Statistics, len(t.Errors), t.FinishedAt, succeeded)
	}
	if b.killed {
		c.l.resumed.Add(1)
	}
	c.close(b)
	return true
}

// taskTime is how long a task may take after a start.
const taskTime = 5 * time.Minute

// check settles the task that was under way when the hub died, waits for its
// end, and compares the SIMs with the hub: those touched, or all.
func (c *carrier) check(p *process, all bool) error {
	c.mu.Lock()
	b := c.open
	c.mu.Unlock()
	if b != nil {
		b.killed = true
		if err := c.settle(p, b); err != nil {
			return err
		}
	}
	for _, k := range c.cards {
		if !all && !k.touched {
			continue
		}
		if err := c.checkCard(p, k); err != nil {
			return err
		}
		k.touched = false
	}
	return nil
}

func (c *carrier) settle(p *process, b *bulk) error {
	ctx, cancel := context.WithTimeout(context.Background(), taskTime)
	defer cancel()
	if b.id == "" {
		if err := c.find(ctx, p, b); err != nil {
			return err
		}
		if b.id == "" {
			c.close(b)
			return nil // it never was
		}
	}
	for {
		done, err := c.look(ctx, p, b)
		if done {
			return nil
		}
		if err != nil || ctx.Err() != nil {
			c.l.violate("%s: it has not ended %s after the start: %v", b.reason, taskTime, err)
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// find looks for a task whose creation had no answer; it is there once or not.
func (c *carrier) find(ctx context.Context, p *process, b *bulk) error {
	status, text, err := p.ask(ctx, http.MethodGet, simBase+"/task?pageSize=20", nil)
	var found struct{ Entities []taskAnswer }
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil || status != http.StatusOK {
		return unexpected("listing tasks", status, nil, err)
	}
	found.Entities = slices.DeleteFunc(found.Entities, func(t taskAnswer) bool { return t.Reason != b.reason })
	switch len(found.Entities) {
	case 0:
	case 1:
		b.id = found.Entities[0].ID
	default:
		c.l.violate("%s: it was asked for once and is there %d times", b.reason, len(found.Entities))
	}
	return nil
}

// checkCard compares status and history of a SIM: each change once, in order.
func (c *carrier) checkCard(p *process, k *card) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var now struct{ Status string }
	var past struct {
		Entities []struct{ Kind, From, To, Reason string }
	}
	for path, to := range map[string]any{"?fields=status": &now, "/history?pageSize=1000": &past} {
		status, text, err := p.ask(ctx, http.MethodGet, simBase+"/product/"+k.id+path, nil)
		if err == nil && status == http.StatusOK {
			err = json.Unmarshal(text, to)
		}
		if err != nil || status != http.StatusOK {
			return unexpected("reading "+k.id, status, text, err)
		}
	}
	have := []cardChange{}
	for _, h := range past.Entities {
		have = append(have, cardChange{h.From, h.To, h.Reason})
	}
	slices.Reverse(have)
	c.compare(k, now.Status, have)
	return nil
}

// birth is the history of a SIM before any task.
var birth = []cardChange{{"", "CREATED", "import"}, {"CREATED", "INVENTORY", "provisioned"}}

func (c *carrier) compare(k *card, status string, have []cardChange) {
	if status != k.status {
		c.l.violate("%s is %s, its tasks made it %s", k.id, status, k.status)
	}
	want := slices.Concat(birth, k.changes)
	for n := range max(len(have), len(want)) {
		switch {
		case n >= len(have):
			c.l.violate("%s: the history lacks %v", k.id, want[n])
		case n >= len(want):
			c.l.violate("%s: the history has %v, which is one too many", k.id, have[n])
		case have[n] != want[n]:
			c.l.violate("%s: the history has %v in the place of %v", k.id, have[n], want[n])
		default:
			continue
		}
		return
	}
}

// connectivitySource is the source of the events of SIMs.
const connectivitySource = "connectivity"

// takeChange notes an event of the log at its SIM. Events may come twice, with
// the same id, and in another order than the changes.
func (g *eventLog) takeChange(body []byte) error {
	var e struct {
		ID    string `json:"eventId"`
		Type  string `json:"eventType"`
		Event struct{ Product struct{ ID, Status string } }
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("%w in %s", err, body)
	}
	k := g.cards[e.Event.Product.ID]
	if k == nil || e.ID == "" {
		return fmt.Errorf("an event of no SIM: %s", body)
	}
	if e.Type == "ProductStateChangeEvent" {
		k.logged[e.ID] = e.Event.Product.Status
	}
	return nil
}

// checkLogged compares the last reading of the log with the changes: none is in
// it more often than it was made and, when all have had the time to get there,
// none less often.
func (c *carrier) checkLogged(all bool) {
	for _, k := range c.cards {
		left := map[string]int{}
		for _, ch := range k.changes {
			left[ch.to]++
		}
		for _, status := range k.logged {
			left[status]--
		}
		for status, n := range left {
			if n < 0 || all && n > 0 {
				c.l.violate("%s: it became %s %d times more often than the event log says", k.id, status, n)
			}
		}
	}
}
