package hubmqtt_test

import (
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubmqtt"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/store"
)

const simWhy = "SIM HUBSIM-8900101000000000019 is SUSPENDED"

// sim sets what the SIM of a device says, as the domain of SIMs does.
func (w *world) sim(t *testing.T, device string, barred bool) {
	t.Helper()
	c := &nave.Connectivity{ProductID: "HUBSIM-8900101000000000019", Status: "ACTIVE"}
	if barred {
		c.Status, c.Barred, c.Why = "SUSPENDED", true, simWhy
	}
	if err := w.db.Update(w.ctx, func(tx *store.Tx) error { return tx.PutConnectivity(device, c) }); err != nil {
		t.Fatal(err)
	}
	w.hub.ConnectivityChanged(device)
}

// TestBarred follows connectivity-api RP-6.
func TestBarred(t *testing.T) {
	for _, code := range []bool{false, true} {
		w := open(t, func(o *hub.Options, _ *hubmqtt.Options) { o.DisabledCode = code })
		a, other := w.register(t, "", nil), w.register(t, "", nil)
		m := w.register(t, a.Device+"/m1", nil)
		w.sim(t, a.Device, false)
		own, module, bystander := w.connect(t, a), w.connect(t, m), w.connect(t, other)

		w.sim(t, a.Device, true)
		own.dropped()
		module.dropped()
		bystander.alive()
		for _, on := range []nave.ID{a.ID, m.ID} {
			if why := w.ended(t, on, "device.disconnect", fault.DeviceDisabled); !strings.Contains(why.Text, simWhy) {
				t.Errorf("the end of %s: %v", on, why)
			}
		}
		for _, who := range []*account{a, m} {
			w.refused(t, w.login(t, who), mqtt.NotAuthorized)
			why := w.reported(t, who.ID, "device.connect")
			if !strings.Contains(why.Text, simWhy) || (why.Code == fault.DeviceDisabled) != code {
				t.Errorf("the refusal of %s: %v", who, why)
			}
		}
		w.sim(t, a.Device, false)
		w.connect(t, a).alive()
	}
}
