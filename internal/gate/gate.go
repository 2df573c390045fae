package gate

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// PerDevice are limits of each single identity (429005); 0: off. A bucket
// holds one window's worth.
type PerDevice struct {
	Connects float64 // new connections per minute; suggested 60
	Patches  float64 // reported patches per minute; suggested 600
	Messages float64 // telemetry messages per second; suggested 1000
}

// Options are what a gate is made with; the zero value is a hub of one unit S1
// without limits.
type Options struct {
	Hub  string   // host name, for the log
	Tier Tier     // zero: S1 with one unit
	Ops  []string // names that the operations have; rules for others are refused. nil: rules may name anything

	Throttling bool               // enforce the rates of hub-semantics 2.3; off by default
	Rates      map[string]float64 // overrides per throttle key, per second; 0: by tier
	Shape      Shape              // how excess is smoothed
	PerDevice  PerDevice          // needs no Throttling

	EnforceQuota bool  // refuse with 403002 when the daily units of the tier are used up
	Quota        int64 // daily units in place of the tier's; above 0 it is enforced

	DB  *store.DB        // of this hub; nil: usage is kept in memory only
	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: slog.Default
}

// Gate decides for one hub on one node.
type Gate struct {
	// Set by New, then read only:
	o          Options
	quota      *quota
	shapers    map[string]*shaper // empty without Throttling
	identities *identities        // nil when no limit is set
	stop       context.CancelFunc
	done       chan struct{} // closed when the goroutine has ended
	drain      context.Context

	// Replaced as a whole, read without lock:
	tier    atomic.Pointer[terms]
	halted  atomic.Pointer[fault.Code]     // nil while the hub serves
	rules   atomic.Pointer[[]*rule]        // nil while no fault is injected
	entries atomic.Pointer[map[*Op]*entry] // grows with each Op seen

	// Guarded by mu:
	mu     sync.Mutex // held by writers of the pointers above
	nextID int
}

// terms is a tier in the form that Enter needs.
type terms struct {
	Tier
	basic bool
	chunk int
}

// New makes the gate of a hub and reads the usage of the current day. It
// answers ArgumentInvalid for options that make no sense.
func New(ctx context.Context, o Options) (*Gate, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	g := &Gate{o: o, shapers: map[string]*shaper{}, identities: newIdentities(o.PerDevice), done: make(chan struct{}), drain: context.WithoutCancel(ctx)}
	g.quota = newQuota(o.DB, o.Log.With("hub", o.Hub), o.Now())
	if err := g.quota.load(ctx); err != nil {
		return nil, err
	}
	ctx, g.stop = context.WithCancel(ctx)
	if o.Throttling {
		for _, key := range Keys() {
			g.shapers[key] = newShaper(key, o, ctx.Done())
		}
	}
	g.entries.Store(&map[*Op]*entry{})
	g.apply(o.Tier)
	go g.run(ctx)
	return g, nil
}

func (o Options) withDefaults() Options {
	if o.Tier == (Tier{}) {
		o.Tier = Tier{SKU: "S1", Units: 1}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Shape = o.Shape.withDefaults()
	return o
}

func (o Options) check() error {
	if err := o.Tier.Check(); err != nil {
		return err
	}
	if o.Quota < 0 {
		return fault.ArgumentInvalid.New("the setting quota.dailyMessageLimit is %d, it cannot be negative", o.Quota)
	}
	for key, rate := range o.Rates {
		if !slices.Contains(Keys(), key) {
			return fault.ArgumentInvalid.New("the throttle key %q is unknown, known are %s", key, strings.Join(Keys(), ", "))
		}
		if err := checkRate("throttling."+key, rate); err != nil {
			return err
		}
	}
	for name, limit := range map[string]float64{"connects": o.PerDevice.Connects, "patches": o.PerDevice.Patches, "messages": o.PerDevice.Messages} {
		if err := checkRate("throttling.perDevice."+name, limit); err != nil {
			return err
		}
	}
	return nil
}

func checkRate(setting string, rate float64) error {
	if rate < 0 || math.IsNaN(rate) || math.IsInf(rate, 0) {
		return fault.ArgumentInvalid.New("the setting %s is %v, it must be a finite number that is not negative", setting, rate)
	}
	return nil
}

// run writes usage, and drops what has run out, once a second.
func (g *Gate) run(ctx context.Context) {
	defer close(g.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.quota.flush(ctx)
			g.prune()
			g.identities.sweep(g.o.Now())
		}
	}
}

