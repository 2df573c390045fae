package store_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

func TestConnectivity(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, _ *clock) {
		insert(t, db, "d1", "d1/m", "d2")
		d1 := nave.ID{Device: "d1"}
		check := func(want *nave.Connectivity, iccid string) {
			t.Helper()
			view(t, db, func(tx *store.Tx) error {
				i, err := tx.Identity(d1)
				if err != nil {
					return err
				}
				if !reflect.DeepEqual(i.Connectivity, want) || i.WantICCID != iccid {
					t.Errorf("got %+v and %q, want %+v and %q", i.Connectivity, i.WantICCID, want, iccid)
				}
				for _, other := range []nave.ID{{Device: "d1", Module: "m"}, {Device: "d2"}} {
					if i, err := tx.Identity(other); err != nil || i.Connectivity != nil {
						t.Errorf("%s: %+v, %v", other, i, err)
					}
				}
				return nil
			})
		}
		put := func(c *nave.Connectivity) {
			t.Helper()
			update(t, db, func(tx *store.Tx) error { return tx.PutConnectivity("d1", c) })
		}
		check(nil, "")
		c := &nave.Connectivity{ProductID: "X-1", ICCID: "8900101000000000019", IMEI: "350000000000006", Status: "SUSPENDED", Platform: "X", Barred: true, Why: "SIM \"X-1\" ruht"}
		put(c)
		check(c, "")
		update(t, db, func(tx *store.Tx) error { // who writes the identity leaves it alone
			i, err := tx.Identity(d1)
			if err != nil {
				return err
			}
			i.Connectivity, i.WantICCID, i.WantIMEI = nil, "8900101000000000027", "1"
			return tx.PutIdentity(i)
		})
		check(c, "8900101000000000027")
		put(&nave.Connectivity{ProductID: "X-1"})
		check(&nave.Connectivity{ProductID: "X-1"}, "8900101000000000027")
		put(nil)
		check(nil, "8900101000000000027")
		put(c)
		update(t, db, func(tx *store.Tx) error {
			if err := tx.DeleteIdentity(d1); err != nil {
				return err
			}
			if err := tx.PutConnectivity("d1", c); !errors.Is(err, store.ErrNone) {
				t.Errorf("without the device: %v", err)
			}
			return nil
		})
		insert(t, db, "d1", "d1/m")
		check(nil, "")
		err := db.View(t.Context(), func(tx *store.Tx) error { return tx.PutConnectivity("d1", c) })
		if !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("in a view: %v", err)
		}
	})
}
