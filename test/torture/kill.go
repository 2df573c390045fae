package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

const (
	loadLeast = 20 * time.Millisecond
	loadMost  = 2 * time.Second

	// For a load that has not done everything yet:
	roundsMost  = 50
	loadLongest = 20 * time.Second
)

// killing is the torture by SIGKILL.
type killing struct {
	rounds, devices int
	seed            uint64 // of the moments
	out             io.Writer
	whole           func(*ledger) bool // more rounds are played until it is true; may be nil
}

// run tortures a hub on the data folder of s and returns its ledger. An error
// says that the torture could not go on.
func (k *killing) run(s *site) (*ledger, error) {
	r, err := newRig(s, k.devices, 400)
	defer func() {
		if r != nil && r.p != nil {
			r.p.kill()
		}
	}()
	if err != nil {
		return nil, err
	}
	moments := rand.New(rand.NewPCG(k.seed, 1))
	for n := 1; n <= k.rounds || k.whole != nil && !k.whole(r.l) && n <= roundsMost; n++ {
		d := loadLeast + time.Duration(moments.Int64N(int64(loadMost-loadLeast)))
		if n > k.rounds { // on a slow machine the load gets further when it lasts
			d = min(d*time.Duration(n-k.rounds+1), loadLongest)
		}
		early := 0
		if n%5 == 0 {
			early = 2
		}
		if err := k.round(r, n, d, early); err != nil {
			return r.l, fmt.Errorf("round %d: %w", n, err)
		}
		if bad, _ := r.l.violations(); bad > 0 {
			return r.l, nil
		}
	}
	return r.l, r.finish(k.out)
}

func (k *killing) round(r *rig, n int, load time.Duration, early int) error {
	before, fed := r.l.events.Load(), r.l.fed.Load()
	r.begin()
	time.Sleep(load) // how long the load lasts, not a wait for something
	r.kill()
	acknowledged, fed := r.l.events.Load()-before, r.l.fed.Load()-fed
	begun := time.Now()
	if err := r.restart(early); err != nil {
		return err
	}
	up := time.Since(begun)
	begun = time.Now()
	if err := r.check(false); err != nil {
		return err
	}
	bad, _ := r.l.violations()
	fmt.Fprintf(k.out, "round %d/%d: killed after %v, %d events and %d items of feed data acknowledged, up again in %v, checked %d events in %v, %d violations\n",
		n, k.rounds, load.Round(time.Millisecond), acknowledged, fed, up.Round(time.Millisecond), r.log.total, time.Since(begun).Round(time.Millisecond), bad)
	return nil
}

// finish empties the queues, stops the hub as Ctrl-C does, and compares
// everything once more after a last start.
func (r *rig) finish(out io.Writer) error {
	if err := r.drain(); err != nil {
		return err
	}
	if err := r.check(true); err != nil {
		return err
	}
	err := r.p.stop()
	if err != nil {
		return fmt.Errorf("the hub did not stop cleanly: %w", err)
	}
	if err := r.restart(0); err != nil {
		return err
	}
	if err := r.check(true); err != nil {
		return err
	}
	for _, c := range r.carriers {
		c.checkLogged(true)
	}
	bad, _ := r.l.violations()
	fmt.Fprintf(out, "last check after a clean stop: %d events in the log, %d violations\n", r.log.total, bad)
	return nil
}
