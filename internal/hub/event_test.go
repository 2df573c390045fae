package hub_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// events returns the next n events of the source, from the beginning.
func (k *kit) events(source nave.Source, n int) (all []*nave.Event) {
	k.t.Helper()
	found := make(chan *nave.Event, 100)
	for p := range k.hub.Partitions() {
		r, err := k.Events(ctx, p, nave.Position{})
		if err != nil {
			k.t.Fatal(err)
		}
		defer r.Close()
		go func() {
			for {
				events, err := r.Next(k.t.Context())
				if err != nil {
					return
				}
				for _, e := range events {
					if e.Source == source {
						found <- e
					}
				}
			}
		}()
	}
	for len(all) < n {
		select {
		case e := <-found:
			all = append(all, e)
		case <-time.After(patience):
			k.t.Fatalf("%d of %d events of %s came", len(all), n, source)
		}
	}
	return all
}

func app(e *nave.Event, name string) string {
	v, _ := e.AppValue(name)
	return v
}

func everySource(o *hub.Options) {
	o.Sources = []nave.Source{nave.TwinChanges, nave.DeviceLifecycle, nave.DeviceConnectionState}
	o.ConnectionEvents = 20 * time.Millisecond
}

func TestLifecycleEvents(t *testing.T) {
	k := open(t, everySource)
	i := k.put("d1", nave.IdentityPatch{})
	if err := k.Delete(ctx, i.ID, "*"); err != nil {
		t.Fatal(err)
	}
	got := k.events(nave.DeviceLifecycle, 2)
	for n, op := range []string{"createDeviceIdentity", "deleteDeviceIdentity"} {
		e := got[n]
		if app(e, "opType") != op || app(e, "deviceId") != "d1" || app(e, "hubName") != "hub" || e.System.Schema != "deviceLifecycleNotification" ||
			e.System.CorrelationID == "" || n > 0 && e.System.CorrelationID == got[0].System.CorrelationID {
			t.Errorf("event %d: %+v", n, e.Message)
		}
		if !json.Valid(e.Body) {
			t.Errorf("event %d: body %s", n, e.Body)
		}
	}
}

func TestTwinChangeEvents(t *testing.T) {
	k := open(t, everySource)
	i := k.put("d1", nave.IdentityPatch{})
	if _, err := k.PatchTwin(ctx, i.ID, nave.Patch{Desired: doc(t, `{"a":1}`)}, "", 7); err != nil {
		t.Fatal(err)
	}
	if _, err := k.PatchTwin(ctx, i.ID, nave.Patch{Tags: doc(t, `{"b":1}`), Replace: true}, "", 7); err != nil {
		t.Fatal(err)
	}
	got := k.events(nave.TwinChanges, 2)
	if app(got[0], "opType") != "updateTwin" || app(got[1], "opType") != "replaceTwin" {
		t.Errorf("%s, %s", app(got[0], "opType"), app(got[1], "opType"))
	}
}

func TestConnectionEvents(t *testing.T) {
	k := open(t, everySource)
	i := k.put("d1", nave.IdentityPatch{})
	l, _ := k.connect(i, mqttArrival)
	l.WatchDesired(true)
	connected := k.events(nave.DeviceConnectionState, 1)[0]
	l.Close(nil)
	disconnected := k.events(nave.DeviceConnectionState, 2)[1]
	if app(connected, "opType") != "deviceConnected" || app(disconnected, "opType") != "deviceDisconnected" {
		t.Errorf("%s, %s", app(connected, "opType"), app(disconnected, "opType"))
	}
	var a, b struct{ SequenceNumber string }
	if json.Unmarshal(connected.Body, &a) != nil || json.Unmarshal(disconnected.Body, &b) != nil ||
		len(a.SequenceNumber) != 64 || len(b.SequenceNumber) != 64 || a.SequenceNumber >= b.SequenceNumber {
		t.Errorf("%s, %s", connected.Body, disconnected.Body)
	}
}

// A device that never says anything is not news (hub-semantics 13).
func TestSilentConnection(t *testing.T) {
	k := open(t, everySource)
	silent, loud := k.put("silent", nave.IdentityPatch{}), k.put("loud", nave.IdentityPatch{})
	k.connect(silent, mqttArrival)
	l, _ := k.connect(loud, mqttArrival)
	l.WatchDesired(true)
	if e := k.events(nave.DeviceConnectionState, 1)[0]; e.From.Device != "loud" {
		t.Errorf("event of %s", e.From)
	}
	got, err := k.Device(ctx, silent.ID)
	if err != nil || !got.Presence.Connected {
		t.Errorf("%+v, %v", got.Presence, err)
	}
}

func TestCutOff(t *testing.T) {
	k := open(t)
	i, m := k.put("d1", nave.IdentityPatch{}), k.put("d1/m1", nave.IdentityPatch{})
	_, d := k.connect(i, mqttArrival)
	_, dm := k.connect(m, mqttArrival)
	off, on := nave.Disabled, nave.Enabled
	if _, err := k.Put(ctx, i.ID, &nave.IdentityPatch{Status: &off}, "*"); err != nil {
		t.Fatal(err)
	}
	for _, peer := range []*device{d, dm} {
		if c := next[closed](t, peer); c.part != hub.Whole || c.why.Code != fault.DeviceDisabled {
			t.Errorf("closed %+v", c)
		}
	}
	if _, err := k.Put(ctx, i.ID, &nave.IdentityPatch{Status: &on}, "*"); err != nil {
		t.Fatal(err)
	}
	_, d = k.connect(i, mqttArrival)
	if err := k.Delete(ctx, i.ID, "*"); err != nil {
		t.Fatal(err)
	}
	if c := next[closed](t, d); c.why.Code != fault.DeviceNotFound {
		t.Errorf("closed by %v", c.why)
	}
}

func TestTokenRunsOut(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	k.offset.Add(int64(time.Hour + 4*time.Minute))
	l.Renew(k.now().Add(-10 * time.Second))
	k.offset.Add(int64(4 * time.Minute))
	none(t, d)
	k.offset.Add(int64(2 * time.Minute))
	if c := next[closed](t, d); c.why.Code != fault.IotHubUnauthorized {
		t.Errorf("closed by %v", c.why)
	}
}

// TestActivityOverHTTPS: a device that never connects shows when it was there
// last (hub-semantics 14), also to who reads the store.
func TestActivityOverHTTPS(t *testing.T) {
	t.Parallel()
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	before := k.now()
	who, err := k.hub.Authenticate(ctx, cred.Claim{SAS: k.token("/devices/d1", i.Auth.Primary, "", time.Hour)}, i.ID)
	if err != nil {
		t.Fatal(err)
	}
	l, err := k.hub.Connect(ctx, who, i.ID, hub.Arrival{Protocol: "https"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Device(ctx, i.ID); err != nil || !got.Presence.Activity.IsZero() {
		t.Fatalf("%+v, %v", got, err)
	}
	sent := make(chan error, 1)
	l.Send(&nave.Message{}, func(err error) { sent <- err })
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	got, err := k.Device(ctx, i.ID)
	if err != nil || got.Presence.Activity.Before(before) || got.Presence.Connected || !got.Presence.Changed.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	until(t, "the activity in the store", func() bool {
		var stored *nave.Identity
		err := k.db.Scope("hub.test").View(ctx, func(tx *store.Tx) (err error) { stored, err = tx.Identity(i.ID); return err })
		return err == nil && !stored.Presence.Activity.Before(before.Truncate(100))
	})
}
