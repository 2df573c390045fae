package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

func TestIdentity(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		want := &nave.Identity{ID: nave.ID{Device: "d1", Module: "m"}, Generation: "638", ETag: "AAA=", Status: nave.Disabled, StatusReason: "näh \"x\"",
			StatusUpdated: c.now(), Created: c.now().Add(100), Auth: nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: "AB", SecondThumbprint: "CD"},
			Edge: true, DeviceScope: "s", ParentScopes: []string{"a", "b"}, ManagedBy: "me", Attributes: json.RawMessage(`{"b": 1.50, "a":[]}`)}
		insert(t, db, "d1")
		update(t, db, func(tx *store.Tx) error { return tx.InsertIdentity(want) })
		presence := nave.Presence{Connected: true, Node: "n", Changed: c.now(), Activity: c.now().Add(time.Second)}
		update(t, db, func(tx *store.Tx) error {
			return tx.Presence([]store.PresenceRow{{ID: want.ID}, {ID: nave.ID{Device: "gone"}, Presence: presence}, {ID: want.ID, Presence: presence}})
		})
		update(t, db, func(tx *store.Tx) error { return tx.EnqueueC2D(&nave.C2D{On: want.ID}) })
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.Activity(want.ID, presence.Activity.Add(time.Minute)), tx.Activity(want.ID, presence.Activity), tx.Activity(nave.ID{Device: "gone"}, presence.Activity))
		})
		presence.Activity = presence.Activity.Add(time.Minute)
		want.Presence, want.Pending = presence, 1
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.Identity(want.ID)
			if err != nil {
				return err
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			return nil
		})
		want.Auth, want.Attributes, want.ParentScopes, want.Status, want.ETag = nave.Auth{Type: nave.AuthSAS, Primary: "k", Secondary: "l"}, nil, nil, nave.Enabled, "B"
		update(t, db, func(tx *store.Tx) error { return tx.PutIdentity(want) })
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.Identity(want.ID)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			return err
		})
	})
}

func TestIdentityErrors(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1", "d1/m")
		none := nave.ID{Device: "none"}
		// All in one transaction: an expected error must not spoil the rest.
		update(t, db, func(tx *store.Tx) error {
			for _, e := range []struct {
				name      string
				got, want error
			}{
				{"insert", tx.InsertIdentity(device("d1")), store.ErrExists},
				{"module without device", tx.InsertIdentity(&nave.Identity{ID: nave.ID{Device: "none", Module: "m"}}), store.ErrNone},
				{"put", tx.PutIdentity(device("none")), store.ErrNone},
				{"delete", tx.DeleteIdentity(none), store.ErrNone},
				{"twin", tx.PutTwin(&nave.Twin{ID: none}), store.ErrNone},
				{"model", tx.PutModel(none, "m"), store.ErrNone},
				{"session", tx.PutSession(&nave.Session{ID: none}), store.ErrNone},
				{"enqueue", tx.EnqueueC2D(&nave.C2D{On: none}), store.ErrNone},
				{"drop", tx.DropC2D(nave.ID{Device: "d1"}, 7), store.ErrNone},
				{"requeue", tx.RequeueC2D(nave.ID{Device: "d1"}, 7, 0), store.ErrNone},
				{"settle", tx.SettleFeedback("x", true), store.ErrNone},
				{"policy", tx.DeletePolicy("x"), store.ErrNone},
				{"authority", tx.DeleteAuthority("x"), store.ErrNone},
				{"group", tx.DeleteGroup("x"), store.ErrNone},
				{"session gone", tx.DeleteSession(none), nil},
				{"good", tx.PutIdentity(device("d1")), nil},
			} {
				if !errors.Is(e.got, e.want) {
					t.Errorf("%s: got %v, want %v", e.name, e.got, e.want)
				}
			}
			return nil
		})
		err := db.View(t.Context(), func(tx *store.Tx) error { return tx.PutGroup("x") })
		if !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("a write in View answered %v", err)
		}
	})
}

func TestDeleteTakesAll(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1", "d1/m", "d2")
		for _, id := range []nave.ID{{Device: "d1"}, {Device: "d1", Module: "m"}, {Device: "d2"}} {
			update(t, db, func(tx *store.Tx) error {
				return errors.Join(tx.PutTwin(&nave.Twin{ID: id, ETag: 1}), tx.EnqueueC2D(&nave.C2D{On: id}), tx.PutSession(&nave.Session{ID: id}),
					tx.AddFeedback(nave.Feedback{Device: id.Device, Module: id.Module}, time.Time{}),
					tx.Presence([]store.PresenceRow{{ID: id, Presence: nave.Presence{Connected: true, Node: "n"}}}))
			})
		}
		update(t, db, func(tx *store.Tx) error { return tx.DeleteIdentity(nave.ID{Device: "d1"}) })
		insert(t, db, "d1", "d1/m")
		view(t, db, func(tx *store.Tx) error {
			for _, id := range []nave.ID{{Device: "d1"}, {Device: "d1", Module: "m"}} {
				_, e1 := tx.Twin(id)
				_, e2 := tx.Session(id)
				if !errors.Is(e1, store.ErrNone) || !errors.Is(e2, store.ErrNone) {
					t.Errorf("%s: twin %v, session %v", id, e1, e2)
				}
				i, err := tx.Identity(id)
				if err != nil || i.Pending != 0 || i.Presence.Connected {
					t.Errorf("%s: %+v, %v", id, i, err)
				}
				if q, _ := tx.QueuedC2D(id, true); len(q) != 0 {
					t.Errorf("%s: %d commands", id, len(q))
				}
			}
			if n, _, _ := tx.Feedback(); n != 1 {
				t.Errorf("%d feedback records", n)
			}
			got, err := tx.Count()
			if want := (store.Counts{Devices: 2, Enabled: 2, Modules: 1, Connected: 1}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			return err
		})
	})
}

