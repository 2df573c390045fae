package sim

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// meter books what linked devices move (RP-7 to RP-10). It is the hub's Meter.
type meter struct {
	t *Tenant

	// batch is held by whoever locks several flows.
	batch sync.Mutex

	// Guarded by mu:
	mu    sync.Mutex
	live  map[*hub.Traffic]*flow
	http  map[httpKey]*flow
	spare []flow // made some at a time, see hub.Wires
}

// flowsAtOnce is how many flows are made together.
const flowsAtOnce = 64

// flow returns a new flow; mu is held.
func (m *meter) flow() *flow {
	if len(m.spare) == 0 {
		m.spare = make([]flow, flowsAtOnce)
	}
	f := &m.spare[0]
	m.spare = m.spare[1:]
	return f
}

type httpKey struct{ device, protocol string }

// flow is what one device moves on one connection, or over HTTP.
type flow struct {
	device, protocol, ip string
	traffic              *hub.Traffic // nil over HTTP

	// Guarded by mu:
	mu       sync.Mutex
	up, down int64 // over HTTP: what was counted; else what was booked of traffic
	used     time.Time
	product  string // "": not linked when it was booked last
	session  string
	closed   bool
}

func newMeter(t *Tenant) *meter {
	return &meter{t: t, live: map[*hub.Traffic]*flow{}, http: map[httpKey]*flow{}}
}

// idleAfter ends data sessions over HTTP (RP-10).
const idleAfter = 15 * time.Minute

// lostAfter ends data sessions of nodes that do not come back.
const lostAfter = 24 * time.Hour

// meterTimeout bounds how long a connection waits for its booking.
const meterTimeout = 5 * time.Second

// Opened begins a data session, and activates a SIM that waits for its first
// traffic (RP-4).
func (m *meter) Opened(c *hub.Traffic) {
	m.mu.Lock()
	f := m.flow()
	f.device, f.protocol, f.ip, f.traffic, f.used = c.Device, c.Protocol, address(c.Remote), c, m.t.Now()
	m.live[c] = f
	m.mu.Unlock()
	m.begin(f)
}

// Closed books the rest and ends the data session.
func (m *meter) Closed(c *hub.Traffic, why *fault.Error) {
	m.mu.Lock()
	f := m.live[c]
	delete(m.live, c)
	m.mu.Unlock()
	if f == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.t.ctx), meterTimeout)
	defer cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if err := m.bookFlows(ctx, []*flow{f}, causeOf(why)); err != nil {
		m.t.o.Log.Warn("usage of a connection could not be booked", "tenant", m.t.name, "device", f.device, "err", err)
	}
}

// Request counts one request over HTTP.
func (m *meter) Request(device, protocol, remote string, up, down int64) {
	key := httpKey{device, protocol}
	m.mu.Lock()
	f := m.http[key]
	fresh := f == nil
	if fresh {
		f = m.flow()
		f.device, f.protocol, f.ip = device, protocol, address(remote)
		m.http[key] = f
	}
	m.mu.Unlock()
	f.mu.Lock()
	f.up, f.down, f.used = f.up+up, f.down+down, m.t.Now()
	if f.closed { // idle took it out meanwhile
		f.closed = false
		m.mu.Lock()
		m.http[key] = f
		m.mu.Unlock()
	}
	f.mu.Unlock()
	if fresh {
		m.begin(f)
	}
}

// begin looks whether the device of a new flow is linked, and opens its data
// session.
func (m *meter) begin(f *flow) {
	if len(m.t.allAccounts()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.t.ctx), meterTimeout)
	defer cancel()
	linked := false
	err := m.t.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.SIMOfDevice(f.device)
		if errors.Is(err, store.ErrNone) {
			return nil
		}
		linked = err == nil && m.t.metered(s)
		return err
	})
	if err == nil && linked {
		f.mu.Lock()
		defer f.mu.Unlock()
		err = m.t.db.Update(ctx, func(tx *store.Tx) error {
			s, err := tx.SIMOfDevice(f.device)
			if errors.Is(err, store.ErrNone) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := m.firstUse(tx, s); err != nil {
				return err
			}
			return m.openSession(tx, f, s)
		})
	}
	if err != nil {
		m.t.o.Log.Warn("a data session could not be opened", "tenant", m.t.name, "device", f.device, "err", err)
	}
}

func (m *meter) firstUse(tx *store.Tx, s *store.SIM) error {
	if s.Status != string(PendingActive) {
		return nil
	}
	return m.t.move(tx, m.t.account(s.Account), s, Active, hubCause("first use"))
}

