package sim

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var nativeForm = regexp.MustCompile(`^[A-Za-z0-9._]{1,64}$`)

// refresh reads a product of a remote platform into the index.
func (t *Tenant) refresh(ctx context.Context, a *account, product string) error {
	_, native, _ := Native(product)
	r, err := a.platform.Get(ctx, native)
	t.observe(a, err)
	if err != nil {
		return t.failed(ctx, a, product, err, false)
	}
	return t.take(context.WithoutCancel(ctx), a, product, r, cause{actor: Actor{ByPlatform, a.Account.Account, 0}})
}

// take enters one record into the index; product is the id that was asked for.
func (t *Tenant) take(ctx context.Context, a *account, product string, r *Record, c cause) error {
	if r.NativeID == "" || a.Platform+"-"+r.NativeID != product {
		e := &PlatformError{Class: ClassMalformed, Detail: "the answer is about another product"}
		t.observe(a, e)
		return platformFault(a, e, false)
	}
	err := t.db.Update(ctx, func(tx *store.Tx) error { return t.put(tx, a, r, 0, c) })
	return known(err, fault.SIMProductNotFound, "No product with id %s.", product)
}

// put enters a record: run is the synchronisation that brought it, 0 for none.
func (t *Tenant) put(tx *store.Tx, a *account, r *Record, run int64, c cause) error {
	id, now := a.Platform+"-"+r.NativeID, t.Now()
	if r.Partial {
		var err error
		if r, err = completed(tx, id, r); err != nil {
			return err
		}
	}
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s, err := tx.SIM(id)
	switch {
	case errors.Is(err, store.ErrNone):
		s = &store.SIM{ID: id, Account: a.Account.Account, Added: now, Run: run}
		fill(s, r, now)
		if err := tx.InsertSIMs([]*store.SIM{s}); err != nil {
			return err
		}
		if err := t.event(tx, ProductCreated, "", map[string]any{"product": map[string]any{"id": id, "status": s.Status}}); err != nil {
			return err
		}
	case err != nil:
		return err
	case s.Account != a.Account.Account:
		return nil // another account of the same platform has it
	default:
		from := Status(s.Status)
		fill(s, r, now)
		if run != 0 {
			s.Run = run
		}
		if err := tx.PutSIM(s); err != nil {
			return err
		}
		if from != r.Status {
			if err := errors.Join(t.recordMove(tx, s, from, c), t.showDevice(tx, a, s)); err != nil {
				return err
			}
		}
	}
	return tx.PutSIMRecord(id, string(doc))
}

// fill takes over what a record says.
func fill(s *store.SIM, r *Record, now time.Time) {
	s.Connectivity, s.Status, s.ICCID, s.IMSI, s.MSISDN = string(r.Connectivity), string(r.Status), r.ICCID, r.IMSI, r.MSISDN
	s.IMEI, s.EID, s.Serial, s.Offering, s.OfferingName = r.IMEI, r.EID, r.Serial, r.Offering.ID, r.Offering.Name
	s.Start, s.Synced = r.Start.Time, now
}

// drop removes products from the index with their links.
func (t *Tenant) drop(ctx context.Context, ids []string, by Actor) error {
	return t.db.Update(ctx, func(tx *store.Tx) error { return t.dropIn(tx, ids, by) })
}

func (t *Tenant) dropIn(tx *store.Tx, ids []string, by Actor) error {
	for _, id := range ids {
		s, err := tx.SIM(id)
		if errors.Is(err, store.ErrNone) {
			continue
		}
		if err != nil {
			return err
		}
		if err := t.event(tx, ProductDeleted, s.Device, map[string]any{"product": map[string]any{"id": id}, "actor": by}); err != nil {
			return err
		}
		if device := s.Device; device != "" {
			if err := tx.PutConnectivity(device, nil); err != nil && !errors.Is(err, store.ErrNone) {
				return err
			}
			tx.After(func() { t.hub.ConnectivityChanged(device) })
		}
	}
	return tx.DeleteSIMs(ids)
}

