package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// TestTwoNodesProvision has a device register at one node of two, ask the other
// one, and find itself on the hub that both are.
func TestTwoNodesProvision(t *testing.T) {
	t.Parallel()
	s := share(t)
	a, b := s.run("a"), s.run("b")
	scope := a.Node.DPS().Scope()
	if other := b.Node.DPS().Scope(); other != scope {
		t.Fatalf("id scopes %s and %s", scope, other)
	}
	group, err := dps.ParseEnrollment([]byte(`{"enrollmentGroupId":"pumps","attestation":{"type":"symmetricKey"}}`), true)
	if err == nil {
		group, err = a.Node.DPS().Operator().PutGroup(t.Context(), "pumps", group, dps.Match{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"p1", "p2", "p3"} {
		key, err := cred.Derive(group.Attestation.Keys()[1], id)
		if err != nil {
			t.Fatal(err)
		}
		sas, err := cred.Sign(scope+"/registrations/"+id, key, "registration", time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		tries := 0 // from an address each: one that fails often is kept out
		claim := func() *dps.Claim {
			tries++
			return &dps.Claim{Scope: scope, ID: id, SAS: sas, Version: dps.DefaultVersion, Transport: "https", Remote: fmt.Sprintf("127.0.%d.%d:1", tries/256%256, tries%256)}
		}
		var op *dps.Operation
		until(t, "the node takes a device of the group that the other one was given", func() bool {
			op, err = b.Node.DPS().Register(t.Context(), claim(), []byte("{}"))
			if err != nil && !errors.Is(err, fault.DPSIotHubUnauthorizedAccess) {
				t.Fatal(err)
			}
			return err == nil
		})
		until(t, "the other node tells that it is assigned", func() bool {
			got, err := a.Node.DPS().Status(t.Context(), claim(), op.ID)
			if errors.Is(err, fault.DPSThrottlingException) {
				return false
			}
			if err != nil {
				t.Fatal(err)
			}
			return got.Status == dps.Assigned && got.State.AssignedHub == a.Hub.Host() && got.State.DeviceID == id
		})
	}
	states, _, err := b.Node.DPS().Operator().GroupRegistrations(t.Context(), "pumps", "", 10)
	if err != nil || len(states) != 3 {
		t.Errorf("%d registrations, %v", len(states), err)
	}
}

// TestTwoNodesSIM suspends at one node the SIM of a device that is connected to
// the other.
func TestTwoNodesSIM(t *testing.T) {
	t.Parallel()
	s := share(t)
	a, b := s.run("a"), s.run("b")
	access := func(n int) *sim.Access {
		sims, _ := a.Node.Connectivity()
		if n == 1 {
			sims, _ = b.Node.Connectivity()
		}
		return sims.Tenant(sims.Tenants()[0]).As(sim.Actor{Type: sim.User, ID: "test", Rights: sim.Read | sim.Write | sim.Administer})
	}
	made, err := access(0).Import(t.Context(), "HUBSIM_1", []sim.SIM{{Offering: "off-default"}}, sim.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	id := made[0].ID
	set := func(n int, to sim.Status) {
		t.Helper()
		if _, err := access(n).ChangeStatus(t.Context(), sim.StatusChange{Product: id + "-" + sim.SIMCard, To: to}); err != nil {
			t.Fatal(err)
		}
	}
	set(1, sim.Active)
	d := a.Device("d1")
	if _, _, err := access(1).PutLink(t.Context(), id, "d1", false, sim.Origin{}); err != nil {
		t.Fatal(err)
	}
	c := connect(t, b, d)
	c.send("d1", 1, "through the network")
	set(0, sim.Suspended)
	await(t, c.closed, "end of the connection at the other node")
	if _, err := invoke(a, d, 0); !errors.Is(err, fault.DeviceNotOnline) || !strings.Contains(err.Error(), id) {
		t.Errorf("method: %v", err)
	}
	if _, err := dial(t, b.DialMQTT(), d); err == nil {
		t.Error("the device got in")
	}
	set(1, sim.Active)
	connect(t, b, d).send("d1", 1, "again")
	until(t, "both connections are in the list of data sessions", func() bool {
		all, _, err := access(0).DataSessions(t.Context(), id, sim.DataSessionQuery{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), `"protocol":"MQTT"`) == 2 && strings.Contains(string(text), `"STATUS_CHANGE"`)
	})
}
