package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// control adds a control device with a command and a sensor.
func control(t *testing.T, db *store.DB, c *clock) (d *nave.ControlDevice, command, sensor *nave.ControlSource) {
	t.Helper()
	d = &nave.ControlDevice{ID: nave.NewControlID("cdv", c.now()), Label: "boiler", Protocols: []string{"https"}, Plan: "starter",
		PlanValues: map[string]float64{"feed.burst": 3}, Resource: nave.NewControlID("res", c.now()), Created: c.now(), Until: c.now().Add(time.Hour)}
	command = &nave.ControlSource{ID: nave.NewControlID("cmd", c.now()), Device: d.ID, Kind: "relay", PinPort: "6", ValueType: nave.NumericRange, Minimum: "0", Maximum: "1"}
	sensor = &nave.ControlSource{ID: nave.NewControlID("sen", c.now()), Device: d.ID, Kind: "thermistor", Unit: "degree_celsius:0", Resources: []string{"r"}}
	update(t, db, func(tx *store.Tx) error {
		return errors.Join(tx.InsertControl(d), tx.InsertControlSource(command, "0.0"), tx.InsertControlSource(sensor, ""))
	})
	d.SourceCount = 2
	return d, command, sensor
}

func TestControl(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		d, command, sensor := control(t, db, c)
		if command.No == 0 || sensor.No == command.No {
			t.Errorf("numbers %d and %d", command.No, sensor.No)
		}
		state := nave.ControlState{Source: command.No, Feed: 7, Value: "1.0", Observed: c.now(), Received: c.now().Add(time.Second), Desired: "1", Sequence: 3}
		update(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.PutControlState(&state), tx.SeeControl(d.ID, c.now()), tx.PutControlSource(sensor),
				tx.AddControlAudit(d.ID, store.ControlAudit{At: c.now(), What: "adopted", Detail: json.RawMessage(`{"a":1}`)}))
		})
		d.Seen = c.now()
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.Control(d.ID)
			if err != nil || !reflect.DeepEqual(got, d) {
				t.Errorf("got %+v, %v, want %+v", got, err, d)
			}
			all, err := tx.ControlSources(d.ID)
			if err != nil || len(all) != 2 || !reflect.DeepEqual(all[0].ControlSource, *command) || !reflect.DeepEqual(all[1].ControlSource, *sensor) || all[0].State != state {
				t.Errorf("sources %+v, %v", all, err)
			}
			one, err := tx.ControlSource(sensor.ID)
			if err != nil || one.State != (nave.ControlState{Source: sensor.No}) {
				t.Errorf("sensor %+v, %v", one, err)
			}
			if list, err := tx.Controls("", 10); err != nil || len(list) != 1 || list[0].ID != d.ID {
				t.Errorf("list %v, %v", list, err)
			}
			if a, err := tx.ControlAudits(d.ID, 5); err != nil || len(a) != 1 || a[0].What != "adopted" || !a[0].At.Equal(c.now()) {
				t.Errorf("audit %v, %v", a, err)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			for _, e := range []struct {
				name      string
				got, want error
			}{
				{"twice", tx.InsertControl(d), store.ErrExists},
				{"put", tx.PutControl(&nave.ControlDevice{ID: "x"}), store.ErrNone},
				{"delete", tx.DeleteControl("x"), store.ErrNone},
				{"source without device", tx.InsertControlSource(&nave.ControlSource{ID: "y", Device: "x"}, ""), store.ErrNone},
				{"foreign source", tx.DeleteControlSource("x", command.ID), store.ErrNone},
				{"state", tx.PutControlState(&nave.ControlState{Source: 1 << 40}), store.ErrNone},
			} {
				if !errors.Is(e.got, e.want) {
					t.Errorf("%s: got %v, want %v", e.name, e.got, e.want)
				}
			}
			return nil
		})
	})
}

func TestControlFeed(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		d, command, sensor := control(t, db, c)
		var first int64
		update(t, db, func(tx *store.Tx) (err error) { first, err = tx.TakeControlIDs("n1", 0, 100); return err })
		var rows []*nave.ControlFeedRow
		for i := range 73 {
			rows = append(rows, &nave.ControlFeedRow{ID: first + int64(i), Source: sensor.No, Message: fmt.Sprint("m-", i), Value: "21.5", Observed: c.now(), Received: c.now().Add(time.Duration(i) * time.Second), Via: "https", Digest: []byte{1, byte(i)}})
		}
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.InsertControlKeys(rows)
			if n != 73 {
				t.Errorf("%d keys", n)
			}
			return errors.Join(err, tx.InsertControlFeed(rows))
		})
		update(t, db, func(tx *store.Tx) error {
			again := *rows[3]
			again.ID, again.Digest = first+90, []byte{9}
			other := again
			other.Source = command.No
			n, err := tx.InsertControlKeys([]*nave.ControlFeedRow{&again, &other})
			if err != nil || n != 1 {
				t.Errorf("%d keys, %v", n, err)
			}
			feed, digest, err := tx.ControlKey(sensor.No, "m-3")
			if err != nil || feed != first+3 || string(digest) != "\x01\x03" {
				t.Errorf("key %d %x %v", feed, digest, err)
			}
			return nil
		})
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.ControlHistory(sensor.No, 1<<50, 2)
			want := *rows[72]
			want.Digest = nil
			if err != nil || len(got) != 2 || !reflect.DeepEqual(*got[0], want) {
				t.Errorf("history %+v, %v", got, err)
			}
			some, err := tx.ControlFeedBetween(first+70, first+100, 10)
			if err != nil || len(some) != 3 || some[0].ID != first+70 {
				t.Errorf("between %v, %v", some, err)
			}
			low, high, err := tx.ControlBlock("n1")
			if err != nil || low != first || high != first+100 {
				t.Errorf("block %d to %d, %v", low, high, err)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.ExpireControlFeed(sensor.No, c.now().Add(10*time.Second), 50)
			if n != 10 {
				t.Errorf("%d expired", n)
			}
			second, e2 := tx.TakeControlIDs("n2", 0, 5)
			if second != first+100 {
				t.Errorf("second block from %d", second)
			}
			return errors.Join(err, e2, tx.DeleteControl(d.ID))
		})
		more := true
		for rounds := 0; more && rounds < 10; rounds++ {
			update(t, db, func(tx *store.Tx) (err error) { more, err = tx.DropControlFeed(50); return err })
		}
		view(t, db, func(tx *store.Tx) error {
			_, e1 := tx.ControlFeed(sensor.No, first+50)
			_, _, e2 := tx.ControlKey(sensor.No, "m-50")
			_, e3 := tx.ControlSource(sensor.ID)
			if more || !errors.Is(e1, store.ErrNone) || !errors.Is(e2, store.ErrNone) || !errors.Is(e3, store.ErrNone) {
				t.Error(more, e1, e2, e3)
			}
			return nil
		})
	})
}