func TestListingAndScope(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "b", "a", "B", "a/z", "a/M", "_", "c")
		insert(t, db.Scope(t.Name()+"other"+fmt.Sprint(time.Now().UnixNano())), "a", "x")
		names := func(all []*nave.Identity, err error) (names []string) {
			if err != nil {
				t.Error(err)
			}
			for _, i := range all {
				names = append(names, i.ID.String())
			}
			return names
		}
		view(t, db, func(tx *store.Tx) error {
			for _, e := range []struct{ got, want []string }{
				{names(tx.Devices("", 100)), []string{"B", "_", "a", "b", "c"}},
				{names(tx.Devices("B", 2)), []string{"_", "a"}},
				{names(tx.Devices("c", 2)), nil},
				{names(tx.Modules("a")), []string{"a/M", "a/z"}},
				{names(tx.Modules("b")), nil},
			} {
				if !slices.Equal(e.got, e.want) {
					t.Errorf("got %v, want %v", e.got, e.want)
				}
			}
			return nil
		})
	})
}

func TestCountWithinTransaction(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1")
		boom := errors.New("boom")
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			d := device("d2")
			d.Status = nave.Disabled
			if err := tx.InsertIdentity(d); err != nil {
				return err
			}
			if n, err := tx.Count(); n != (store.Counts{Devices: 2, Enabled: 1, Disabled: 1}) {
				t.Errorf("within: %+v, %v", n, err)
			}
			return boom
		})
		if err != boom {
			t.Fatal(err)
		}
		view(t, db, func(tx *store.Tx) error {
			n, err := tx.Count()
			if n != (store.Counts{Devices: 1, Enabled: 1}) {
				t.Errorf("after: %+v", n)
			}
			return err
		})
	})
}

func TestClearPresence(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		insert(t, db, "d1", "d1/m", "d2", "d3")
		var rows []store.PresenceRow
		for id, node := range map[nave.ID]string{{Device: "d1"}: "n1", {Device: "d1", Module: "m"}: "n1", {Device: "d2"}: "n2"} {
			rows = append(rows, store.PresenceRow{ID: id, Presence: nave.Presence{Connected: true, Node: node}})
		}
		update(t, db, func(tx *store.Tx) error { return tx.Presence(rows) })
		update(t, db, func(tx *store.Tx) error {
			ids, err := tx.ClearPresence("n1")
			if len(ids) != 2 || ids[0].Device != "d1" || ids[1].Device != "d1" {
				t.Errorf("cleared %v", ids)
			}
			return err
		})
		view(t, db, func(tx *store.Tx) error {
			i, err := tx.Identity(nave.ID{Device: "d1"})
			if i.Presence.Connected || !i.Presence.Changed.Equal(c.now().Truncate(100)) {
				t.Errorf("%+v", i.Presence)
			}
			if n, _ := tx.Count(); n.Connected != 1 {
				t.Errorf("%+v", n)
			}
			return err
		})
	})
}

// TestPresenceOf has two nodes write about one identity.
func TestPresenceOf(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		id := nave.ID{Device: "d1"}
		insert(t, db, "d1")
		for _, step := range []struct {
			of        string
			connected bool
			node      string
			want      string // node that holds it then
		}{
			{"a", false, "", ""},  // came and went before it was written
			{"a", true, "b", ""},  // nobody's: the other node writes that itself
			{"", true, "a", "a"},  // connected
			{"b", false, "", "a"}, // the other node has nothing to say
			{"a", true, "b", "b"}, // handed over
			{"a", false, "", "b"}, // late news of the first
			{"b", false, "", ""},  // gone
			{"", true, "b", "b"},  // and back
			{"a", true, "c", "b"}, // late
			{"", true, "a", "a"},  // taken over
			{"a", false, "", ""},  // gone
			{"b", false, "", ""},  // still
		} {
			row := store.PresenceRow{ID: id, Of: step.of, Presence: nave.Presence{Connected: step.connected, Node: step.node, Changed: c.now(), Activity: c.now()}}
			update(t, db, func(tx *store.Tx) error { return tx.Presence([]store.PresenceRow{row}) })
			view(t, db, func(tx *store.Tx) error {
				i, err := tx.Identity(id)
				if err == nil && (i.Presence.Node != step.want || i.Presence.Connected != (step.want != "")) {
					t.Errorf("after %+v: %+v", step, i.Presence)
				}
				n, failed := tx.Count()
				if connected := n.Connected; failed == nil && (connected == 1) != (step.want != "") {
					t.Errorf("after %+v: %d are counted as connected", step, connected)
				}
				return errors.Join(err, failed)
			})
		}
	})
}
