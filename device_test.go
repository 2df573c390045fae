package nave_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

const (
	key16 = "AAECAwQFBgcICQoLDA0ODw=="
	sha1  = "0123456789abcdef0123456789ABCDEF01234567"
	sha2  = sha1 + "0123456789abcdef01234567"
)

func TestIdentityCheck(t *testing.T) {
	id := nave.ID{Device: "d"}
	edge := nave.Identity{ID: id, Generation: "7", Edge: true}
	with := func(f func(i *nave.Identity)) nave.Identity { i := edge; f(&i); return i }
	for _, c := range []struct {
		name  string
		i     nave.Identity
		code  *fault.Code
		field string
	}{
		{"plain", nave.Identity{ID: id}, nil, ""},
		{"id", nave.Identity{}, fault.ArgumentInvalid, "device id"},
		{"status", nave.Identity{ID: id, Status: "off"}, fault.ArgumentInvalid, `"off"`},
		{"reason of 128", nave.Identity{ID: id, StatusReason: strings.Repeat("ä", 128)}, nil, ""},
		{"reason of 129", nave.Identity{ID: id, StatusReason: strings.Repeat("ä", 129)}, fault.ArgumentInvalid, "observed 129"},
		{"managedBy of 129", nave.Identity{ID: id, ManagedBy: strings.Repeat("x", 129)}, fault.ArgumentInvalid, "managedBy"},
		{"any scope for a leaf", nave.Identity{ID: id, DeviceScope: "someScope", ParentScopes: []string{"someScope"}}, nil, ""},
		{"two parents", nave.Identity{ID: id, ParentScopes: []string{"a", "b"}}, fault.InvalidDeviceScope, "at most one"},
		{"different parents", nave.Identity{ID: id, DeviceScope: "a", ParentScopes: []string{"b"}}, fault.InvalidDeviceScope, "different"},
		{"edge", with(func(i *nave.Identity) { i.DeviceScope = "ms-azure-iot-edge://d-7" }), nil, ""},
		{"edge with another scope", with(func(i *nave.Identity) { i.DeviceScope = "x" }), fault.InvalidDeviceScope, "cannot become"},
		{"own ancestor", with(func(i *nave.Identity) { i.ParentScopes = []string{i.EdgeScope()} }), fault.InvalidDeviceScope, "own ancestor"},
	} {
		t.Run(c.name, func(t *testing.T) { wantFault(t, c.i.Check(&limits), c.code, c.field) })
	}
}

func wantFault(t *testing.T, err error, code *fault.Code, part string) {
	t.Helper()
	if code == nil && err == nil {
		return
	}
	if code == nil || !errors.Is(err, code) || !strings.Contains(err.Error(), part) {
		t.Errorf("%v, want %v with %q", err, code, part)
	}
}

func TestAuthCheck(t *testing.T) {
	bad := fault.ArgumentInvalid
	for _, c := range []struct {
		name  string
		a     nave.Auth
		code  *fault.Code
		field string
	}{
		{"nothing", nave.Auth{}, nil, ""},
		{"keys", nave.Auth{Type: nave.AuthSAS, Primary: key16, Secondary: key16}, nil, ""},
		{"one key", nave.Auth{Primary: key16}, bad, "one key"},
		{"not base64", nave.Auth{Primary: key16, Secondary: "?"}, bad, "secondaryKey is not base64"},
		{"line break in base64", nave.Auth{Primary: key16 + "\n", Secondary: key16}, bad, "primaryKey is not base64"},
		{"15 bytes", nave.Auth{Primary: key16, Secondary: "AAECAwQFBgcICQoLDA0O"}, bad, "observed 15"},
		{"65 bytes", nave.Auth{Primary: strings.Repeat("AAAA", 21) + "AAA=", Secondary: key16}, bad, "observed 65"},
		{"thumbprint", nave.Auth{PrimaryThumbprint: sha1}, nil, ""},
		{"two thumbprints", nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: sha2, SecondThumbprint: sha2}, nil, ""},
		{"mixed thumbprints", nave.Auth{PrimaryThumbprint: sha1, SecondThumbprint: sha2}, bad, "40 and 64"},
		{"only the second", nave.Auth{SecondThumbprint: sha1}, bad, "primaryThumbprint is missing"},
		{"no hex", nave.Auth{PrimaryThumbprint: strings.Repeat("g", 40)}, bad, "hex digits"},
		{"short", nave.Auth{PrimaryThumbprint: "ab"}, bad, "has 2 characters"},
		{"keys and thumbprints", nave.Auth{Primary: key16, Secondary: key16, PrimaryThumbprint: sha1}, bad, "both symmetricKey and"},
		{"keys with none", nave.Auth{Type: nave.AuthNone, Primary: key16, Secondary: key16}, bad, "type none"},
		{"thumbprint with authority", nave.Auth{Type: nave.AuthCA, PrimaryThumbprint: sha1}, bad, "type certificateAuthority"},
		{"thumbprint with sas", nave.Auth{Type: nave.AuthSAS, PrimaryThumbprint: sha1}, bad, "type sas"},
		{"authority", nave.Auth{Type: nave.AuthCA}, nil, ""},
		{"unknown", nave.Auth{Type: "psk"}, bad, `"psk"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.a.Check()
			wantFault(t, err, c.code, c.field)
			if err != nil && strings.Contains(err.Error(), key16) {
				t.Error("the error shows a key")
			}
		})
	}
}

func TestGenerationsAndETags(t *testing.T) {
	at := time.Date(2024, 3, 1, 10, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	for range 1000 {
		g := nave.NewGeneration(at)
		if len(g) != 18 || !strings.HasPrefix(g, "6384488") || seen[g] {
			t.Fatalf("generation %s", g)
		}
		seen[g] = true
	}
	if a, b := nave.NewETag(), nave.NewETag(); a == b || len(a) != 12 {
		t.Errorf("etags %s, %s", a, b)
	}
	i := nave.Identity{ETag: "abc="}
	wantFault(t, i.CheckETag(`"abc="`), nil, "")
	wantFault(t, i.CheckETag(`"abd="`), fault.PreconditionFailed, "abd=")
}
