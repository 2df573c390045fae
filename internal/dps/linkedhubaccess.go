package dps

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// KindUnlinked is the kind of rows that remember which hubs of this process the
// operator has unlinked; their key is the host name.
const KindUnlinked = "unlinked"

var (
	opHubRead   = newOp("hub.read", ServiceConfig)
	opHubWrite  = newOp("hub.write", ServiceConfig)
	opHubDelete = newOp("hub.delete", ServiceConfig)
)

var linkedHubs = &resource[LinkedHub]{KindHub, "the linked hub",
	Faults{fault.DPSLinkedHubNotFound, fault.DPSLinkedHubConflict}, func(l *LinkedHub) *string { return &l.ETag }}

// openHub opens the connection string of a stored link.
func (s *Service) openHub(l *LinkedHub) (err error) {
	l.Connection, err = s.seal.Open(KindHub+"/"+key(l.Name), l.Connection)
	return err
}

// showHub returns a stored link as answers have it. A connection string that
// cannot be opened any more is left out.
func (s *Service) showHub(l *LinkedHub) *LinkedHub {
	if s.openHub(l) != nil {
		l.Connection = ""
	}
	return l.shown()
}

// LinkedHub returns a link, its key masked (dps 3.11); LinkedHubNotFound.
func (a *Access) LinkedHub(ctx context.Context, name string) (*LinkedHub, error) {
	l, err := read(ctx, a, opHubRead, linkedHubs, name)
	if err != nil {
		return nil, err
	}
	return a.s.showHub(l), nil
}

// LinkedHubs returns a page of the links, in the order of names.
func (a *Access) LinkedHubs(ctx context.Context, token string, limit int) ([]*LinkedHub, string, error) {
	return pages(ctx, a, opHubRead, linkedHubs.listed("linkedHubs", a.s.showHub), token, limit)
}

// checkTime is how long a hub may take to answer when it is linked.
const checkTime = 20 * time.Second

// PutLinkedHub links a hub that ParseLinkedHub has read, or replaces the link,
// once the hub has accepted its credentials. It answers LinkedHubConflict, also
// for a hub that is linked under another name, LinkedHubNotFound,
// PreconditionFailed, ArgumentNull without a connection string, ArgumentInvalid
// when the hub refuses it, ServiceUnavailable when the hub cannot be reached.
func (a *Access) PutLinkedHub(ctx context.Context, name string, l *LinkedHub, m Match) (*LinkedHub, error) {
	if err := a.enter(ctx, opHubWrite, name); err != nil {
		return nil, err
	}
	if err := cmp.Or(checkHost(name), sameName("name", name, l.Name)); err != nil {
		return nil, err
	}
	// Before the hub is called, and again when its answer is there.
	n, err := a.s.draftHub(ctx, name, l, m, false)
	if err != nil {
		return nil, translated(err)
	}
	if err := a.s.tryHub(ctx, n); err != nil {
		return nil, err
	}
	if n, err = a.s.draftHub(ctx, name, l, m, true); err != nil {
		return nil, translated(err)
	}
	return n.shown(), nil
}

// draftHub judges a PUT and returns the link with its connection string open;
// with write it stores the link.
func (s *Service) draftHub(ctx context.Context, name string, l *LinkedHub, m Match, write bool) (n *LinkedHub, err error) {
	judge := func(tx *store.Tx) error {
		before, err := linkedHubs.toPut(tx, name, l.ETag, m)
		if err != nil {
			return err
		}
		c := *l
		n = &c
		n.Name, n.Updated = name, Time{s.now()}
		n.Created = n.Updated
		if err := s.carryOver(tx, n, before); err != nil {
			return err
		}
		if err := s.checkHosts(tx, n); err != nil || !write {
			return err
		}
		return s.storeHub(tx, n, before == nil)
	}
	if write {
		return n, s.db.Update(ctx, judge)
	}
	return n, s.db.View(ctx, judge)
}

// carryOver completes a link from the one it replaces, nil for none.
func (s *Service) carryOver(tx *store.Tx, n, before *LinkedHub) error {
	if before == nil {
		if err := linkedHubs.room(tx, maxHubs, "linked hubs"); err != nil {
			return err
		}
	} else {
		if err := s.openHub(before); err != nil {
			before.Connection = ""
		}
		n.Name, n.Created = before.Name, before.Created
		n.Local = n.Local || before.Local && n.Connection == ""
		if n.Connection == "" || isMasked(n.Connection) {
			n.Connection = before.Connection
		}
	}
	switch {
	case isMasked(n.Connection):
		return fault.DPSArgumentInvalid.New("connectionString is masked, and there is no stored one to keep")
	case n.Local:
		n.Connection = ""
	case n.Connection == "":
		return fault.DPSArgumentNull.New("connectionString is missing; it is needed unless local is true")
	}
	return nil
}

