package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// loadAccounts reads the accounts and makes adapters for those that are new or
// have changed.
func (t *Tenant) loadAccounts(ctx context.Context) error {
	t.loading.Lock()
	defer t.loading.Unlock()
	var rows []*store.SIMAccount
	if err := t.db.View(ctx, func(tx *store.Tx) (err error) { rows, err = tx.SIMAccounts(); return err }); err != nil {
		return err
	}
	t.mu.Lock()
	old := t.accounts
	t.mu.Unlock()
	fresh := map[string]*account{}
	for _, row := range rows {
		if a := old[row.Name]; a != nil && a.row.Doc == row.Doc && slices.Equal(a.row.Secret, row.Secret) {
			a.learn(row)
			fresh[row.Name] = a
			continue
		}
		a, err := t.adapt(row)
		if err != nil {
			t.o.Log.Error("a platform account is out of service", "tenant", t.name, "account", row.Name, "err", err)
			a, err = t.unusable(row, err)
		}
		if err != nil {
			return fmt.Errorf("platform account %s: %w", row.Name, err)
		}
		fresh[row.Name] = a
	}
	t.mu.Lock()
	t.accounts = fresh
	t.mu.Unlock()
	for name, a := range old {
		if c, ok := a.platform.(io.Closer); ok && fresh[name] != a {
			c.Close()
		}
	}
	return nil
}

// learn takes over what other nodes have written about the platform.
func (a *account) learn(row *store.SIMAccount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := &a.health
	if row.Success.After(h.Success) {
		h.Success = row.Success
	}
	if row.Failure.After(h.Failure) {
		h.Failure, h.FailureClass = row.Failure, row.FailureClass
	}
	if row.Next.After(h.Next) && !h.Next.IsZero() {
		h.Synced, h.Failed, h.Next = row.Synced, row.Failed, row.Next
	}
}

// adapt makes the account of a row with its adapter.
func (t *Tenant) adapt(row *store.SIMAccount) (*account, error) {
	a := &account{row: row, health: *row, unmapped: map[string]string{}}
	if err := json.Unmarshal([]byte(row.Doc), &a.Account); err != nil {
		return nil, err
	}
	a.Account = a.Account.withDefaults()
	parallel := 1
	if a.HTTP != nil {
		secret, err := unseal(t.o.Key, row.Secret, t.name+"/"+row.Name)
		if err != nil {
			return nil, err
		}
		a.HTTP.ClientSecret, parallel = secret, max(1, a.HTTP.MaxParallel)
	}
	a.parallel = make(chan struct{}, parallel)
	a.health.Next = time.Time{} // at start (HA-9)
	var err error
	a.platform, err = newPlatform(AdapterEnv{Tenant: t.name, Account: a.Account, Now: t.Now, Log: t.o.Log, tenant: t,
		Unmapped: func(word string) { t.tellUnmapped(a, word) }})
	return a, err
}