// metered says whether the hub meters the product itself.
func (t *Tenant) metered(s *store.SIM) bool {
	a := t.account(s.Account)
	return a != nil && a.embedded()
}

// openSession gives a flow an open data session of the product; flows over HTTP
// share one. The flow's fields are set once that is durable.
func (m *meter) openSession(tx *store.Tx, f *flow, s *store.SIM) error {
	now := m.t.Now()
	if f.traffic == nil {
		have, err := tx.OpenSIMSession(s.ID, f.protocol)
		if err == nil {
			tx.After(func() { f.product, f.session = have.Product, have.ID })
			return tx.AddSIMSession(have.Product, have.ID, 0, 0, now)
		}
		if !errors.Is(err, store.ErrNone) {
			return err
		}
	}
	n := &store.SIMSession{ID: "ds-" + newUUID(), Product: s.ID, Device: f.device, Node: m.t.bus.Node(), Began: now, Seen: now, Protocol: f.protocol, IP: f.ip}
	if err := tx.InsertSIMSession(n); err != nil {
		return err
	}
	tx.After(func() { f.product, f.session = s.ID, n.ID })
	return m.t.event(tx, SessionStarted, f.device, map[string]any{"productId": s.ID, "sessionId": n.ID, "protocol": f.protocol})
}

// endSession ends a data session with the event; one that has ended stays.
func (t *Tenant) endSession(tx *store.Tx, product, session, device string, at time.Time, why string) error {
	err := tx.EndSIMSession(product, session, at, why)
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.event(tx, SessionEnded, device, map[string]any{"productId": product, "sessionId": session, "terminateCause": why})
}

// bookBatch is how many flows are booked in one transaction.
const bookBatch = 100

// book books all flows that have moved something.
func (m *meter) book(ctx context.Context) error {
	return m.bookSome(ctx, m.flows(func(f *flow) bool { return f.traffic == nil || f.traffic.Up.Load()+f.traffic.Down.Load() > 0 }), false)
}

// bookDevice books the flows of a device, and has its data sessions follow its
// link.
func (m *meter) bookDevice(ctx context.Context, device string) error {
	return m.bookSome(ctx, m.flows(func(f *flow) bool { return f.device == device }), true)
}

func (m *meter) flows(want func(*flow) bool) (all []*flow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.live {
		if want(f) {
			all = append(all, f)
		}
	}
	for _, f := range m.http {
		if want(f) {
			all = append(all, f)
		}
	}
	return all
}

func (m *meter) bookSome(ctx context.Context, all []*flow, idle bool) error {
	m.batch.Lock()
	defer m.batch.Unlock()
	for some := range slices.Chunk(all, bookBatch) {
		if err := m.bookChunk(ctx, some, idle); err != nil {
			return err
		}
	}
	return nil
}

func (m *meter) bookChunk(ctx context.Context, some []*flow, idle bool) error {
	var held []*flow
	defer func() {
		for _, f := range held {
			f.mu.Unlock()
		}
	}()
	for _, f := range some {
		f.mu.Lock()
		if up, down := f.moved(); f.closed || !idle && up+down == 0 {
			f.mu.Unlock()
			continue
		}
		held = append(held, f)
	}
	if len(held) == 0 {
		return nil
	}
	return m.bookFlows(ctx, held, "")
}

// moved returns what is to be booked.
func (f *flow) moved() (up, down int64) {
	if f.traffic == nil {
		return f.up, f.down
	}
	return f.traffic.Up.Load() - f.up, f.traffic.Down.Load() - f.down
}

// booked takes off what was booked.
func (f *flow) booked(up, down int64) {
	if f.traffic == nil {
		f.up, f.down = f.up-up, f.down-down
		return
	}
	f.up, f.down = f.up+up, f.down+down
}

