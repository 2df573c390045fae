package control_test

import (
	"context"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
)

// TestRestart sends the same item before and after a restart, over both
// transports: it is stored once, and logged once because the hub ended in
// order.
func TestRestart(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	p, err := openPlant(ctx, dir, false, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := p.control.Create(ctx, control.Draft{Sensors: []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "meter"}}}})
	if err != nil {
		t.Fatal(err)
	}
	item := &control.Item{Message: "m-1", Source: d.Sources[0].ID, Value: "1", Observed: time.Now().UTC(), Unknown: []string{"x"}}
	first, err := d.Feed(ctx, item, control.HTTPS)
	if err != nil || first.Status != control.Created {
		t.Fatal(first, err)
	}
	for range 2 {
		p.close(t)
		if p, err = openPlant(ctx, dir, false, time.Now); err != nil {
			t.Fatal(err)
		}
		if d, err = p.control.Find(ctx, d.ID); err != nil {
			t.Fatal(err)
		}
		for _, transport := range []string{control.HTTPS, control.MQTT} {
			r, err := d.Feed(ctx, item, transport)
			if err != nil || r.Status != control.Idempotent || r.FeedID != first.FeedID || string(r.Warnings) != string(first.Warnings) {
				t.Errorf("%s: %+v, %v", transport, r, err)
			}
		}
	}
	next := *item
	next.Message = "m-2"
	second, err := d.Feed(ctx, &next, control.HTTPS)
	if err != nil || second.FeedID <= first.FeedID {
		t.Errorf("%+v, %v", second, err)
	}
	for id, n := range p.logged(t, 2) {
		if n != 1 {
			t.Errorf("item %s is in the event log %d times", id, n)
		}
	}
	p.close(t)
}