// Platforms returns all accounts in the order of names.
func (a *Access) Platforms(ctx context.Context) ([]*PlatformView, error) {
	if err := a.enter(ctx, "", &opPlatform, 0); err != nil {
		return nil, err
	}
	accounts := a.t.allAccounts()
	slices.SortFunc(accounts, func(a, b *account) int { return cmp.Compare(a.Account.Account, b.Account.Account) })
	all := []*PlatformView{}
	for _, one := range accounts {
		v, err := a.t.platformView(ctx, one)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// Platform returns an account; SIMPlatformNotFound.
func (a *Access) Platform(ctx context.Context, name string) (*PlatformView, error) {
	if err := a.enter(ctx, "", &opPlatform, 0); err != nil {
		return nil, err
	}
	one := a.t.account(name)
	if one == nil {
		return nil, noPlatform(name)
	}
	return a.t.platformView(ctx, one)
}

// downAfter is how long a platform may fail before it counts as down.
const downAfter = 10 * time.Minute

func (t *Tenant) platformView(ctx context.Context, a *account) (*PlatformView, error) {
	d := a.platform.Describe()
	v := &PlatformView{Account: a.Account.Account, Platform: a.Platform, Adapter: a.Adapter, AccountID: a.AccountID, Enabled: a.Enabled, Mode: a.Mode,
		Settable: a.Settable, Capabilities: d.Capabilities}
	err := t.db.View(ctx, func(tx *store.Tx) error {
		classes, err := tx.SIMClasses()
		for _, c := range classes {
			if c.Account == a.Account.Account {
				v.Health.ProductCount += c.Count
			}
		}
		return err
	})
	if err != nil {
		return nil, known(err, fault.SIMPlatformNotFound, "")
	}
	a.mu.Lock()
	h := a.health
	a.mu.Unlock()
	v.Health.LastSuccess, v.Health.LastFailure = At(h.Success), At(h.Failure)
	if h.FailureClass != "" {
		v.Health.LastFailureClass = &h.FailureClass
	}
	switch {
	case a.embedded():
		v.Health.State, v.Health.LastSuccess = "OK", At(t.Now())
	case h.Success.IsZero() && h.Failure.IsZero():
		v.Health.State = "UNKNOWN"
	case !h.Failure.After(h.Success):
		v.Health.State = "OK"
	case h.Success.IsZero() || t.Now().Sub(h.Success) > downAfter:
		v.Health.State = "DOWN"
	default:
		v.Health.State = "DEGRADED"
	}
	return v, nil
}

// CreatePlatform adds an account; SIMDuplicate when the name is taken or the
// reference is that of another adapter kind.
func (a *Access) CreatePlatform(ctx context.Context, c Account) (*PlatformView, error) {
	if err := a.enter(ctx, "", &opManage, 0); err != nil {
		return nil, err
	}
	return a.t.putAccount(ctx, c, true)
}

// PutPlatform replaces the configuration of an account; an empty clientSecret
// keeps the old one. Adapter and reference cannot change.
func (a *Access) PutPlatform(ctx context.Context, name string, c Account) (*PlatformView, error) {
	if err := a.enter(ctx, "", &opManage, 0); err != nil {
		return nil, err
	}
	old := a.t.account(name)
	if old == nil {
		return nil, noPlatform(name)
	}
	if c.Account == "" {
		c.Account = name
	}
	var all []Issue
	for _, m := range []struct{ pointer, old, new string }{{"/account", name, c.Account}, {"/platform", old.Platform, c.Platform}, {"/adapter", old.Adapter, c.Adapter}} {
		if m.old != m.new {
			all = append(all, Issue{In: "body", Pointer: m.pointer, Code: "invalid_value", Detail: "Cannot be changed, it is " + m.old + "."})
		}
	}
	if err := invalid(all); err != nil {
		return nil, err
	}
	if c.HTTP != nil && c.HTTP.ClientSecret == "" {
		h := *c.HTTP
		h.ClientSecret = old.HTTP.ClientSecret
		c.HTTP = &h
	}
	return a.t.putAccount(ctx, c, false)
}

func (t *Tenant) putAccount(ctx context.Context, c Account, create bool) (*PlatformView, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	row, err := t.accountRow(c)
	if err != nil {
		return nil, err
	}
	trial, err := t.adapt(row)
	if err != nil {
		return nil, invalid([]Issue{{In: "body", Pointer: "/" + c.Adapter, Code: "invalid_value", Detail: fault.From(err).Text}})
	}
	if closer, ok := trial.platform.(io.Closer); ok {
		closer.Close()
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		if !create {
			return tx.PutSIMAccount(row)
		}
		others, err := tx.SIMAccounts()
		for _, o := range others {
			var other Account
			if e := json.Unmarshal([]byte(o.Doc), &other); e == nil && other.Platform == c.Platform && other.Adapter != c.Adapter {
				return fault.SIMDuplicate.New("The platform reference %s belongs to an account of another adapter.", c.Platform)
			}
		}
		if err != nil {
			return err
		}
		return tx.InsertSIMAccount(row)
	})
	switch {
	case errors.Is(err, store.ErrExists):
		return nil, fault.SIMDuplicate.New("A platform account with name %s exists.", c.Account)
	case err != nil:
		return nil, known(err, fault.SIMPlatformNotFound, "No platform account with name %s.", c.Account)
	}
	if err := t.accountsChanged(ctx); err != nil {
		return nil, known(err, fault.SIMPlatformNotFound, "")
	}
	a := t.account(c.Account)
	if a == nil {
		return nil, noPlatform(c.Account)
	}
	if !create && a.embedded() {
		if err := t.showDevices(context.WithoutCancel(ctx), a); err != nil {
			return nil, known(err, fault.SIMPlatformNotFound, "")
		}
	}
	return t.platformView(ctx, a)
}

// showDevices has all linked devices of an account know of their SIMs again,
// because what the account enforces may have changed.
func (t *Tenant) showDevices(ctx context.Context, a *account) error {
	for after := ""; ; {
		var ids []string
		err := t.db.View(ctx, func(tx *store.Tx) (err error) {
			ids, err = tx.LinkedSIMs(a.Account.Account, after, timerBatch)
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		err = t.db.Update(ctx, func(tx *store.Tx) error {
			for _, id := range ids {
				s, err := tx.SIM(id)
				if err == nil {
					err = t.showDevice(tx, a, s)
				}
				if err != nil && !errors.Is(err, store.ErrNone) {
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

// accountRow returns the account as the store keeps it.
func (t *Tenant) accountRow(c Account) (*store.SIMAccount, error) {
	row := &store.SIMAccount{Name: c.Account, Platform: c.Platform, Secret: []byte{}}
	if c.HTTP != nil {
		sealed, err := seal(t.o.Key, c.HTTP.ClientSecret, t.name+"/"+c.Account)
		if err != nil {
			return nil, err
		}
		h := *c.HTTP
		h.ClientSecret = ""
		c.HTTP, row.Secret = &h, sealed
	}
	doc, err := json.Marshal(c)
	row.Doc = string(doc)
	return row, err
}

func (t *Tenant) accountsChanged(ctx context.Context) error {
	err := t.loadAccounts(context.WithoutCancel(ctx))
	t.tell(note{Accounts: true})
	t.remote.poke()
	return err
}

// DeletePlatform removes an account, its products and their links.
func (a *Access) DeletePlatform(ctx context.Context, name string) error {
	t := a.t
	if err := a.enter(ctx, "", &opManage, 0); err != nil {
		return err
	}
	if t.account(name) == nil {
		return noPlatform(name)
	}
	// Products go a few at a time, the account with the last of them.
	for n := timerBatch; n == timerBatch; {
		err := t.db.Update(ctx, func(tx *store.Tx) error {
			ids, err := tx.SIMsOfAccount(name, timerBatch)
			if err != nil {
				return err
			}
			if n = len(ids); n > 0 {
				if err := t.dropIn(tx, ids, a.actor); err != nil {
					return err
				}
			}
			if n == timerBatch {
				return nil
			}
			return tx.DeleteSIMAccount(name)
		})
		if err != nil {
			return known(err, fault.SIMPlatformNotFound, "No platform account with name %s.", name)
		}
	}
	return known(t.accountsChanged(ctx), fault.SIMPlatformNotFound, "")
}

// ClassOK is the answer of CheckPlatform when all is well.
const ClassOK Class = "ok"

// CheckPlatform says whether address and credentials of an account are good:
// ClassOK or the class of the failure.
func (a *Access) CheckPlatform(ctx context.Context, name string) (Class, error) {
	if err := a.enter(ctx, "", &opManage, 0); err != nil {
		return "", err
	}
	one := a.t.account(name)
	if one == nil {
		return "", noPlatform(name)
	}
	err := one.platform.Probe(ctx)
	a.t.observe(one, err)
	var e *PlatformError
	switch {
	case err == nil:
		return ClassOK, nil
	case errors.As(err, &e):
		return e.Class, nil
	}
	return ClassUnknown, nil
}
