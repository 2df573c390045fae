package sim_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/sim"
	"github.com/nave-hub/nave/internal/store"
)

// noon is when tests begin (connectivity-api 16.1).
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// rig is a hub with the connectivity API.
type rig struct {
	testing.TB
	clock *clock
	dir   string
	url   string
	scope string

	db   *store.DB
	bus  *bus.Bus
	gate *gate.Gate
	hub  *hub.Hub
	sim  *sim.Service
	t    *sim.Tenant
	key  [32]byte
}

const host = "hub.test"

var quiet = slog.New(slog.DiscardHandler)

// newRig starts a rig in memory, or on PostgreSQL if NAVE_TEST_POSTGRES says
// where it is.
func newRig(t testing.TB) *rig {
	r := &rig{TB: t, clock: &clock{at: noon}, dir: t.TempDir(), url: "sqlite::memory:", scope: fmt.Sprintf("%s.%d", host, time.Now().UnixNano())}
	if postgres := os.Getenv("NAVE_TEST_POSTGRES"); postgres != "" {
		r.url = postgres
	}
	r.open()
	t.Cleanup(r.close)
	return r
}

// newDiskRig starts one on a file, so that it can be started again.
func newDiskRig(t testing.TB) *rig {
	r := &rig{TB: t, clock: &clock{at: noon}, dir: t.TempDir(), scope: host}
	r.url = "sqlite:" + r.dir + "/nave.db"
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) open() {
	r.Helper()
	ctx := context.Background()
	r.db = r.must(store.Open(ctx, r.url, store.Options{Now: r.clock.now, Log: quiet})).(*store.DB).Scope(r.scope)
	r.bus = r.must(bus.Open(ctx, bus.Options{Dir: r.dir + "/log", Node: "n1", Log: quiet})).(*bus.Bus)
	r.gate = r.must(gate.New(ctx, gate.Options{Hub: host, DB: r.db, Now: r.clock.now, Log: quiet})).(*gate.Gate)
	r.hub = r.must(hub.Open(ctx, hub.Options{Host: host, DB: r.db, Bus: r.bus, Gate: r.gate, Partitions: 1, Log: quiet})).(*hub.Hub)
	r.start()
}

// start starts the connectivity side with timers that do not run by
// themselves.
func (r *rig) start() {
	r.Helper()
	s, err := sim.Open(context.Background(), sim.Options{Tenants: []sim.TenantOptions{{Name: "acme", Hub: r.hub, DB: r.db, Gate: r.gate}}, Bus: r.bus,
		Key: r.key[:], BookEvery: time.Hour, TimersEvery: time.Hour, WorkEvery: time.Hour, Log: quiet})
	if err != nil {
		r.Fatal(err)
	}
	r.sim, r.t = s, s.Tenant("acme")
}

func (r *rig) must(v any, err error) any {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
	return v
}

func (r *rig) close() {
	for _, f := range []func() error{r.sim.Close, r.hub.Close, r.gate.Close, r.bus.Close, r.db.Close} {
		if err := f(); err != nil {
			r.Error(err)
		}
	}
}

// admin may do everything.
func (r *rig) admin() *sim.Access {
	return r.t.As(sim.Actor{Type: sim.Application, ID: "app-1", Rights: sim.Read | sim.Write | sim.Administer})
}

func (r *rig) tick() {
	r.Helper()
	if err := r.t.Tick(context.Background()); err != nil {
		r.Fatal(err)
	}
}

// account makes a reference account.
func (r *rig) account(name, platform string, change func(*sim.Account)) {
	r.Helper()
	a := sim.Account{Account: name, Platform: platform, Adapter: sim.AdapterEmbedded, Enabled: true}
	if change != nil {
		change(&a)
	}
	if _, err := r.admin().CreatePlatform(context.Background(), a); err != nil {
		r.Fatal(err)
	}
}

// fixture makes the account HUBSIM_1 and a SIM of it that is in stock.
func (r *rig) fixture(iccids ...string) (ids []string) {
	r.Helper()
	r.account("HUBSIM_1", "HUBSIM", nil)
	return r.stock("HUBSIM_1", "", iccids...)
}

// stock imports SIMs.
func (r *rig) stock(account, offering string, iccids ...string) (ids []string) {
	r.Helper()
	var sims []sim.SIM
	for _, i := range iccids {
		sims = append(sims, sim.SIM{ICCID: i, Offering: offering})
	}
	all, err := r.admin().Import(context.Background(), account, sims, sim.Origin{})
	if err != nil {
		r.Fatal(err)
	}
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	return ids
}

// change asks for a status and returns the one it leads to.
func (r *rig) change(id string, to sim.Status) (sim.Status, error) {
	c, err := r.admin().ChangeStatus(context.Background(), sim.StatusChange{Product: id + "-simCard", To: to})
	if err != nil {
		return "", err
	}
	if c.Part == nil {
		return "", errors.New("asynchronous")
	}
	return c.Part.Status, nil
}

func (r *rig) mustChange(id string, to ...sim.Status) {
	r.Helper()
	for _, s := range to {
		if _, err := r.change(id, s); err != nil {
			r.Fatalf("%s to %s: %v", id, s, err)
		}
	}
}

func (r *rig) product(id string) *sim.Product {
	r.Helper()
	p, err := r.admin().Product(context.Background(), id, sim.ReadOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return p.Product
}

func (r *rig) wantStatus(id string, want sim.Status) {
	r.Helper()
	if got := r.product(id).Status; got != want {
		r.Fatalf("%s is %s, want %s", id, got, want)
	}
}

func wantFault(t testing.TB, err error, code *fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("got %v, want %v", err, code)
	}
}

// device registers a device; iccid and imei may be "".
func (r *rig) device(id, iccid, imei string) {
	r.Helper()
	p := &nave.IdentityPatch{}
	if iccid != "" {
		p.ICCID = &iccid
	}
	if imei != "" {
		p.IMEI = &imei
	}
	if _, err := r.hub.Backend(hub.Operator()).Put(context.Background(), nave.ID{Device: id}, p, ""); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) link(product, device string) {
	r.Helper()
	if _, _, err := r.admin().PutLink(context.Background(), product, device, false, sim.Origin{}); err != nil {
		r.Fatal(err)
	}
}

// identity reads a device.
func (r *rig) identity(id string) (i *nave.Identity) {
	r.Helper()
	if err := r.db.View(context.Background(), func(tx *store.Tx) (err error) { i, err = tx.Identity(nave.ID{Device: id}); return err }); err != nil {
		r.Fatal(err)
	}
	return i
}
