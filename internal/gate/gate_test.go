package gate_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

var (
	d1    = nave.ID{Device: "d1"}
	m1    = nave.ID{Device: "d1", Module: "m1"}
	d2    = nave.ID{Device: "d2"}
	owner = &nave.Principal{Name: "iothubowner", Rights: nave.RegistryRead | nave.RegistryWrite | nave.ServiceConnect | nave.DeviceConnect, Proof: "policy"}
)

var (
	opSend   = gate.Op{Name: "telemetry.send", Right: nave.DeviceConnect, Own: true, Rate: "d2cSend", Kind: gate.Stream, Charge: gate.Chunks}
	opDial   = gate.Op{Name: "line.connect", Right: nave.DeviceConnect, Own: true, Rate: "connect", Kind: gate.Connect}
	opReport = gate.Op{Name: "twin.report", Right: nave.DeviceConnect, Own: true, Rate: "twinUpdate", Standard: true, Charge: gate.Chunks}
	opQuery  = gate.Op{Name: "twin.query", Right: nave.ServiceConnect, Rate: "query", Charge: gate.Chunks}
	opBulk   = gate.Op{Name: "registry.bulk", Right: nave.RegistryWrite, Rate: "registry", Cost: gate.Entries}
	opInvoke = gate.Op{Name: "method.invoke", Right: nave.ServiceConnect, Rate: "method", Standard: true, Charge: gate.Chunks, Cost: gate.Blocks}
	opConfig = gate.Op{Name: "configuration.read", Right: nave.RegistryRead, Either: nave.ServiceConnect}
	opPing   = gate.Op{Name: "hub.ping"}
)

// clock is a time that a test moves; the gate's own goroutine reads it too.
type clock struct{ now atomic.Pointer[time.Time] }

func clockAt(at time.Time) *clock {
	c := &clock{}
	c.now.Store(&at)
	return c
}

func (c *clock) Now() time.Time { return *c.now.Load() }

func (c *clock) add(d time.Duration) {
	at := c.Now().Add(d)
	c.now.Store(&at)
}

// daytime runs as real time does, but from noon of a day on: no midnight, which
// begins the quota anew, comes in the middle of a test.
func daytime() func() time.Time {
	noon, began := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC), time.Now()
	return func() time.Time { return noon.Add(time.Since(began)) }
}

// open makes a gate that ends with the test.
func open(t testing.TB, o gate.Options) *gate.Gate {
	t.Helper()
	g, err := gate.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// enter lets the owner begin op on d1.
func enter(g *gate.Gate, op *gate.Op, size int) error {
	return g.Enter(context.Background(), owner, d1, op, size)
}

// want checks the code of err; nil wants success.
func want(t testing.TB, err error, c *fault.Code) *fault.Error {
	t.Helper()
	if c == nil {
		if err != nil {
			t.Fatalf("got %v, want success", err)
		}
		return nil
	}
	if !errors.Is(err, c) {
		t.Fatalf("got %v, want %v", err, c)
	}
	var e *fault.Error
	errors.As(err, &e)
	return e
}

func TestOrderOfRefusals(t *testing.T) {
	at := clockAt(time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC))
	g := open(t, gate.Options{Tier: gate.Tier{SKU: "B1", Units: 1}, Quota: 1, Throttling: true,
		Rates: map[string]float64{"twinUpdate": 1e-6}, Now: at.Now})
	op := gate.Op{Name: "twin.patch", Right: nave.ServiceConnect, Rate: "twinUpdate", Standard: true, Charge: gate.Chunks}
	free := op
	free.Name, free.Standard = "twin.patch2", false
	stranger := &nave.Principal{Name: "registryRead", Rights: nave.RegistryRead}

	g.Suspend(true)
	if _, err := g.Inject(gate.Rule{Code: 500001}); err != nil {
		t.Fatal(err)
	}
	g.Charge(&free, 1)
	want(t, g.Enter(t.Context(), stranger, d1, &op, 0), fault.IotHubUnauthorizedAccess)
	want(t, enter(g, &op, 0), fault.OperationNotAvailableInCurrentTier)
	want(t, enter(g, &free, 0), fault.IotHubSuspended)
	g.Suspend(false)
	want(t, enter(g, &free, 0), fault.ServerError)
	g.Clear()
	e := want(t, enter(g, &free, 0), fault.IotHubQuotaExceeded)
	if e.After != 12*time.Hour {
		t.Errorf("quota: retry after %v, want 12h", e.After)
	}
	at.add(12 * time.Hour) // the next day
	want(t, enter(g, &free, 0), nil)
	want(t, enter(g, &free, 0), fault.ThrottlingException)
}

