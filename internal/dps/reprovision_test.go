package dps_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/hub"
)

func policy(update, migrate bool) func(*dps.Enrollment) {
	return func(e *dps.Enrollment) {
		e.Reprovision = &dps.ReprovisionPolicy{UpdateHub: update, MigrateData: migrate}
	}
}

func initialTwin(text string) func(*dps.Enrollment) {
	return func(e *dps.Enrollment) { e.InitialTwin = raw(text) }
}

const startTwin = `{"tags":{"site":"s1"},"properties":{"desired":{"count":7,"rate":1}}}`

// settle registers a device on hub A and gives it a life there.
func (k *rig) settle(id string, change ...func(*dps.Enrollment)) *dps.Enrollment {
	k.t.Helper()
	e := k.enroll(id, append([]func(*dps.Enrollment){hubsOf(hubA), initialTwin(startTwin)}, change...)...)
	if st := assigned(k.t, k.register(k.by(e, id), "")); st.AssignedHub != hubA || st.Substatus != dps.SubstatusInitial {
		k.t.Fatalf("%+v", st)
	}
	k.live(id)
	return e
}

// live changes tags, desired and reported properties on hub A.
func (k *rig) live(id string) {
	k.t.Helper()
	back := k.hubs[hubA].Backend(hub.Operator())
	p := nave.Patch{Tags: nave.Doc{"room": "r2"}, Desired: nave.Doc{"rate": json.Number("9")}, Reported: nave.Doc{"firmware": "1.2"}}
	if _, err := back.PatchTwin(context.Background(), nave.ID{Device: id}, p, "", 0); err != nil {
		k.t.Fatal(err)
	}
}

// move lets the enrolment point at hub B only.
func (k *rig) move(e *dps.Enrollment) { k.enrolled(e, hubsOf(hubB)) }

func doc(d nave.Doc) string { return string(d.Append(nil)) }

func TestReprovision(t *testing.T) {
	k := start(t)
	t.Run("DPS-232 migrate to another hub", func(t *testing.T) {
		e := k.settle("migrant", policy(true, true))
		k.move(e)
		st := assigned(t, k.register(k.by(e, "migrant"), ""))
		if st.AssignedHub != hubB || st.Substatus != dps.SubstatusMigrated {
			t.Fatalf("%+v", st)
		}
		w := k.twin(hubB, "migrant")
		if doc(w.Tags) != `{"room":"r2","site":"s1"}` || doc(w.Desired.Data) != `{"count":7,"rate":9}` || doc(w.Reported.Data) != `{"firmware":"1.2"}` {
			t.Errorf("twin %s %s %s", doc(w.Tags), doc(w.Desired.Data), doc(w.Reported.Data))
		}
		if k.device(hubA, "migrant") != nil {
			t.Error("the old device is still there")
		}
		if w := stored[map[string]any](k, dps.Waste, hubA+"/migrant"); w != nil {
			t.Errorf("left behind: %v", w)
		}
	})
	t.Run("DPS-233 reset", func(t *testing.T) {
		e := k.settle("fresh", policy(true, false))
		k.move(e)
		st := assigned(t, k.register(k.by(e, "fresh"), ""))
		w := k.twin(hubB, "fresh")
		if st.AssignedHub != hubB || st.Substatus != dps.SubstatusReset || doc(w.Tags) != `{"site":"s1"}` || doc(w.Desired.Data) != `{"count":7,"rate":1}` || doc(w.Reported.Data) != `{}` {
			t.Errorf("%+v, twin %s %s", st, doc(w.Tags), doc(w.Desired.Data))
		}
		if k.device(hubA, "fresh") != nil {
			t.Error("the old device is still there")
		}
	})
	t.Run("DPS-234 never", func(t *testing.T) {
		e := k.settle("sticky", policy(false, false))
		k.move(e)
		st := assigned(t, k.register(k.by(e, "sticky"), ""))
		if st.AssignedHub != hubA || st.Substatus != dps.SubstatusInitial || k.device(hubB, "sticky") != nil {
			t.Errorf("%+v", st)
		}
	})
	t.Run("never, and the old hub was unlinked", func(t *testing.T) {
		k := start(t)
		e := k.settle("stranded", policy(false, false))
		k.unlink(hubA)
		failed(t, k.register(k.by(e, "stranded"), ""), 404210)
	})
	t.Run("DPS-235 same hub, older api-version", func(t *testing.T) {
		e := k.settle("again")
		c := k.by(e, "again")
		c.Version = dps.Version{Day: "2019-03-31"}
		if st := assigned(t, k.register(c, "")); st.Substatus != dps.SubstatusInitial {
			t.Errorf("the older device sees %s", st.Substatus)
		}
		c.Version = modern
		if st, err := k.service.Lookup(context.Background(), c, nil); err != nil || st.Substatus != dps.SubstatusAgain {
			t.Errorf("%+v, %v", st, err)
		}
		if r, err := k.Registration(context.Background(), "again"); err != nil || r.Substatus != dps.SubstatusAgain {
			t.Errorf("service sees %+v, %v", r, err)
		}
	})
	t.Run("DPS-236 api-version 2018-04-01 without policy", func(t *testing.T) {
		e := k.settle("old")
		k.enrolled(e, hubsOf(hubB), func(e *dps.Enrollment) { e.Reprovision = nil })
		c := k.by(e, "old")
		c.Version = dps.Version{Day: "2018-04-01"}
		if st := assigned(t, k.register(c, "")); st.AssignedHub != hubA {
			t.Errorf("%+v", st)
		}
		c.Version = modern
		if st := assigned(t, k.register(c, "")); st.AssignedHub != hubB || st.Substatus != dps.SubstatusMigrated {
			t.Errorf("%+v", st)
		}
	})
}

