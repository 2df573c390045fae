package hub_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func TestEdgeParent(t *testing.T) {
	t.Parallel()
	k := open(t)
	ctx, yes := context.Background(), true
	below := func(scopes ...string) nave.IdentityPatch {
		return nave.IdentityPatch{Edge: &yes, ParentScopes: &scopes}
	}
	put := func(name, match string, p nave.IdentityPatch) error {
		_, err := k.Put(ctx, nave.ID{Device: name}, &p, match)
		return err
	}
	var chain []*nave.Identity
	for n := range 5 {
		var scopes []string
		if n > 0 {
			scopes = []string{chain[n-1].DeviceScope}
		}
		chain = append(chain, k.put(fmt.Sprintf("edge-%d", n), below(scopes...)))
	}
	leaf := k.put("leaf", nave.IdentityPatch{})

	t.Run("CODE-400028 unknown parent", func(t *testing.T) {
		for _, scope := range []string{"text", "ms-azure-iot-edge://", "ms-azure-iot-edge://none-1", "ms-azure-iot-edge://edge-0-1",
			nave.EdgeScheme + leaf.ID.Device + "-" + leaf.Generation} {
			wants(t, put("new", "", below(scope)), fault.InvalidDeviceScope)
		}
		_, err := k.Device(ctx, nave.ID{Device: "new"})
		wants(t, err, fault.DeviceNotFound)
	})
	t.Run("CODE-400028 cycle", func(t *testing.T) {
		wants(t, put("edge-0", "*", below(chain[4].DeviceScope)), fault.InvalidDeviceScope)
		wants(t, put("edge-0", "*", below(chain[0].DeviceScope)), fault.InvalidDeviceScope)
	})
	t.Run("CODE-400028 sixth level", func(t *testing.T) {
		wants(t, put("new", "", below(chain[4].DeviceScope)), fault.InvalidDeviceScope)
	})
	t.Run("another parent", func(t *testing.T) {
		if err := put("edge-4", "*", below(chain[0].DeviceScope)); err != nil {
			t.Error(err)
		}
	})
	t.Run("a parent that is gone stays", func(t *testing.T) {
		if err := k.Delete(ctx, chain[2].ID, ""); err != nil {
			t.Fatal(err)
		}
		if err := put("edge-3", "*", below(chain[2].DeviceScope)); err != nil {
			t.Error(err)
		}
		if err := put("new", "", below(chain[3].DeviceScope)); err != nil {
			t.Error(err)
		}
	})
	t.Run("text on a leaf", func(t *testing.T) {
		scope := "ms-azure-iot-edge://none-1"
		k.put("leaf-2", nave.IdentityPatch{DeviceScope: &scope})
	})
}

// TestPutOrder: what is wrong with the body is told before what is the matter
// with the identity (service-api 2.1).
func TestPutOrder(t *testing.T) {
	t.Parallel()
	k := open(t)
	bad := "maybe"
	k.put("d1", nave.IdentityPatch{})
	for _, v := range []struct{ name, match string }{{"d1", ""}, {"d1", "stale"}, {"none", "*"}, {"none/m1", ""}, {"none/m1", "*"}} {
		t.Run(v.name+" If-Match "+v.match, func(t *testing.T) {
			id, err := nave.ParseID(v.name)
			if err != nil {
				t.Fatal(err)
			}
			p := nave.IdentityPatch{Status: &bad}
			if id.IsModule() {
				p = nave.IdentityPatch{Auth: &nave.Auth{Type: nave.AuthSelfSigned}}
			}
			_, err = k.Put(context.Background(), id, &p, v.match)
			wants(t, err, fault.ArgumentInvalid)
		})
	}
}
