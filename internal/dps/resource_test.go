package dps_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// must returns what parse reads.
func must[T any](t testing.TB, parse func([]byte) (*T, error), text string) *T {
	t.Helper()
	v, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// anew is the match of a replacement.
var anew = dps.Match{IfMatch: "*"}

// another opens a second node of the rig's instance.
func (k *rig) another() *dps.Service {
	k.t.Helper()
	s, err := dps.Open(context.Background(), k.options)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			k.t.Error(err)
		}
	})
	return s
}

// TestChangesReachOtherNodes changes what the registration path keeps in memory.
func TestChangesReachOtherNodes(t *testing.T) {
	k, ctx := start(t), context.Background()
	b := k.another()
	e := k.enroll("it")
	c := k.by(e, "it")
	if _, err := b.Lookup(ctx, c, nil); !errors.Is(err, fault.DPSDeviceRegistrationNotFound) {
		t.Fatal(err)
	}
	if _, err := k.PutInstance(ctx, must(t, dps.ParseInstance, `{"state":"Suspended"}`), anew); err != nil {
		t.Fatal(err)
	}
	until(t, "the other node is suspended", func() bool { _, err := b.Register(ctx, c, nil); return errors.Is(err, fault.DPSGenericForbidden) })
	if _, err := k.PutInstance(ctx, must(t, dps.ParseInstance, `{"ipFilterRules":[{"filterName":"a","action":"Reject","ipMask":"10.1.0.0/16","target":"serviceApi"}]}`), anew); err != nil {
		t.Fatal(err)
	}
	until(t, "the other node filters", func() bool {
		_, err := b.As(ctx, &dps.ServiceClaim{Remote: "10.1.2.3:4567"})
		return errors.Is(err, fault.DPSGenericForbidden)
	})
	if _, err := b.As(ctx, &dps.ServiceClaim{Remote: "10.2.2.3:4567"}); !errors.Is(err, fault.DPSIotHubUnauthorizedAccess) {
		t.Error(err)
	}
	if _, err := k.PutSettings(ctx, "default", must(t, dps.ParseSettings, `{"retryAfterSeconds":42}`), anew); err != nil {
		t.Fatal(err)
	}
	until(t, "the other node has the settings", func() bool {
		op, err := b.Register(ctx, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		return op.Retry.Seconds() == 42
	})
	for _, host := range []string{hubA, hubB} {
		if err := k.DeleteLinkedHub(ctx, host, dps.Match{}, true); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the other node knows no hub", func() bool {
		d := k.enroll(fmt.Sprint("none-", k.now().UnixNano()))
		op, err := b.Register(ctx, k.by(d, d.RegistrationID), nil)
		if err != nil {
			t.Fatal(err)
		}
		op = k.await(k.by(d, d.RegistrationID), op.ID)
		return op.Status == dps.Failed && op.State.ErrorCode == fault.DPSCustomAllocationIotHubNotSpecified.ID
	})
}

// TestActionOnTwoNodes has two nodes carry out one action: no member is left
// out, and none is done twice.
func TestActionOnTwoNodes(t *testing.T) {
	k, ctx := start(t), context.Background()
	k.another()
	const n = 730
	for i := range n {
		id := fmt.Sprintf("dev-%04d", i)
		k.row(dps.KindDeviceRecord, id, "", id, dps.DeviceRecord{ID: id, RegistrationID: id, Status: dps.RecordStaged})
	}
	if _, err := k.PutDeviceGroup(ctx, "all", must(t, dps.ParseDeviceGroup, `{"membership":{"query":"SELECT * FROM deviceRecords"}}`), dps.Match{}); err != nil {
		t.Fatal(err)
	}
	x, err := k.StartGroupAction(ctx, "all", must(t, dps.ParseGroupAction, `{"type":"retire"}`))
	if err != nil || x.Total != n {
		t.Fatalf("%+v, %v", x, err)
	}
	if _, err := k.StartGroupAction(ctx, "all", x); err != nil && !errors.Is(err, fault.DPSDeviceGroupConflict) {
		t.Error(err)
	}
	until(t, "the action ends", func() bool {
		if x, err = k.GroupActionOf(ctx, "all", x.ID); err != nil {
			t.Fatal(err)
		}
		return x.Status == dps.ActionSucceeded
	})
	if x.Done != n {
		t.Errorf("%d of %d", x.Done, n)
	}
	left, _, err := k.DeviceRecords(ctx, "SELECT * FROM deviceRecords WHERE status <> 'retired'", "", 1)
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestOneCreatorWins has many callers create the same resource.
func TestOneCreatorWins(t *testing.T) {
	k, ctx := start(t), context.Background()
	var won, lost atomic.Int64
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			_, err := k.PutDeviceRecord(ctx, "it", must(t, dps.ParseDeviceRecord, `{"deviceId":"d"}`), dps.Match{})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, fault.DPSDeviceRecordConflict):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	work.Wait()
	if won.Load() != 1 || lost.Load() != 15 {
		t.Errorf("%d created it, %d did not", won.Load(), lost.Load())
	}
}
