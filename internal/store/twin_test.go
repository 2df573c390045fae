package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

func TestTwin(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1")
		at := c.now().UTC()
		want := &nave.Twin{ID: nave.ID{Device: "d1"}, Model: "dtmi:a;1", ETag: 3,
			Tags: nave.Doc{"a": json.Number("1.50"), "b": json.Number("1e400"), "c": "x\"\\\n\u0000é\u2028", "d": []any{}, "": nave.Doc{}},
			Desired: nave.Section{Version: 7, Data: nave.Doc{"x": nave.Doc{"y": []any{true, false, nil, nave.Doc{"z": json.Number("-0")}}}},
				Meta: nave.Meta{Updated: at, Version: 7, Keys: map[string]*nave.Meta{"x\"": {Updated: at.Add(100), Version: 2,
					Keys: map[string]*nave.Meta{"y": {Updated: at, Version: 1}}}}}},
			Reported: nave.Section{Version: 1, Data: nave.Doc{}}}
		update(t, db, func(tx *store.Tx) error { return tx.PutTwin(want) })
		got := twin(t, db, "d1")
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		update(t, db, func(tx *store.Tx) error { return tx.PutModel(want.ID, "dtmi:b;1") })
		if got := twin(t, db, "d1"); got.Model != "dtmi:b;1" || got.ETag != 3 {
			t.Errorf("got %+v", got)
		}
		old := &nave.Twin{ID: want.ID, ETag: 2}
		update(t, db, func(tx *store.Tx) error {
			if err := tx.PutTwin(old); !errors.Is(err, store.ErrStale) {
				t.Errorf("an older twin answered %v", err)
			}
			return nil
		})
		if got := twin(t, db, "d1"); got.ETag != 3 {
			t.Errorf("an older twin was written")
		}
	})
}

func twin(t testing.TB, db *store.DB, name string) (tw *nave.Twin) {
	t.Helper()
	view(t, db, func(tx *store.Tx) (err error) {
		tw, err = tx.Twin(nave.ID{Device: name})
		return err
	})
	return tw
}

// TestDocuments writes any document and reads the same.
func TestDocuments(t *testing.T) {
	db := open(t, "sqlite::memory:", nil)
	insert(t, db, "d")
	text := rapid.OneOf(rapid.String(), rapid.StringN(0, 3, -1))
	number := rapid.Custom(func(t *rapid.T) any { return json.Number(fmt.Sprint(rapid.Float64Range(-1e9, 1e9).Draw(t, "n"))) })
	leaf := rapid.OneOf(number, rapid.Custom(func(t *rapid.T) any { return text.Draw(t, "s") }), rapid.SampledFrom([]any{true, false, nil}))
	var value func(depth int) *rapid.Generator[any]
	object := func(depth int) *rapid.Generator[nave.Doc] {
		return rapid.Custom(func(t *rapid.T) nave.Doc {
			return nave.Doc(rapid.MapOfN(text, value(depth-1), 0, 4).Draw(t, "o"))
		})
	}
	value = func(depth int) *rapid.Generator[any] {
		if depth == 0 {
			return leaf
		}
		return rapid.OneOf(leaf, rapid.Custom(func(t *rapid.T) any { return object(depth).Draw(t, "o") }),
			rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(value(depth-1), 0, 3).Draw(t, "a") }))
	}
	rapid.Check(t, func(r *rapid.T) {
		want := object(3).Draw(r, "doc")
		update(t, db, func(tx *store.Tx) error { return tx.PutTwin(&nave.Twin{ID: nave.ID{Device: "d"}, Tags: want}) })
		if got := twin(t, db, "d").Tags; !reflect.DeepEqual(got, want) {
			r.Fatalf("got  %#v\nwant %#v", got, want)
		}
	})
}

// TestConcurrentPatches counts in one twin from many goroutines: none is lost.
func TestConcurrentPatches(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1")
		update(t, db, func(tx *store.Tx) error { return tx.PutTwin(&nave.Twin{ID: nave.ID{Device: "d1"}}) })
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 10 {
					if err := db.Update(t.Context(), func(tx *store.Tx) error { return patch(tx, "d1", time.Time{}) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if got := twin(t, db, "d1").ETag; got != 80 {
			t.Errorf("%d of 80 patches", got)
		}
	})
}

func patch(tx *store.Tx, name string, at time.Time) error {
	tw, err := tx.Twin(nave.ID{Device: name})
	if err != nil {
		return err
	}
	tw.ETag++
	tw.Desired.Version++
	tw.Desired.Data["speed"] = json.Number(fmt.Sprint(tw.ETag))
	tw.Desired.Meta.Updated = at
	return tx.PutTwin(tw)
}
