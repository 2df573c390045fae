package dps_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

func hubsOf(hosts ...string) func(*dps.Enrollment) {
	return func(e *dps.Enrollment) { e.Hubs = hosts }
}

func allocation(policy string) func(*dps.Enrollment) {
	return func(e *dps.Enrollment) { e.Allocation = policy }
}

func TestAllocation(t *testing.T) {
	t.Run("DPS-222 no linked hub", func(t *testing.T) {
		k := start(t)
		e := k.enroll("alone")
		k.unlink(hubA)
		k.unlink(hubB)
		st := failed(t, k.register(k.by(e, "alone"), ""), 400208)
		if st.AssignedHub != "" || st.ETag == "" || st.Status != dps.Failed {
			t.Errorf("%+v", st)
		}
		r, err := k.Registration(context.Background(), "alone")
		if err != nil || r.Status != dps.Failed || r.ETag != st.ETag || r.ErrorCode != 400208 {
			t.Errorf("%+v, %v", r, err)
		}
	})
	t.Run("DPS-223 hashed with weights", hashedByWeight)
	k := start(t)
	t.Run("DPS-224 static takes the listed hub", func(t *testing.T) {
		for _, host := range []string{hubA, hubB} {
			id := "static-" + host[4:5]
			e := k.enroll(id, allocation(dps.AllocateStatic), hubsOf(host))
			if st := assigned(t, k.register(k.by(e, id), "")); st.AssignedHub != host {
				t.Errorf("%s went to %s", id, st.AssignedHub)
			}
		}
	})
	t.Run("static without a list takes the first by name", func(t *testing.T) {
		e := k.enroll("static-none", allocation(dps.AllocateStatic))
		if st := assigned(t, k.register(k.by(e, "static-none"), "")); st.AssignedHub != hubA {
			t.Errorf("went to %s", st.AssignedHub)
		}
	})
	t.Run("enrollment with unlinked hubs only", func(t *testing.T) {
		k := start(t)
		e := k.enroll("orphan", hubsOf(hubB))
		k.unlink(hubB)
		failed(t, k.register(k.by(e, "orphan"), ""), 404210)
	})
	t.Run("geoLatency follows the map of networks", func(t *testing.T) {
		k := start(t, func(o *dps.Options) {
			o.Locate = func(remote string) string {
				if strings.HasPrefix(remote, "192.0.2.") {
					return "north"
				}
				return ""
			}
		})
		k.row(dps.KindHub, hubA, "", "", &dps.LinkedHub{Name: hubA, Local: true, Location: "South"})
		k.row(dps.KindHub, hubB, "", "", &dps.LinkedHub{Name: hubB, Local: true, Location: "North"})
		for n := range 8 {
			id := fmt.Sprint("geo-", n)
			e := k.enroll(id, allocation(dps.AllocateGeo))
			if st := assigned(t, k.register(k.by(e, id), "")); st.AssignedHub != hubB {
				t.Errorf("%s went to %s", id, st.AssignedHub)
			}
		}
	})
}

func hashedByWeight(t *testing.T) {
	hubs := []*dps.LinkedHub{{Name: hubA, Weight: 1}, {Name: hubB, Weight: 3}}
	three := append(hubs, &dps.LinkedHub{Name: "hub-c.test", Weight: 1})
	count, moved := map[string]int{}, 0
	for n := range 1000 {
		id := fmt.Sprint("device-", n)
		l := dps.Hashed(hubs, id)
		count[l.Name]++
		if again := dps.Hashed(hubs, strings.ToUpper(id)); again != l {
			t.Fatalf("%s goes to %s and %s", id, l.Name, again.Name)
		}
		if l2 := dps.Hashed(three, id); l2 != l {
			if l2.Name != "hub-c.test" {
				t.Fatalf("%s moves from %s to %s when another hub is added", id, l.Name, l2.Name)
			}
			moved++
		}
	}
	if a := count[hubA]; a < 200 || a > 300 {
		t.Errorf("weights 1 and 3 gave %v", count)
	}
	if moved < 140 || moved > 260 {
		t.Errorf("a hub with a fifth of the weight took %d of 1000", moved)
	}
	k := start(t)
	k.link(hubB, 3)
	g := k.group("weighted")
	for n := range 20 {
		id := fmt.Sprint("device-", n)
		want := dps.Hashed(hubs, id).Name
		for range 2 {
			if st := assigned(t, k.register(k.by(g, id), "")); st.AssignedHub != want {
				t.Errorf("%s went to %s, not %s", id, st.AssignedHub, want)
			}
		}
	}
}

func TestDisabled(t *testing.T) {
	k := start(t)
	off := func(e *dps.Enrollment) { e.Provisioning = dps.ProvisioningDisabled }
	disabled := func(t *testing.T, op *dps.Operation, id string) {
		t.Helper()
		if op.Status != dps.Disabled || op.State == nil || op.State.Status != dps.Disabled || op.State.AssignedHub != "" {
			t.Fatalf("%s", wire(t, op))
		}
		if r, err := k.Registration(context.Background(), id); err != nil || r.Status != dps.Disabled || r.ETag != op.State.ETag {
			t.Errorf("%+v, %v", r, err)
		}
		if k.device(hubA, id) != nil || k.device(hubB, id) != nil {
			t.Error("the device is on a hub")
		}
	}
	t.Run("DPS-239 disabled individual with enabled group", func(t *testing.T) {
		k.group("open")
		e := k.enroll("barred", off)
		disabled(t, k.register(k.by(e, "barred"), ""), "barred")
	})
	t.Run("DPS-240 disabled group", func(t *testing.T) {
		g := k.group("closed", off)
		disabled(t, k.register(k.by(g, "member"), ""), "member")
	})
	t.Run("nobody learns the state without a proof", func(t *testing.T) {
		e := k.enroll("secret", off)
		_, err := k.service.Register(context.Background(), k.claim("secret", e.Attestation.SymmetricKey.Secondary[:44]+keyOf(t, e, "secret")[44:]), nil)
		wants(t, err, fault.DPSIotHubUnauthorizedAccess)
	})
}
