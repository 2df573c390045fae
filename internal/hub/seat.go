package hub

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// seat is the place of one identity: which line holds which kind of its
// traffic. It exists while at least one line holds something.
type seat struct {
	holders [len(kinds)]*Line
}

func (s *seat) empty() bool {
	for _, l := range s.holders {
		if l != nil {
			return false
		}
	}
	return true
}

// take gives l the kinds and returns the lines that lost something, with what
// they lost. The caller holds mu.
func (h *Hub) take(l *Line, want Kind) map[*Line]Kind {
	s := h.seats[l.id]
	if s == nil {
		s = &seat{}
		h.seats[l.id] = s
		if l.id.IsModule() {
			h.moduleSeats++
		}
		h.presence(l.id, true)
	}
	var lost map[*Line]Kind
	for n := range s.holders {
		if want&kinds[n].kind == 0 {
			continue
		}
		if old := s.holders[n]; old != nil && old != l {
			if lost == nil {
				lost = map[*Line]Kind{}
			}
			lost[old] |= kinds[n].kind
		}
		s.holders[n] = l
	}
	return lost
}

// leave takes the kinds away from l. The caller holds mu.
func (h *Hub) leave(l *Line, what Kind) {
	s := h.seats[l.id]
	if s == nil {
		return
	}
	for n, holder := range s.holders {
		if holder == l && what&kinds[n].kind != 0 {
			s.holders[n] = nil
		}
	}
	if s.empty() {
		delete(h.seats, l.id)
		if l.id.IsModule() {
			h.moduleSeats--
		}
		h.presence(l.id, false)
	}
}

// holder returns the line that holds the kind of the identity's traffic here.
func (h *Hub) holder(id nave.ID, k Kind) *Line {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.seats[id]
	if s == nil {
		return nil
	}
	for n := range kinds {
		if kinds[n].kind == k {
			return s.holders[n]
		}
	}
	return nil
}

// seated returns the lines of one identity.
func (h *Hub) seated(id nave.ID) (lines []*Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.seats[id]; s != nil {
		lines = s.lines(lines)
	}
	return lines
}

func (s *seat) lines(to []*Line) []*Line {
next:
	for n, l := range s.holders {
		if l == nil {
			continue
		}
		for _, earlier := range s.holders[:n] {
			if earlier == l {
				continue next
			}
		}
		to = append(to, l)
	}
	return to
}

// lines returns every line of this hub here.
func (h *Hub) lines() (all []*Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.seats {
		all = s.lines(all)
	}
	return all
}

// Connections returns how many identities have a line here.
func (h *Hub) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.seats)
}

// presence notes a change of the connection state. The caller holds mu.
func (h *Hub) presence(id nave.ID, connected bool) {
	now := h.now()
	p := nave.Presence{Connected: connected, Changed: now, Activity: now}
	if connected {
		p.Node = h.bus.Node()
	}
	h.dirty[id] = p
	if n, ok := h.news[id]; ok && !connected {
		n.connected = false
		h.news[id] = n
	}
}

// overlay puts what memory knows over what the store read.
func (h *Hub) overlay(i *nave.Identity) *nave.Identity {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, fresh := h.dirty[i.ID]
	if fresh {
		i.Presence = p
	}
	i.Presence.Activity = later(i.Presence.Activity, h.visits[i.ID])
	if s := h.seats[i.ID]; s != nil {
		for _, l := range s.holders {
			if l != nil {
				if !fresh && (!i.Presence.Connected || i.Presence.Node != h.bus.Node()) {
					// It was written, and left dirty, after the store was read.
					i.Presence = nave.Presence{Connected: true, Node: h.bus.Node(), Changed: l.since}
				}
				i.Presence.Activity = later(i.Presence.Activity, l.lastActive())
			}
		}
	}
	return i
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// flush writes changed presence and activity to the store.
func (h *Hub) flush(ctx context.Context) error {
	return errors.Join(h.flushPresence(ctx), h.flushVisits(ctx))
}

func (h *Hub) flushPresence(ctx context.Context) error {
	h.mu.Lock()
	rows := make([]store.PresenceRow, 0, len(h.dirty))
	for id, p := range h.dirty {
		row := store.PresenceRow{ID: id, Presence: p}
		if p.Node != h.bus.Node() {
			row.Of = h.bus.Node() // whoever has it now has written that
		}
		rows = append(rows, row)
	}
	h.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	if err := h.db.Update(ctx, func(tx *store.Tx) error { return tx.Presence(rows) }); err != nil {
		return err
	}
	h.mu.Lock()
	for _, r := range rows {
		if h.dirty[r.ID] == r.Presence {
			delete(h.dirty, r.ID)
		}
	}
	h.mu.Unlock()
	return nil
}

// flushVisits writes the activity of HTTPS devices, in an order that is the
// same on all nodes, as their transactions lock the rows one after another.
func (h *Hub) flushVisits(ctx context.Context) error {
	h.mu.Lock()
	visits := maps.Clone(h.visits)
	h.mu.Unlock()
	if len(visits) == 0 {
		return nil
	}
	err := h.db.Update(ctx, func(tx *store.Tx) (err error) {
		for _, id := range slices.SortedFunc(maps.Keys(visits), compareIDs) {
			err = errors.Join(err, tx.Activity(id, visits[id]))
		}
		return err
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, at := range visits {
		if h.visits[id].Equal(at) {
			delete(h.visits, id)
		}
	}
	return nil
}

func compareIDs(a, b nave.ID) int {
	return cmp.Or(strings.Compare(a.Device, b.Device), strings.Compare(a.Module, b.Module))
}

// expel ends the lines of an identity, and for a device those of its modules.
func (h *Hub) expel(id nave.ID, why *fault.Error) {
	for _, l := range h.seated(id) {
		l.shut(Whole, why)
	}
	h.mu.Lock()
	below := !id.IsModule() && h.moduleSeats > 0
	h.mu.Unlock()
	if !below {
		return
	}
	for _, l := range h.lines() {
		if l.id.IsModule() && l.id.Device == id.Device {
			l.shut(Whole, why)
		}
	}
}

// elsewhere returns the node that holds the identity's line, "" when it is this
// node or none.
func (h *Hub) elsewhere(ctx context.Context, id nave.ID) (node string, err error) {
	err = h.db.View(ctx, func(tx *store.Tx) error {
		i, err := tx.Identity(id)
		if err == nil && i.Presence.Connected && i.Presence.Node != h.bus.Node() {
			node = i.Presence.Node
		}
		return err
	})
	if errors.Is(err, store.ErrNone) {
		err = nil
	}
	return node, storeFault(err)
}