// Synchronise has the index of an account be brought up to date; the monitor
// tells the outcome (section 6.9).
func (a *Access) Synchronise(ctx context.Context, name string, o Origin) (*Monitor, error) {
	t := a.t
	if err := a.enter(ctx, "", &opManage, 0); err != nil {
		return nil, err
	}
	acct := t.account(name)
	switch {
	case acct == nil:
		return nil, noPlatform(name)
	case !acct.Enabled:
		return nil, disabled(acct)
	}
	var m *store.SIMMonitor
	err := t.db.Update(ctx, func(tx *store.Tx) (err error) {
		w := wish{product: acct.Platform + "-" + syncNative, source: platformSource + name, cause: cause{a.actor, "", o.Correlation}, origin: o}
		m, err = t.newMonitor(tx, acct, nil, &w, phaseSync, "", t.Now())
		return err
	})
	if err != nil {
		return nil, known(err, fault.SIMPlatformNotFound, "")
	}
	t.remote.poke()
	return t.monitorView(ctx, m), nil
}

// syncNative stands for the native id in monitors of synchronisations, whose
// source is platformSource and the account.
const (
	syncNative     = "synchronise"
	platformSource = "platform/"
)

func noPlatform(name string) error {
	return fault.SIMPlatformNotFound.New("No platform account with name %s.", name)
}

// syncLease is how long a node may take for a page of a synchronisation.
const syncLease = 10 * time.Minute

// errElsewhere is that of synchronise when another node is at it.
var errElsewhere = errors.New("sim: another node synchronises the account")

// synchronise reads all products of an account into the index; a complete run
// removes those that it did not contain (HA-9). The caller holds a.syncing.
func (t *Tenant) synchronise(ctx context.Context, a *account) error {
	if a.embedded() {
		return nil
	}
	now := t.Now()
	err := t.db.Update(ctx, func(tx *store.Tx) error { return tx.LeaseSIMAccount(a.Account.Account, now, now.Add(syncLease)) })
	if errors.Is(err, store.ErrStale) {
		return errElsewhere
	}
	if err != nil {
		return err
	}
	failure := t.syncPages(ctx, a, now.UnixNano())
	if failure != nil && ctx.Err() != nil {
		free := t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.FreeSIMAccount(a.Account.Account) })
		return errors.Join(ctx.Err(), free)
	}
	t.observe(a, failure)
	a.mu.Lock()
	a.failed = nil
	errors.As(failure, &a.failed)
	if failure == nil {
		a.health.Synced, a.health.Failed = t.Now(), time.Time{}
	} else {
		a.health.Failed = t.Now()
	}
	a.health.Next = t.Now().Add(time.Duration(a.HTTP.SyncInterval) * time.Second)
	h := a.health
	h.Name = a.Account.Account
	a.mu.Unlock()
	err = t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		return errors.Join(tx.PutSIMHealth(&h), tx.FreeSIMAccount(h.Name))
	})
	if failure != nil {
		return t.failed(ctx, a, "", failure, false)
	}
	return err
}

// syncPages is one run over the pages of a platform.
func (t *Tenant) syncPages(ctx context.Context, a *account, run int64) error {
	by := Actor{ByPlatform, a.Account.Account, 0}
	for cursor := ""; ; {
		page, err := t.patiently(ctx, a, func() (p Page, err error) { p, err = a.platform.List(ctx, cursor); return p, err })
		var e *PlatformError
		if errors.As(err, &e) && e.Class == ClassNotFound {
			page, err = Page{}, nil // 10.4 row 10
		}
		if err != nil {
			return err
		}
		err = t.db.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
			for _, r := range page.Records {
				if !nativeForm.MatchString(r.NativeID) || !r.Status.Known() {
					continue
				}
				if err := t.put(tx, a, r, run, cause{actor: by}); err != nil {
					return err
				}
			}
			return tx.RenewSIMAccount(a.Account.Account, t.Now().Add(syncLease))
		})
		if err != nil {
			return err
		}
		if page.Next == "" || page.Next == cursor {
			break
		}
		cursor = page.Next
	}
	for after := ""; ; {
		var ids []string
		err := t.db.View(ctx, func(tx *store.Tx) (err error) {
			ids, err = tx.UnseenSIMs(a.Account.Account, run, after, timerBatch)
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		if err := t.drop(ctx, ids, by); err != nil {
			return err
		}
	}
}

// patiently repeats a call that the platform's rate limit refused (HA-7).
func (t *Tenant) patiently(ctx context.Context, a *account, call func() (Page, error)) (Page, error) {
	until := time.Now().Add(bound)
	for {
		p, err := call()
		var e *PlatformError
		if !errors.As(err, &e) || e.Class != ClassRateLimited || time.Now().After(until) {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, err
		case <-time.After(max(e.RetryAfter, time.Second)):
		}
	}
}

// device returns the identity of a device, or store.ErrNone.
func device(tx *store.Tx, id string) (*nave.Identity, error) { return tx.Identity(nave.ID{Device: id}) }