func TestRegisterAgain(t *testing.T) {
	k := start(t)
	t.Run("DPS-237 hub device deleted by hand", func(t *testing.T) {
		e := k.settle("lost")
		if err := k.hubs[hubA].Backend(hub.Operator()).Delete(context.Background(), nave.ID{Device: "lost"}, ""); err != nil {
			t.Fatal(err)
		}
		assigned(t, k.register(k.by(e, "lost"), ""))
		if i := k.device(hubA, "lost"); i == nil || i.Auth.Primary != e.Attestation.SymmetricKey.Primary || doc(k.twin(hubA, "lost").Tags) != `{"site":"s1"}` {
			t.Errorf("%+v", i)
		}
	})
	t.Run("DPS-238 deviceId changed without deleting the registration", func(t *testing.T) {
		e := k.settle("renamed")
		k.enrolled(e, func(e *dps.Enrollment) { e.DeviceID = "other-name" })
		if st := assigned(t, k.register(k.by(e, "renamed"), "")); st.DeviceID != "renamed" {
			t.Errorf("%+v", st)
		}
	})
	t.Run("DPS-194 registration deleted, deviceId changed", func(t *testing.T) {
		e := k.settle("first")
		if err := k.DeleteRegistration(context.Background(), "first", dps.Match{}); err != nil {
			t.Fatal(err)
		}
		k.enrolled(e, func(e *dps.Enrollment) { e.DeviceID = "second" })
		st := assigned(t, k.register(k.by(e, "first"), ""))
		if st.DeviceID != "second" || st.Substatus != dps.SubstatusInitial || k.device(hubA, "first") == nil || k.device(hubA, "second") == nil {
			t.Errorf("%+v", st)
		}
	})
	t.Run("DPS-142 createdDateTimeUtc stays", func(t *testing.T) {
		e := k.enroll("aging")
		a := assigned(t, k.register(k.by(e, "aging"), ""))
		k.pass(time.Minute)
		b := assigned(t, k.register(k.by(e, "aging"), ""))
		if !a.Created.Equal(b.Created.Time) || !b.Updated.After(a.Updated.Time) || a.ETag == b.ETag {
			t.Errorf("%+v\n%+v", a, b)
		}
	})
	t.Run("a device that has not changed is not rewritten", func(t *testing.T) {
		e := k.settle("same")
		before := k.device(hubA, "same").ETag
		assigned(t, k.register(k.by(e, "same"), ""))
		if after := k.device(hubA, "same").ETag; after != before {
			t.Errorf("etag %s became %s", before, after)
		}
		k.enrolled(e, func(e *dps.Enrollment) { e.Attestation.SymmetricKey.Primary = cred.NewLongKey() })
		assigned(t, k.register(k.by(e, "same"), ""))
		if i := k.device(hubA, "same"); i.ETag == before || i.Auth.Primary != e.Attestation.SymmetricKey.Primary {
			t.Error("the new key is not on the hub")
		}
	})
}

