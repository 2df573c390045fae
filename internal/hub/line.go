package hub

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

var opConnect = gate.Op{Name: "device.connect", Own: true, Right: nave.DeviceConnect, Rate: "connect", Kind: gate.Connect}

// Arrival is how a device comes to the hub.
type Arrival struct {
	Peer     Peer   // nil: HTTPS, a handle without presence
	Holds    Kind   // taken at once; an MQTT connection takes Everything
	Endless  bool   // locks of delivered messages last as long as the line (MQTT)
	Model    string // model id announced, "" none
	Protocol string // for logs: "mqtt", "mqttws", "amqp", "amqpws", "https"
	Remote   string // for logs: the peer's address
}

// Line is a device's or module's handle to the hub, bound to its principal. Its
// methods may be called from any goroutine.
//
// A line with a Peer is seated: it holds kinds of the identity's traffic until
// another line takes them over or Close is called, which must happen exactly
// once, after the connection has ended.
type Line struct {
	// Set by Connect, then read only:
	hub   *Hub
	who   *nave.Principal
	id    nave.ID
	peer  Peer
	from  Arrival
	since time.Time // of Connect
	wire  *Wire     // nil: nobody counts the bytes

	// Guarded by Hub.mu:
	claim   uint64 // number of the last claim
	pending Kind   // claimed, and the note of it has not come back

	noted   atomic.Int64           // activity last written, Unix nanoseconds
	active  atomic.Int64           // last activity, Unix nanoseconds
	spoke   atomic.Bool            // the device has sent or subscribed something
	closing atomic.Bool            // shut was called
	until   atomic.Int64           // expiry of the proof with the grace, Unix nanoseconds; 0 none
	model   atomic.Pointer[string] // model id announced; nil none

	// Guarded by showing, which is taken before mu and held across Peer.Desired:
	showing sync.Mutex
	seen    int64 // highest desired $version the device has been shown

	// Guarded by mu:
	mu      sync.Mutex
	why     *fault.Error                 // of the first shut
	methods bool                         // listens for methods
	desired bool                         // listens for desired properties
	calls   map[string]chan<- nave.Reply // open method calls by request id; closed with the line
	credit  int                          // C2D messages that may be delivered; below zero: no limit
	run     chan struct{}                // closed when messages are no longer on their way to the device or back; nil while none are
	again   bool                         // the run must look once more
	held    map[string]int64             // locks without end by token: sequence numbers
}

// Connect seats a proven device or module and returns its line. Another line
// that held the same kinds loses them: its peer is told to close with
// ConnectionForcefullyClosedOnNewConnection, or LinkCreationConflict for a
// single link (device-protocols 1.10). For HTTPS (no Peer) nothing is seated.
func (h *Hub) Connect(ctx context.Context, who *nave.Principal, id nave.ID, from Arrival) (*Line, error) {
	l := &Line{hub: h, who: who, id: id, peer: from.Peer, from: from, since: h.now()}
	if from.Peer == nil {
		h.metered(ctx, l)
		return l, nil
	}
	if err := h.gate.Enter(ctx, who, id, &opConnect, 0); err != nil {
		return nil, err
	}
	if err := l.Announce(ctx, from.Model); err != nil {
		return nil, err
	}
	l.Renew(who.Until)
	l.touch()
	if from.Holds != 0 {
		l.Claim(from.Holds)
	}
	if err := h.recheck(ctx, l); err != nil {
		l.Close(fault.From(err))
		return nil, err
	}
	h.metered(ctx, l)
	return l, nil
}

// recheck reads the identity once more, now that a change of it would find the
// line: between Authenticate and Connect it may have been disabled or deleted.
func (h *Hub) recheck(ctx context.Context, l *Line) error {
	i, err := h.registered(ctx, l.id)
	if err != nil {
		return err
	}
	if i.Presence.Connected {
		h.inquire(i.Presence.Node)
	}
	if l.who.Generation != "" && i.Generation != l.who.Generation {
		return fault.IotHubUnauthorized.New("%s was deleted and created anew meanwhile", l.id)
	}
	_, err = h.proven(ctx, i, l.who.Proof, l.who.Until)
	return err
}

// Announce takes a model id that the device names after it has connected; the
// empty text changes nothing (device-protocols 3.5).
func (l *Line) Announce(ctx context.Context, model string) error {
	if model == "" {
		return nil
	}
	if err := l.hub.announce(ctx, l.id, model); err != nil {
		return err
	}
	l.model.Store(&model)
	return nil
}

func (l *Line) modelID() string {
	if p := l.model.Load(); p != nil {
		return *p
	}
	return ""
}

// announce stores the model id that a device names when it connects.
func (h *Hub) announce(ctx context.Context, id nave.ID, model string) error {
	same := false
	err := h.db.View(ctx, func(tx *store.Tx) error {
		t, err := tx.Twin(id)
		same = err == nil && t.Model == model
		return err
	})
	if err != nil || same {
		return storeFault(err)
	}
	return storeFault(h.db.Update(ctx, func(tx *store.Tx) error { return tx.PutModel(id, model) }))
}

// ID returns the identity of the line.
func (l *Line) ID() nave.ID { return l.id }

