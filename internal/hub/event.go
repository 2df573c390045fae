package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nave-hub/nave"
)

// Schemas and operation names of the hub's own events (hub-semantics 13).
const (
	lifecycleSchema  = "deviceLifecycleNotification"
	twinSchema       = "twinChangeNotification"
	connectionSchema = "deviceConnectionStateNotification"
)

// state is what is to be published of one identity's connection.
type state struct {
	connected bool
	was       bool // as last published
}

// emit writes an event of the hub itself to the log, if its source is routed
// there.
func (h *Hub) emit(source nave.Source, schema, op string, on nave.ID, body []byte) {
	if !h.routed[source] {
		return
	}
	now := h.now()
	var id [16]byte
	rand.Read(id[:])
	e := &nave.Event{Source: source, From: on, Enqueued: now, Message: nave.Message{Body: body,
		System: nave.System{CorrelationID: hex.EncodeToString(id[:]), ContentType: "application/json", ContentEncoding: "utf-8", UserID: h.name, Schema: schema}}}
	e.SetApp("hubName", h.name, true)
	e.SetApp("deviceId", on.Device, true)
	if on.IsModule() {
		e.SetApp("moduleId", on.Module, true)
	}
	e.SetApp("operationTimestamp", nave.Format(now), true)
	e.SetApp("opType", op, true)
	h.outbox.add(e)
}

// maxOutbox bounds the hub's own events that wait for the log.
const maxOutbox = 100_000

// outbox holds the hub's own events on their way to the log, in order: what
// follows a commit must not wait for the log, which may be behind.
type outbox struct {
	// Set by Open, then read only:
	hub *Hub

	// Guarded by mu:
	mu      sync.Mutex
	waiting []*nave.Event
	running bool
}

func (o *outbox) add(e *nave.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == maxOutbox {
		o.lost(e, errors.New("too many events wait for the log"))
		return
	}
	o.waiting = append(o.waiting, e)
	if !o.running {
		o.running = o.hub.spawn(o.run)
	}
}

func (o *outbox) run() {
	for {
		o.mu.Lock()
		batch := o.waiting
		o.waiting = nil
		o.running = len(batch) > 0
		o.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, e := range batch {
			o.hub.events.Append(e, func(err error) {
				if err != nil {
					o.lost(e, err)
				}
			})
		}
	}
}

func (o *outbox) lost(e *nave.Event, err error) {
	o.hub.o.Log.Error("an event of the hub was lost", "hub", o.hub.o.Host, "source", string(e.Source), "device", e.From.String(), "err", err)
}

// twinEvent tells of a write to a twin.
func (h *Hub) twinEvent(t *nave.Twin, c *nave.Change) {
	if !h.routed[nave.TwinChanges] {
		return
	}
	if c.Patch.Replace {
		h.emit(nave.TwinChanges, twinSchema, "replaceTwin", t.ID, t.AppendReplaceEvent(nil))
		return
	}
	h.emit(nave.TwinChanges, twinSchema, "updateTwin", t.ID, t.AppendUpdateEvent(nil, c))
}

// lifecycleEvent tells of a creation or deletion; op is createDeviceIdentity or
// deleteDeviceIdentity.
func (h *Hub) lifecycleEvent(op string, t *nave.Twin) {
	if h.routed[nave.DeviceLifecycle] {
		h.emit(nave.DeviceLifecycle, lifecycleSchema, op, t.ID, t.AppendLifecycle(nil))
	}
}

// publishConnections tells of connection states that changed since the last
// time; a bounce within the interval stays unreported (hub-semantics 13).
func (h *Hub) publishConnections() {
	h.mu.Lock()
	var changed []nave.ID
	states := map[nave.ID]bool{}
	for id, s := range h.news {
		if s.connected != s.was {
			changed = append(changed, id)
			states[id] = s.connected
		}
		if s.connected {
			h.news[id] = state{true, true}
		} else {
			delete(h.news, id)
		}
	}
	h.mu.Unlock()
	for _, id := range changed {
		op := "deviceDisconnected"
		if states[id] {
			op = "deviceConnected"
		}
		body := fmt.Sprintf(`{"sequenceNumber":"%032X%032X"}`, h.now().UnixMicro(), h.counter.Add(1))
		h.emit(nave.DeviceConnectionState, connectionSchema, op, id, []byte(body))
	}
}

// Pauses of the sweeper.
const (
	sweepEvery    = time.Second
	presenceEvery = 250 * time.Millisecond
	sweepBatch    = 1000
)

// sweep does what is due by time, until Close.
func (h *Hub) sweep() {
	fast, slow := time.NewTicker(presenceEvery), time.NewTicker(sweepEvery)
	news := time.NewTicker(h.o.ConnectionEvents)
	defer fast.Stop()
	defer slow.Stop()
	defer news.Stop()
	for {
		var err error
		select {
		case <-h.ctx.Done():
			h.publishConnections()
			return
		case <-fast.C:
			h.dropHints()
			err = h.flush(h.ctx)
		case <-slow.C:
			h.expireProofs()
			err = h.expireMessages(h.ctx)
		case <-news.C:
			h.noteActivity()
			h.publishConnections()
		}
		if err != nil && h.ctx.Err() == nil {
			h.o.Log.Warn("the sweep failed", "hub", h.o.Host, "err", err)
		}
	}
}

// noteActivity has the activity of live lines written with their presence.
func (h *Hub) noteActivity() {
	for _, l := range h.lines() {
		active := l.lastActive()
		h.mu.Lock()
		if p, ok := h.dirty[l.id]; ok {
			p.Activity = later(p.Activity, active)
			h.dirty[l.id] = p
		} else if h.seats[l.id] != nil && l.noted.Swap(active.UnixNano()) != active.UnixNano() {
			h.dirty[l.id] = nave.Presence{Connected: true, Node: h.bus.Node(), Changed: l.since, Activity: active}
		}
		h.mu.Unlock()
	}
}

// expireProofs closes the lines whose token and grace have run out.
func (h *Hub) expireProofs() {
	now := h.now().UnixNano()
	for _, l := range h.lines() {
		if until := l.until.Load(); until != 0 && now > until {
			l.expire()
		}
	}
}

// expireMessages ends what has passed its time in the queues.
func (h *Hub) expireMessages(ctx context.Context) error {
	for {
		more, err := h.expireSome(ctx)
		if err != nil || !more {
			return err
		}
	}
}