func TestEdge(t *testing.T) {
	k := start(t)
	t.Run("DPS-241 edge capability", func(t *testing.T) {
		e := k.enroll("edge", hubsOf(hubA), func(e *dps.Enrollment) { e.Capabilities = &dps.Capabilities{Edge: true} })
		assigned(t, k.register(k.by(e, "edge"), ""))
		i := k.device(hubA, "edge")
		if i == nil || !i.Edge {
			t.Fatalf("%+v", i)
		}
		on := nave.ID{Device: "edge", Module: nave.EdgeHub}
		token, err := cred.Sign(hubA+"/devices/edge/modules/$edgeHub", e.Attestation.SymmetricKey.Primary, "", k.now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.hubs[hubA].Authenticate(context.Background(), cred.Claim{SAS: token}, on); err != nil {
			t.Errorf("$edgeHub with the device's key: %v", err)
		}
		k.enrolled(e, func(e *dps.Enrollment) { e.Capabilities = nil })
		assigned(t, k.register(k.by(e, "edge"), ""))
		if i := k.device(hubA, "edge"); i.Edge {
			t.Error("still an edge device")
		}
		if _, err := k.hubs[hubA].Authenticate(context.Background(), cred.Claim{SAS: token}, on); err == nil {
			t.Error("$edgeHub is still there")
		}
	})
}

// TestMoveIsSafe breaks migrations at each step.
func TestMoveIsSafe(t *testing.T) {
	ctx := context.Background()
	t.Run("risk 12: new hub down: the old assignment stays valid", func(t *testing.T) {
		k := start(t, func(o *dps.Options) { o.Patience = 300 * time.Millisecond })
		e := k.settle("m1", policy(true, true))
		k.move(e)
		k.cut(hubB, true)
		failed(t, k.register(k.by(e, "m1"), ""), 503001)
		if k.device(hubA, "m1") == nil {
			t.Error("the device is gone from its hub")
		}
		r, err := k.Registration(ctx, "m1")
		if err != nil || r.AssignedHub != hubA || r.Status != dps.Failed {
			t.Errorf("%+v, %v", r, err)
		}
		k.cut(hubB, false)
		if st := assigned(t, k.register(k.by(e, "m1"), "")); st.AssignedHub != hubB || st.Substatus != dps.SubstatusMigrated || k.device(hubA, "m1") != nil {
			t.Errorf("%+v", st)
		}
	})
	t.Run("risk 12: old hub fails the delete: it is retried in the background", func(t *testing.T) {
		k := start(t)
		e := k.settle("m2", policy(true, false))
		k.move(e)
		k.cut(hubA, true)
		if st := assigned(t, k.register(k.by(e, "m2"), "")); st.AssignedHub != hubB {
			t.Errorf("%+v", st)
		}
		if k.device(hubA, "m2") == nil || stored[map[string]any](k, dps.Waste, hubA+"/m2") == nil {
			t.Fatal("the duty to delete is not stored")
		}
		k.restart()
		k.cut(hubA, false)
		k.pass(2 * time.Hour)
		if err := dps.Sweep(k.service); err != nil {
			t.Fatal(err)
		}
		until(t, "the old device is deleted", func() bool { return k.device(hubA, "m2") == nil })
	})
	t.Run("risk 12: a device that comes back is not deleted", func(t *testing.T) {
		k := start(t)
		e := k.settle("m3", policy(true, false))
		k.move(e)
		k.cut(hubA, true)
		assigned(t, k.register(k.by(e, "m3"), ""))
		k.cut(hubA, false)
		k.enrolled(e, hubsOf(hubA))
		if st := assigned(t, k.register(k.by(e, "m3"), "")); st.AssignedHub != hubA {
			t.Errorf("%+v", st)
		}
		k.pass(2 * time.Hour)
		if err := dps.Sweep(k.service); err != nil {
			t.Fatal(err)
		}
		if k.device(hubA, "m3") == nil || stored[map[string]any](k, dps.Waste, hubA+"/m3") != nil {
			t.Error("the device was deleted from the hub that it is on")
		}
	})
	t.Run("old hub unlinked by force: the device starts afresh", func(t *testing.T) {
		k := start(t)
		e := k.settle("m4", policy(true, true))
		k.move(e)
		k.unlink(hubA)
		if st := assigned(t, k.register(k.by(e, "m4"), "")); st.AssignedHub != hubB || st.Substatus != dps.SubstatusReset || doc(k.twin(hubB, "m4").Tags) != `{"site":"s1"}` {
			t.Errorf("%+v", st)
		}
	})
}

func TestHubDown(t *testing.T) {
	t.Run("brief: the worker waits while the status stays assigning", func(t *testing.T) {
		k := start(t)
		e := k.enroll("patient", hubsOf(hubA))
		k.cut(hubA, true)
		c := k.by(e, "patient")
		op, err := k.service.Register(context.Background(), c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := k.service.Status(context.Background(), c, op.ID); err != nil || st.Status != dps.Assigning || st.State != nil {
			t.Fatalf("%+v, %v", st, err)
		}
		k.cut(hubA, false)
		assigned(t, k.await(c, op.ID))
	})
	t.Run("long: failed with 503001, not moved to another candidate", func(t *testing.T) {
		k := start(t, func(o *dps.Options) { o.Patience = 300 * time.Millisecond })
		e := k.enroll("given-up", allocation(dps.AllocateStatic))
		k.cut(hubA, true)
		failed(t, k.register(k.by(e, "given-up"), ""), 503001)
		if k.device(hubB, "given-up") != nil {
			t.Error("it went to the other hub")
		}
	})
	t.Run("long, with failoverAllocation: another candidate takes over", func(t *testing.T) {
		k := start(t)
		k.settings(&dps.Settings{ID: dps.DefaultSettings, Failover: true})
		e := k.enroll("saved", allocation(dps.AllocateStatic))
		k.cut(hubA, true)
		if st := assigned(t, k.register(k.by(e, "saved"), "")); st.AssignedHub != hubB {
			t.Errorf("%+v", st)
		}
	})
	t.Run("DPS-030 look-up while hubs are down", func(t *testing.T) {
		k := start(t)
		e := k.settle("calm")
		k.cut(hubA, true)
		k.cut(hubB, true)
		if st, err := k.service.Lookup(context.Background(), k.by(e, "calm"), nil); err != nil || st.AssignedHub != hubA || st.Status != dps.Assigned {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
