package dps

import (
	"context"
	"slices"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opGroupOfDevicesRead   = newOp("devicegroup.read", RegistrationRead)
	opGroupOfDevicesWrite  = newOp("devicegroup.write", RegistrationWrite)
	opGroupOfDevicesDelete = newOp("devicegroup.delete", RegistrationWrite)
	opGroupOfDevicesMember = newOp("devicegroup.member", RegistrationWrite)
	opGroupOfDevicesAct    = newOp("devicegroup.action", RegistrationWrite)
)

// DeviceGroup returns a device group with its member count (dps 6.3);
// DeviceGroupNotFound.
func (a *Access) DeviceGroup(ctx context.Context, id string) (*DeviceGroup, error) {
	g, err := read(ctx, a, opGroupOfDevicesRead, deviceGroups, id)
	if err != nil {
		return nil, err
	}
	if err := a.counted(ctx, g); err != nil {
		return nil, err
	}
	return g.shown(), nil
}

// counted fills in the member count.
func (a *Access) counted(ctx context.Context, g *DeviceGroup) error {
	n := 0
	if g.Count != nil {
		n = *g.Count
	}
	g.Count = &n
	if g.Membership.Query == "" {
		return nil
	}
	q, err := parseQuery(g.Membership.Query, "deviceRecords")
	if err != nil {
		return err
	}
	return a.view(ctx, func(tx *store.Tx) error {
		n = 0
		return deviceRecords.every(tx, func(r *DeviceRecord) error {
			ok, err := q.matches(r.shown())
			if ok {
				n++
			}
			return err
		})
	})
}

// DeviceGroups returns a page of the device groups, in the order of ids.
func (a *Access) DeviceGroups(ctx context.Context, token string, limit int) ([]*DeviceGroup, string, error) {
	return pages(ctx, a, opGroupOfDevicesRead, deviceGroups.listed("deviceGroups", (*DeviceGroup).shown), token, limit)
}

// PutDeviceGroup creates a device group that ParseDeviceGroup has read, or
// replaces description and query. It answers DeviceGroupConflict, also for an
// explicit group with members that is to get a query; DeviceGroupNotFound,
// PreconditionFailed, ArgumentInvalid.
func (a *Access) PutDeviceGroup(ctx context.Context, id string, g *DeviceGroup, m Match) (*DeviceGroup, error) {
	if err := a.enter(ctx, opGroupOfDevicesWrite, id); err != nil {
		return nil, err
	}
	if err := checkResourceID("a device group", id); err != nil {
		return nil, err
	}
	if err := sameName("deviceGroupId", id, g.ID); err != nil {
		return nil, err
	}
	var n DeviceGroup
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := deviceGroups.toPut(tx, id, g.ETag, m)
		if err != nil {
			return err
		}
		now := Time{a.s.now()}
		n = DeviceGroup{ID: id, Description: g.Description, Membership: g.Membership, Created: now, Updated: now}
		if before == nil {
			if err := deviceGroups.room(tx, maxDeviceGroups, "device groups"); err != nil {
				return err
			}
			return n.save(tx, true)
		}
		n.ID, n.Created, n.Count, n.Active, n.Last = before.ID, before.Created, before.Count, before.Active, before.Last
		switch changed := n.Membership != before.Membership; {
		case changed && n.Active != nil:
			return n.running()
		case changed && before.Count != nil && *before.Count > 0:
			return fault.DPSDeviceGroupConflict.New("%s has %d members, which a query cannot take over; remove them first", deviceGroups.called(id), *before.Count)
		}
		return n.save(tx, false)
	})
	if err != nil {
		return nil, err
	}
	if err := a.counted(ctx, &n); err != nil {
		return nil, err
	}
	return n.shown(), nil
}

// running is the answer to what an action stands against.
func (g *DeviceGroup) running() error {
	return fault.DPSDeviceGroupConflict.New("the action %s runs on %s, %d of %d devices are done", g.Active.Type, deviceGroups.called(g.ID), g.Active.Done, g.Active.Total)
}

// DeleteDeviceGroup removes a device group; its members stay. It answers
// DeviceGroupNotFound, PreconditionFailed, DeviceGroupConflict while an action
// runs and, without force, while it has members.
func (a *Access) DeleteDeviceGroup(ctx context.Context, id string, m Match, force bool) error {
	if err := a.enter(ctx, opGroupOfDevicesDelete, id); err != nil {
		return err
	}
	for more := true; more; {
		err := a.update(ctx, func(tx *store.Tx) error {
			more = false
			g, err := deviceGroups.toDelete(tx, id, m)
			switch {
			case err != nil:
				return err
			case g.Active != nil:
				return g.running()
			case !force && g.Count != nil && *g.Count > 0:
				return fault.DPSDeviceGroupConflict.New("%s has %d members; force=true deletes it all the same", deviceGroups.called(id), *g.Count)
			}
			n, err := g.empty(tx)
			if err != nil {
				return err
			}
			if more = n == membersAtOnce; more {
				return nil
			}
			return tx.DeleteDPS(KindDeviceGroup, key(id))
		})
		if err != nil {
			return err
		}
		m = Match{} // it was judged, and emptying has changed the etag
	}
	return nil
}

// membersAtOnce is how many members one transaction changes.
const membersAtOnce = 100

