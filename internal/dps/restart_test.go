package dps_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

func TestOperations(t *testing.T) {
	ctx := context.Background()
	t.Run("DPS-144 operation survives service restart", func(t *testing.T) {
		offset := &atomic.Int64{}
		k := openRig(t, "sqlite:"+filepath.Join(t.TempDir(), "nave.db"), offset)
		k.link(hubA, 1)
		e, g := k.enroll("left"), k.group("lefts")
		k.cut(hubA, true)
		claims := []*dps.Claim{k.by(e, "left"), k.by(g, "left-2")}
		ids := make([]string, len(claims))
		for n, c := range claims {
			op, err := k.service.Register(ctx, c, []byte(`{"payload":{"n":1}}`))
			if err != nil {
				t.Fatal(err)
			}
			ids[n] = op.ID
		}
		k.restart()
		for n, c := range claims {
			if st, err := k.service.Status(ctx, c, ids[n]); err != nil || st.Status != dps.Assigning {
				t.Fatalf("%+v, %v", st, err)
			}
			again, err := k.service.Register(ctx, c, []byte(`{"payload":{"n":1}}`))
			if err != nil || again.ID != ids[n] {
				t.Fatalf("%+v, %v", again, err)
			}
		}
		k.cut(hubA, false)
		for n, c := range claims {
			assigned(t, k.await(c, ids[n]))
		}
		k.restart()
		k.pass(time.Minute)
		for n, c := range claims {
			assigned(t, k.await(c, ids[n]))
		}
	})
}

func TestOldAndForeignOperations(t *testing.T) {
	ctx := context.Background()
	t.Run("DPS-145 operation older than retention", func(t *testing.T) {
		k := start(t)
		e := k.enroll("old")
		op := k.register(k.by(e, "old"), "")
		k.pass(23 * time.Hour)
		k.await(k.by(e, "old"), op.ID)
		k.pass(2 * time.Hour)
		_, err := k.service.Status(ctx, k.by(e, "old"), op.ID)
		wants(t, err, fault.DPSAsyncOperationNotFound)
		if err := dps.Sweep(k.service); err != nil {
			t.Fatal(err)
		}
		until(t, "the row is purged", func() bool { return stored[map[string]any](k, dps.KindOperation, op.ID) == nil })
		if stored[dps.ProvisioningRecord](k, dps.KindRecord, op.ID) == nil {
			t.Error("the provisioning record is gone too")
		}
	})
	t.Run("DPS-033 DPS-034 unknown operation and another device's", func(t *testing.T) {
		k := start(t)
		e, f := k.enroll("one"), k.enroll("two")
		op := k.register(k.by(e, "one"), "")
		for _, id := range []string{op.ID, "5.0000000000000000.00000000-0000-0000-0000-000000000000", "", "x", op.ID + op.ID + op.ID + op.ID} {
			k.pass(time.Minute)
			_, err := k.service.Status(ctx, k.by(f, "two"), id)
			wants(t, err, fault.DPSAsyncOperationNotFound)
		}
		_, err := k.service.Status(ctx, k.claim("two", keyOf(t, e, "one")), op.ID)
		wants(t, err, fault.DPSIotHubUnauthorizedAccess)
	})
}

