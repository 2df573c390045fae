package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// operation draws its arguments and returns what is to be done to each
// database; the text says how it ended.
type operation func(r *rapid.T, c *clock) func(*store.Tx) (string, error)

var (
	someID = rapid.SampledFrom([]nave.ID{{Device: "a"}, {Device: "b"}, {Device: "a", Module: "m"}, {Device: "b", Module: "n"}, {Device: "B"}})
	some   = rapid.SampledFrom([]string{"", "1", "2", "3"})
)

var operations = map[string]operation{
	"insert": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		i := drawIdentity(r, c)
		return func(tx *store.Tx) (string, error) { return "", tx.InsertIdentity(i) }
	},
	"put": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		i := drawIdentity(r, c)
		return func(tx *store.Tx) (string, error) { return "", tx.PutIdentity(i) }
	},
	"delete": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		id := someID.Draw(r, "id")
		return func(tx *store.Tx) (string, error) { return "", tx.DeleteIdentity(id) }
	},
	"presence": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		var rows []store.PresenceRow
		for range rapid.IntRange(0, 4).Draw(r, "rows") {
			rows = append(rows, store.PresenceRow{ID: someID.Draw(r, "id"), Presence: nave.Presence{Connected: rapid.Bool().Draw(r, "connected"), Node: some.Draw(r, "node"), Changed: c.now()}})
		}
		return func(tx *store.Tx) (string, error) { return "", tx.Presence(rows) }
	},
	"clear": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		node := some.Draw(r, "node")
		return func(tx *store.Tx) (string, error) {
			ids, err := tx.ClearPresence(node)
			slices.SortFunc(ids, func(a, b nave.ID) int { return strings.Compare(a.String(), b.String()) })
			return fmt.Sprint(ids), err
		}
	},
	"twin": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		tw := &nave.Twin{ID: someID.Draw(r, "id"), ETag: rapid.Int64Range(0, 3).Draw(r, "etag"), Tags: nave.Doc{"x": some.Draw(r, "x")}}
		return func(tx *store.Tx) (string, error) { return "", tx.PutTwin(tw) }
	},
	"enqueue": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		m := nave.C2D{On: someID.Draw(r, "id"), Enqueued: c.now()}
		m.Body = []byte(some.Draw(r, "body"))
		if rapid.Bool().Draw(r, "expires") {
			m.System.Expiry = c.now().Add(3 * time.Second)
		}
		return func(tx *store.Tx) (string, error) { m := m; err := tx.EnqueueC2D(&m); return fmt.Sprint(m.Seq), err }
	},
	"lease": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		id, lock, until := someID.Draw(r, "id"), fmt.Sprint("L", rapid.Int().Draw(r, "lock")), time.Time{}
		if rapid.Bool().Draw(r, "until") {
			until = c.now().Add(2 * time.Second)
		}
		return func(tx *store.Tx) (string, error) {
			m, err := tx.LeaseC2D(id, lock, until)
			if err != nil {
				return "", err
			}
			again, err := tx.LockedC2D(id, lock)
			return fmt.Sprintf("%+v %+v", m, again), err
		}
	},
	"requeue": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		id, seq, failed := someID.Draw(r, "id"), rapid.Int64Range(1, 4).Draw(r, "seq"), rapid.IntRange(0, 3).Draw(r, "failed")
		return func(tx *store.Tx) (string, error) { return "", tx.RequeueC2D(id, seq, failed) }
	},
	"drop": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		id, seq := someID.Draw(r, "id"), rapid.Int64Range(1, 4).Draw(r, "seq")
		return func(tx *store.Tx) (string, error) { return "", tx.DropC2D(id, seq) }
	},
	"due": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		limit := rapid.IntRange(1, 5).Draw(r, "limit")
		return func(tx *store.Tx) (string, error) {
			x, l, err := tx.DueC2D(c.now(), limit)
			return fmt.Sprint(commands(x), commands(l)), err
		}
	},
	"release": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		prefix := rapid.SampledFrom([]string{"", "L", "L1"}).Draw(r, "prefix")
		return func(tx *store.Tx) (string, error) { n, err := tx.ReleaseC2D(prefix); return fmt.Sprint(n), err }
	},
	"feedback": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		f := nave.Feedback{Device: someID.Draw(r, "id").Device, OriginalMessageID: some.Draw(r, "message"), Enqueued: c.now()}
		return func(tx *store.Tx) (string, error) { return "", tx.AddFeedback(f, c.now().Add(5*time.Second)) }
	},
	"take": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		lock, limit := some.Draw(r, "lock")+"x", rapid.IntRange(1, 3).Draw(r, "limit")
		return func(tx *store.Tx) (string, error) {
			all, tries, err := tx.LeaseFeedback(lock, c.now().Add(2*time.Second), limit)
			return fmt.Sprint(all, tries), err
		}
	},
	"settle": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		lock, done := some.Draw(r, "lock")+"x", rapid.Bool().Draw(r, "done")
		return func(tx *store.Tx) (string, error) { return "", tx.SettleFeedback(lock, done) }
	},
	"sweep": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		return func(tx *store.Tx) (string, error) {
			n, err := tx.SweepFeedback(c.now(), 2)
			return fmt.Sprint(n), err
		}
	},
	"session": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		s := &nave.Session{ID: someID.Draw(r, "id"), Filters: []nave.Filter{{Topic: some.Draw(r, "topic")}}}
		return func(tx *store.Tx) (string, error) { return "", tx.PutSession(s) }
	},
	"tick": func(r *rapid.T, c *clock) func(*store.Tx) (string, error) {
		c.add(time.Second)
		return func(tx *store.Tx) (string, error) { return "", nil }
	},
}

