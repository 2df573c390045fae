package sim

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// cause is who changes a product and why.
type cause struct {
	actor       Actor
	reason      string
	correlation string
}

// hubCause is a change by the hub itself.
func hubCause(reason string) cause {
	return cause{actor: Actor{Type: ByHub, ID: "hub"}, reason: reason}
}

// reasonLimit is the status reason of a SIM suspended by its data limit.
const reasonLimit = "data_limit"

// settle checks a request for a status at the reference platform and says what
// it leads to; same when the product is there already (SC-7, SC-8, RP-4, RP-9).
func (t *Tenant) settle(tx *store.Tx, a *account, s *store.SIM, to Status) (next Status, err error) {
	from := Status(s.Status)
	if err := checkTo(a, to); err != nil {
		return "", err
	}
	if from == to {
		return to, nil
	}
	if err := Step(from, to); err != nil {
		return "", err
	}
	if to != Active {
		return to, nil
	}
	o, err := offeringOf(tx, s.Offering)
	if err != nil {
		return "", err
	}
	if from == Inventory && o.Activation == FirstUse {
		return PendingActive, nil
	}
	if over, err := t.overLimit(tx, s, o); err != nil || over {
		if err == nil {
			err = fault.SIMDataLimitReached.New("The product has used up its %d bytes of this billing period.", *o.DataLimit)
		}
		return "", err
	}
	return Active, nil
}

// checkTo checks what can be known without the product (SC-10).
func checkTo(a *account, to Status) error {
	if err := CheckStatus(to); err != nil {
		return err
	}
	for _, s := range a.Settable {
		if s == to {
			return nil
		}
	}
	return fault.SIMStatusNotSupported.New("Platform %s does not know %s, possible are %s.", a.Platform, to, listed(a.Settable))
}

// move gives a product a status: row, history, event and the linked device, in
// one transaction. It does nothing when the status is the same.
func (t *Tenant) move(tx *store.Tx, a *account, s *store.SIM, to Status, c cause) error {
	from := Status(s.Status)
	if from == to {
		return nil
	}
	now := t.Now()
	s.Status, s.Reason, s.Updated, s.Due = string(to), c.reason, now, time.Time{}
	if s.Reason == reasonLimit && c.actor.Type != ByHub {
		s.Reason = "" // a caller's words are not the hub's mark
	}
	switch to {
	case Active:
		if s.Activated.IsZero() || from == PendingActive || from == Inventory {
			s.Activated = now
		}
	case PendingTerminate:
		due, err := t.periodEnd(tx, s, now)
		if err != nil {
			return err
		}
		s.Due = due
	}
	if err := tx.PutSIM(s); err != nil {
		return err
	}
	if err := t.recordMove(tx, s, from, c); err != nil {
		return err
	}
	return t.showDevice(tx, a, s)
}

// recordMove writes history and event of a change of status.
func (t *Tenant) recordMove(tx *store.Tx, s *store.SIM, from Status, c cause) error {
	now := t.Now()
	err := tx.AddSIMHistory(&store.SIMHistory{Product: s.ID, At: now, Kind: "STATUS", Was: string(from), Becomes: s.Status,
		Actor: c.actor.Type, ActorID: c.actor.ID, Reason: c.reason, Correlation: c.correlation})
	if err != nil {
		return err
	}
	return t.event(tx, ProductChanged, s.Device, map[string]any{"product": map[string]any{"id": s.ID, "status": s.Status},
		"from": from, "to": s.Status, "reason": c.reason, "actor": c.actor})
}

// showDevice has the linked device know of its SIM (LK-4), and the hub obey
// (RP-6).
func (t *Tenant) showDevice(tx *store.Tx, a *account, s *store.SIM) error {
	if s.Device == "" {
		return nil
	}
	reference, _, _ := Native(s.ID)
	c := &nave.Connectivity{ProductID: s.ID, ICCID: s.ICCID, IMEI: s.IMEI, Status: s.Status, Platform: reference}
	if a != nil && a.enforces() {
		switch {
		case !Status(s.Status).Carries():
			c.Barred = true
		case s.Locked != "" && s.IMEI != s.Locked:
			c.Barred, c.Why = true, "SIM "+s.ID+" is locked to another IMEI than that of the device"
		}
	}
	device := s.Device
	err := tx.PutConnectivity(device, c)
	if errors.Is(err, store.ErrNone) {
		return nil // deleted meanwhile; the hub tells of it
	}
	tx.After(func() { t.hub.ConnectivityChanged(device) })
	return err
}

