package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

func TestApp(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		app := &store.App{Tenant: "acme", ID: "a1", Name: "billing", Contact: "ops@example.com", Created: c.now()}
		key := &store.AppCredential{ID: "c1", App: "a1", Salt: []byte{1}, Hash: []byte{2}, Created: c.now(), ValidFrom: 7}
		all := []store.AppPermission{{API: "a", Version: "v1", Access: "ro"}, {API: "b", Version: "v1", Access: "rw"}}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.InsertApp(app), tx.PutAppPermissions("a1", all), tx.PutAppPermissions("a1", all), tx.PutAppCredential(key))
		})
		update(t, db, func(tx *store.Tx) error {
			double := *app
			double.ID = "a2"
			if err := tx.InsertApp(&double); err != store.ErrExists {
				t.Errorf("a taken name answers %v", err)
			}
			double.Tenant = "globex"
			key.Refreshed, key.ValidFrom = c.now().Add(time.Hour), 8
			app.Contact = "x@example.com"
			return errors.Join(tx.InsertApp(&double), tx.PutAppCredential(key), tx.UpdateApp(app))
		})
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.App("acme", "a1")
			if err != nil || *got != *app {
				t.Errorf("got %+v, %v, want %+v", got, err, app)
			}
			if _, err := tx.App("globex", "a1"); err != store.ErrNone {
				t.Errorf("another tenant's answers %v", err)
			}
			if got, err := tx.App("", "a2"); err != nil || got.Tenant != "globex" {
				t.Error(got, err)
			}
			if got, err := tx.AppNamed("globex", "billing"); err != nil || got.ID != "a2" {
				t.Error(got, err)
			}
			if n, err := tx.CountApps("acme"); err != nil || n != 1 {
				t.Error(n, err)
			}
			if list, err := tx.Apps("acme", 0, 10); err != nil || len(list) != 1 {
				t.Error(list, err)
			}
			if p, err := tx.AppPermissions("a1"); err != nil || len(p) != 2 || p[1] != all[1] {
				t.Error(p, err)
			}
			k, err := tx.AppCredential("c1")
			if err != nil || k.App != "a1" || k.ValidFrom != 8 || !k.Refreshed.Equal(key.Refreshed) || !k.Created.Equal(key.Created) || k.Hash[0] != 2 {
				t.Errorf("%+v, %v", k, err)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error { return tx.DeleteApp("acme", "a1") })
		view(t, db, func(tx *store.Tx) error {
			if _, err := tx.AppCredential("c1"); err != store.ErrNone {
				t.Errorf("the credential outlives its application: %v", err)
			}
			return nil
		})
	})
}

func TestTokenKey(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.InsertTokenKey(&store.TokenKey{ID: "k1", Sealed: []byte{1}, Created: c.now()}),
				tx.InsertTokenKey(&store.TokenKey{ID: "k2", Sealed: []byte{2}, Created: c.now().Add(time.Second)}), tx.RetireTokenKeys("k2", c.now()))
		})
		view(t, db, func(tx *store.Tx) error {
			all, err := tx.TokenKeys()
			if err != nil || len(all) != 2 || all[0].ID != "k2" || !all[0].Retired.IsZero() || !all[1].Retired.Equal(c.now()) {
				t.Errorf("%+v, %v", all, err)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			if n, err := tx.DeleteTokenKeys(c.now().Add(time.Second)); err != nil || n != 1 {
				t.Error(n, err)
			}
			return nil
		})
	})
}