func TestHalt(t *testing.T) {
	g := open(t, gate.Options{Hub: "hub.test"})
	for _, c := range []*fault.Code{fault.IotHubSuspended, fault.IotHubFailingOver, fault.IotHubRestoring, fault.KeyEncryptionKeyRevoked} {
		g.Halt(c)
		want(t, enter(g, &opPing, 0), c)
	}
	g.Halt(nil)
	want(t, enter(g, &opPing, 0), nil)
}

func TestUnknownThrottleKey(t *testing.T) {
	g := open(t, gate.Options{})
	want(t, enter(g, &gate.Op{Name: "x.y", Rate: "nosuch"}, 0), fault.ServerError)
}

func TestOptionsRefused(t *testing.T) {
	for name, o := range map[string]gate.Options{
		"unknown SKU":      {Tier: gate.Tier{SKU: "S4", Units: 1}},
		"no units":         {Tier: gate.Tier{SKU: "S1"}},
		"too many units":   {Tier: gate.Tier{SKU: "S3", Units: 11}},
		"two free units":   {Tier: gate.Tier{SKU: "F1", Units: 2}},
		"unknown rate":     {Rates: map[string]float64{"d2csend": 1}},
		"negative rate":    {Rates: map[string]float64{"query": -1}},
		"negative quota":   {Quota: -1},
		"negative patches": {PerDevice: gate.PerDevice{Patches: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := gate.New(t.Context(), o)
			want(t, err, fault.ArgumentInvalid)
		})
	}
}

func TestMeter(t *testing.T) {
	g := open(t, gate.Options{})
	for range 3 {
		want(t, enter(g, &opSend, 5000), nil)
		g.Charge(&opSend, 5000)
	}
	want(t, g.Enter(t.Context(), nil, d1, &opSend, 5000), fault.IotHubUnauthorizedAccess)
	m := g.Usage()[opSend.Name]
	if m.Count != 3 || m.Units != 6 || m.Bytes != 15000 || m.Refused[401002] != 1 {
		t.Errorf("got %+v", m)
	}
}

func TestEnterDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, o := range limits() {
		g := open(t, o)
		if n := testing.AllocsPerRun(1000, func() { step(t, g) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func limits() map[string]gate.Options {
	return map[string]gate.Options{
		"plain":     {},
		"quota":     {EnforceQuota: true, Quota: 1 << 60},
		"throttled": {Throttling: true, Rates: map[string]float64{"d2cSend": 1e9}, EnforceQuota: true, Quota: 1 << 60},
		"per device": {Throttling: true, Rates: map[string]float64{"d2cSend": 1e9}, EnforceQuota: true, Quota: 1 << 60,
			PerDevice: gate.PerDevice{Messages: 1e12}},
	}
}

var device = &nave.Principal{Name: "d1", Rights: nave.DeviceConnect, Only: d1, Proof: "sas"}

func step(t testing.TB, g *gate.Gate) {
	if err := g.Enter(context.Background(), device, d1, &opSend, 200); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkEnter(b *testing.B) {
	for name, o := range limits() {
		b.Run(name, func(b *testing.B) {
			g := open(b, o)
			b.ReportAllocs()
			for b.Loop() {
				step(b, g)
			}
		})
	}
	b.Run("charge", func(b *testing.B) {
		g := open(b, gate.Options{})
		b.ReportAllocs()
		for b.Loop() {
			g.Charge(&opSend, 200)
		}
	})
}
