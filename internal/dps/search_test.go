package dps_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// TestRisks holds the risks of dps 9.2 that are the domain's.
func TestRisks(t *testing.T) {
	t.Run("risk 10: unknown ids cost no search through every group a request", boundedSearch)
	t.Run("risk 10: known devices are never held up by it", knownPass)
	t.Run("risk 15: a burst is queued and slowed, not refused", queueing)
	t.Run("risk 9: the stored substatus does not depend on the api-version", func(t *testing.T) {
		k := start(t)
		e := k.settle("s")
		c := k.by(e, "s")
		c.Version = dps.Version{Day: "2018-11-01"}
		if st := assigned(t, k.register(c, "")); st.Substatus != dps.SubstatusInitial {
			t.Errorf("device sees %s", st.Substatus)
		}
		if r := stored[dps.Registration](k, dps.KindRegistration, "s"); r.Substatus != dps.SubstatusAgain {
			t.Errorf("stored is %s", r.Substatus)
		}
	})
}

func boundedSearch(t *testing.T) {
	k := start(t)
	const groups, requests = 60, 1000
	for n := range groups {
		k.group(fmt.Sprintf("g-%02d", n))
	}
	ctx := context.Background()
	stranger := cred.NewKey()
	before, limited := dps.Derivations(), 0
	at := k.now()
	for n := range requests {
		_, err := k.service.Register(ctx, k.claim(fmt.Sprint("unknown-", n), stranger), nil)
		switch {
		case errors.Is(err, fault.DPSThrottlingException):
			wants(t, err, fault.DPSThrottlingException)
			limited++
		case !errors.Is(err, fault.DPSIotHubUnauthorizedAccess):
			t.Fatal(err)
		}
	}
	// 50 searches in vain for one address, and as many again in each 30 s; two
	// keys of each group are tried.
	searches := 50 + int64(k.now().Sub(at)/(30*time.Second/50)) + 1
	if work := dps.Derivations() - before; work > searches*groups*2 {
		t.Errorf("%d derivations for %d requests, allowed are %d", work, requests, searches*groups*2)
	}
	if limited < requests-int(searches) {
		t.Errorf("%d of %d requests were slowed down", limited, requests)
	}
	// The same token once more is refused from memory.
	k.pass(time.Minute)
	c := k.claim("unknown-x", stranger)
	_, err := k.service.Register(ctx, c, nil)
	wants(t, err, fault.DPSIotHubUnauthorizedAccess)
	before = dps.Derivations()
	for range 100 {
		_, err := k.service.Register(ctx, c, nil)
		wants(t, err, fault.DPSIotHubUnauthorizedAccess)
	}
	if work := dps.Derivations() - before; work != 0 {
		t.Errorf("%d derivations for a token that was refused before", work)
	}
}

func knownPass(t *testing.T) {
	k := start(t)
	k.freeze()
	g := k.group("known")
	for n := range 20 {
		k.group(fmt.Sprintf("other-%02d", n))
	}
	e := k.enroll("individual")
	assigned(t, k.register(k.by(g, "member"), ""))
	stranger := cred.NewKey()
	for n := range 200 {
		_, _ = k.service.Register(context.Background(), k.claim(fmt.Sprint("unknown-", n), stranger), nil)
	}
	_, err := k.service.Register(context.Background(), k.claim("unknown-z", stranger), nil)
	wants(t, err, fault.DPSThrottlingException)
	assigned(t, k.register(k.by(g, "member"), ""))
	assigned(t, k.register(k.by(e, "individual"), ""))
	k.restart() // the group of a registration is known from the store too
	assigned(t, k.register(k.by(g, "member"), ""))
}

func queueing(t *testing.T) {
	k := start(t, func(o *dps.Options) { o.Backlog = 10_000 })
	e := k.enroll("q")
	ctx := context.Background()
	op, err := k.service.Register(ctx, k.by(e, "q"), nil)
	if err != nil || op.Retry != 3*time.Second {
		t.Fatalf("unloaded: %+v, %v", op, err)
	}
	assigned(t, k.await(k.by(e, "q"), op.ID))
	dps.Reserve(k.service, 5000)
	f := k.enroll("q2")
	if op, err = k.service.Register(ctx, k.by(f, "q2"), nil); err != nil || op.Retry <= 3*time.Second || op.Retry > 30*time.Second || op.Retry%time.Second != 0 {
		t.Fatalf("loaded: %+v, %v", op, err)
	}
	dps.Reserve(k.service, 5000)
	h := k.enroll("q3")
	_, err = k.service.Register(ctx, k.by(h, "q3"), nil)
	wants(t, err, fault.DPSThrottlingException)
	dps.Reserve(k.service, -10000)
	assigned(t, k.register(k.by(h, "q3"), ""))
}

func TestThrottles(t *testing.T) {
	ctx := context.Background()
	t.Run("DPS-265 the sixth poll within 10 s", func(t *testing.T) {
		k := start(t)
		k.freeze()
		e := k.enroll("p")
		c := k.by(e, "p")
		op := k.register(c, "") // one poll
		for range 4 {
			if _, err := k.service.Status(ctx, c, op.ID); err != nil {
				t.Fatal(err)
			}
		}
		_, err := k.service.Status(ctx, c, op.ID)
		wants(t, err, fault.DPSThrottlingException)
		if _, err := k.service.Lookup(ctx, c, nil); err != nil {
			t.Errorf("look-ups have a rate of their own: %v", err)
		}
		k.pass(3 * time.Second)
		if _, err := k.service.Status(ctx, c, op.ID); err != nil {
			t.Error(err)
		}
	})
	t.Run("DPS-266 registrations per minute", func(t *testing.T) {
		k := start(t)
		k.freeze()
		k.settings(&dps.Settings{ID: dps.DefaultSettings, Limits: dps.SettingsLimits{Registrations: 2}})
		e := k.enroll("r")
		for range 2 {
			assigned(t, k.register(k.by(e, "r"), ""))
		}
		_, err := k.service.Register(ctx, k.by(e, "r"), nil)
		if f := wants(t, err, fault.DPSThrottlingException); f.After != 30*time.Second {
			t.Errorf("Retry-After %v", f.After)
		}
		k.pass(600 * time.Millisecond) // 29.4 s are left: the hint must not be shorter
		_, err = k.service.Register(ctx, k.by(e, "r"), nil)
		k.pass(wants(t, err, fault.DPSThrottlingException).After)
		assigned(t, k.register(k.by(e, "r"), ""))
		_, err = k.service.Register(ctx, k.by(e, "r"), nil)
		wants(t, err, fault.DPSThrottlingException)
		if _, err := k.service.Lookup(ctx, k.by(e, "r"), nil); err != nil {
			t.Errorf("look-ups go on: %v", err)
		}
	})
}
