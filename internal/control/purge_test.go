package control_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
)

const many = 1203 // more than the worker removes at once

// count returns the items of meter, the desired states of relay and valve, and
// the entries of the audit log.
func (p *plant) count(t *testing.T, device, meter, relay, valve string) [4]int {
	t.Helper()
	ctx := context.Background()
	items, err := p.control.History(ctx, device, meter, 0, 2*many)
	one, err1 := p.control.DesiredHistory(ctx, device, relay, 2*many)
	two, err2 := p.control.DesiredHistory(ctx, device, valve, 2*many)
	audit, err3 := p.control.Audits(ctx, device, 2*many)
	if err := errors.Join(err, err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return [4]int{len(items), len(one), len(two), len(audit)}
}

// TestPurge lets the retention pass on the hub's clock: the worker removes items
// with their keys, closed desired states and audit entries, and keeps what is
// younger, what is open, and each command's newest desired state.
func TestPurge(t *testing.T) {
	var passed atomic.Int64
	ctx := context.Background()
	p, err := openPlant(ctx, t.TempDir(), true, func() time.Time { return time.Now().Add(time.Duration(passed.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close(t) })
	d, _, err := p.control.Create(ctx, control.Draft{
		Commands: []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "relay", Lifetime: -1}}, {ControlSource: nave.ControlSource{Kind: "valve", Adopt: true}}},
		Sensors:  []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "meter"}}}})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, s := range d.Sources {
		ids[s.Kind] = s.ID
	}
	relay, valve, meter := ids["relay"], ids["valve"], ids["meter"]
	feed := func(i *control.Item) int64 {
		t.Helper()
		i.Observed = p.control.Now().UTC()
		r, err := d.Feed(ctx, i, control.HTTPS)
		if err != nil || r.Status != control.Created {
			t.Fatal(r, err)
		}
		return r.FeedID
	}
	pass := func(days time.Duration) { passed.Add(int64(days * 24 * time.Hour)) }
	for n := range many {
		if _, err := p.control.Set(ctx, d.ID, relay, fmt.Sprint(n), "me"); err != nil {
			t.Fatal(err)
		}
	}
	open, err := p.control.Set(ctx, d.ID, relay, "1", "me")
	if err != nil {
		t.Fatal(err)
	}
	feed(&control.Item{Message: "old", Source: meter, Value: "1"})
	feed(&control.Item{Message: "a", Source: valve, Command: true, Value: "1"})
	feed(&control.Item{Message: "b", Source: valve, Command: true, Value: "2"})
	count := func() [4]int { return p.count(t, d.ID, meter, relay, valve) }
	pass(60)
	young := feed(&control.Item{Message: "young", Source: meter, Value: "2"})
	if got := count(); got != [4]int{2, many + 1, 2, 2} {
		t.Fatalf("before the retention: %v", got)
	}
	pass(31)
	await(t, func() bool { return count() == [4]int{1, 1, 1, 0} }, count)
	if items, _ := p.control.History(ctx, d.ID, meter, 0, 2); items[0].ID != young {
		t.Errorf("left is item %d, want %d", items[0].ID, young)
	}
	if s, err := p.control.Desired(ctx, open.ID); err != nil || s.Status != nave.DesiredPending {
		t.Errorf("the open one: %+v, %v", s, err)
	}
	if next, err := p.control.Set(ctx, d.ID, valve, "7", "me"); err != nil || next.Sequence != 3 {
		t.Errorf("numbers go on: %+v, %v", next, err)
	}
	feed(&control.Item{Message: "old", Source: meter, Value: "another"}) // its key is free
}

// await asks again and again until done, at most a minute.
func await(t *testing.T, done func() bool, have func() [4]int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the worker left %v", have())
		}
	}
}