// workTimers does what is due by time (RP-3, RP-5, RP-9, RP-10, US-2, MO-7).
func (t *Tenant) workTimers(ctx context.Context) error {
	return errors.Join(t.loadAccounts(ctx), t.runDue(ctx), t.resume(ctx), t.meter.idle(ctx), t.expireSMS(ctx), t.forget(ctx))
}

const timerBatch = 200

// runDue carries out timers of products.
func (t *Tenant) runDue(ctx context.Context) error {
	for n := timerBatch; n == timerBatch; {
		err := t.db.View(ctx, func(tx *store.Tx) error {
			all, err := tx.DueSIMs(t.Now(), 1)
			n = len(all)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		err = t.db.Update(ctx, func(tx *store.Tx) error {
			all, err := tx.DueSIMs(t.Now(), timerBatch)
			n = len(all)
			for _, s := range all {
				if err == nil {
					err = t.ring(tx, s)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Tenant) ring(tx *store.Tx, s *store.SIM) error {
	a := t.account(s.Account)
	switch {
	case a == nil:
	case s.Status == string(Created):
		return t.move(tx, a, s, Inventory, hubCause("provisioned"))
	case s.Status == string(PendingTerminate):
		return t.move(tx, a, s, Terminated, hubCause("end of the billing period"))
	}
	s.Due = time.Time{}
	return tx.PutSIM(s)
}

// resume activates SIMs that their data limit has suspended in a period that is
// over (RP-9).
func (t *Tenant) resume(ctx context.Context) error {
	for after := ""; ; {
		var all []*store.SIM
		err := t.db.View(ctx, func(tx *store.Tx) (err error) { all, err = tx.LimitedSIMs(after, timerBatch); return err })
		if err != nil || len(all) == 0 {
			return err
		}
		after = all[len(all)-1].ID
		err = t.db.Update(ctx, func(tx *store.Tx) error {
			for _, s := range all {
				if err := t.resumeOne(tx, s.ID); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func (t *Tenant) resumeOne(tx *store.Tx, id string) error {
	s, err := tx.SIM(id)
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil || s.Reason != reasonLimit || s.Status != string(Suspended) {
		return err
	}
	o, err := offeringOf(tx, s.Offering)
	if err != nil {
		return err
	}
	over, err := t.overLimit(tx, s, o)
	if err != nil || over {
		return err
	}
	return t.move(tx, t.account(s.Account), s, Active, hubCause("new billing period"))
}

const forgetBatch = 1000

// forget removes what is older than it must be, of some products a time, and
// monitors and tasks.
func (t *Tenant) forget(ctx context.Context) error {
	now := t.Now()
	var all []*store.SIM
	if err := t.db.View(ctx, func(tx *store.Tx) (err error) { all, err = tx.SIMsAfter(t.swept, forgetBatch); return err }); err != nil {
		return err
	}
	var lost []string
	err := t.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.ForgetSIMWork(now.Add(-t.o.MonitorKeep)); err != nil || len(all) == 0 {
			return err
		}
		for _, s := range all {
			if s.Device != "" {
				if _, err := tx.Identity(nave.ID{Device: s.Device}); errors.Is(err, store.ErrNone) {
					lost = append(lost, s.Device)
				}
			}
		}
		return tx.ForgetSIMs(t.swept, all[len(all)-1].ID, now.Add(-t.o.Retention))
	})
	if err != nil {
		return err
	}
	t.swept = ""
	if len(all) == forgetBatch {
		t.swept = all[len(all)-1].ID
	}
	for _, device := range lost {
		t.unlinkGone(ctx, device)
	}
	return nil
}