// Close ends the gate: operations that wait are refused with 400021, and usage
// is written a last time, within 5 s. It returns why that failed.
func (g *Gate) Close() error {
	g.stop()
	<-g.done
	ctx, cancel := context.WithTimeout(g.drain, 5*time.Second)
	defer cancel()
	return g.quota.flush(ctx)
}

// Tier returns the tier in force.
func (g *Gate) Tier() Tier { return g.tier.Load().Tier }

// Resize changes SKU and units at once; usage stays, and operations that wait
// move on at the new rate. It answers ArgumentInvalid for a change that
// hub-semantics 1 forbids.
func (g *Gate) Resize(t Tier) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.tier.Load().becomes(t); err != nil {
		return err
	}
	g.apply(t)
	return nil
}

func (g *Gate) apply(t Tier) {
	g.tier.Store(&terms{Tier: t, basic: t.Basic(), chunk: t.Chunk()})
	switch {
	case g.o.Quota > 0:
		g.quota.limit.Store(g.o.Quota)
	case g.o.EnforceQuota:
		g.quota.limit.Store(t.Daily())
	}
	for key, s := range g.shapers {
		rate := g.o.Rates[key]
		if rate == 0 {
			rate = t.Rate(key)
		}
		s.resize(rate)
	}
}

// Suspend makes every operation fail with 403001, or ends that (hub-semantics
// 18).
func (g *Gate) Suspend(on bool) {
	if on {
		g.Halt(fault.IotHubSuspended)
		return
	}
	g.Halt(nil)
}

// Halt makes every operation fail with the code of a hub state: suspended,
// failing over, restoring, key revoked (hub-semantics 18). Nil ends that.
func (g *Gate) Halt(c *fault.Code) { g.halted.Store(c) }

// Enter decides whether who may begin op on on now; size is what Charge and
// Cost of the op count, usually bytes. It may wait for its turn, no longer than
// ctx lives. Every refusal is a *fault.Error with 401002, 403010, the code of a
// halt, an injected code, 403002 or one of 429001, 429002, 429003, 429005; a
// wait that was broken off ends in 499000, or in 400021 when the gate closes.
func (g *Gate) Enter(ctx context.Context, who *nave.Principal, on nave.ID, op *Op, size int) error {
	e := g.entry(op)
	if err := g.decide(ctx, who, on, e, size); err != nil {
		e.refuse(err.Code.ID)
		return err
	}
	e.count.Add(1)
	e.bytes.Add(int64(size))
	return nil
}

func (g *Gate) decide(ctx context.Context, who *nave.Principal, on nave.ID, e *entry, size int) *fault.Error {
	op := e.op
	if err := permit(who, on, op); err != nil {
		return err
	}
	if op.Standard {
		if t := g.tier.Load(); t.basic {
			return fault.OperationNotAvailableInCurrentTier.New("%s needs a free or standard tier, the hub is %s", op.Name, t.SKU)
		}
	}
	if c := g.halted.Load(); c != nil {
		return c.New("the hub %s does not serve %s now: %s", g.o.Hub, op.Name, c.Name)
	}
	if rules := g.rules.Load(); rules != nil {
		if err := g.strike(*rules, on, op); err != nil {
			return err
		}
	}
	return g.meter(ctx, on, e, size)
}

// meter is the part of Enter that needs the time of day.
func (g *Gate) meter(ctx context.Context, on nave.ID, e *entry, size int) *fault.Error {
	op := e.op
	if e.unknown {
		return fault.ServerError.New("the operation %s names the throttle key %q, which does not exist", op.Name, op.Rate)
	}
	counted := op.Charge != nil && g.quota.limit.Load() > 0
	if !counted && e.shaper == nil && e.window == free {
		return nil
	}
	now := g.o.Now()
	if counted {
		if err := g.quota.check(now); err != nil {
			return err
		}
	}
	if e.window != free {
		if err := g.identities.take(e.window, on, now); err != nil {
			return err
		}
	}
	if e.shaper == nil {
		return nil
	}
	cost := 1.0
	if op.Cost != nil {
		cost = op.Cost(size)
	}
	return e.shaper.enter(ctx, op.Kind, cost, now)
}

// Charge meters the message units of size bytes after op has succeeded. It may
// be called several times for one operation: a direct method is charged for
// its request and for its response.
func (g *Gate) Charge(op *Op, size int) {
	if op.Charge == nil {
		return
	}
	units := int64(op.Charge(size, g.tier.Load().chunk))
	g.entry(op).units.Add(units)
	g.quota.add(g.o.Now(), units)
}

// Quota returns the message units used since 00:00 UTC and the limit, 0 when
// none is enforced.
func (g *Gate) Quota() (used, limit int64) {
	return g.quota.used(g.o.Now()), g.quota.limit.Load()
}