func drawIdentity(r *rapid.T, c *clock) *nave.Identity {
	return &nave.Identity{ID: someID.Draw(r, "id"), ETag: some.Draw(r, "etag"), Created: c.now(),
		Status: rapid.SampledFrom([]string{nave.Enabled, nave.Disabled}).Draw(r, "status")}
}

func commands(all []*nave.C2D) (text string) {
	for _, m := range all {
		text += fmt.Sprintf("%+v ", *m)
	}
	return text
}

// dump returns all that the operations can have changed, and checks the counts
// against the rows.
func dump(r *rapid.T, tx *store.Tx) string {
	var text strings.Builder
	var want store.Counts
	devices, err := tx.Devices("", 100)
	for _, d := range devices {
		modules, e := tx.Modules(d.ID.Device)
		err = errors.Join(err, e)
		want.Devices++
		want.Modules += len(modules)
		if d.Status == nave.Enabled {
			want.Enabled++
		} else {
			want.Disabled++
		}
		if d.Presence.Connected {
			want.Connected++
		}
		for _, i := range append(modules, d) {
			queue, e1 := tx.QueuedC2D(i.ID, true)
			n, bytes, e2 := tx.PendingC2D(i.ID)
			tw, _ := tx.Twin(i.ID)
			s, _ := tx.Session(i.ID)
			err = errors.Join(err, e1, e2)
			for _, m := range queue {
				bytes -= m.Size()
			}
			if n != len(queue) || bytes != 0 || i.Pending != n {
				r.Fatalf("%s: pending %d (%d), queued %d, %d bytes too many", i.ID, n, i.Pending, len(queue), bytes)
			}
			fmt.Fprintf(&text, "%+v %s %+v %+v\n", *i, commands(queue), tw, s)
		}
	}
	n, oldest, e1 := tx.Feedback()
	got, e2 := tx.Count()
	if err := errors.Join(err, e1, e2); err != nil {
		r.Fatal(err)
	}
	if got != want {
		r.Fatalf("counts %+v, rows %+v", got, want)
	}
	fmt.Fprint(&text, n, oldest, got)
	return text.String()
}

// TestRandomOperations does the same to two databases, which must agree on
// every answer and on the state at the end: SQLite and PostgreSQL, without the
// latter a file and memory.
func TestRandomOperations(t *testing.T) {
	c := newClock()
	one := open(t, "sqlite:"+t.TempDir()+"/nave.db", c)
	url := postgresURL
	if noPostgres != "" {
		t.Log(noPostgres + "; comparing file and memory")
		url = "sqlite::memory:"
	}
	two := open(t, url, c)
	run := 0
	names := make([]string, 0, len(operations))
	for name := range operations {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(r *rapid.T) {
		run++
		hub := fmt.Sprintf("%s %d %d", t.Name(), time.Now().UnixNano(), run)
		dbs := []*store.DB{one.Scope(hub), two.Scope(hub)}
		for _, db := range dbs {
			insert(t, db, "a", "a/m", "b")
		}
		for range rapid.IntRange(1, 12).Draw(r, "transactions") {
			transact(r, c, names, dbs)
		}
		var state [2]string
		for i, db := range dbs {
			if err := db.View(context.Background(), func(tx *store.Tx) error { state[i] = dump(r, tx); return nil }); err != nil {
				r.Fatal(err)
			}
		}
		if state[0] != state[1] {
			r.Fatalf("state\n%s\n%s", state[0], state[1])
		}
	})
}

var errUndo = errors.New("undo")

// transact does some operations in one transaction on each database and may
// take them back.
func transact(r *rapid.T, c *clock, names []string, dbs []*store.DB) {
	var all []func(*store.Tx) (string, error)
	var drawn []string
	for range rapid.IntRange(1, 5).Draw(r, "operations") {
		name := rapid.SampledFrom(names).Draw(r, "operation")
		drawn = append(drawn, name)
		all = append(all, operations[name](r, c))
	}
	undo := rapid.IntRange(0, 5).Draw(r, "undo") == 0
	var said [2]string
	for i, db := range dbs {
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			said[i] = ""
			for n, f := range all {
				text, err := f(tx)
				if err != nil && !errors.Is(err, store.ErrNone) && !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrStale) {
					return err
				}
				said[i] += fmt.Sprintln(drawn[n], text, err)
			}
			if undo {
				return errUndo
			}
			return nil
		})
		if err != nil && !undo || undo && err != errUndo {
			r.Fatalf("%v: %v", drawn, err)
		}
	}
	if said[0] != said[1] {
		r.Fatalf("answers\n%s\n%s", said[0], said[1])
	}
}