// Principal returns who the line is bound to.
func (l *Line) Principal() *nave.Principal { return l.who }

// Claim takes kinds of the identity's traffic, from other lines if need be, also
// from those on other nodes.
func (l *Line) Claim(want Kind) {
	h := l.hub
	h.mu.Lock()
	h.claims++
	number := h.claims
	l.claim, l.pending = number, l.pending|want
	lost := h.take(l, want)
	h.mu.Unlock()
	for old, what := range lost {
		old.lose(what)
	}
	l.claimed(want, number)
}

// lose tells the peer that another line has taken over.
func (l *Line) lose(what Kind) {
	if l.from.Holds == Everything {
		why := fault.ConnectionForcefullyClosedOnNewConnection.New("%s has opened a new connection", l.id)
		l.shut(Whole, why)
		l.unseat(Everything)
		return
	}
	l.unseat(what)
	for _, k := range kinds {
		if what&k.kind != 0 {
			l.peer.Close(k.part, fault.LinkCreationConflict.New("another client of %s has opened a link of the same kind", l.id))
		}
	}
}

// Release gives kinds back, when the link that carried them is gone.
func (l *Line) Release(what Kind) {
	// Messages go back first: whoever takes the seat next must find them in their order.
	l.unseat(what)
	l.hub.mu.Lock()
	l.hub.leave(l, what)
	l.hub.mu.Unlock()
}

// unseat ends what the line did for the kinds it no longer holds: messages in
// delivery go back to the queue, subscriptions end.
func (l *Line) unseat(what Kind) {
	l.mu.Lock()
	var held map[string]int64
	if what&Commands != 0 {
		l.credit = 0
		for l.run != nil {
			// A message may be on its way to the device or back: it must be
			// back before another line looks for the next one.
			run := l.run
			l.mu.Unlock()
			<-run
			l.mu.Lock()
		}
		if held, l.held = l.held, nil; len(held) > 0 {
			l.run = make(chan struct{})
		}
	}
	if what&Twins != 0 {
		l.desired = false
	}
	if what&Methods != 0 {
		l.methods = false
		for id, reply := range l.calls {
			close(reply)
			delete(l.calls, id)
		}
	}
	l.mu.Unlock()
	if len(held) > 0 {
		l.hub.requeue(l.id, held)
		l.mu.Lock()
		close(l.run)
		l.run = nil
		l.mu.Unlock()
		l.pull()
	}
}

// Renew sets a new expiry of the proof (AMQP put-token); the zero time means
// none. The line is closed with IotHubUnauthorized when it and the grace have
// passed (device-protocols 1.9).
func (l *Line) Renew(until time.Time) {
	if until.IsZero() {
		l.until.Store(0)
		return
	}
	l.until.Store(until.Add(l.hub.o.Limits.Skew).UnixNano())
}

// shut asks the peer to close, once for the whole line.
func (l *Line) shut(what Part, why *fault.Error) {
	if l.peer == nil || l.closing.Swap(true) {
		return
	}
	l.mu.Lock()
	l.why = why
	l.mu.Unlock()
	l.peer.Close(what, why)
}

// Close unseats the line. why is nil after an orderly end (DISCONNECT, AMQP
// close); the reason the hub gave, if it closed the line itself, wins.
func (l *Line) Close(why *fault.Error) {
	if l.peer == nil {
		return
	}
	l.closing.Store(true)
	l.Release(Everything)
	l.mu.Lock()
	cut := l.why != nil
	if cut {
		why = l.why
	}
	l.mu.Unlock()
	if l.wire != nil {
		l.wire.leave(l, why, cut || l.from.Holds == Everything)
	}
	if why == nil {
		l.hub.o.Log.Debug("disconnected", "hub", l.hub.o.Host, "device", l.id.String(), "peer", l.from.Remote)
		return
	}
	l.hub.o.Log.Info("disconnected", "hub", l.hub.o.Host, "device", l.id.String(), "op", "device.disconnect",
		"code", why.Code.ID, "why", why.Text, "tracking", why.Tracking, "peer", l.from.Remote)
	l.hub.Report("device.disconnect", l.id, why)
}

// touch notes activity. A device that comes over HTTPS has no seat that would
// remember it.
func (l *Line) touch() {
	now := l.hub.now()
	l.active.Store(now.UnixNano())
	if l.peer == nil {
		l.hub.mu.Lock()
		l.hub.visits[l.id] = now
		l.hub.mu.Unlock()
	}
}

func (l *Line) lastActive() time.Time {
	if n := l.active.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// Session returns what an earlier connection of the identity left behind, nil
// when there is nothing (device-protocols 2.2).
func (l *Line) Session(ctx context.Context) (s *nave.Session, err error) {
	err = l.hub.db.View(ctx, func(tx *store.Tx) error { s, err = tx.Session(l.id); return err })
	if err == store.ErrNone {
		return nil, nil
	}
	return s, storeFault(err)
}

// Keep stores the session; a nil session forgets it.
func (l *Line) Keep(ctx context.Context, s *nave.Session) error {
	return storeFault(l.hub.db.Update(ctx, func(tx *store.Tx) error {
		if s == nil {
			return tx.DeleteSession(l.id)
		}
		s.ID = l.id
		return tx.PutSession(s)
	}))
}
