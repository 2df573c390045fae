package node_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
	"github.com/nave-hub/nave/internal/store"
)

// TestConnectivityAcrossNodes has one node bar and reset a device that is
// connected to the other (connectivity-api RP-6, RP-12).
func TestConnectivityAcrossNodes(t *testing.T) {
	t.Parallel()
	s := share(t)
	a, b := s.run("a"), s.run("b")
	ctx := context.Background()
	db, err := store.Open(ctx, s.store, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	sim := func(c *nave.Connectivity) {
		t.Helper()
		if err := db.Scope(s.host).Update(ctx, func(tx *store.Tx) error { return tx.PutConnectivity("d1", c) }); err != nil {
			t.Fatal(err)
		}
		a.Hub.ConnectivityChanged("d1")
	}
	m := newMeter()
	b.Hub.SetMeter(m)
	d := a.Device("d1")

	c := connect(t, b, d)
	a.Hub.CutOff("d1", &fault.Error{Code: fault.DeviceConnectionClosedRemotely, Text: "SIM X-1 was reset", Detail: map[string]any{"cause": "RESET"}})
	await(t, c.closed, "end of the connection")
	await(t, m.closed, "end of the traffic")
	if why := await(t, m.why, "cause"); why.Text != "SIM X-1 was reset" || why.Detail["cause"] != "RESET" || hub.Stopped(why) != "" {
		t.Errorf("after a reset: %+v", why)
	}

	c = connect(t, b, d)
	sim(&nave.Connectivity{ProductID: "X-1", Status: "SUSPENDED", Barred: true, Why: "SIM X-1 is SUSPENDED"})
	await(t, c.closed, "end of the connection")
	await(t, m.closed, "end of the traffic")
	if why := await(t, m.why, "cause"); hub.Stopped(why) != "SIM X-1 is SUSPENDED" || !strings.Contains(why.Text, "SIM X-1 is SUSPENDED") {
		t.Errorf("after the suspension: %+v", why)
	}
	refused, err := dial(t, b.DialMQTT(), d)
	if e, ok := err.(*mqtt.RefusedError); !ok || e.Code != mqtt.NotAuthorized {
		t.Errorf("%v, %v", refused, err)
	}
	sim(nil)
	connect(t, b, d)
}
