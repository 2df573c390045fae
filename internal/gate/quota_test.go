package gate_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// The check values of hub-semantics 2.2.
func TestCharges(t *testing.T) {
	t.Run("a day of telemetry and methods on S1 is 1728", func(t *testing.T) {
		g := open(t, gate.Options{Now: daytime()})
		for minute := range 24 * 60 {
			g.Charge(&opSend, 1<<10)
			if minute%10 == 0 {
				g.Charge(&opInvoke, 512)
				g.Charge(&opInvoke, 200)
			}
		}
		used, _ := g.Quota()
		if u := g.Usage(); used != 1728 || u[opSend.Name].Units != 1440 || u[opInvoke.Name].Units != 288 {
			t.Errorf("used %d: %+v", used, u)
		}
	})
	for _, c := range []struct {
		sku         string
		size, units int64
	}{{"S1", 6 << 10, 2}, {"S1", 100, 1}, {"S1", 0, 1}, {"S1", 4096, 1}, {"S1", 4097, 2}, {"F1", 6 << 10, 12}, {"F1", 513, 2}, {"S3", 256 << 10, 64}} {
		g := open(t, gate.Options{Tier: gate.Tier{SKU: c.sku, Units: 1}, Now: daytime()})
		g.Charge(&opSend, int(c.size))
		g.Charge(&opBulk, int(c.size)) // free
		if used, _ := g.Quota(); used != c.units {
			t.Errorf("%d bytes on %s use %d, want %d", c.size, c.sku, used, c.units)
		}
	}
	if gate.Once(1<<20, 4096) != 1 || gate.Blocks(0) != 4096 || gate.Blocks(4097) != 8192 || gate.Entries(0) != 1 || gate.Entries(7) != 7 {
		t.Error("fixed charges and costs are wrong")
	}
}

func TestQuota(t *testing.T) {
	at := clockAt(time.Date(2024, 2, 29, 23, 59, 58, 0, time.UTC))
	g := open(t, gate.Options{Quota: 3, Now: at.Now})
	upload := gate.Op{Name: "upload.begin", Own: true, Charge: gate.Once}
	want(t, enter(g, &opSend, 0), nil)
	g.Charge(&opSend, 9000) // the last one may go beyond: 3 units
	t.Run("the refusal explains itself", func(t *testing.T) {
		e := want(t, enter(g, &opSend, 0), fault.IotHubQuotaExceeded)
		if e.Setting != "quota.dailyMessageLimit" || e.Limit != int64(3) || e.Observed != int64(3) || e.After != 2*time.Second {
			t.Errorf("got %+v", e)
		}
	})
	want(t, enter(g, &upload, 0), fault.IotHubQuotaExceeded)
	want(t, enter(g, &opQuery, 0), fault.IotHubQuotaExceeded)
	want(t, enter(g, &opBulk, 0), nil) // costs nothing
	want(t, enter(g, &opDial, 0), nil)

	at.add(1999 * time.Millisecond)
	want(t, enter(g, &opSend, 0), fault.IotHubQuotaExceeded)
	at.add(time.Millisecond) // 00:00 UTC
	want(t, enter(g, &opSend, 0), nil)
	if used, limit := g.Quota(); used != 0 || limit != 3 {
		t.Errorf("new day: used %d of %d", used, limit)
	}
	at.add(-time.Second) // a clock that is set back stays in the new day
	want(t, enter(g, &opSend, 0), nil)
}

func TestQuotaOfTheTier(t *testing.T) {
	g := open(t, gate.Options{Tier: gate.Tier{SKU: "F1", Units: 1}, EnforceQuota: true, Now: daytime()})
	for range 7999 {
		g.Charge(&opSend, 1)
	}
	want(t, enter(g, &opSend, 0), nil)
	g.Charge(&opSend, 1)
	want(t, enter(g, &opSend, 0), fault.IotHubQuotaExceeded)
}

func database(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), "sqlite::memory:", store.Options{Log: slog.Default()})
	want(t, err, nil)
	t.Cleanup(func() { want(t, db.Close(), nil) })
	return db
}

func stored(t *testing.T, db *store.DB, day string) (n int64) {
	t.Helper()
	want(t, db.View(context.Background(), func(tx *store.Tx) (err error) {
		n, err = tx.Usage(day)
		return err
	}), nil)
	return n
}

func TestUsageSurvives(t *testing.T) {
	db := database(t).Scope("hub.test")
	at := clockAt(time.Date(2024, 2, 29, 23, 0, 0, 0, time.UTC))
	o := gate.Options{Hub: "hub.test", Quota: 10, DB: db, Now: at.Now}
	first, err := gate.New(t.Context(), o)
	want(t, err, nil)
	first.Charge(&opSend, 20_000) // 5
	want(t, first.Close(), nil)
	want(t, first.Close(), nil)
	if n := stored(t, db, "2024-02-29"); n != 5 {
		t.Errorf("stored %d, want 5", n)
	}

	second, err := gate.New(t.Context(), o)
	want(t, err, nil)
	if used, _ := second.Quota(); used != 5 {
		t.Errorf("used %d after the restart, want 5", used)
	}
	second.Charge(&opSend, 4096)
	at.add(2 * time.Hour)
	second.Charge(&opSend, 8192)
	want(t, second.Close(), nil)
	if a, b := stored(t, db, "2024-02-29"), stored(t, db, "2024-03-01"); a != 6 || b != 2 {
		t.Errorf("stored %d and %d, want 6 and 2", a, b)
	}
}

// Two nodes share the quota of a hub through the store.
func TestTwoNodes(t *testing.T) {
	db := database(t).Scope("hub.test")
	o := gate.Options{Hub: "hub.test", Quota: 4, DB: db, Now: daytime()}
	a, b := open(t, o), open(t, o)
	a.Charge(&opSend, 1)
	for range 3 {
		b.Charge(&opSend, 1)
	}
	deadline := time.Now().Add(time.Minute)
	for _, g := range []*gate.Gate{a, b} {
		for used, _ := g.Quota(); used < 4; used, _ = g.Quota() {
			time.Sleep(10 * time.Millisecond)
			if time.Now().After(deadline) {
				t.Fatal("the other node's usage never arrived")
			}
		}
		want(t, g.Enter(t.Context(), owner, nave.ID{Device: "d1"}, &opSend, 0), fault.IotHubQuotaExceeded)
	}
}
