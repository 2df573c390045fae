package hub

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/store"
)

// One identity on several nodes. A line that takes kinds of traffic tells all
// nodes, itself among them, and whoever held them lets go. When two nodes do
// that at once, the order in which the bus carries the two notes decides, which
// is the same for both: a note of another node counts against a line only after
// the line's own note has come back. No clocks are compared.

// echoWait is how long after Connect a line waits for its own note; one that is
// lost must not make the line deaf to others.
const echoWait = 10 * time.Second

// hintLife is how long noteMethods tells where an identity is; by then its
// presence is in the store.
const hintLife = 4 * presenceEvery

// whereabouts is the node on which an identity has begun to listen for methods.
type whereabouts struct {
	node string
	at   time.Time
}

// claimed tells other nodes what the line holds now. The caller holds no lock.
func (l *Line) claimed(want Kind, number uint64) {
	l.hub.tell(note{Kind: noteTaken, On: l.id, Kinds: want, Number: number})
}

// echoed hears of a claim of a line here.
func (h *Hub) echoed(n *note) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.seats[n.On]
	if s == nil {
		return
	}
	for _, l := range s.holders {
		if l != nil && l.claim == n.Number {
			l.pending = 0
		}
	}
}

// takenElsewhere lets go what a line of another node has taken.
func (h *Hub) takenElsewhere(n *note) {
	lost := map[*Line]Kind{}
	h.mu.Lock()
	if s := h.seats[n.On]; s != nil {
		for i, l := range s.holders {
			k := kinds[i].kind
			if l == nil || n.Kinds&k == 0 || l.pending&k != 0 && h.now().Sub(l.since) < echoWait {
				continue
			}
			lost[l] |= k
			s.holders[i] = nil
		}
		if len(lost) > 0 && s.empty() {
			h.vacate(n.On, n.Node)
		}
	}
	h.mu.Unlock()
	for l, what := range lost {
		// Giving messages back is work for the store; the bus must not wait for it.
		if !h.spawn(func() { l.lose(what) }) {
			l.lose(what)
		}
	}
}

// vacate gives up the seat of an identity that is now at another node: it is
// still connected, so there is nothing to tell. The caller holds mu.
func (h *Hub) vacate(id nave.ID, node string) {
	delete(h.seats, id)
	if id.IsModule() {
		h.moduleSeats--
	}
	now := h.now()
	h.dirty[id] = nave.Presence{Connected: true, Node: node, Changed: now, Activity: now}
	delete(h.news, id)
}

// seenAt notes where an identity has begun to listen for methods, and wakes whoever
// waits for that.
func (h *Hub) seenAt(n *note) {
	h.mu.Lock()
	h.hints[n.On] = whereabouts{n.Node, h.now()}
	h.mu.Unlock()
	h.arrived(n.On)
}

// hint returns the node that an identity has lately been seen at, "" for none.
func (h *Hub) hint(id nave.ID) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w, ok := h.hints[id]; ok && h.now().Sub(w.at) < hintLife {
		return w.node
	}
	return ""
}

// dropHints forgets what is in the store by now.
func (h *Hub) dropHints() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, w := range h.hints {
		if h.now().Sub(w.at) >= hintLife {
			delete(h.hints, id)
		}
	}
}

// Probes of a node that may be dead.
const (
	probeWait  = 2 * time.Second
	probePause = 3 * time.Second
)

// inquire finds out, on a goroutine of its own, whether a node that the store
// names is still there. What a dead one held is freed: nobody else would before
// it starts again.
func (h *Hub) inquire(node string) {
	if node == "" || node == h.bus.Node() {
		return
	}
	h.mu.Lock()
	busy := h.inquiries[node]
	h.inquiries[node] = true
	h.mu.Unlock()
	if busy {
		return
	}
	h.spawn(func() {
		defer func() {
			h.mu.Lock()
			delete(h.inquiries, node)
			h.mu.Unlock()
		}()
		if h.absent(node) && await(h.ctx, nil, probePause) == nil && h.absent(node) {
			h.bury(node)
		}
	})
}

// absent says whether nobody serves the calls of a node. One that has lost the
// bus for a moment looks the same, hence two probes.
func (h *Hub) absent(node string) bool {
	ctx, cancel := context.WithTimeout(h.ctx, probeWait)
	defer cancel()
	return errors.Is(h.bus.Call(ctx, h.callSubject(node), farCall{}, nil), bus.ErrNobody)
}

// bury frees what a dead node held: connection states, and messages that it had
// in delivery.
func (h *Hub) bury(node string) {
	released := 0
	err := h.db.Update(h.ctx, func(tx *store.Tx) (err error) {
		if _, err = tx.ClearPresence(node); err == nil {
			released, err = tx.ReleaseC2D(lockPrefix(node))
		}
		return err
	})
	if err != nil {
		h.o.Log.Warn("what a dead node held is not free yet", "hub", h.o.Host, "node", node, "err", err)
		return
	}
	h.o.Log.Warn("a node is gone, what it held is free", "hub", h.o.Host, "node", node, "messages", released)
	if released == 0 {
		return
	}
	for _, l := range h.lines() {
		l.pull()
	}
}
