package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// hold starts an update that keeps the writer busy until release is called.
func hold(t *testing.T, db *store.DB) (release func()) {
	t.Helper()
	running, free := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- db.Update(context.Background(), func(*store.Tx) error {
			close(running)
			<-free
			return nil
		})
	}()
	<-running
	return func() {
		close(free)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// waiting returns when n updates wait for the one that is held.
func waiting(t *testing.T, db *store.DB, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); db.Waiting() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d updates wait", db.Waiting(), n)
		}
	}
}

func TestGrouping(t *testing.T) {
	db := open(t, "sqlite:"+t.TempDir()+"/nave.db", nil)
	insert(t, db, "d1")
	before := db.Commits()
	release := hold(t, db)
	var all sync.WaitGroup
	const n = 200
	for i := range n {
		all.Go(func() {
			if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.PutGroup(fmt.Sprint(i)) }); err != nil {
				t.Error(err)
			}
		})
	}
	waiting(t, db, n)
	release()
	all.Wait()
	if commits := db.Commits() - before; commits != 1 {
		t.Errorf("%d commits for %d updates and the one they waited for", commits, n)
	}
	view(t, db, func(tx *store.Tx) error {
		got, err := tx.Groups()
		if len(got) != n {
			t.Errorf("%d of %d rows", len(got), n)
		}
		return err
	})
}

// TestUndo has failing and good updates in one group: each failure undoes only
// itself, After runs in order for the good ones only.
func TestUndo(t *testing.T) {
	for _, url := range []string{"sqlite::memory:", "sqlite:" + t.TempDir() + "/nave.db"} {
		db := open(t, url, nil)
		release := hold(t, db)
		var mu sync.Mutex
		var order, ran []int
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				err := db.Update(t.Context(), func(tx *store.Tx) error {
					order = append(order, i) // on the writer's goroutine
					tx.After(func() { ran = append(ran, i) })
					if err := tx.PutGroup(fmt.Sprint(i)); err != nil {
						return err
					}
					switch i % 3 {
					case 1:
						return errors.New("no")
					case 2:
						panic("oh")
					}
					return nil
				})
				mu.Lock()
				defer mu.Unlock()
				if i%3 == 0 && err != nil || i%3 == 1 && (err == nil || err.Error() != "no") || i%3 == 2 && (err == nil || !strings.Contains(err.Error(), "oh")) {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		waiting(t, db, 60)
		release()
		all.Wait()
		good := slices.DeleteFunc(order, func(i int) bool { return i%3 != 0 })
		if !slices.Equal(good, ran) {
			t.Errorf("ran %v, After %v", good, ran)
		}
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.Groups()
			if len(got) != 20 {
				t.Errorf("%v", got)
			}
			return err
		})
	}
}

// TestAfterPostgres checks the promise there.
func TestAfterPostgres(t *testing.T) {
	db := openPostgres(t, nil)
	ran := 0
	update(t, db, func(tx *store.Tx) error { tx.After(func() { ran++ }); return tx.PutGroup("a") })
	err := db.Update(t.Context(), func(tx *store.Tx) error { tx.After(func() { ran++ }); panic("oh") })
	if err == nil || ran != 1 {
		t.Errorf("ran %d, %v", ran, err)
	}
}

func TestCancel(t *testing.T) {
	db := open(t, "sqlite::memory:", nil)
	release := hold(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- db.Update(ctx, func(tx *store.Tx) error { return tx.PutGroup("never") })
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	view(t, db, func(tx *store.Tx) error {
		got, err := tx.Groups()
		if len(got) != 0 {
			t.Errorf("%v", got)
		}
		return err
	})
}

// TestGoexit ends the writer's goroutine from within an update, as FailNow of
// a test does.
func TestGoexit(t *testing.T) {
	db := open(t, "sqlite::memory:", nil)
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.PutGroup("a"); err != nil {
			return err
		}
		runtime.Goexit()
		return nil
	})
	if err == nil {
		t.Error("no error")
	}
	update(t, db, func(tx *store.Tx) error {
		got, err := tx.Groups()
		if len(got) != 0 {
			t.Errorf("%v", got)
		}
		return err
	})
}

// TestSnapshot reads twice in one View while a write goes through in between.
func TestSnapshot(t *testing.T) {
	run := func(t *testing.T, db *store.DB) {
		insert(t, db, "d1")
		view(t, db, func(tx *store.Tx) error {
			if _, err := tx.Identity(d1); err != nil {
				return err
			}
			insert(t, db, "d2")
			if _, err := tx.Identity(nave.ID{Device: "d2"}); !errors.Is(err, store.ErrNone) {
				t.Errorf("a later write is visible: %v", err)
			}
			return nil
		})
		view(t, db, func(tx *store.Tx) error {
			_, err := tx.Identity(nave.ID{Device: "d2"})
			return err
		})
	}
	t.Run("file", func(t *testing.T) { run(t, open(t, "sqlite:"+t.TempDir()+"/nave.db", nil)) })
	t.Run("postgres", func(t *testing.T) { run(t, openPostgres(t, nil)) })
}

func TestTransactionOver(t *testing.T) {
	db := open(t, "sqlite::memory:", nil)
	var kept *store.Tx
	update(t, db, func(tx *store.Tx) error { kept = tx; return nil })
	if err := kept.PutGroup("x"); err == nil {
		t.Error("a transaction was usable after its end")
	}
}

func TestCloseWhileBusy(t *testing.T) {
	db := open(t, "sqlite:"+t.TempDir()+"/nave.db", nil)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for n := 0; ; n++ {
				err := db.Update(context.Background(), func(tx *store.Tx) error { return tx.PutGroup(fmt.Sprint(i, n)) })
				if err == nil {
					err = db.View(context.Background(), func(tx *store.Tx) error { _, err := tx.Usage("x"); return err })
				}
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	update(t, db, func(tx *store.Tx) error { return nil })
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}
