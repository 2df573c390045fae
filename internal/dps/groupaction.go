package dps

import (
	"context"
	"slices"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// StartGroupAction begins to do something to all members of a device group; it
// goes on in the background, after a restart or the end of this node, too. It
// answers DeviceGroupNotFound, LinkedHubNotFound for a hub it names, and
// DeviceGroupConflict while another action runs on the group (dps 6.3).
func (a *Access) StartGroupAction(ctx context.Context, id string, x *GroupAction) (*GroupAction, error) {
	if err := a.enter(ctx, opGroupOfDevicesAct, id); err != nil {
		return nil, err
	}
	var g *DeviceGroup
	err := a.view(ctx, func(tx *store.Tx) (err error) { g, err = deviceGroups.need(tx, id); return err })
	if err != nil {
		return nil, err
	}
	if err := a.counted(ctx, g); err != nil {
		return nil, err
	}
	n := *x
	n.ID, n.Status, n.Started, n.Total = newOperationID(), ActionRunning, Time{a.s.now()}, *g.Count
	err = a.update(ctx, func(tx *store.Tx) error {
		g, err := deviceGroups.need(tx, id)
		if err != nil {
			return err
		}
		if g.Active != nil {
			return g.running()
		}
		for _, host := range n.Hubs {
			if _, err := linkedHubs.need(tx, host); err != nil {
				return err
			}
		}
		g.Active = &n
		tx.After(a.s.wakeActions)
		return g.save(tx, false)
	})
	if err != nil {
		return nil, err
	}
	return n.shown(), nil
}

// GroupActionOf returns an action of a device group, running or the one that
// ended last; DeviceGroupNotFound, AsyncOperationNotFound.
func (a *Access) GroupActionOf(ctx context.Context, id, operation string) (*GroupAction, error) {
	g, err := read(ctx, a, opGroupOfDevicesRead, deviceGroups, id)
	if err != nil {
		return nil, err
	}
	for _, x := range []*GroupAction{g.Active, g.Last} {
		if x != nil && x.ID == operation {
			return x.shown(), nil
		}
	}
	return nil, fault.DPSAsyncOperationNotFound.New("%s has no action %q", deviceGroups.called(id), brief(operation))
}

// actionPause is how long this node waits before it looks for actions that
// another node has left.
const actionPause = 5 * time.Second

// wakeActions has this node look for actions at once.
func (s *Service) wakeActions() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// runActions carries actions of device groups out, one batch of members after
// another, until the service closes. A batch and the note how far it came are
// one transaction, so that nodes may do this side by side.
func (s *Service) runActions() {
	for {
		more, err := s.stepActions(s.ctx)
		if err != nil && s.ctx.Err() == nil {
			s.o.Log.Warn("an action of a device group waits", "err", err)
		}
		if more && err == nil {
			continue
		}
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-time.After(actionPause):
		}
	}
}

// stepActions does a batch of each action that runs; it says whether there are
// any.
func (s *Service) stepActions(ctx context.Context) (more bool, err error) {
	var busy []*store.DPSRow
	err = s.db.View(ctx, func(tx *store.Tx) (err error) {
		busy, err = tx.DPSByRef(KindDeviceGroup, groupBusy, "", maxDeviceGroups)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, row := range busy {
		if err := s.db.Update(ctx, func(tx *store.Tx) error { return s.stepAction(tx, row.Key) }); err != nil {
			return true, err
		}
	}
	return len(busy) > 0, nil
}

// stepAction does the next batch of the action that runs on the group.
func (s *Service) stepAction(tx *store.Tx, id string) error {
	g, err := deviceGroups.find(tx, id)
	if err != nil || g == nil || g.Active == nil {
		return err
	}
	records, after, more, err := g.batch(tx, g.Active.After)
	if err != nil {
		return err
	}
	x := *g.Active
	for _, r := range records {
		if x.apply(r) {
			r.Updated = Time{s.now()}
			if err := storeRecord(tx, r, false); err != nil {
				return err
			}
		}
	}
	x.After, x.Done = after, x.Done+len(records)
	g.Active = &x
	if !more {
		x.Status, x.Finished, x.Total = ActionSucceeded, Time{s.now()}, x.Done
		g.Active, g.Last = nil, &x
		return g.save(tx, false)
	}
	row, err := newRow(KindDeviceGroup, key(g.ID), g) // the etag stays: an operator has changed nothing
	if err != nil {
		return err
	}
	row.Ref = groupBusy
	return tx.PutDPS(row)
}

// batch returns the next members after the key, how far it has looked, and
// whether there may be more.
func (g *DeviceGroup) batch(tx *store.Tx, after string) (records []*DeviceRecord, next string, more bool, err error) {
	var rows []*store.DPSRow
	if g.Membership.Query == "" {
		rows, err = tx.DPSByRef(KindMember, key(g.ID), after, membersAtOnce)
	} else {
		rows, err = tx.DPSAfter(KindDeviceRecord, after, membersAtOnce)
	}
	if err != nil {
		return nil, "", false, err
	}
	q, err := parseQuery(g.Membership.Query, "deviceRecords")
	if err != nil {
		return nil, "", false, err
	}
	for _, row := range rows {
		next = row.Key
		id := row.Ref2
		if g.Membership.Query != "" {
			id = row.Key
		}
		r, err := deviceRecords.find(tx, id)
		if err != nil {
			return nil, "", false, err
		}
		if r == nil {
			continue
		}
		if g.Membership.Query != "" {
			if ok, err := q.matches(r.shown()); err != nil || !ok {
				if err != nil {
					return nil, "", false, err
				}
				continue
			}
		}
		records = append(records, r)
	}
	return records, next, len(rows) == membersAtOnce, nil
}

// apply changes a record as the action wants it; it says whether there was
// anything to change.
func (x *GroupAction) apply(r *DeviceRecord) bool {
	status := r.Status
	switch {
	case x.Type == ActionReprovision:
		if r.Reprovision && slices.Equal(r.ReprovisionHubs, x.Hubs) {
			return false
		}
		r.Reprovision, r.ReprovisionHubs = true, x.Hubs
		return true
	case x.Type == ActionBlock && status != RecordRetired:
		r.Status = RecordBlocked
	case x.Type == ActionUnblock && status == RecordBlocked:
		r.Status = r.restored()
	case x.Type == ActionRetire:
		r.Status = RecordRetired
	}
	return r.Status != status
}
