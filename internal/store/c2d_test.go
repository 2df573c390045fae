package store_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

var d1 = nave.ID{Device: "d1"}

func enqueue(t *testing.T, db *store.DB, id nave.ID, body string, expires time.Time) *nave.C2D {
	t.Helper()
	m := &nave.C2D{On: id, Enqueued: db.Now(), Generation: "1"}
	m.Body, m.System.Expiry = []byte(body), expires
	update(t, db, func(tx *store.Tx) error { return tx.EnqueueC2D(m) })
	return m
}

// lease returns the body of the leased message, or "".
func lease(t *testing.T, db *store.DB, lock string, until time.Time) (body string) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		m, err := tx.LeaseC2D(d1, lock, until)
		if errors.Is(err, store.ErrNone) {
			return nil
		}
		if err == nil {
			body = string(m.Body)
		}
		return err
	})
	return body
}

func TestC2DContent(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1")
		want := &nave.C2D{On: d1, Enqueued: c.now(), Generation: "g", Message: nave.Message{Body: []byte{0, 255, 1},
			System: nave.System{MessageID: "m", CorrelationID: "c", UserID: "u", To: "/x", Expiry: c.now().Add(time.Hour), ContentType: "t", ContentEncoding: "e",
				Ack: nave.AckFull, Operation: "o", Created: "cr", Output: "ou", Subject: "s", Interface: "i", Schema: "sc", DiagID: "di", DiagContext: "dc"},
			App: []nave.Property{{Name: "b", Value: "\x00\xff", HasValue: true}, {Name: "a"}, {Name: "", Value: "", HasValue: true}}}}
		update(t, db, func(tx *store.Tx) error { return tx.EnqueueC2D(want) })
		empty := &nave.C2D{On: d1}
		update(t, db, func(tx *store.Tx) error { return tx.EnqueueC2D(empty) })
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.QueuedC2D(d1, false)
			if err != nil {
				return err
			}
			if len(got) != 2 || !reflect.DeepEqual(got[0], want) {
				t.Errorf("got  %+v\nwant %+v", got[0], want)
			}
			if len(got[1].Body) != 0 || got[1].Seq != 2 || !got[1].System.Expiry.IsZero() {
				t.Errorf("got %+v", got[1])
			}
			n, bytes, err := tx.PendingC2D(d1)
			if n != 2 || bytes != want.Size() {
				t.Errorf("pending %d, %d bytes", n, bytes)
			}
			return err
		})
	})
}

func TestLeaseOrder(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1")
		soon := c.now().Add(time.Minute)
		enqueue(t, db, d1, "short", c.now().Add(time.Second))
		one := enqueue(t, db, d1, "one", soon.Add(time.Hour))
		enqueue(t, db, d1, "two", time.Time{})
		c.add(2 * time.Second)
		for i, want := range []string{"one", "two", ""} {
			if got := lease(t, db, string(rune('a'+i)), soon); got != want {
				t.Errorf("lease %d: %q, want %q", i, got, want)
			}
		}
		update(t, db, func(tx *store.Tx) error {
			m, err := tx.LockedC2D(d1, "a")
			if err != nil || m.Seq != one.Seq || m.Deliveries != 1 || !m.LockUntil.Equal(soon.Truncate(100)) {
				t.Errorf("%+v, %v", m, err)
			}
			if _, err := tx.LockedC2D(d1, ""); !errors.Is(err, store.ErrNone) {
				t.Errorf("the empty lock: %v", err)
			}
			return tx.RequeueC2D(d1, one.Seq, 1)
		})
		if got := lease(t, db, "d", time.Time{}); got != "one" {
			t.Errorf("after requeue: %q", got)
		}
		update(t, db, func(tx *store.Tx) error {
			m, err := tx.LockedC2D(d1, "d")
			if m.Deliveries != 2 || m.Failed != 1 {
				t.Errorf("%+v", m)
			}
			return errors.Join(err, tx.DropC2D(d1, one.Seq))
		})
		last := enqueue(t, db, d1, "three", time.Time{})
		update(t, db, func(tx *store.Tx) error { return tx.DropC2D(d1, last.Seq) })
		if next := enqueue(t, db, d1, "four", time.Time{}); next.Seq != last.Seq+1 {
			t.Errorf("sequence number %d after %d", next.Seq, last.Seq)
		}
	})
}

