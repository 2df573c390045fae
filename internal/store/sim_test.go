package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// simState is what a test knows of a product.
type simState struct {
	account, status string
	linked          bool
}

// TestSIMBlocks makes random changes to products from several goroutines and
// compares counts and pages with what is there.
func TestSIMBlocks(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		const products, workers, changes = 5200, 4, 60
		var batch []*store.SIM
		for n := range products {
			s := &store.SIM{ID: fmt.Sprintf("A-%05d", n*7%products), Account: []string{"a", "b"}[n%2], Connectivity: "CELLULAR", Status: "INVENTORY", ICCID: fmt.Sprint(n)}
			if batch = append(batch, s); len(batch) == 650 {
				some := batch
				update(t, db, func(tx *store.Tx) error { return tx.InsertSIMs(some) })
				batch = nil
			}
		}
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			return tx.InsertSIMs([]*store.SIM{{ID: "A-00001", Account: "a", Status: "INVENTORY"}})
		})
		if !errors.Is(err, store.ErrExists) {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(w)))
				for range changes {
					if err := db.Update(t.Context(), func(tx *store.Tx) error { return changeSIM(tx, r.IntN(products), r.IntN(10)) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		update(t, db, func(tx *store.Tx) error {
			var ids []string
			for n := range 1500 {
				ids = append(ids, fmt.Sprintf("A-%05d", n))
			}
			return tx.DeleteSIMs(ids)
		})
		view(t, db, func(tx *store.Tx) error { return compareSIMs(t, tx) })
	})
}

// changeSIM changes a product, or now and then adds one.
func changeSIM(tx *store.Tx, n, what int) error {
	if what == 0 {
		return tx.InsertSIMs([]*store.SIM{{ID: fmt.Sprintf("A-%05d-%d", n, rand.Int64()), Account: "c", Connectivity: "CELLULAR", Status: "ACTIVE"}})
	}
	s, err := tx.SIM(fmt.Sprintf("A-%05d", n))
	if err != nil {
		return err
	}
	s.Status = []string{"ACTIVE", "SUSPENDED", "BLOCKED"}[what%3]
	if s.Device = ""; what > 7 {
		s.Device = "d-" + s.ID
	}
	return tx.PutSIM(s)
}

func compareSIMs(t *testing.T, tx *store.Tx) error {
	have := map[simState][]string{}
	var every []string
	for after := ""; ; {
		some, err := tx.SIMsAfter(after, 900)
		if err != nil {
			return err
		}
		if len(some) == 0 {
			break
		}
		for _, s := range some {
			after = s.ID
			every = append(every, s.ID)
			k := simState{s.Account, s.Status, s.Device != ""}
			have[k] = append(have[k], s.ID)
		}
	}
	classes, err := tx.SIMClasses()
	if err != nil {
		return err
	}
	for _, c := range classes {
		want := have[simState{c.Account, c.Status, c.Linked}]
		if c.Count != len(want) {
			t.Errorf("%+v, there are %d", c, len(want))
			continue
		}
		for _, backwards := range []bool{false, true} {
			if backwards {
				want = slices.Clone(want)
				slices.Reverse(want)
			}
			for offset := 0; offset < len(want); offset += max(1, len(want)/3) {
				got, err := tx.SIMRange([]int64{c.No}, backwards, offset, 10)
				if err != nil || !slices.Equal(got, want[offset:min(offset+10, len(want))]) {
					t.Errorf("%+v at %d: %v, %v", c, offset, got, err)
				}
			}
		}
	}
	for offset := 0; offset < len(every); offset += 611 {
		got, err := tx.SIMRange(nil, false, offset, 50)
		if err != nil || !slices.Equal(got, every[offset:min(offset+50, len(every))]) {
			t.Errorf("at %d: %v", offset, err)
		}
	}
	return nil
}

// TestSIMLeases has two nodes want the same work: each row goes to one of them,
// and again when its lease is over or its node has started anew.
func TestSIMLeases(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		now := c.now()
		update(t, db, func(tx *store.Tx) error {
			var items []*store.SIMTaskItem
			for n := range 10 {
				items = append(items, &store.SIMTaskItem{Task: "t", Position: n, Product: fmt.Sprint(n), State: "remote"})
			}
			err := tx.InsertSIMTask(&store.SIMTask{ID: "t", State: "inProgress", Created: now, Doc: "{}"}, items, "", time.Time{})
			for n := range 10 {
				err = errors.Join(err, tx.InsertSIMMonitor(&store.SIMMonitor{ID: fmt.Sprint(n), State: "InProgress", Phase: "poll", Due: now, Created: now, Doc: "{}"}))
			}
			return err
		})
		lease := func(node string, at time.Time) (n int) {
			update(t, db, func(tx *store.Tx) error {
				items, e1 := tx.LeaseSIMTaskItems("t", false, node, at, at.Add(time.Minute), 7)
				monitors, e2 := tx.LeaseSIMMonitors(false, node, at, at.Add(time.Minute), 7)
				n = len(items) + len(monitors)
				return errors.Join(e1, e2)
			})
			return n
		}
		for i, want := range []int{14, 6, 0} {
			if got := lease([]string{"n1", "n2", "n1"}[i], now); got != want {
				t.Errorf("%d rows, want %d", got, want)
			}
		}
		update(t, db, func(tx *store.Tx) error { return tx.FreeSIMWork("n2") })
		if got := lease("n3", now); got != 6 {
			t.Errorf("%d rows of n2", got)
		}
		if got := lease("n3", now.Add(time.Minute)); got != 14 {
			t.Errorf("%d rows after the lease", got)
		}
		err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.RenewSIMMonitor("0", "n1", now, now.Add(time.Hour)) })
		if !errors.Is(err, store.ErrStale) {
			t.Error(err)
		}
	})
}