func TestDesired(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		d, command, _ := control(t, db, c)
		one := &nave.DesiredState{ID: "des_1", Device: d.ID, Command: command.ID, Source: command.No, Value: "1", Sequence: 1, Issued: c.now(), Expires: c.now().Add(time.Minute), Status: nave.DesiredPending, By: "me"}
		two := *one
		two.ID, two.Sequence, two.Expires = "des_2", 2, time.Time{}
		update(t, db, func(tx *store.Tx) error { return tx.InsertDesired(one) })
		view(t, db, func(tx *store.Tx) error {
			due, err := tx.DueDesired(c.now().Add(time.Minute), 5)
			if err != nil || len(due) != 1 || !reflect.DeepEqual(due[0], one) {
				t.Errorf("due %+v, %v", due, err)
			}
			return nil
		})
		one.Status, one.Closed, one.Feed, one.Reported = nave.DesiredSuperseded, c.now(), 9, "0"
		update(t, db, func(tx *store.Tx) error { return errors.Join(tx.CloseDesired(one), tx.InsertDesired(&two)) })
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.Desired("des_1")
			if err != nil || !reflect.DeepEqual(got, one) {
				t.Errorf("got %+v, %v", got, err)
			}
			open, err := tx.OpenDesired(command.No)
			newest, e2 := tx.NewestDesired(command.No)
			if err != nil || e2 != nil || open.ID != "des_2" || newest.ID != "des_2" {
				t.Errorf("open %v, %v, newest %v, %v", open, err, newest, e2)
			}
			pending, err := tx.PendingDesired(d.ID)
			if err != nil || len(pending) != 1 {
				t.Errorf("pending %v, %v", pending, err)
			}
			return nil
		})
	})
}

func TestOAuth(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB, c *clock) {
		d, _, _ := control(t, db, c)
		client := &store.OAuthClient{Realm: "iot", ID: d.ID, Hash: []byte{1}, Created: c.now()}
		token := &store.OAuthToken{Realm: "iot", Client: d.ID, Hash: []byte{2}, Scope: "a b", Claims: "{}", Issued: c.now(), Expires: c.now().Add(time.Hour)}
		update(t, db, func(tx *store.Tx) error {
			if err := tx.InsertOAuthToken(token); !errors.Is(err, store.ErrNone) {
				t.Errorf("a token without client: %v", err)
			}
			return errors.Join(tx.PutOAuthClient(client), tx.InsertOAuthToken(token),
				tx.InsertControlCredential(&store.ControlCredential{Hash: []byte{3}, Device: d.ID, Token: []byte{2}, Scopes: "s", Issued: c.now(), Expires: c.now()}))
		})
		view(t, db, func(tx *store.Tx) error {
			got, err := tx.OAuthToken("iot", []byte{2})
			if err != nil || !reflect.DeepEqual(got, token) {
				t.Errorf("got %+v, %v", got, err)
			}
			if _, err := tx.OAuthToken("sim", []byte{2}); !errors.Is(err, store.ErrNone) {
				t.Errorf("another realm: %v", err)
			}
			who, err := tx.OAuthClient("iot", d.ID)
			if err != nil || !reflect.DeepEqual(who, client) {
				t.Errorf("client %+v, %v", who, err)
			}
			creds, err := tx.ControlCredentials(d.ID)
			if err != nil || len(creds) != 1 || creds[0].Scopes != "s" {
				t.Errorf("credentials %v, %v", creds, err)
			}
			return nil
		})
		update(t, db, func(tx *store.Tx) error {
			n, err := tx.EndControlCredentials(d.ID, []byte{2})
			m, e2 := tx.ExpireOAuthTokens("iot", c.now().Add(2*time.Hour))
			if n != 1 || m != 1 {
				t.Errorf("%d credentials, %d tokens", n, m)
			}
			return errors.Join(err, e2, tx.InsertOAuthToken(token), tx.DeleteOAuthClient("iot", d.ID))
		})
		view(t, db, func(tx *store.Tx) error {
			if all, err := tx.OAuthTokens("iot", d.ID); err != nil || len(all) != 0 {
				t.Errorf("tokens %v, %v", all, err)
			}
			return nil
		})
	})
}