func TestDueAndRelease(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1", "d2")
		enqueue(t, db, d1, "forever", time.Time{})
		enqueue(t, db, d1, "locked", c.now().Add(time.Hour))
		enqueue(t, db, nave.ID{Device: "d2"}, "expires", c.now().Add(time.Second))
		lease(t, db, "a", time.Time{})
		lease(t, db, "b", c.now().Add(time.Minute))
		due := func(at time.Time) (expired, lapsed []string) {
			update(t, db, func(tx *store.Tx) error {
				x, l, err := tx.DueC2D(at, 10)
				for _, m := range x {
					expired = append(expired, string(m.Body))
				}
				for _, m := range l {
					lapsed = append(lapsed, string(m.Body))
				}
				return err
			})
			return expired, lapsed
		}
		for _, e := range []struct {
			after           time.Duration
			expired, lapsed []string
		}{
			{0, nil, nil},
			{time.Second, []string{"expires"}, nil},
			{time.Minute, []string{"expires"}, []string{"locked"}},
			{time.Hour, []string{"expires", "locked"}, nil},
		} {
			if x, l := due(c.now().Add(e.after)); !reflect.DeepEqual(x, e.expired) || !reflect.DeepEqual(l, e.lapsed) {
				t.Errorf("after %s: %v, %v", e.after, x, l)
			}
		}
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.ReleaseC2D("a")
			if n != 1 {
				t.Errorf("released %d", n)
			}
			return err
		})
		if got := lease(t, db, "c", time.Time{}); got != "forever" {
			t.Errorf("after release: %q", got)
		}
	})
}

func TestFeedback(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		start := c.now()
		add := func(id string, ttl time.Duration) {
			update(t, db, func(tx *store.Tx) error {
				return tx.AddFeedback(nave.Feedback{OriginalMessageID: id, Device: "d1", Enqueued: c.now(), Status: nave.Expired, Description: "x", Generation: "g"}, c.now().Add(ttl))
			})
			c.add(time.Second)
		}
		take := func(lock string, max int) (ids string, tries int) {
			update(t, db, func(tx *store.Tx) error {
				all, n, err := tx.LeaseFeedback(lock, c.now().Add(time.Minute), max)
				for _, f := range all {
					ids += f.OriginalMessageID
				}
				tries = n
				return err
			})
			return ids, tries
		}
		expect := func(what, lock string, max int, want string, wantTries int) {
			t.Helper()
			if ids, tries := take(lock, max); ids != want || tries != wantTries {
				t.Errorf("%s: %q after %d tries, want %q after %d", what, ids, tries, want, wantTries)
			}
		}
		settle := func(lock string, done bool) (err error) {
			return db.Update(t.Context(), func(tx *store.Tx) error { return tx.SettleFeedback(lock, done) })
		}
		add("a", time.Hour)
		add("b", time.Hour)
		add("c", time.Hour)
		add("x", 0)
		view(t, db, func(tx *store.Tx) error {
			n, oldest, err := tx.Feedback()
			if n != 3 || !oldest.Equal(start.Truncate(100)) {
				t.Errorf("waiting %d since %s", n, oldest)
			}
			return err
		})
		expect("first", "1", 2, "ab", 0)
		expect("rest", "2", 9, "c", 0)
		expect("nothing", "3", 9, "", 0)
		if err := errors.Join(settle("2", true), settle("1", false)); err != nil {
			t.Error(err)
		}
		expect("given back", "4", 9, "ab", 1)
		c.add(2 * time.Minute)
		if err := settle("4", true); !errors.Is(err, store.ErrNone) {
			t.Errorf("a lock that ran out was settled: %v", err)
		}
		expect("ran out", "5", 1, "a", 2)
		sweep := func(maxTries, want int) {
			t.Helper()
			update(t, db, func(tx *store.Tx) error {
				n, err := tx.SweepFeedback(c.now(), maxTries)
				if n != want {
					t.Errorf("dropped %d, want %d", n, want)
				}
				return err
			})
		}
		sweep(2, 2) // x by age, b by tries; a is locked
		if err := settle("5", true); err != nil {
			t.Error(err)
		}
		sweep(1, 0)
	})
}
