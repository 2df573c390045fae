package sim

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// workRemote sees to monitors and tasks of remote platforms, and to
// synchronisation. Calls to one account run side by side as its MaxParallel
// allows.
func (t *Tenant) workRemote(ctx context.Context) error {
	var calls sync.WaitGroup
	err := errors.Join(t.pollMonitors(ctx, &calls), t.workTasks(ctx, false))
	now := t.Now()
	for _, a := range t.allAccounts() {
		if a.embedded() || !a.Enabled || !a.due(now) {
			continue
		}
		calls.Go(func() {
			a.syncing.Lock()
			defer a.syncing.Unlock()
			if !a.due(now) {
				return // a monitor has just had it done
			}
			if err := t.synchronise(ctx, a); err != nil && !errors.Is(err, errElsewhere) && ctx.Err() == nil {
				t.o.Log.Warn("a platform account could not be synchronised", "tenant", t.name, "account", a.Account.Account, "err", err)
			}
		})
	}
	calls.Wait()
	return err
}

// pollMonitors works on due monitors of remote platforms.
func (t *Tenant) pollMonitors(ctx context.Context, calls *sync.WaitGroup) error {
	due := time.Time{}
	err := t.db.View(ctx, func(tx *store.Tx) (err error) { due, err = tx.DueSIMMonitor(); return err })
	if err != nil || due.IsZero() || due.After(t.Now()) {
		return err
	}
	var all []*store.SIMMonitor
	err = t.db.Update(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.LeaseSIMMonitors(false, t.bus.Node(), t.Now(), t.Now().Add(leaseFor), monitorBatch)
		return err
	})
	for _, m := range all {
		calls.Go(func() {
			if err := t.advance(ctx, m); err != nil && ctx.Err() == nil {
				t.o.Log.Warn("a change could not be tracked", "tenant", t.name, "monitor", m.ID, "err", err)
			}
		})
	}
	return err
}

// advance takes a monitor one step further.
func (t *Tenant) advance(ctx context.Context, m *store.SIMMonitor) error {
	a := t.account(m.Account)
	var d monitorDoc
	if err := json.Unmarshal([]byte(m.Doc), &d); err != nil {
		return err
	}
	if a == nil {
		return t.end(m, noPlatform(m.Account))
	}
	if t.Now().Sub(m.Created) >= t.o.AsyncTimeout {
		return t.end(m, platformFault(a, &PlatformError{Class: ClassTimeout, Detail: "the change had no result in time"}, true))
	}
	if m.Phase == phaseSync {
		return t.advanceSync(ctx, a, m)
	}
	release, err := a.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	// The monitor may have waited in line for longer than its lease.
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		return tx.RenewSIMMonitor(m.ID, t.bus.Node(), t.Now(), t.Now().Add(leaseFor))
	})
	if errors.Is(err, store.ErrStale) {
		return nil
	}
	if err != nil {
		return err
	}
	_, native, _ := Native(m.Product)
	var out Outcome
	switch m.Phase {
	case phasePoll:
		out, err = a.platform.Poll(ctx, native, m.Ticket)
	case phaseSent:
		if done, failure := t.arrived(ctx, a, m.Product, d.To); failure != nil || done {
			err = failure
			if done {
				return t.end(m, nil)
			}
			break
		}
		fallthrough
	default:
		m.Phase = phaseSent
		if err := t.db.Update(ctx, func(tx *store.Tx) error {
			return tx.PutSIMMonitorPhase(m.ID, phaseSent)
		}); err != nil {
			return err
		}
		out, err = a.platform.SetStatus(ctx, native, d.To, d.Reason)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // the next start goes on from the phase
	}
	t.observe(a, err)
	return t.advanced(ctx, a, m, &d, out, err)
}

// advanceSync synchronises an account for a monitor, whose outcome is that of a
// run of its own.
func (t *Tenant) advanceSync(ctx context.Context, a *account, m *store.SIMMonitor) error {
	a.syncing.Lock()
	err := t.synchronise(ctx, a)
	a.syncing.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errElsewhere):
		m.Due = t.Now().Add(t.o.WorkEvery)
		return t.db.Update(ctx, func(tx *store.Tx) error { return tx.PutSIMMonitor(m) })
	}
	return t.end(m, err)
}

// arrived says whether the product has the status, after a crash between
// asking and learning the answer.
func (t *Tenant) arrived(ctx context.Context, a *account, product string, to Status) (bool, error) {
	_, native, _ := Native(product)
	r, err := a.platform.Get(ctx, native)
	if err != nil {
		return false, err
	}
	if err := t.take(context.WithoutCancel(ctx), a, product, r, cause{actor: Actor{ByPlatform, a.Account.Account, 0}}); err != nil {
		return false, err
	}
	return r.Status == to, nil
}

// advanced writes what a step of a monitor led to.
func (t *Tenant) advanced(ctx context.Context, a *account, m *store.SIMMonitor, d *monitorDoc, out Outcome, err error) error {
	switch {
	case err == nil && out.Record != nil:
		if err := t.take(context.WithoutCancel(ctx), a, m.Product, out.Record, d.cause()); err != nil {
			return t.end(m, err)
		}
		return t.end(m, nil)
	case err == nil && out.Ticket == "":
		return t.end(m, nil) // a reset that is finished
	case err == nil:
		m.Phase, m.Ticket = phasePoll, out.Ticket
		m.Due = t.Now().Add(t.o.WorkEvery)
	default:
		pause, again := retry(err, m.Phase, d.Tries)
		if !again {
			t.recheck(a, m.Product, err)
			return t.end(m, t.failed(ctx, a, m.Product, err, true))
		}
		d.Tries++
		m.Due = t.Now().Add(pause)
		var e *PlatformError
		if errors.As(err, &e) && (e.Class == ClassRateLimited || e.Open || e.Overloaded) && m.Phase == phaseSent {
			m.Phase = phaseSend // the platform has not taken it
		}
	}
	doc, err := json.Marshal(d)
	if err != nil {
		return err
	}
	m.Doc = string(doc)
	return t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.PutSIMMonitor(m) })
}

// retry says whether a failed step is repeated, and after which pause: rate
// limits always, and while polling everything that may pass.
func retry(err error, phase string, tries int) (time.Duration, bool) {
	var e *PlatformError
	if !errors.As(err, &e) || e.Final {
		return 0, false
	}
	pause := min(time.Duration(1<<min(tries, 6))*2*time.Second, time.Minute)
	switch {
	case e.Class == ClassRateLimited:
		return max(e.RetryAfter, time.Second), true
	case e.Open || e.Overloaded:
		return pause, true
	case phase == phasePoll:
		switch e.Class {
		case ClassTimeout, ClassUnreachable, ClassOutage, ClassCredentials, ClassUnknown, ClassMalformed:
			return pause, true
		}
	}
	return 0, false
}

// end ends a monitor.
func (t *Tenant) end(m *store.SIMMonitor, outcome error) error {
	return t.db.Update(context.WithoutCancel(t.ctx), func(tx *store.Tx) error {
		if m.Phase == phaseSync {
			return t.finish(tx, m, outcome)
		}
		var e *fault.Error
		if outcome != nil && !errors.As(outcome, &e) {
			outcome = fault.SIMInternalError.Wrap(outcome, "The hub could not carry out the change.")
		}
		return t.finish(tx, m, outcome)
	})
}

// slot awaits one of the account's parallel calls.
func (a *account) slot(ctx context.Context) (release func(), err error) {
	select {
	case a.parallel <- struct{}{}:
		return func() { <-a.parallel }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