// checkHosts answers LinkedHubConflict when the hub is linked under another
// name.
func (s *Service) checkHosts(tx *store.Tx, n *LinkedHub) error {
	return linkedHubs.every(tx, func(other *LinkedHub) error {
		if strings.EqualFold(other.Name, n.Name) || s.openHub(other) != nil {
			return nil
		}
		for _, host := range n.hosts() {
			if slices.ContainsFunc(other.hosts(), func(h string) bool { return strings.EqualFold(h, host) }) {
				return fault.DPSLinkedHubConflict.New("the host %s is linked as %s already", host, other.Name)
			}
		}
		return nil
	})
}

// storeHub writes the link, and forgets that it was unlinked once.
func (s *Service) storeHub(tx *store.Tx, n *LinkedHub, fresh bool) error {
	closed := *n
	closed.Connection = s.seal.Seal(KindHub+"/"+key(n.Name), n.Connection)
	s.changed(tx, KindHub)
	if err := linkedHubs.put(tx, n.Name, &closed, fresh); err != nil {
		return err
	}
	n.ETag = closed.ETag
	if err := tx.DeleteDPS(KindUnlinked, key(n.Name)); !errors.Is(err, store.ErrNone) {
		return err
	}
	return nil
}

// tryHub makes a call that needs the rights of the link.
func (s *Service) tryHub(ctx context.Context, l *LinkedHub) error {
	if l.Local && s.o.Local(l.Name) == nil {
		return fault.DPSArgumentInvalid.New("local is true, but %s is no hub of this process", l.Name)
	}
	t, err := s.target(l)
	if err != nil {
		return translated(err)
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if err = t.Check(ctx); err == nil {
		return nil
	}
	e := fault.From(err)
	if cause := errors.Unwrap(e); e.Code.HTTP >= 500 && cause != nil {
		return fault.DPSServiceUnavailable.Wrap(err, "the hub %s could not be asked: %s. Is the address right, and its certificate one that the node trusts (dps.linkedCA)?", l.Name, cause)
	}
	if e.Code.HTTP == 429 || e.Code.HTTP >= 500 {
		return translated(err)
	}
	refused := fault.DPSArgumentInvalid.Wrap(err, "connectionString: %s (registry write and service connect are needed)", e.Text)
	if text, ok := e.Detail[hubText].(string); ok {
		refused.Detail = map[string]any{hubText: text}
	}
	return refused
}

// DeleteLinkedHub unlinks a hub. It answers LinkedHubNotFound,
// PreconditionFailed, and, without force, LinkedHubConflict while an enrolment
// names the hub or a device is assigned to it (dps 6.6).
func (a *Access) DeleteLinkedHub(ctx context.Context, name string, m Match, force bool) error {
	if err := a.enter(ctx, opHubDelete, name); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		l, err := linkedHubs.toDelete(tx, name, m)
		if err != nil {
			return err
		}
		if !force {
			if err := a.s.checkUnused(tx, l.Name); err != nil {
				return err
			}
		}
		row, err := newRow(KindUnlinked, key(l.Name), struct {
			At Time `json:"at"`
		}{Time{a.s.now()}})
		if err != nil {
			return err
		}
		if err := tx.PutDPS(row); err != nil {
			return err
		}
		a.s.changed(tx, KindHub)
		return tx.DeleteDPS(KindHub, key(name))
	})
}

// checkUnused answers LinkedHubConflict while enrolments or devices depend on
// the hub.
func (s *Service) checkUnused(tx *store.Tx, name string) error {
	rows, err := tx.DPSByRef2(KindRegistration, key(name), 1)
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return fault.DPSLinkedHubConflict.New("devices are assigned to the hub %s, such as %s; force=true unlinks it all the same", name, rows[0].Key)
	}
	by, err := s.referring(tx, func(e *Enrollment) bool { return named(name, e.Hubs...) })
	if err == nil && by != "" {
		err = fault.DPSLinkedHubConflict.New("the hub %s is named by %s; force=true unlinks it all the same", name, by)
	}
	return err
}

// LinkLocal links hubs of this process that have never been linked, nor
// unlinked by the operator. A node calls it when it starts.
func (s *Service) LinkLocal(ctx context.Context, hosts []string) error {
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		for _, host := range hosts {
			for _, kind := range []string{KindHub, KindUnlinked} {
				_, err := tx.DPS(kind, key(host))
				if err == nil {
					host = ""
					break
				}
				if !errors.Is(err, store.ErrNone) {
					return err
				}
			}
			if host == "" {
				continue
			}
			now := Time{s.now()}
			l := &LinkedHub{Name: host, Local: true, Weight: 1, Auth: keyBased, Created: now, Updated: now}
			if err := s.storeHub(tx, l, true); err != nil && !errors.Is(err, fault.DPSLinkedHubConflict) {
				return err
			}
		}
		return nil
	})
	return translated(err)
}
