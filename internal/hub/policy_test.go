package hub_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

func TestPolicyBounds(t *testing.T) {
	t.Parallel()
	k := open(t)
	ctx := context.Background()
	put := func(name string, r nave.Right) error {
		_, err := k.hub.PutPolicy(ctx, nave.Policy{Name: name, Rights: r})
		return err
	}
	for _, name := range []string{"", "a b", "ä", "a/b", "a;b", strings.Repeat("x", 65)} {
		wants(t, put(name, nave.DeviceConnect), fault.ArgumentInvalid)
	}
	wants(t, put("none", 0), fault.ArgumentInvalid)
	before := len(k.hub.Policies())
	for n := before; n < 16; n++ {
		if err := put(fmt.Sprintf("A-z_0@%d.", n), nave.DeviceConnect); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, put("more", nave.DeviceConnect), fault.ArgumentInvalid)
	if err := put("A-z_0@15.", nave.RegistryRead); err != nil {
		t.Error("a policy that exists:", err)
	}
	service := 0
	for _, p := range k.hub.Policies() {
		if p.Rights.Has(nave.ServiceConnect) {
			service++
		}
	}
	for n := before; n < 16; n++ {
		err := put(fmt.Sprintf("A-z_0@%d.", n), nave.ServiceConnect)
		if service++; service > 10 {
			wants(t, err, fault.ArgumentInvalid)
		} else if err != nil {
			t.Error(err)
		}
	}
}
