package store_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

func keys(rows []*store.DPSRow) (all []string) {
	for _, r := range rows {
		all = append(all, r.Key)
	}
	return all
}

func TestDPS(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		row := func(kind, key, ref, ref2 string, after time.Duration) *store.DPSRow {
			return &store.DPSRow{Kind: kind, Key: key, Ref: ref, Ref2: ref2, At: c.now().Add(after).Truncate(100), Doc: []byte(`{"a": "\u0000"}`)}
		}
		b := row("registration", "b", "g", "hub", 2*time.Second)
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.InsertDPS(b), tx.InsertDPS(row("registration", "a", "g", "hub", 3*time.Second)),
				tx.PutDPS(row("registration", "c", "h", "", time.Second)), tx.PutDPS(row("registration", "B", "", "", time.Second)),
				tx.InsertDPS(&store.DPSRow{Kind: "hub", Key: "b", Doc: []byte("1")}))
		})
		check := func(what string, err error, got, want any) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, %v, want %v", what, got, err, want)
			}
		}
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.DPS("registration", "b")
			check("row", err, got, b)
			_, err = tx.DPS("group", "b")
			if !errors.Is(err, store.ErrNone) {
				t.Error(err)
			}
			rows, err := tx.DPSAfter("registration", "", 9)
			check("all", err, keys(rows), []string{"B", "a", "b", "c"})
			rows, err = tx.DPSAfter("registration", "a", 1)
			check("page", err, keys(rows), []string{"b"})
			rows, err = tx.DPSByRef("registration", "g", "", 9)
			check("ref", err, keys(rows), []string{"a", "b"})
			rows, err = tx.DPSByRef("registration", "g", "a", 9)
			check("ref after", err, keys(rows), []string{"b"})
			rows, err = tx.DPSByRef2("registration", "hub", 1)
			check("ref2", err, keys(rows), []string{"a"})
			rows, err = tx.DPSBefore("registration", c.now().Add(3*time.Second), 9)
			check("before", err, keys(rows), []string{"B", "c", "b"})
			rows, err = tx.DPSBefore("hub", c.now(), 9)
			check("no time", err, keys(rows), []string(nil))
			n, err := tx.CountDPS("registration")
			check("count", err, n, 4)
			n, err = tx.CountDPS("group")
			check("no count", err, n, 0)
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			if err := tx.InsertDPS(b); !errors.Is(err, store.ErrExists) {
				t.Error(err)
			}
			if err := tx.DeleteDPS("registration", "x"); !errors.Is(err, store.ErrNone) {
				t.Error(err)
			}
			if err := errors.Join(tx.PutDPS(b), tx.DeleteDPS("registration", "c"), tx.InsertDPS(row("group", "g", "", "", 0))); err != nil {
				return err
			}
			n, err := tx.CountDPS("registration")
			check("count within", err, n, 3)
			return nil
		})
		view(t, db, func(tx *store.Tx) error {
			n, err := tx.CountDPS("registration")
			check("count after", err, n, 3)
			n, err = tx.CountDPS("group")
			check("groups after", err, n, 1)
			return nil
		})
		view(t, db.Scope("other"), func(tx *store.Tx) error {
			rows, err := tx.DPSAfter("registration", "", 9)
			check("other scope", err, len(rows), 0)
			return nil
		})
	})
}
