package gate_test

import (
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
)

func TestRights(t *testing.T) {
	policy := func(r nave.Right) *nave.Principal { return &nave.Principal{Name: "p", Rights: r, Proof: "policy"} }
	only := func(id nave.ID) *nave.Principal {
		return &nave.Principal{Name: id.String(), Rights: nave.DeviceConnect, Only: id, Proof: "sas"}
	}
	role := func(ops ...string) *nave.Principal {
		return &nave.Principal{Name: "p", Rights: nave.ServiceConnect, Ops: append([]string{}, ops...), Proof: "bearer"}
	}
	own := gate.Op{Name: "own.act", Own: true}
	tests := []struct {
		name string
		who  *nave.Principal
		on   nave.ID
		op   *gate.Op
		text string // of the refusal; empty: may
	}{
		{"nobody", nil, d1, &opPing, "no"},
		{"anybody", policy(nave.RegistryRead), nave.ID{}, &opPing, ""},
		{"right there", policy(nave.ServiceConnect), d1, &opQuery, ""},
		{"right missing", policy(nave.RegistryRead), d1, &opQuery, `policy "p" lacks ServiceConnect, which twin.query`},
		{"device right is no service right", policy(nave.DeviceConnect), d1, &opQuery, "lacks ServiceConnect"},
		{"read is not write", policy(nave.RegistryRead), d1, &opBulk, "lacks RegistryWrite"},
		{"either: first", policy(nave.RegistryRead), d1, &opConfig, ""},
		{"either: second", policy(nave.ServiceConnect), d1, &opConfig, ""},
		{"either: none", policy(nave.DeviceConnect), d1, &opConfig, "RegistryRead or ServiceConnect"},
		{"role with the operation", role("twin.query", "twin.update"), d1, &opQuery, ""},
		{"role without the operation", role("twin.update"), d1, &opQuery, "Principal p is not authorized for twin.query on d1 due to no assigned permissions"},
		{"no role", role(), nave.ID{}, &opPing, "Principal p is not authorized for hub.ping due to"},
		{"device on itself", only(d1), d1, &opSend, ""},
		{"device on another", only(d1), d2, &opSend, "credentials of d1 do not allow telemetry.send on d2"},
		{"device on its module", only(d1), m1, &opSend, "on d1/m1"},
		{"module on itself", only(m1), m1, &opSend, ""},
		{"module on its device", only(m1), d1, &opSend, "credentials of d1/m1"},
		{"device as service", only(d1), d1, &opQuery, "needs a policy with ServiceConnect"},
		{"device on an operation for all", only(d1), d1, &opPing, "do not allow hub.ping"},
		{"device policy for a device", policy(nave.DeviceConnect), d2, &opSend, ""},
		{"device policy for a module", policy(nave.DeviceConnect), m1, &opSend, ""},
		{"service policy for a device", policy(nave.ServiceConnect), d1, &opSend, "lacks DeviceConnect"},
		{"service policy, own operation without right", policy(nave.ServiceConnect), d1, &own, "lacks DeviceConnect"},
		{"device with all rights is still one device", &nave.Principal{Name: "d1", Rights: 15, Only: d1}, d1, &opQuery, "credentials of d1"},
	}
	g := open(t, gate.Options{})
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			err := g.Enter(t.Context(), c.who, c.on, c.op, 0)
			if c.text == "" {
				want(t, err, nil)
				return
			}
			if e := want(t, err, fault.IotHubUnauthorizedAccess); !strings.Contains(e.Text, c.text) {
				t.Errorf("text is %q, want %q in it", e.Text, c.text)
			}
		})
	}
}
