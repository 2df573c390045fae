package dps_test

import (
	"context"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// TestScopes runs a second instance on the same store and bus: what one has
// enrolled, the other neither shows, counts nor registers.
func TestScopes(t *testing.T) {
	k := start(t)
	ctx := context.Background()
	o := k.options
	o.Host, o.Scope, o.DB = "other.test", "0ne000000FF", k.db.Scope("other.test")
	other, err := dps.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	e, g := k.enroll("pump-1"), k.group("pumps")
	op := k.register(k.by(e, "pump-1"), "")
	assigned(t, op)

	stranger := other.Operator()
	_, err = stranger.Enrollment(ctx, "pump-1")
	wants(t, err, fault.DPSEnrollmentNotFound)
	_, err = stranger.Group(ctx, "pumps")
	wants(t, err, fault.DPSEnrollmentGroupNotFound)
	_, err = stranger.Registration(ctx, "pump-1")
	wants(t, err, fault.DPSDeviceRegistrationNotFound)
	if all, _, err := stranger.Enrollments(ctx, "", "", 10); err != nil || len(all) != 0 {
		t.Errorf("%d enrolments, %v", len(all), err)
	}
	if n, err := other.Counts(ctx); err != nil || n.Enrollments+n.Groups+n.Registrations != 0 {
		t.Errorf("%+v, %v", n, err)
	}

	// The same keys, signed for the other scope, open nothing there.
	for id, key := range map[string]string{"pump-1": keyOf(t, e, "pump-1"), "pump-2": keyOf(t, g, "pump-2")} {
		c := k.claim(id, key)
		_, err := other.Register(ctx, c, nil)
		wants(t, err, fault.DPSGenericNotFound) // it is addressed to the first scope
		if c.Scope, c.SAS = o.Scope, sign(t, o.Scope, id, key, k); err != nil {
			_, err = other.Register(ctx, c, nil)
			wants(t, err, fault.DPSIotHubUnauthorizedAccess)
			_, err = other.Status(ctx, c, op.ID)
			wants(t, err, fault.DPSIotHubUnauthorizedAccess)
		}
	}
	// An owner of the one is nobody at the other.
	owner, err := k.service.OwnerConnection(ctx)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := cred.ParseConnectionString(owner)
	if err != nil {
		t.Fatal(err)
	}
	sas, err := cred.Sign("other.test", conn.Key, conn.Policy, k.now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.As(ctx, &dps.ServiceClaim{SAS: sas, Host: "other.test", Path: []string{"enrollments", "pump-1"}})
	wants(t, err, fault.DPSIotHubUnauthorizedAccess)
}

func sign(t *testing.T, scope, id, key string, k *rig) string {
	t.Helper()
	text, err := cred.Sign(scope+"/registrations/"+id, key, "registration", k.now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