func TestNodes(t *testing.T) {
	ctx := context.Background()
	t.Run("two nodes never both run one", twoNodes)
	t.Run("a lease that ran out: both finish, one concludes", func(t *testing.T) {
		k := start(t)
		k.settings(&dps.Settings{ID: dps.DefaultSettings, Limits: dps.SettingsLimits{Polls: -1}})
		g := k.group("stalled", hubsOf(hubA))
		k.cut(hubA, true)
		var ids []string
		for n := range 20 {
			op, err := k.service.Register(ctx, k.by(g, fmt.Sprint("stalled-", n)), nil)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, op.ID)
		}
		o := k.options
		var err error
		if o.Bus, err = bus.Open(ctx, bus.Options{Node: "n2", Now: k.now, Log: quiet()}); err != nil {
			t.Fatal(err)
		}
		defer o.Bus.Close()
		second, err := dps.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		k.pass(45 * time.Second)
		if err := dps.Sweep(second); err != nil {
			t.Fatal(err)
		}
		k.cut(hubA, false)
		for n, id := range ids {
			c := k.by(g, fmt.Sprint("stalled-", n))
			for _, s := range []*dps.Service{k.service, second} {
				until(t, "both nodes know the end", func() bool {
					st, err := s.Status(ctx, c, id)
					return err == nil && st.Status == dps.Assigned
				})
			}
		}
		if r := stored[dps.GroupRecord](k, dps.KindGroupRecord, "stalled"); r.Count != len(ids) {
			t.Errorf("%d devices are counted as %d", len(ids), r.Count)
		}
	})
	t.Run("a node that ends hands over", func(t *testing.T) {
		k := start(t)
		e := k.enroll("handed", hubsOf(hubA))
		k.cut(hubA, true)
		op, err := k.service.Register(ctx, k.by(e, "handed"), nil)
		if err != nil {
			t.Fatal(err)
		}
		o := k.options
		if o.Bus, err = bus.Open(ctx, bus.Options{Node: "n2", Now: k.now, Log: quiet()}); err != nil {
			t.Fatal(err)
		}
		defer o.Bus.Close()
		second, err := dps.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		if err := k.service.Close(); err != nil {
			t.Fatal(err)
		}
		k.cut(hubA, false)
		if err := dps.Sweep(second); err != nil {
			t.Fatal(err)
		}
		dps.Await(second, op.ID)
		if st, err := second.Status(ctx, k.by(e, "handed"), op.ID); err != nil || st.Status != dps.Assigned {
			t.Errorf("%+v, %v", st, err)
		}
	})
	t.Run("acknowledged means stored", func(t *testing.T) {
		k := start(t)
		e := k.enroll("ack", hubsOf(hubA))
		k.cut(hubA, true)
		op, err := k.service.Register(ctx, k.by(e, "ack"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := stored[map[string]any](k, dps.Running, "ack"); v == nil || (*v)["operationId"] != op.ID {
			t.Fatalf("%v", v)
		}
		k.cut(hubA, false)
		k.await(k.by(e, "ack"), op.ID)
		if stored[map[string]any](k, dps.Running, "ack") != nil {
			t.Error("the operation has ended and still runs")
		}
	})
}

// twoNodes lets a second node take over what the first has left, not what it
// still works on.
func twoNodes(t *testing.T) {
	k := start(t)
	h := newHook(t, nil)
	p := h.settings()
	p.Limits.Polls = -1
	k.settings(p)
	var calls sync.Map
	asked, goOn := make(chan struct{}, 10), make(chan struct{})
	h.will(func(w http.ResponseWriter, r *http.Request) {
		id := h.last()["deviceRuntimeContext"].(map[string]any)["registrationId"]
		n, _ := calls.LoadOrStore(id, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		asked <- struct{}{}
		select {
		case <-goOn:
		case <-r.Context().Done():
			return
		}
		io.WriteString(w, `{"iotHubHostName":"hub-a.test"}`)
	})
	ctx := context.Background()
	e := k.enroll("shared", custom(h.URL))
	op, err := k.service.Register(ctx, k.by(e, "shared"), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	o := k.options
	if o.Bus, err = bus.Open(ctx, bus.Options{Node: "n2", Now: k.now, Log: quiet()}); err != nil {
		t.Fatal(err)
	}
	defer o.Bus.Close()
	second, err := dps.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := second.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := dps.Sweep(second); err != nil {
		t.Fatal(err)
	}
	st, err := second.Status(ctx, k.by(e, "shared"), op.ID)
	if err != nil || st.Status != dps.Assigning {
		t.Fatalf("%+v, %v", st, err)
	}
	close(goOn)
	dps.Await(second, op.ID)
	if n, _ := calls.Load("shared"); n.(*atomic.Int64).Load() != 1 {
		t.Errorf("the webhook was called %d times", n.(*atomic.Int64).Load())
	}
	for _, s := range []*dps.Service{k.service, second} {
		dps.Await(s, op.ID)
		until(t, "both nodes know the end", func() bool {
			st, err := s.Status(ctx, k.by(e, "shared"), op.ID)
			return err == nil && st.Status == dps.Assigned
		})
	}
}

func TestRecords(t *testing.T) {
	k := start(t)
	t.Run("DPS-268 first registration", func(t *testing.T) {
		e := k.enroll("New-1")
		op := k.register(k.by(e, "new-1"), "")
		st := assigned(t, op)
		if st.RegistrationID != "New-1" || st.DeviceID != "New-1" {
			t.Errorf("DPS-008: %s", wire(t, st))
		}
		d := stored[dps.DeviceRecord](k, dps.KindDeviceRecord, "new-1")
		if d == nil || d.DeviceID != "New-1" || d.Status != dps.RecordActive || len(d.Hubs) != 1 || d.Hubs[0].Hub != st.AssignedHub || d.LastRecord != op.ID || d.Source.Type != "enrollment" {
			t.Errorf("%+v", d)
		}
		r := stored[dps.ProvisioningRecord](k, dps.KindRecord, op.ID)
		if r == nil || r.Status != dps.Assigned || r.AssignedHub != st.AssignedHub || r.Transport != "https" || r.Version != "2021-06-01" || r.Finished.IsZero() || r.Attestation != dps.AttestKey || r.Scope != rigScope || r.Remote == "" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("DPS-269 device record blocked", func(t *testing.T) {
		g := k.group("blocked-group")
		assigned(t, k.register(k.by(g, "blocked"), ""))
		d := stored[dps.DeviceRecord](k, dps.KindDeviceRecord, "blocked")
		d.Status = dps.RecordBlocked
		k.row(dps.KindDeviceRecord, "blocked", d.DeviceID, "blocked", d)
		if op := k.register(k.by(g, "blocked"), ""); op.Status != dps.Disabled || op.State == nil {
			t.Errorf("%s", wire(t, op))
		}
	})
	t.Run("DPS-270 staged record with deviceId override", func(t *testing.T) {
		g := k.group("staged-group")
		k.row(dps.KindDeviceRecord, "rec-9", "", "staged", &dps.DeviceRecord{ID: "rec-9", RegistrationID: "staged", Status: dps.RecordStaged,
			Overrides: dps.RecordOverrides{DeviceID: "pump-9", Hub: hubB, InitialTwin: raw(`{"tags":{"o":1}}`)}})
		st := assigned(t, k.register(k.by(g, "staged"), ""))
		if st.DeviceID != "pump-9" || st.AssignedHub != hubB || doc(k.twin(hubB, "pump-9").Tags) != `{"o":1}` {
			t.Errorf("%s", wire(t, st))
		}
		if d := stored[dps.DeviceRecord](k, dps.KindDeviceRecord, "rec-9"); d.Status != dps.RecordActive || d.DeviceID != "pump-9" {
			t.Errorf("%+v", d)
		}
	})
}

func TestGroupRecords(t *testing.T) {
	k := start(t)
	t.Run("DPS-271 group record maxRegistrations 1", func(t *testing.T) {
		g := k.group("small")
		one := 1
		k.row(dps.KindGroupRecord, "small", "", "", &dps.GroupRecord{ID: "small", Max: &one})
		assigned(t, k.register(k.by(g, "small-1"), ""))
		failed(t, k.register(k.by(g, "small-2"), ""), 400205)
		assigned(t, k.register(k.by(g, "small-1"), "")) // no second place is needed
		r := stored[dps.GroupRecord](k, dps.KindGroupRecord, "small")
		if r.Count != 1 || r.Failed != 1 || r.First.IsZero() || r.Last.Before(r.First.Time) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("risk: the last place of a group is given once", func(t *testing.T) {
		g := k.group("narrow")
		three := 3
		k.row(dps.KindGroupRecord, "narrow", "", "", &dps.GroupRecord{ID: "narrow", Max: &three})
		var ok atomic.Int64
		var work sync.WaitGroup
		for n := range 12 {
			work.Go(func() {
				id := fmt.Sprint("narrow-", n)
				if k.register(k.by(g, id), "").Status == dps.Assigned {
					ok.Add(1)
				}
			})
		}
		work.Wait()
		if r := stored[dps.GroupRecord](k, dps.KindGroupRecord, "narrow"); ok.Load() != 3 || r.Count != 3 {
			t.Errorf("%d were assigned, %+v", ok.Load(), r)
		}
	})
	t.Run("group record window", func(t *testing.T) {
		g := k.group("early")
		k.row(dps.KindGroupRecord, "early", "", "", &dps.GroupRecord{ID: "early", ValidFrom: dps.Time{Time: k.now().Add(time.Hour)}})
		failed(t, k.register(k.by(g, "early-1"), ""), 401002)
	})
}

func TestActionsAndSettings(t *testing.T) {
	ctx := context.Background()
	k := start(t)
	t.Run("DPS-272 reprovision action with policy never", func(t *testing.T) {
		e := k.settle("marked", policy(false, false))
		d := stored[dps.DeviceRecord](k, dps.KindDeviceRecord, "marked")
		d.Reprovision, d.ReprovisionHubs = true, []string{hubB}
		k.row(dps.KindDeviceRecord, "marked", d.DeviceID, "marked", d)
		if st := assigned(t, k.register(k.by(e, "marked"), "")); st.AssignedHub != hubB {
			t.Errorf("%+v", st)
		}
		d = stored[dps.DeviceRecord](k, dps.KindDeviceRecord, "marked")
		if d.Reprovision || len(d.Hubs) != 2 || d.Hubs[0].To.IsZero() {
			t.Errorf("%+v", d)
		}
		if st := assigned(t, k.register(k.by(e, "marked"), "")); st.AssignedHub != hubB {
			t.Errorf("the policy holds again: %+v", st)
		}
	})
	t.Run("DPS-273 profile with retryAfterSeconds 7", func(t *testing.T) {
		g, h := k.group("seven"), k.group("three")
		k.settings(&dps.Settings{ID: "calm", Priority: 1, RetryAfter: 7, AppliesTo: dps.AppliesTo{Groups: []string{"SEVEN"}}})
		for group, want := range map[*dps.Enrollment]time.Duration{g: 7 * time.Second, h: 3 * time.Second} {
			op, err := k.service.Register(ctx, k.by(group, "m-"+group.GroupID), nil)
			if err != nil || op.Retry != want {
				t.Errorf("%s: %+v, %v", group.GroupID, op, err)
			}
		}
	})
	t.Run("DPS-274 requireDeviceRecord", func(t *testing.T) {
		g := k.group("strict")
		k.settings(&dps.Settings{ID: "strict", Priority: 2, RequireRecord: true, AppliesTo: dps.AppliesTo{Groups: []string{"strict"}}})
		_, err := k.service.Register(ctx, k.by(g, "stranger"), nil)
		wants(t, err, fault.DPSIotHubUnauthorizedAccess)
		k.row(dps.KindDeviceRecord, "friend", "", "friend", &dps.DeviceRecord{ID: "friend", RegistrationID: "friend", Status: dps.RecordStaged})
		assigned(t, k.register(k.by(g, "friend"), ""))
	})
}

// TestOutage takes the store away: the answer is 503001 with a hint, and a retry
// succeeds when the store is back.
func TestOutage(t *testing.T) {
	t.Run("DPS-267 storage outage", func(t *testing.T) {
		ctx := context.Background()
		url := "sqlite:" + filepath.Join(t.TempDir(), "nave.db")
		k := openRig(t, url, newOffset())
		k.link(hubA, 1)
		e := k.enroll("o")
		c := k.by(e, "o")
		op := k.register(c, "")
		k.outage = true
		if err := k.db.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := k.service.Register(ctx, c, nil)
		if f := wants(t, err, fault.DPSServiceUnavailable); f.After <= 0 {
			t.Error("no hint")
		}
		_, err = k.service.Lookup(ctx, c, nil)
		wants(t, err, fault.DPSServiceUnavailable)
		after := openRig(t, url, k.offset)
		assigned(t, after.register(c, ""))
		after.pass(time.Minute)
		assigned(t, after.await(c, op.ID))
	})
}
