package dps_test

import (
	"context"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

func TestSymmetricKeys(t *testing.T) {
	k := start(t)
	ctx := context.Background()
	t.Run("DPS-109 individual primary and secondary key", func(t *testing.T) {
		e := k.enroll("sym-1")
		for _, key := range []string{e.Attestation.SymmetricKey.Primary, e.Attestation.SymmetricKey.Secondary} {
			st := assigned(t, k.register(k.claim("sym-1", key), ""))
			i := k.device(st.AssignedHub, "sym-1")
			if i == nil || i.Auth.Type != nave.AuthSAS || i.Auth.Primary != e.Attestation.SymmetricKey.Primary || i.Auth.Secondary != e.Attestation.SymmetricKey.Secondary {
				t.Errorf("hub device %+v", i)
			}
			if st.SymmetricKey == nil || st.SymmetricKey.Group != "" {
				t.Errorf("symmetricKey %+v", st.SymmetricKey)
			}
		}
	})
	t.Run("DPS-110 derived key test vector", func(t *testing.T) {
		const master, id = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6"
		k.group("vector", func(e *dps.Enrollment) { e.Attestation.SymmetricKey.Primary = master })
		st := assigned(t, k.register(k.claim(id, "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="), ""))
		if st.SymmetricKey.Group != "vector" {
			t.Errorf("group %q", st.SymmetricKey.Group)
		}
	})
	t.Run("DPS-111 device key from the group's secondary key", func(t *testing.T) {
		g := k.group("second")
		derived, err := cred.Derive(g.Attestation.SymmetricKey.Secondary, "member-2")
		if err != nil {
			t.Fatal(err)
		}
		assigned(t, k.register(k.claim("member-2", derived), ""))
	})
	t.Run("DPS-112 group key used directly", func(t *testing.T) {
		g := k.group("direct")
		_, err := k.service.Register(ctx, k.claim("member-3", g.Attestation.SymmetricKey.Primary), nil)
		wants(t, err, fault.DPSIotHubUnauthorizedAccess)
	})
	t.Run("DPS-113 individual enrollment never falls back to a group", func(t *testing.T) {
		g := k.group("behind")
		k.enroll("member-4")
		_, err := k.service.Register(ctx, k.by(g, "member-4"), nil)
		wants(t, err, fault.DPSIotHubUnauthorizedAccess)
	})
	t.Run("DPS-114 hub device of a group member", func(t *testing.T) {
		g := k.group("hubkeys")
		st := assigned(t, k.register(k.by(g, "Member-5"), ""))
		i := k.device(st.AssignedHub, "Member-5")
		first, _ := cred.Derive(g.Attestation.SymmetricKey.Primary, "Member-5")
		second, _ := cred.Derive(g.Attestation.SymmetricKey.Secondary, "Member-5")
		if i.Auth.Type != nave.AuthSAS || i.Auth.Primary != first || i.Auth.Secondary != second {
			t.Errorf("%+v", i.Auth)
		}
	})
	t.Run("DPS-115 two symmetric groups", func(t *testing.T) {
		one, two := k.group("one"), k.group("two")
		if st := assigned(t, k.register(k.by(two, "member-6"), "")); st.SymmetricKey.Group != "two" {
			t.Errorf("group %q", st.SymmetricKey.Group)
		}
		if st := assigned(t, k.register(k.by(one, "member-7"), "")); st.SymmetricKey.Group != "one" {
			t.Errorf("group %q", st.SymmetricKey.Group)
		}
	})
}