// bookFlows books what flows have moved to the products that are linked now;
// with a cause their data sessions end. The caller holds the flows.
func (m *meter) bookFlows(ctx context.Context, all []*flow, end string) error {
	type sum struct{ up, down int64 }
	sums := make([]sum, len(all))
	linked := false
	for i, f := range all {
		sums[i].up, sums[i].down = f.moved()
		linked = linked || f.product != ""
	}
	if !linked && len(m.t.allAccounts()) == 0 {
		for i, f := range all {
			f.booked(sums[i].up, sums[i].down)
		}
		return nil
	}
	err := m.t.db.Update(ctx, func(tx *store.Tx) error {
		for i, f := range all {
			if err := m.bookFlow(tx, f, sums[i].up, sums[i].down, end); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		for i, f := range all {
			f.booked(sums[i].up, sums[i].down)
		}
	}
	return err
}

func (m *meter) bookFlow(tx *store.Tx, f *flow, up, down int64, end string) error {
	now := m.t.Now()
	s, err := tx.SIMOfDevice(f.device)
	if errors.Is(err, store.ErrNone) || err == nil && !m.t.metered(s) {
		s, err = nil, nil
	}
	if err != nil {
		return err
	}
	product, session := f.product, f.session
	if product != "" && (s == nil || s.ID != product) {
		if err := m.t.endSession(tx, product, session, f.device, now, CauseLink); err != nil {
			return err
		}
		product, session = "", ""
		tx.After(func() { f.product, f.session = "", "" })
	}
	if s == nil {
		return nil
	}
	if up+down > 0 {
		if err := m.t.consume(tx, s, store.SIMUsage{Up: up, Down: down}); err != nil {
			return err
		}
	}
	seen := now
	if f.traffic == nil {
		seen = f.used
	}
	if session != "" {
		err := tx.AddSIMSession(product, session, up, down, seen)
		if err == nil && end != "" {
			err = m.t.endSession(tx, product, session, f.device, now, end)
		}
		if !errors.Is(err, store.ErrNone) {
			return err
		}
		if end != "" {
			return nil
		}
	}
	if end != "" {
		return nil
	}
	return m.openSession(tx, f, s)
}

// idle ends data sessions that have had no traffic for too long (RP-10), and
// those of nodes that are gone.
func (m *meter) idle(ctx context.Context) error {
	now := m.t.Now()
	old := m.flows(func(f *flow) bool { return f.traffic == nil })
	for _, f := range old {
		f.mu.Lock()
		if now.Sub(f.used) >= idleAfter {
			if up, down := f.moved(); up+down == 0 || m.bookFlows(ctx, []*flow{f}, "") == nil {
				f.closed, f.product, f.session = true, "", ""
				m.mu.Lock()
				delete(m.http, httpKey{f.device, f.protocol})
				m.mu.Unlock()
			}
		}
		f.mu.Unlock()
	}
	return errors.Join(m.endAll(ctx, CauseIdle, func(tx *store.Tx) ([]*store.SIMSession, error) {
		return tx.IdleSIMSessions(hub.HTTPTraffic, now.Add(-idleAfter), timerBatch)
	}), m.endAll(ctx, CauseUnknown, func(tx *store.Tx) ([]*store.SIMSession, error) {
		return tx.LostSIMSessions("", now.Add(-lostAfter), timerBatch)
	}))
}

func (m *meter) endAll(ctx context.Context, why string, find func(*store.Tx) ([]*store.SIMSession, error)) error {
	for n := timerBatch; n == timerBatch; {
		err := m.t.db.View(ctx, func(tx *store.Tx) error { all, err := find(tx); n = len(all); return err })
		if err != nil || n == 0 {
			return err
		}
		err = m.t.db.Update(ctx, func(tx *store.Tx) error {
			all, err := find(tx)
			n = len(all)
			for _, s := range all {
				if err == nil {
					err = m.t.endSession(tx, s.Product, s.ID, s.Device, s.Seen, why)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recover ends the data sessions that a crash of this node has left open; those
// over HTTP go on.
func (m *meter) recover(ctx context.Context) error {
	now, node := m.t.Now(), m.t.bus.Node()
	return m.endAll(ctx, CauseUnknown, func(tx *store.Tx) ([]*store.SIMSession, error) {
		all, err := tx.LostSIMSessions(node, now.Add(time.Second), timerBatch)
		return slices.DeleteFunc(all, func(s *store.SIMSession) bool { return s.Protocol == hub.HTTPTraffic }), err
	})
}

// close books what is left.
func (m *meter) close(ctx context.Context) error { return m.book(ctx) }

// causeOf says why a connection has ended.
func causeOf(why *fault.Error) string {
	switch {
	case why == nil:
		return CauseDevice
	case hub.Stopped(why) != "":
		return CauseStatus
	case why.Detail[detailReset] != nil:
		return CauseReset
	case errors.Is(why, bus.ErrUnavailable):
		return CauseUnknown
	}
	return CauseNetwork
}

// address cuts the port off an address.
func address(remote string) string {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		return host
	}
	return strings.Trim(remote, "[]")
}