// empty ends the membership of some records and returns of how many.
func (g *DeviceGroup) empty(tx *store.Tx) (int, error) {
	rows, err := tx.DPSByRef(KindMember, key(g.ID), "", membersAtOnce)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		v, err := decodeRow[member](row)
		if err != nil {
			return 0, err
		}
		if err := g.enrol(tx, v.Record, false); err != nil {
			return 0, err
		}
		r, err := deviceRecords.find(tx, v.Record)
		if err != nil {
			return 0, err
		}
		if r == nil {
			continue
		}
		r.leave(g.ID)
		if err := storeRecord(tx, r, false); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

// leave takes the group off the record's list.
func (r *DeviceRecord) leave(group string) {
	r.Groups = slices.DeleteFunc(r.Groups, func(g string) bool { return strings.EqualFold(g, group) })
	if len(r.Groups) == 0 {
		r.Groups = nil
	}
}

// GroupDevices returns a page of the records in a device group, in the order of
// ids; DeviceGroupNotFound.
func (a *Access) GroupDevices(ctx context.Context, id, token string, limit int) ([]*DeviceRecord, string, error) {
	g, err := read(ctx, a, opGroupOfDevicesRead, deviceGroups, id)
	if err != nil {
		return nil, "", err
	}
	q, err := parseQuery(g.Membership.Query, "deviceRecords")
	if err != nil {
		return nil, "", err
	}
	l := &listing[*DeviceRecord]{name: "deviceGroups/" + key(id), rows: kindRows(KindDeviceRecord), take: q.record}
	if g.Membership.Query == "" {
		l.rows = func(tx *store.Tx, after string, n int) ([]*store.DPSRow, error) {
			return tx.DPSByRef(KindMember, key(id), after, n)
		}
		l.take = func(tx *store.Tx, row *store.DPSRow) (*DeviceRecord, bool, error) {
			r, err := deviceRecords.find(tx, row.Ref2)
			if err != nil || r == nil {
				return nil, false, err
			}
			return r.shown(), true, nil
		}
	}
	return page(ctx, a, l, token, limit)
}

// GroupDevice returns the record of a member of a device group;
// DeviceGroupNotFound, DeviceRecordNotFound.
func (a *Access) GroupDevice(ctx context.Context, id, record string) (*DeviceRecord, error) {
	if err := a.enter(ctx, opGroupOfDevicesRead, id); err != nil {
		return nil, err
	}
	var r *DeviceRecord
	err := a.view(ctx, func(tx *store.Tx) error {
		g, err := deviceGroups.need(tx, id)
		if err != nil {
			return err
		}
		if r, err = deviceRecords.need(tx, record); err != nil {
			return err
		}
		in, err := g.has(tx, r)
		if err == nil && !in {
			err = fault.DPSDeviceRecordNotFound.New("%s is no member of %s", deviceRecords.called(record), deviceGroups.called(id))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.shown(), nil
}

// has says whether the record is a member.
func (g *DeviceGroup) has(tx *store.Tx, r *DeviceRecord) (bool, error) {
	if g.Membership.Query == "" {
		return named(g.ID, r.Groups...), nil
	}
	q, err := parseQuery(g.Membership.Query, "deviceRecords")
	if err != nil {
		return false, err
	}
	return q.matches(r.shown())
}

// AddGroupDevice makes a record a member of an explicit device group; it is no
// error when it is one. DeviceGroupNotFound, DeviceRecordNotFound,
// DeviceGroupConflict for a group with a query.
func (a *Access) AddGroupDevice(ctx context.Context, id, record string) (*DeviceRecord, error) {
	return a.member(ctx, id, record, true)
}

// RemoveGroupDevice ends the membership of a record; DeviceGroupNotFound,
// DeviceRecordNotFound for one that is no member, DeviceGroupConflict for a
// group with a query.
func (a *Access) RemoveGroupDevice(ctx context.Context, id, record string) error {
	_, err := a.member(ctx, id, record, false)
	return err
}

func (a *Access) member(ctx context.Context, id, record string, in bool) (r *DeviceRecord, err error) {
	if err := a.enter(ctx, opGroupOfDevicesMember, id); err != nil {
		return nil, err
	}
	err = a.update(ctx, func(tx *store.Tx) error {
		g, err := deviceGroups.need(tx, id)
		if err != nil {
			return err
		}
		if r, err = deviceRecords.need(tx, record); err != nil {
			return err
		}
		was := named(g.ID, r.Groups...)
		switch {
		case g.Membership.Query != "":
			return explicitOnly(g)
		case was && in:
			return nil
		case !was && !in:
			return fault.DPSDeviceRecordNotFound.New("%s is no member of %s", deviceRecords.called(record), deviceGroups.called(id))
		case in && len(r.Groups) >= maxMemberships:
			return fault.DPSArgumentInvalid.New("%s is in %d device groups, more are not allowed", deviceRecords.called(record), len(r.Groups))
		case in:
			r.Groups = append(r.Groups, g.ID)
		default:
			r.leave(g.ID)
		}
		if err := g.enrol(tx, r.ID, in); err != nil {
			return err
		}
		return storeRecord(tx, r, false)
	})
	if err != nil {
		return nil, err
	}
	return r.shown(), nil
}
