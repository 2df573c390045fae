package gate_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

// crowd lets n callers enter one after the other at the same moment and returns
// how each fared and after which time; call wait for the results.
func crowd(g *gate.Gate, op *gate.Op, n, size int) (errs []error, took []time.Duration, wait func()) {
	errs, took = make([]error, n), make([]time.Duration, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			begin := time.Now()
			errs[i] = enter(g, op, size)
			took[i] = time.Since(begin).Round(time.Millisecond)
		})
		synctest.Wait() // it is in line before the next comes
	}
	return errs, took, all.Wait
}

// begin makes a gate inside the bubble; call the function at its end.
func begin(t *testing.T, o gate.Options) (*gate.Gate, func()) {
	o.Throttling = true
	g, err := gate.New(context.Background(), o)
	want(t, err, nil)
	return g, func() { want(t, g.Close(), nil) }
}

// The worked example of hub-semantics 2.4: S1, one unit, key query.
func TestWorkedExample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{})
		defer end()
		errs, took, wait := crowd(g, &opQuery, 45, 0)
		wait()
		for i := range errs {
			switch n := i + 1; {
			case n <= 20:
				want(t, errs[i], nil)
				if took[i] != 0 {
					t.Errorf("number %d waited %v", n, took[i])
				}
			case n <= 30:
				want(t, errs[i], nil)
				if due := time.Duration(n-20) * 3 * time.Second; took[i] != due {
					t.Errorf("number %d waited %v, want %v", n, took[i], due)
				}
			default:
				e := want(t, errs[i], fault.ThrottlingException)
				if e.After != 33*time.Second || e.Setting != "throttling.query" || e.Limit != int64(20) || e.Observed != int64(n) || took[i] != 0 {
					t.Errorf("number %d: %v after %v: %+v", n, e, took[i], e)
				}
			}
		}
		s := throttle(t, g, "query")
		if s.Attempts != 45 || s.Delayed != 10 || s.Refused != 15 || s.Waiting != 0 || s.Slow != 9 || s.Waited.Round(time.Second) != 165*time.Second {
			t.Errorf("got %+v", s)
		}
		// Nothing of the burst came back while the line was working.
		errs, took, wait = crowd(g, &opQuery, 1, 0)
		wait()
		if want(t, errs[0], nil); took[0] != 3*time.Second {
			t.Errorf("the first after the line waited %v, want 3s", took[0])
		}
	})
}

func throttle(t *testing.T, g *gate.Gate, key string) gate.Throttle {
	t.Helper()
	for _, s := range g.Throttles() {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("no throttle %s", key)
	return gate.Throttle{}
}

// Key d2cSend: 6,000 messages of burst, 6,000 in line, then 429002.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{Rates: map[string]float64{"d2cSend": 2}})
		defer end()
		errs, took, wait := crowd(g, &opSend, 245, 100)
		wait()
		for i := range errs {
			switch {
			case i < 120:
				want(t, errs[i], nil)
			case i < 240:
				want(t, errs[i], nil)
				if due := time.Duration(i-119) * time.Second / 2; took[i] != due {
					t.Errorf("number %d waited %v, want %v", i+1, took[i], due)
				}
			default:
				if e := want(t, errs[i], fault.ThrottleBacklogLimitExceeded); took[i] != 0 || e.Setting != "throttling.d2cSend" {
					t.Errorf("number %d: %v, %+v", i+1, took[i], e)
				}
			}
		}
	})
}

func TestRequestsShareTheLineWithStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{Rates: map[string]float64{"d2cSend": 1}})
		defer end()
		post := gate.Op{Name: "telemetry.post", Right: nave.DeviceConnect, Rate: "d2cSend"}
		_, _, wait := crowd(g, &opSend, 60+30, 0)
		want(t, enter(g, &post, 0), fault.ThrottlingException) // 31 s
		_, _, wait2 := crowd(g, &opSend, 30, 0)
		want(t, enter(g, &opSend, 0), fault.ThrottleBacklogLimitExceeded)
		wait()
		wait2()
	})
}

func TestConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{Rates: map[string]float64{"connect": 1}})
		defer end()
		errs, took, wait := crowd(g, &opDial, 80, 0)
		wait()
		for i := range errs {
			switch {
			case i < 70:
				want(t, errs[i], nil)
				if due := time.Duration(max(0, i-59)) * time.Second; took[i] != due {
					t.Errorf("number %d waited %v, want %v", i+1, took[i], due)
				}
			default:
				want(t, errs[i], fault.ThrottlingException)
				if took[i] != 10*time.Second {
					t.Errorf("number %d was refused after %v, want 10s", i+1, took[i])
				}
			}
		}
	})
}

func TestBacklogTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{Tier: gate.Tier{SKU: "S1", Units: 3}})
		defer end()
		errs, took, wait := crowd(g, &opQuery, 60+30, 0) // the last one is due in 30 s
		want(t, g.Resize(gate.Tier{SKU: "S1", Units: 1}), nil)
		wait()
		for i := range errs[60:] {
			if n := i + 1; n <= 20 {
				want(t, errs[60+i], nil)
			} else if e := want(t, errs[60+i], fault.ThrottlingBacklogTimeout); took[60+i] != time.Minute || e.After == 0 {
				t.Errorf("number %d in line: %v after %v", n, e, took[60+i])
			}
		}
	})
}

func TestFasterTierMovesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{})
		defer end()
		_, took, wait := crowd(g, &opQuery, 30, 0)
		want(t, g.Resize(gate.Tier{SKU: "S1", Units: 10}), nil)
		wait()
		if took[29] != 3*time.Second {
			t.Errorf("the last one waited %v, want 3s at ten times the rate", took[29])
		}
	})
}

func TestShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{Shape: gate.Shape{Burst: 3 * time.Second, Backlog: -1}})
		defer end()
		want(t, enter(g, &opQuery, 0), nil)
		want(t, enter(g, &opQuery, 0), fault.ThrottleBacklogLimitExceeded)
		time.Sleep(3 * time.Second)
		want(t, enter(g, &opQuery, 0), nil)
	})
}

func TestCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{})
		defer end()
		want(t, enter(g, &opBulk, 60), nil)
		want(t, enter(g, &opBulk, 40), nil)
		at := time.Now()
		want(t, enter(g, &opBulk, 50), nil) // 100 a minute
		if took := time.Since(at).Round(time.Millisecond); took != 30*time.Second {
			t.Errorf("50 entries waited %v, want 30s", took)
		}
		want(t, enter(g, &opBulk, 51), fault.ThrottlingException)

		for range 60 * 40 { // calls of up to 4 KB at 40 a second
			want(t, enter(g, &opInvoke, 100), nil)
		}
		at = time.Now()
		want(t, enter(g, &opInvoke, 128<<10), nil)
		if took := time.Since(at).Round(time.Millisecond); took != 800*time.Millisecond {
			t.Errorf("128 KB waited %v, want 800ms", took)
		}
	})
}

// A bulk call dearer than the whole bucket still gets its turn.
func TestDearerThanTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{Rates: map[string]float64{"registry": 1}})
		defer end()
		want(t, enter(g, &opBulk, 80), nil)
		at := time.Now()
		want(t, enter(g, &opBulk, 1), nil)
		if took := time.Since(at).Round(time.Millisecond); took != 21*time.Second {
			t.Errorf("waited %v, want 21s", took)
		}
	})
}

func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, end := begin(t, gate.Options{})
		_, _, wait := crowd(g, &opQuery, 20, 0)
		wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		gone := make(chan error, 1)
		go func() { gone <- g.Enter(ctx, owner, d1, &opQuery, 0) }()
		synctest.Wait()
		errs, took, wait := crowd(g, &opQuery, 2, 0)
		want(t, <-gone, fault.ClientClosedRequest)
		for throttle(t, g, "query").Waiting > 1 {
			time.Sleep(time.Second)
		}
		end()
		wait()
		want(t, errs[0], nil)
		if took[0] != 3*time.Second {
			t.Errorf("the second took the place of the first after %v, want 3s", took[0])
		}
		want(t, errs[1], fault.RequestCanceled) // the gate has closed
	})
}

func TestPerDevice(t *testing.T) {
	at := clockAt(time.Unix(1_700_000_000, 0))
	g := open(t, gate.Options{Now: at.Now, PerDevice: gate.PerDevice{Connects: 60, Patches: 2, Messages: 3}})
	for op, n := range map[*gate.Op]int{&opDial: 60, &opReport: 2, &opSend: 3} {
		for range n {
			want(t, enter(g, op, 0), nil)
		}
		e := want(t, enter(g, op, 0), fault.DeviceThrottlingLimitExceeded)
		if e.Limit != int64(n) || e.Observed != int64(n+1) || e.After == 0 {
			t.Errorf("%s: %+v", op.Name, e)
		}
		want(t, g.Enter(t.Context(), owner, d2, op, 0), nil) // each identity for itself
	}
	at.add(time.Second)
	want(t, enter(g, &opDial, 0), nil)
	want(t, enter(g, &opSend, 0), nil)
	want(t, enter(g, &opReport, 0), fault.DeviceThrottlingLimitExceeded)
	at.add(29 * time.Second)
	want(t, enter(g, &opReport, 0), nil)
	back := gate.Op{Name: "twin.patch", Right: nave.ServiceConnect, Rate: "twinUpdate"}
	for range 10 { // what a back end does to the device counts for the hub only
		want(t, enter(g, &back, 0), nil)
	}
}

func TestOffByDefault(t *testing.T) {
	g := open(t, gate.Options{})
	for range 10000 {
		want(t, enter(g, &opQuery, 100), nil)
		g.Charge(&opQuery, 100<<20)
	}
	if g.Throttles() != nil {
		t.Error("there are throttles")
	}
}

func TestLoad(t *testing.T) {
	g := open(t, gate.Options{Throttling: true, Rates: map[string]float64{"d2cSend": 500, "query": 500}, EnforceQuota: true, Now: daytime(),
		Shape: gate.Shape{Burst: time.Second, Backlog: 200 * time.Millisecond}, PerDevice: gate.PerDevice{Connects: 1e6}})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				for _, op := range []*gate.Op{&opSend, &opQuery, &opDial} {
					ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
					if g.Enter(ctx, owner, d1, op, 10) == nil {
						g.Charge(op, 10)
					}
					cancel()
				}
				g.Usage()
			}
		})
	}
	all.Go(func() {
		for i := range 100 {
			if r, err := g.Inject(gate.Rule{Op: "twin.*", Code: 500001, Count: 2}); err != nil {
				t.Error(err)
			} else if i%2 == 0 {
				g.Remove(r.ID)
			}
			g.Rules()
			g.Throttles()
			if err := g.Resize(gate.Tier{SKU: "S1", Units: 1 + i%5}); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	var units, attempts int64
	for name, m := range g.Usage() {
		units += m.Units
		attempts = m.Count
		for _, n := range m.Refused {
			attempts += n
		}
		if attempts != 800 {
			t.Errorf("%s: %d attempts, want 800: %+v", name, attempts, m)
		}
	}
	if used, _ := g.Quota(); used != units {
		t.Errorf("used %d, want %d", used, units)
	}
}
