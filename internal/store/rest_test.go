package store_test

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

func TestSmallTables(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1")
		session := &nave.Session{ID: d1, Filters: []nave.Filter{{Topic: "a/#", QoS: 1}}}
		policy := nave.Policy{Name: "p", Rights: nave.DeviceConnect | nave.RegistryRead, Primary: "k", Secondary: "l"}
		authority := nave.CertificateAuthority{Name: "ca", PEM: "pem", Verified: true, Created: c.now().Truncate(100)}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.PutSession(&nave.Session{ID: d1}), tx.PutSession(session),
				tx.PutPolicy(nave.Policy{Name: "p"}), tx.PutPolicy(policy), tx.PutPolicy(nave.Policy{Name: "o"}), tx.DeletePolicy("o"),
				tx.PutAuthority(nave.CertificateAuthority{Name: "ca"}), tx.PutAuthority(authority),
				tx.PutGroup("g"), tx.PutGroup("g"), tx.PutGroup("f"),
				tx.AddUsage("2026-03-01", 5), tx.AddUsage("2026-03-01", 1<<40),
				tx.PutSetting("k", "1"), tx.PutSetting("k", "2"))
		})
		check := func(what string, got any, err error, want any) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v, want %+v", what, got, err, want)
			}
		}
		view(t, db, func(tx *store.Tx) error {
			s, err := tx.Session(d1)
			check("session", s, err, session)
			p, err := tx.Policies()
			check("policies", p, err, []nave.Policy{policy})
			a, err := tx.Authorities()
			check("authorities", a, err, []nave.CertificateAuthority{authority})
			g, err := tx.Groups()
			check("groups", g, err, []string{"f", "g"})
			u, err := tx.Usage("2026-03-01")
			check("usage", u, err, int64(1<<40+5))
			u, err = tx.Usage("2026-03-02")
			check("no usage", u, err, int64(0))
			v, err := tx.Setting("k")
			check("setting", v, err, "2")
			if _, err := tx.Setting("none"); !errors.Is(err, store.ErrNone) {
				t.Error(err)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.DeleteSession(d1), tx.DeletePolicy("p"), tx.DeleteAuthority("ca"), tx.DeleteGroup("g"))
		})
	})
}

// TestRestart closes and opens again, also by the same URL of PostgreSQL.
func TestRestart(t *testing.T) {
	run := func(t *testing.T, url, hub string) {
		db := open(t, url, nil)
		insert(t, db.Scope(hub), "d1")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, f := range []func() error{
			func() error { return db.Update(t.Context(), func(*store.Tx) error { return nil }) },
			func() error { return db.View(t.Context(), func(*store.Tx) error { return nil }) },
		} {
			if err := f(); !errors.Is(err, store.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		view(t, open(t, url, nil).Scope(hub), func(tx *store.Tx) error {
			_, err := tx.Identity(d1)
			return err
		})
	}
	t.Run("file", func(t *testing.T) { run(t, "sqlite:"+t.TempDir()+"/a b%41?.db", "hub") })
	t.Run("postgres", func(t *testing.T) {
		if noPostgres != "" {
			if os.Getenv("CI") != "" {
				t.Fatal(noPostgres)
			}
			t.Skip(noPostgres)
		}
		run(t, postgresURL, "restart"+time.Now().String())
	})
}
