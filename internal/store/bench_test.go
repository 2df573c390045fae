package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

const benchDevices = 5000

func benchTwin(name string, at *clock) *nave.Twin {
	meta := func(names ...string) nave.Meta {
		m := nave.Meta{Updated: at.now(), Version: 1, Keys: map[string]*nave.Meta{}}
		for _, n := range names {
			m.Keys[n] = &nave.Meta{Updated: at.now(), Version: 1}
		}
		return m
	}
	return &nave.Twin{ID: nave.ID{Device: name}, Model: "dtmi:com:example:thermostat;1",
		Tags: nave.Doc{"site": "north-7", "building": nave.Doc{"floor": json.Number("3"), "room": "310"}},
		Desired: nave.Section{Data: nave.Doc{"interval": json.Number("60"), "mode": "auto", "firmware": nave.Doc{"version": "2.1.4", "url": "https://example.com/fw"}},
			Meta: meta("interval", "mode", "firmware")},
		Reported: nave.Section{Data: nave.Doc{"interval": json.Number("60"), "battery": json.Number("87.5"), "firmware": "2.1.3", "signal": json.Number("-71"),
			"network": nave.Doc{"type": "lte", "cell": "262-01-1234"}}, Meta: meta("interval", "battery", "firmware", "signal", "network")}}
}

func benchDB(b *testing.B) *store.DB {
	db := open(b, "sqlite:"+b.TempDir()+"/nave.db", nil)
	c := newClock()
	update(b, db, func(tx *store.Tx) error {
		for i := range benchDevices {
			name := fmt.Sprintf("device-%05d", i)
			if err := tx.InsertIdentity(device(name)); err != nil {
				return err
			}
			if err := tx.PutTwin(benchTwin(name, c)); err != nil {
				return err
			}
		}
		return nil
	})
	return db
}

// BenchmarkTwinPatch reads, changes and writes twins from 64 goroutines, each
// patch synced.
func BenchmarkTwinPatch(b *testing.B) {
	db := benchDB(b)
	at := newClock().now()
	before := db.Commits()
	b.SetParallelism(64 / max(1, runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			name := fmt.Sprintf("device-%05d", rand.IntN(benchDevices))
			if err := db.Update(b.Context(), func(tx *store.Tx) error { return patch(tx, name, at) }); err != nil {
				b.Error(err)
			}
		}
	})
	report(b, db, before)
}

// BenchmarkUpdate writes a small row, alone and from 64 goroutines.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			db := open(b, "sqlite:"+b.TempDir()+"/nave.db", nil)
			before := db.Commits()
			var n atomic.Int64
			one := func() {
				key := fmt.Sprint(n.Add(1) % 1000)
				if err := db.Update(b.Context(), func(tx *store.Tx) error { return tx.PutSetting(key, fmt.Sprint(n.Load())) }); err != nil {
					b.Error(err)
				}
			}
			b.ResetTimer()
			if callers == 1 {
				for b.Loop() {
					one()
				}
			} else {
				b.SetParallelism(callers / max(1, runtime.GOMAXPROCS(0)))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			}
			report(b, db, before)
		})
	}
}

func report(b *testing.B, db *store.DB, before int64) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	b.ReportMetric(float64(b.N)/float64(max(1, db.Commits()-before)), "updates/commit")
}
