package sim_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mock "github.com/nave-hub/nave/internal/carrier"
	"github.com/nave-hub/nave/internal/sim"
)

func TestRemotePace(t *testing.T) {
	t.Parallel()
	t.Run("HA-6 a call that waits too long", waitsTooLong)
	t.Run("HA-6 overloaded", overloaded)
	t.Run("HA-10 one trial", oneTrial)
}

// waitsTooLong has a call wait behind another one that is not answered.
func waitsTooLong(t *testing.T) {
	t.Parallel()
	f := newFar(t, mock.Options{SIMs: 1}, func(r *sim.Remote) { r.MaxParallel = 1 })
	iccid := f.SIMs()[0]
	if _, err := f.Get(t.Context(), iccid); err != nil {
		t.Fatal(err)
	}
	f.is("timeout")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() { _, err := f.Get(ctx, iccid); first <- err }()
	f.seen(1, "GET ")
	sim.Limit(f.Platform, time.Minute, 200*time.Millisecond)
	_, err := f.Get(t.Context(), iccid)
	if e := f.class(err, sim.ClassRateLimited, 0); !e.Overloaded {
		t.Errorf("%+v", e)
	}
	if f.Peak() != 1 {
		t.Error(f.Peak())
	}
	f.is()
	cancel()
	if err := receive(t, first); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	sim.Limit(f.Platform, time.Minute, time.Minute)
	if _, err := f.Get(t.Context(), iccid); err != nil {
		t.Error("the turn was not given back:", err)
	}
}

// overloaded has all turns of a second be taken.
func overloaded(t *testing.T) {
	t.Parallel()
	f := newFar(t, mock.Options{SIMs: 1}, func(r *sim.Remote) { r.RequestsPerSecond = 2 })
	iccid := f.SIMs()[0]
	if _, err := f.Get(t.Context(), iccid); err != nil {
		t.Fatal(err)
	}
	f.is("timeout")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { f.Get(ctx, iccid) })
	}
	f.seen(2, "GET ")
	sim.Limit(f.Platform, time.Minute, 200*time.Millisecond)
	_, err := f.Get(t.Context(), iccid)
	if e := f.class(err, sim.ClassRateLimited, 0); !e.Overloaded {
		t.Errorf("%+v", e)
	}
	f.saw(2, "GET ")
	cancel()
	all.Wait()
}

// oneTrial opens the circuit, has one call of many try, and a failed trial and a
// good probe decide.
func oneTrial(t *testing.T) {
	t.Parallel()
	f := newFar(t, mock.Options{SIMs: 1})
	iccid := f.SIMs()[0]
	get := func() error { _, err := f.Get(t.Context(), iccid); return err }
	if err := get(); err != nil {
		t.Fatal(err)
	}
	f.is("timeout")
	sim.Limit(f.Platform, 100*time.Millisecond, time.Minute)
	for range 5 {
		f.class(get(), sim.ClassTimeout, 0)
	}
	f.clock.set(noon.Add(30 * time.Second))
	f.is("timeout")
	sim.Limit(f.Platform, time.Minute, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan error, 8)
	for range cap(answers) {
		go func() { _, err := f.Get(ctx, iccid); answers <- err }()
	}
	for range cap(answers) - 1 {
		if e := f.class(receive(t, answers), sim.ClassTimeout, 0); !e.Open {
			t.Errorf("%+v", e)
		}
	}
	f.seen(1, "GET /product/")
	f.saw(1, "GET /product/")
	cancel()
	if err := receive(t, answers); !errors.Is(err, context.Canceled) {
		t.Error("the trial:", err)
	}
	sim.Limit(f.Platform, 100*time.Millisecond, time.Minute)
	if e := f.class(get(), sim.ClassTimeout, 0); e.Open {
		t.Errorf("no trial: %+v", e)
	}
	if e := f.class(get(), sim.ClassTimeout, 0); !e.Open {
		t.Errorf("after a trial that failed: %+v", e)
	}
	f.is()
	sim.Limit(f.Platform, time.Minute, time.Minute)
	if err := f.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Error("a good probe does not end it:", err)
	}
}

// TestPace lets turns rest for a second (HA-6).
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := sim.Pace(2, 8)
		begin := time.Now()
		for range 2 {
			done, err := wait(t.Context(), begin.Add(time.Hour))
			if err != nil || time.Since(begin) > 0 {
				t.Fatal(err, time.Since(begin))
			}
			done()
		}
		var e *sim.PlatformError
		if _, err := wait(t.Context(), begin.Add(999*time.Millisecond)); !errors.As(err, &e) || !e.Overloaded || time.Since(begin) != 999*time.Millisecond {
			t.Error(err, time.Since(begin))
		}
		done, err := wait(t.Context(), begin.Add(time.Hour))
		if err != nil || time.Since(begin) != time.Second {
			t.Fatal(err, time.Since(begin))
		}
		done()
	})
}
