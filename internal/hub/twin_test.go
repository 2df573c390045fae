package hub_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func doc(t *testing.T, text string) nave.Doc {
	t.Helper()
	d, err := nave.ParseDoc([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTwinNotifications(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	patch := func(text string) *nave.TwinView {
		v, err := k.PatchTwin(ctx, i.ID, nave.Patch{Desired: doc(t, text)}, "", len(text))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	patch(`{"a":1}`)
	none(t, d)
	l.WatchDesired(true)
	patch(`{"a":2}`)
	if c := next[*nave.Change](t, d); c.Version != 3 || string(c.AppendNotification(nil)) != `{"a":2,"$version":3}` {
		t.Errorf("notification %s", c.AppendNotification(nil))
	}
	old := patch(`{"a":3}`).Twin.ETagText()
	next[*nave.Change](t, d)
	patch(`{"a":4}`)
	next[*nave.Change](t, d)
	_, err := k.PatchTwin(ctx, i.ID, nave.Patch{Desired: doc(t, `{"a":5}`)}, old, 7)
	wants(t, err, fault.PreconditionFailed)
	l.WatchDesired(false)
	patch(`{"a":6}`)
	none(t, d)
	own, err := l.Twin(ctx)
	if err != nil || own.Desired.Data["a"] != json.Number("6") {
		t.Errorf("twin %+v, %v", own, err)
	}
}

func TestTwinReport(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	l, _ := k.connect(i, mqttArrival)
	version, err := l.Report(ctx, nave.Patch{Reported: doc(t, `{"a":1}`)}, 7)
	if err != nil || version != 2 {
		t.Fatalf("version %d, %v", version, err)
	}
	_, err = l.Report(ctx, nave.Patch{Reported: doc(t, `{"a":2}`), HasExpect: true, Expect: 1}, 7)
	wants(t, err, fault.PreconditionFailed)
	_, err = l.Report(ctx, nave.Patch{Reported: doc(t, `{"a.b":2}`)}, 7)
	wants(t, err, fault.ArgumentInvalid)
	v, err := k.Twin(ctx, i.ID)
	if err != nil || v.Twin.Reported.Version != 2 {
		t.Errorf("twin %+v, %v", v.Twin, err)
	}
}

// No notification of a version that a GET has shown follows the GET, and the
// notifications come in version order (device-protocols 2.9).
func TestTwinOrder(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	l.WatchDesired(true)
	const writes = 300
	var work sync.WaitGroup
	work.Go(func() {
		for n := range writes {
			if _, err := k.PatchTwin(ctx, i.ID, nave.Patch{Desired: doc(t, fmt.Sprintf(`{"n":%d}`, n))}, "", 8); err != nil {
				t.Error(err)
			}
		}
	})
	seen := int64(1)
	for seen < writes+1 {
		tw, err := l.Twin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// What was handed over before the GET returned may be older than it.
		for drained := false; !drained; {
			select {
			case v := <-d.got:
				if c := v.(*nave.Change); c.Version <= seen {
					t.Fatalf("version %d came after %d", c.Version, seen)
				} else {
					seen = c.Version
				}
			default:
				drained = true
			}
		}
		seen = max(seen, tw.Desired.Version)
	}
	work.Wait()
}
