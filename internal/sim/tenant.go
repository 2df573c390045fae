package sim

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// Tenant is the connectivity side of one hub.
//
// Lock order: passes (local, remote, timers, events) before meter.batch before a
// flow's lock. No lock is held across a call to a platform but remote and, below
// it, account.syncing.
type Tenant struct {
	// Set by openTenant, then read only:
	s      *Service
	o      *Options
	name   string
	hub    *hub.Hub
	db     *store.DB
	bus    *bus.Bus
	gate   *gate.Gate
	meter  *meter
	ctx    context.Context // ends with close
	stop   context.CancelFunc
	work   sync.WaitGroup
	off    []func()
	halted atomic.Bool

	local  pass // monitors and tasks of the hub's own platform
	remote pass // those of remote platforms, and synchronisation
	timers pass // everything that is due by time
	events pass // those that go to the event log
	posted chan struct{}

	loading sync.Mutex // held by loadAccounts, so that the last to read is the last to write

	swept string // id up to which old usage was removed; owned by timers

	// Guarded by mu:
	mu       sync.Mutex
	accounts map[string]*account // replaced as a whole
}

// account is a platform account with its adapter.
type account struct {
	Account
	platform Platform
	row      *store.SIMAccount // as loaded

	// syncing is held during a synchronisation, across its calls to the platform.
	syncing sync.Mutex

	// Guarded by mu:
	mu       sync.Mutex
	health   store.SIMAccount // times and class only
	wrote    time.Time
	failed   *PlatformError    // of the last synchronisation; nil after a restart
	unmapped map[string]string // native word: day it was told of
	parallel chan struct{}
}

// due says whether the time of the next synchronisation has come.
func (a *account) due(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.health.Next.After(now)
}

func (a *account) embedded() bool { return a.Adapter == AdapterEmbedded }

func (a *account) enforces() bool {
	return a.embedded() && (a.Embedded.Enforce == nil || *a.Embedded.Enforce)
}

func openTenant(ctx context.Context, s *Service, o TenantOptions) (*Tenant, error) {
	t := &Tenant{s: s, o: &s.o, name: o.Name, hub: o.Hub, db: o.DB, bus: s.o.Bus, gate: o.Gate, accounts: map[string]*account{}, posted: make(chan struct{}, 1)}
	t.meter = newMeter(t)
	t.local, t.remote, t.timers, t.events = newPass(t.workLocal), newPass(t.workRemote), newPass(t.workTimers), newPass(t.postAll)
	t.ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := t.open(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *Tenant) open(ctx context.Context) error {
	if err := t.loadAccounts(ctx); err != nil {
		return err
	}
	if err := t.db.Update(ctx, func(tx *store.Tx) error { return tx.FreeSIMWork(t.bus.Node()) }); err != nil {
		return err
	}
	if err := t.meter.recover(ctx); err != nil {
		return err
	}
	stop, err := t.bus.Listen(t.subject(), t.heard)
	if err != nil {
		return err
	}
	t.off = append(t.off, stop)
	if stop, err = t.bus.Serve(t.nodeSubject(t.bus.Node()), t.serveBook); err != nil {
		return err
	}
	t.off = append(t.off, stop)
	t.hub.SetMeter(t.meter)
	t.hub.SetSettled(t.settled)
	t.hub.SetRegistered(t.registered)
	for _, l := range []struct {
		p     *pass
		every time.Duration
	}{{&t.local, t.o.WorkEvery}, {&t.remote, t.o.WorkEvery}, {&t.timers, t.o.TimersEvery}} {
		t.work.Go(func() { t.loop(l.p, l.every) })
	}
	t.work.Go(t.bookLoop)
	t.work.Go(func() {
		if err := t.catchUp(t.ctx); err != nil && t.ctx.Err() == nil {
			t.o.Log.Warn("devices could not be linked to the SIMs of their registrations", "tenant", t.name, "err", err)
		}
	})
	t.work.Go(t.post)
	return nil
}

// Name returns the tenant's name.
func (t *Tenant) Name() string { return t.name }

// Now returns the time on the hub's clock.
func (t *Tenant) Now() time.Time { return t.db.Now() }

func (t *Tenant) stopping() bool { return t.halted.Load() || t.ctx.Err() != nil }

func (t *Tenant) close() error {
	t.halted.Store(true)
	if t.ctx.Err() != nil {
		return nil
	}
	t.hub.SetMeter(nil)
	t.hub.SetSettled(nil)
	t.hub.SetRegistered(nil)
	for _, off := range t.off {
		off()
	}
	t.stop()
	t.work.Wait()
	return t.meter.close(context.Background())
}

// Tick does now what is due by time, and returns when all of it is done:
// usage is booked, timers, monitors and tasks are seen to, events are in the
// event log.
func (t *Tenant) Tick(ctx context.Context) error {
	return errors.Join(t.meter.book(ctx), t.timers.run(ctx), t.local.run(ctx), t.remote.run(ctx), t.local.run(ctx), t.events.run(ctx))
}

// pass is a kind of work that one goroutine does at a time.
type pass struct {
	do   func(context.Context) error
	wake chan struct{}
	turn chan struct{} // holds one token while nobody works
}

func newPass(do func(context.Context) error) pass {
	p := pass{do: do, wake: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// poke has the loop run soon.
func (p *pass) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pass) run(ctx context.Context) error {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { p.turn <- struct{}{} }()
	return p.do(ctx)
}

// loop runs the pass at once, when poked and every so often, until close.
func (t *Tenant) loop(p *pass, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := p.run(t.ctx); err != nil && t.ctx.Err() == nil {
			t.o.Log.Warn("work of the connectivity API failed", "tenant", t.name, "err", err)
		}
		select {
		case <-t.ctx.Done():
			return
		case <-tick.C:
		case <-p.wake:
		}
	}
}

func (t *Tenant) bookLoop() {
	tick := time.NewTicker(t.o.BookEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-tick.C:
		}
		if err := t.meter.book(t.ctx); err != nil && t.ctx.Err() == nil {
			t.o.Log.Warn("usage could not be booked", "tenant", t.name, "err", err)
		}
	}
}

