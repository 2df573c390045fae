package sim_test

import (
	"context"
	"testing"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/sim"
)

// TestOtherKey starts with another key than the one that secrets were sealed
// with: the account they belong to is out of service until it is put anew, the
// rest works.
func TestOtherKey(t *testing.T) {
	r := newDiskRig(t)
	ctx := context.Background()
	r.account("HUBSIM_1", "HUBSIM", nil)
	f := startFar(t, r)
	r.sim.Close()
	r.key[0] = 1
	r.start()
	r.tick()
	v, err := r.admin().Platform(ctx, "REMOTE_1")
	if err != nil || v.Health.State == "OK" {
		t.Errorf("%+v, %v", v, err)
	}
	if got, err := r.admin().CheckPlatform(ctx, "REMOTE_1"); err != nil || got != sim.ClassCredentials {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := r.admin().Import(ctx, "HUBSIM_1", []sim.SIM{{}}, sim.Origin{}); err != nil {
		t.Errorf("the other account: %v", err)
	}
	a := f
	a.HTTP.ClientSecret = ""
	_, err = r.admin().PutPlatform(ctx, "REMOTE_1", a)
	wantFault(t, err, fault.SIMValidationFailed) // the old secret is lost
}

// startFar adds the account of a remote platform that nobody asks.
func startFar(t *testing.T, r *rig) sim.Account {
	t.Helper()
	a := sim.Account{Account: "REMOTE_1", Platform: "RMT", Adapter: sim.AdapterHTTP, Enabled: true, HTTP: &sim.Remote{
		BaseURL: "https://127.0.0.1:1/api", TokenURL: "https://127.0.0.1:1/token", ClientID: "c", ClientSecret: "s"}}
	if _, err := r.admin().CreatePlatform(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	return a
}
