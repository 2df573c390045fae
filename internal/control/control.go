package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// Options are what a Control is opened with. Hub, DB, Bus, Gate and Clients are
// required.
type Options struct {
	Hub  *hub.Hub
	DB   *store.DB // scoped to the hub
	Bus  *bus.Bus
	Gate *gate.Gate

	Clients Clients

	Plan       string             // of devices that name none; standard
	PlanValues map[string]float64 // in place of every plan's, see nave.ControlPlan.Set
	Retention  time.Duration      // of feed data, closed desired states and the audit log, at least 30 days; 90 days
	Broker     string             // URL of the MQTT broker; "": there is none
	MQTTLife   time.Duration      // of MQTT credentials, 1 h

	Log *slog.Logger
}

// Clients are the OAuth clients of control devices; the functions work within
// the transaction that creates or changes the device.
type Clients struct {
	Put    func(tx *store.Tx, id string) (secret string, err error) // adds, or rotates and ends all tokens
	Delete func(tx *store.Tx, id string) error
}

// Control is the iot/v1 side of one hub. Its methods may be called from any
// goroutine.
type Control struct {
	// Set by Open, then read only:
	o      Options
	hub    *hub.Hub
	db     *store.DB
	bus    *bus.Bus
	gate   *gate.Gate
	ledger *ledger
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	off    func()

	halted  atomic.Bool            // Stop was called
	broker  atomic.Pointer[string] // URL
	buckets buckets

	// Guarded by mu:
	mu       sync.Mutex
	known    map[string]*kept // devices
	epoch    int64            // counts what may have made known wrong
	seen     map[string]time.Time
	sessions map[string]map[*Session]bool
	waiting  map[string]chan struct{} // closed when a desired state of the device changes
}

type kept struct {
	device *Device
	loaded time.Time // by the real clock
}

// Retention of what is over: the least that iot-v1 FD-16 allows, and the default.
const (
	MinRetention     = 30 * 24 * time.Hour
	DefaultRetention = 90 * 24 * time.Hour
)

// Open starts the iot/v1 side of a hub. Items that the event log may not have
// are appended to it before Open returns. Errors: ArgumentInvalid for plan
// settings that make no sense, what store and log say.
func Open(ctx context.Context, o Options) (*Control, error) {
	o = o.withDefaults()
	c := &Control{o: o, hub: o.Hub, db: o.DB, bus: o.Bus, gate: o.Gate, known: map[string]*kept{}, seen: map[string]time.Time{},
		sessions: map[string]map[*Session]bool{}, waiting: map[string]chan struct{}{}}
	if _, err := c.plan(&nave.ControlDevice{}); err != nil {
		return nil, fmt.Errorf("hub.control: %w", err)
	}
	c.broker.Store(&o.Broker)
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.ledger = newLedger(c)
	err := c.ledger.open(ctx)
	if err == nil {
		c.off, err = c.bus.Listen(c.subject(), c.heard)
	}
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.work.Go(c.sweep)
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.Plan == "" {
		o.Plan = "standard"
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	o.Retention = max(o.Retention, MinRetention)
	if o.MQTTLife == 0 {
		o.MQTTLife = time.Hour
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Stop has every call answer that the hub is stopping, from now on.
func (c *Control) Stop() { c.halted.Store(true) }

func (c *Control) stopping() bool { return c.halted.Load() || c.ctx.Err() != nil }

// Close stops, ends the sessions and writes what is left to write. Hub, store
// and bus stay open.
func (c *Control) Close() error {
	c.Stop()
	if c.ctx.Err() != nil {
		return nil
	}
	c.off()
	c.endAll()
	c.cancel()
	c.work.Wait()
	return errors.Join(c.flushSeen(context.Background()), c.ledger.close(context.Background()))
}

// Hub returns the hub behind it.
func (c *Control) Hub() *hub.Hub { return c.hub }

// Now returns the time on the hub's clock.
func (c *Control) Now() time.Time { return c.db.Now() }

// Broker returns the URL of the MQTT broker, "" when there is none.
func (c *Control) Broker() string { return *c.broker.Load() }

// SetBroker changes the URL of the MQTT broker.
func (c *Control) SetBroker(url string) {
	c.broker.Store(&url)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.known)
}

func (c *Control) subject() string { return "control." + bus.Word(c.hub.Host()) }

// note is a wake-up between nodes: something of the device has changed, or one
// of its desired states.
type note struct {
	Node, Device string
	Desired      string `json:",omitempty"`
}

func (c *Control) heard(in []byte) {
	var n note
	if json.Unmarshal(in, &n) != nil || n.Node == c.bus.Node() {
		return
	}
	if n.Desired != "" {
		c.work.Go(func() { c.desiredElsewhere(n.Desired) })
		return
	}
	c.changedHere(n.Device)
}

// changed makes every node read the device again, once the transaction is
// durable.
func (c *Control) changed(tx *store.Tx, device string) {
	tx.After(func() {
		c.changedHere(device)
		c.bus.Tell(c.subject(), note{Node: c.bus.Node(), Device: device})
	})
}

func (c *Control) changedHere(device string) {
	c.mu.Lock()
	c.epoch++
	delete(c.known, device)
	watched := len(c.sessions[device]) > 0
	c.mu.Unlock()
	if watched && c.ctx.Err() == nil {
		c.work.Go(func() { c.judge(device) })
	}
}

// Pauses and amounts of the sweeper.
const (
	sweepEvery  = time.Second
	purgeEvery  = 10 * time.Minute // on the hub's clock
	sweepAmount = 500
)

// sweep does what is due by time, until Close.
func (c *Control) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	purged := c.Now()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		err := errors.Join(c.expireDesired(c.ctx), c.ledger.note(c.ctx), c.flushSeen(c.ctx), c.dropGone(c.ctx))
		c.judgeAll()
		c.buckets.sweep(c.Now())
		if now := c.Now(); now.Sub(purged).Abs() >= purgeEvery {
			purged = now
			err = errors.Join(err, c.purge(c.ctx, now.Add(-c.o.Retention)))
		}
		if err != nil && c.ctx.Err() == nil {
			c.o.Log.Warn("the sweep of iot/v1 failed", "hub", c.hub.Host(), "err", err)
		}
	}
}

// flushSeen writes when devices made their last requests.
func (c *Control) flushSeen(ctx context.Context) error {
	c.mu.Lock()
	seen := c.seen
	if len(seen) > 0 {
		c.seen = map[string]time.Time{}
	}
	c.mu.Unlock()
	if len(seen) == 0 {
		return nil
	}
	return c.db.Update(ctx, func(tx *store.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(seen)) {
			if err := tx.SeeControl(id, seen[id]); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropGone removes items of sources that were deleted.
func (c *Control) dropGone(ctx context.Context) error {
	gone := false
	if err := c.db.View(ctx, func(tx *store.Tx) (err error) { gone, err = tx.ControlGone(); return err }); err != nil || !gone {
		return err
	}
	return c.db.Update(ctx, func(tx *store.Tx) error { _, err := tx.DropControlFeed(sweepAmount); return err })
}