func (t *Tenant) subject() string { return "sim." + bus.Word(t.hub.Host()) }

func (t *Tenant) nodeSubject(node string) string { return t.subject() + "." + bus.Word(node) }

// note is a wake-up between nodes: accounts have changed, the link of a device
// has, or there is work.
type note struct {
	Node     string
	Accounts bool   `json:",omitempty"`
	Device   string `json:",omitempty"`
	Work     bool   `json:",omitempty"`
}

func (t *Tenant) tell(n note) {
	n.Node = t.bus.Node()
	t.bus.Tell(t.subject(), n)
}

func (t *Tenant) heard(in []byte) {
	var n note
	if json.Unmarshal(in, &n) != nil || n.Node == t.bus.Node() || t.ctx.Err() != nil {
		return
	}
	switch {
	case n.Accounts:
		t.work.Go(func() {
			if err := t.loadAccounts(t.ctx); err != nil && t.ctx.Err() == nil {
				t.o.Log.Error("platform accounts could not be read again", "tenant", t.name, "err", err)
			}
		})
	case n.Device != "":
		t.work.Go(func() { t.meter.bookDevice(t.ctx, n.Device) })
	case n.Work:
		t.local.poke()
		t.remote.poke()
	}
}

// bookAt asks the node that holds the device to book what it has used so far.
func (t *Tenant) bookAt(ctx context.Context, device string) {
	if err := t.meter.bookDevice(ctx, device); err != nil {
		t.o.Log.Warn("usage could not be booked", "tenant", t.name, "device", device, "err", err)
	}
	node := ""
	t.db.View(ctx, func(tx *store.Tx) error {
		i, err := tx.Identity(nave.ID{Device: device})
		if err == nil && i.Presence.Connected {
			node = i.Presence.Node
		}
		return err
	})
	if node == "" || node == t.bus.Node() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := t.bus.Call(ctx, t.nodeSubject(node), note{Device: device}, nil); err != nil {
		t.o.Log.Warn("another node could not book usage", "tenant", t.name, "device", device, "node", node, "err", err)
	}
}

func (t *Tenant) serveBook(ctx context.Context, in []byte) (any, error) {
	var n note
	if err := json.Unmarshal(in, &n); err != nil {
		return nil, err
	}
	return nil, t.meter.bookDevice(ctx, n.Device)
}

// account returns the account of the name, or nil.
func (t *Tenant) account(name string) *account {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accounts[name]
}

func (t *Tenant) allAccounts() []*account {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*account, 0, len(t.accounts))
	for _, a := range t.accounts {
		all = append(all, a)
	}
	return all
}
