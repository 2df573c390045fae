package sim

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// Source is that of the events of this package.
const Source nave.Source = "connectivity"

// Types of events (connectivity-api 13).
const (
	ProductCreated    = "ProductCreateEvent"
	ProductChanged    = "ProductStateChangeEvent"
	ProductAttributes = "ProductAttributeValueChangeEvent"
	ProductDeleted    = "ProductDeleteEvent"
	LinkChanged       = "connectivity.link.changed"
	UsageThreshold    = "connectivity.usage.threshold"
	SessionStarted    = "connectivity.dataSession.started"
	SessionEnded      = "connectivity.dataSession.ended"
	PlatformDegraded  = "connectivity.platform.degraded"
	PlatformRecovered = "connectivity.platform.recovered"
	StatusUnmapped    = "connectivity.status.unmapped"
)

type eventBody struct {
	ID     string         `json:"eventId"`
	Time   Time           `json:"eventTime"`
	Type   string         `json:"eventType"`
	Tenant string         `json:"tenant"`
	Event  map[string]any `json:"event"`
}

// eventLease is how long the node that wrote an event has for bringing it to
// the event log before another one does.
const eventLease = time.Minute

// event writes an event in the transaction; it goes to the event log
// afterwards, at least once.
func (t *Tenant) event(tx *store.Tx, kind, device string, body map[string]any) error {
	now := t.Now()
	e := eventBody{newUUID(), At(now), kind, t.name, body}
	doc, err := json.Marshal(e)
	if err != nil {
		return err
	}
	tx.After(t.poke)
	return tx.AddSIMEvent(&store.SIMEvent{ID: e.ID, Device: device, At: now, Doc: string(doc)})
}

func (t *Tenant) poke() {
	select {
	case t.posted <- struct{}{}:
	default:
	}
}

// post brings events to the event log until close.
func (t *Tenant) post() {
	tick := time.NewTicker(eventLease / 2)
	defer tick.Stop()
	for {
		if err := t.events.run(t.ctx); err != nil && t.ctx.Err() == nil {
			t.o.Log.Warn("events of the connectivity API wait for the event log", "tenant", t.name, "err", err)
			select {
			case <-t.ctx.Done():
			case <-time.After(time.Second):
			}
		}
		select {
		case <-t.ctx.Done():
			return
		case <-t.posted:
		case <-tick.C:
		}
	}
}

const eventBatch = 1000

// postAll brings what waits to the event log. Within the pass, so that whoever
// has had his turn finds nothing half-way: events under way are leased, and not
// seen to wait.
func (t *Tenant) postAll(ctx context.Context) error {
	for {
		var all []*store.SIMEvent
		now := t.Now()
		waiting := false
		err := t.db.View(ctx, func(tx *store.Tx) (err error) { waiting, err = tx.SIMEventsWait(now); return err })
		if err != nil || !waiting {
			return err
		}
		err = t.db.Update(ctx, func(tx *store.Tx) (err error) {
			all, err = tx.LeaseSIMEvents(t.bus.Node(), now, now.Add(eventLease), eventBatch)
			return err
		})
		if err != nil || len(all) == 0 {
			return err
		}
		events := make([]*nave.Event, len(all))
		numbers := make([]int64, len(all))
		for n, e := range all {
			numbers[n] = e.No
			events[n] = &nave.Event{Source: Source, From: nave.ID{Device: e.Device}, Message: nave.Message{Body: []byte(e.Doc),
				System: nave.System{MessageID: e.ID, ContentType: "application/json", ContentEncoding: "utf-8"}}}
		}
		done := make(chan error, 1)
		t.hub.Record(events, func(err error) { done <- err })
		if err := <-done; err != nil {
			return err
		}
		if err := t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.DropSIMEvents(numbers) }); err != nil {
			return err
		}
	}
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
