package dps

import (
	"context"
	"errors"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opAccountRead   = newOp("grouprecord.read", RegistrationRead)
	opAccountWrite  = newOp("grouprecord.write", RegistrationWrite)
	opAccountDelete = newOp("grouprecord.delete", RegistrationWrite)
	opAccountReset  = newOp("grouprecord.reset", RegistrationWrite)
)

var groupRecords = &resource[GroupRecord]{KindGroupRecord, "the group record",
	Faults{fault.DPSGroupRecordNotFound, fault.DPSGroupRecordConflict}, func(r *GroupRecord) *string { return &r.ETag }}

// ParseGroupRecord reads what an operator may say of a group: quota, window and
// settings; DeserializationError, ArgumentInvalid.
func ParseGroupRecord(b []byte) (*GroupRecord, error) {
	r := &GroupRecord{}
	if err := Decode(b, r); err != nil {
		return nil, err
	}
	if r.Max != nil && *r.Max < 0 {
		return nil, fault.DPSArgumentInvalid.New("maxRegistrations is %d, it cannot be negative", *r.Max)
	}
	if !r.ValidFrom.IsZero() && !r.ValidTo.IsZero() && !r.ValidFrom.Before(r.ValidTo.Time) {
		return nil, fault.DPSArgumentInvalid.New("validToUtc does not come after validFromUtc")
	}
	return r, nil
}

// GroupRecord returns the account of an enrolment group (dps 6.2): of one that
// nobody has registered with, an empty one; GroupRecordNotFound when there has
// never been such a group.
func (a *Access) GroupRecord(ctx context.Context, id string) (*GroupRecord, error) {
	if err := a.enter(ctx, opAccountRead, id); err != nil {
		return nil, err
	}
	var r *GroupRecord
	err := a.view(ctx, func(tx *store.Tx) (err error) { r, err = needAccount(tx, id); return err })
	return r, err
}

// needAccount returns the record of a group, also of one that has none yet;
// GroupRecordNotFound.
func needAccount(tx *store.Tx, id string) (*GroupRecord, error) {
	r, err := groupRecords.find(tx, id)
	if err != nil || r != nil {
		return r, err
	}
	e, err := readRow[Enrollment](tx, KindGroup, key(id))
	if errors.Is(err, store.ErrNone) {
		return nil, fault.DPSGroupRecordNotFound.New("%s does not exist", groupRecords.called(id))
	}
	if err != nil {
		return nil, err
	}
	return &GroupRecord{ID: e.GroupID, ETag: unmarked}, nil
}

// GroupRecords returns a page of the records that are stored, in the order of
// ids.
func (a *Access) GroupRecords(ctx context.Context, token string, limit int) ([]*GroupRecord, string, error) {
	return pages(ctx, a, opAccountRead, groupRecords.listed("groupRecords", same), token, limit)
}

// PutGroupRecord sets quota, window and settings of a group; counts are kept.
// It answers GroupRecordConflict, also for a quota below the present count;
// GroupRecordNotFound, EnrollmentGroupNotFound for a record of a group that is
// not there, ProvisioningSettingsNotFound, PreconditionFailed.
func (a *Access) PutGroupRecord(ctx context.Context, id string, r *GroupRecord, m Match) (*GroupRecord, error) {
	if err := a.enter(ctx, opAccountWrite, id); err != nil {
		return nil, err
	}
	if err := CheckGroupID(id); err != nil {
		return nil, err
	}
	if err := sameName("enrollmentGroupId", id, r.ID); err != nil {
		return nil, err
	}
	var n *GroupRecord
	err := a.update(ctx, func(tx *store.Tx) error {
		stored, err := groupRecords.find(tx, id)
		if err != nil {
			return err
		}
		// The record of a group that has none yet may be created, and updated
		// with the etag that reading it has shown.
		n, err = needAccount(tx, id)
		if errors.Is(err, fault.DPSGroupRecordNotFound) {
			if err := m.Put(r.ETag, "", groupRecords.faults, groupRecords.called(id)); err != nil {
				return err
			}
			return missing(store.ErrNone, KindGroup, id)
		}
		if err != nil {
			return err
		}
		if stored != nil || m.IfMatch != "" || r.ETag != "" {
			if err := m.Put(r.ETag, n.ETag, groupRecords.faults, groupRecords.called(id)); err != nil {
				return err
			}
		}
		if r.SettingsID != "" {
			if _, err := findSettings(tx, r.SettingsID); err != nil {
				return err
			}
		}
		if r.Max != nil && *r.Max < n.Count {
			return fault.DPSGroupRecordConflict.New("maxRegistrations is %d, and %d devices of %s are registered", *r.Max, n.Count, id)
		}
		n.Max, n.ValidFrom, n.ValidTo, n.SettingsID = r.Max, r.ValidFrom, r.ValidTo, r.SettingsID
		a.s.changed(tx, KindGroupRecord)
		return groupRecords.put(tx, id, n, stored == nil)
	})
	return n, err
}

// DeleteGroupRecord removes the record of a group that is gone;
// GroupRecordNotFound, PreconditionFailed, GroupRecordConflict while the group
// exists.
func (a *Access) DeleteGroupRecord(ctx context.Context, id string, m Match) error {
	if err := a.enter(ctx, opAccountDelete, id); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		_, err := tx.DPS(KindGroup, key(id))
		if err == nil {
			return fault.DPSGroupRecordConflict.New("the enrollment group %s exists, and its record stays with it", brief(id))
		}
		if !errors.Is(err, store.ErrNone) {
			return err
		}
		if _, err := groupRecords.toDelete(tx, id, m); err != nil {
			return err
		}
		return tx.DeleteDPS(KindGroupRecord, key(id))
	})
}

// ResetUsage counts the registered devices of a group anew and returns its
// record; GroupRecordNotFound.
func (a *Access) ResetUsage(ctx context.Context, id string) (r *GroupRecord, err error) {
	if err := a.enter(ctx, opAccountReset, id); err != nil {
		return nil, err
	}
	err = a.update(ctx, func(tx *store.Tx) error {
		stored, err := groupRecords.find(tx, id)
		if err != nil {
			return err
		}
		if r, err = needAccount(tx, id); err != nil {
			return err
		}
		if r.Count, err = registeredIn(tx, id); err != nil {
			return err
		}
		r.Failed = 0
		return groupRecords.put(tx, id, r, stored == nil)
	})
	return r, err
}

// registeredIn counts the registrations of a group that have a hub.
func registeredIn(tx *store.Tx, group string) (n int, err error) {
	const page = 500
	for after := ""; ; {
		rows, err := tx.DPSByRef(KindRegistration, key(group), after, page)
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			if row.Ref2 != "" {
				n++
			}
		}
		if len(rows) < page {
			return n, nil
		}
		after = rows[len(rows)-1].Key
	}
}
