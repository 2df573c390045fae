package dps

import (
	"context"
	"slices"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opRecordRead   = newOp("devicerecord.read", RegistrationRead)
	opRecordWrite  = newOp("devicerecord.write", RegistrationWrite)
	opRecordDelete = newOp("devicerecord.delete", RegistrationWrite)
)

var deviceRecords = &resource[DeviceRecord]{KindDeviceRecord, "the device record",
	Faults{fault.DPSDeviceRecordNotFound, fault.DPSDeviceRecordConflict}, func(r *DeviceRecord) *string { return &r.ETag }}

// maxMemberships is how many device groups a record belongs to at most.
const maxMemberships = 50

// RecordDraft is what an operator says of a device, made by ParseDeviceRecord.
type RecordDraft struct {
	DeviceRecord
	member bool // deviceGroupIds was given
	source bool // source was given
}

// ParseDeviceRecord reads a device record as clients send it, read-only members
// dropped; DeserializationError, ArgumentInvalid, InvalidRegistrationId.
func ParseDeviceRecord(b []byte) (*RecordDraft, error) {
	var in struct {
		ID             string          `json:"deviceRecordId"`
		RegistrationID string          `json:"registrationId"`
		DeviceID       string          `json:"deviceId"`
		Source         *RecordSource   `json:"source"`
		Status         string          `json:"status"`
		Overrides      RecordOverrides `json:"overrides"`
		Groups         *[]string       `json:"deviceGroupIds"`
		ETag           string          `json:"etag"`
	}
	if err := Decode(b, &in); err != nil {
		return nil, err
	}
	d := &RecordDraft{DeviceRecord: DeviceRecord{ID: in.ID, RegistrationID: in.RegistrationID, DeviceID: in.DeviceID, Status: in.Status,
		Overrides: in.Overrides, ETag: in.ETag}, member: in.Groups != nil, source: in.Source != nil}
	if in.Groups != nil {
		d.Groups = *in.Groups
	}
	if in.Source != nil {
		d.Source = *in.Source
	}
	return d, d.check()
}

func (d *RecordDraft) check() (err error) {
	if d.RegistrationID != "" {
		if err := CheckRegistrationID(d.RegistrationID); err != nil {
			return err
		}
	}
	for _, id := range []string{d.DeviceID, d.Overrides.DeviceID} {
		if id != "" {
			if err := checkDeviceID(id); err != nil {
				return err
			}
		}
	}
	if d.Status != "" {
		if d.Status, err = canonical("status", d.Status, RecordStaged, RecordActive, RecordBlocked, RecordRetired); err != nil {
			return err
		}
	}
	if d.source {
		if d.Source.Type, err = canonical("source.type", d.Source.Type, "enrollment", "enrollmentGroup", "manual"); err != nil {
			return err
		}
	}
	if isNull(d.Overrides.InitialTwin) {
		d.Overrides.InitialTwin = nil
	}
	if len(d.Groups) > maxMemberships {
		return fault.DPSArgumentInvalid.New("deviceGroupIds has %d items, %d are allowed", len(d.Groups), maxMemberships)
	}
	_, err = ParseInitialTwin(d.Overrides.InitialTwin)
	return err
}

// DeviceRecord returns the record of a device (dps 6.1); DeviceRecordNotFound.
func (a *Access) DeviceRecord(ctx context.Context, id string) (*DeviceRecord, error) {
	r, err := read(ctx, a, opRecordRead, deviceRecords, id)
	if err != nil {
		return nil, err
	}
	return r.shown(), nil
}

// DeviceRecords returns a page of the records that match the query, in the
// order of ids; ArgumentInvalid.
func (a *Access) DeviceRecords(ctx context.Context, query, token string, limit int) ([]*DeviceRecord, string, error) {
	q, err := parseQuery(query, "deviceRecords")
	if err != nil {
		return nil, "", err
	}
	l := deviceRecords.listed("deviceRecords", (*DeviceRecord).shown)
	l.take = q.record
	return pages(ctx, a, opRecordRead, l, token, limit)
}

// record returns what a row shows and whether it matches.
func (q *query) record(_ *store.Tx, row *store.DPSRow) (*DeviceRecord, bool, error) {
	r, err := decodeRow[DeviceRecord](row)
	if err != nil {
		return nil, false, err
	}
	r = r.shown()
	ok, err := q.matches(r)
	return r, ok, err
}

// PutDeviceRecord creates or replaces what an operator says of a device: ids,
// status, overrides, membership in device groups. It answers
// DeviceRecordConflict, also for ids of another record and for another
// registration id; DeviceRecordNotFound, PreconditionFailed,
// DeviceGroupNotFound, LinkedHubNotFound and GenericNotFound for what it names
// (dps 5.4), ArgumentInvalid.
func (a *Access) PutDeviceRecord(ctx context.Context, id string, d *RecordDraft, m Match) (*DeviceRecord, error) {
	if err := a.enter(ctx, opRecordWrite, id); err != nil {
		return nil, err
	}
	if err := checkResourceID("a device record", id); err != nil {
		return nil, err
	}
	if err := sameName("deviceRecordId", id, d.ID); err != nil {
		return nil, err
	}
	var r *DeviceRecord
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := deviceRecords.toPut(tx, id, d.ETag, m)
		if err != nil {
			return err
		}
		if r, err = d.apply(id, before, Time{a.s.now()}); err != nil {
			return err
		}
		if err := checkRecord(tx, r); err != nil {
			return err
		}
		if d.member {
			if err := moveRecord(tx, r, before, d.Groups); err != nil {
				return err
			}
		}
		return storeRecord(tx, r, before == nil)
	})
	if err != nil {
		return nil, err
	}
	return r.shown(), nil
}

// apply returns what the draft makes of before, nil for a new record.
func (d *RecordDraft) apply(id string, before *DeviceRecord, now Time) (*DeviceRecord, error) {
	r := &DeviceRecord{ID: id, RegistrationID: id, Status: RecordStaged, Source: RecordSource{Type: "manual"}, Created: now}
	if d.RegistrationID != "" {
		r.RegistrationID = d.RegistrationID
	}
	if before != nil {
		if d.RegistrationID != "" && key(d.RegistrationID) != key(before.RegistrationID) {
			return nil, fault.DPSDeviceRecordConflict.New("registrationId of %s is %s and cannot change", deviceRecords.called(id), before.RegistrationID)
		}
		c := *before
		r = &c
	} else if d.source {
		r.Source = d.Source
	}
	if err := CheckRegistrationID(r.RegistrationID); err != nil {
		return nil, err
	}
	if d.Status != "" {
		if d.Status == RecordActive && r.restored() != RecordActive {
			return nil, fault.DPSArgumentInvalid.New("status active comes with the first registration; staged, blocked and retired are an operator's to set")
		}
		r.Status = d.Status
		if d.Status == RecordStaged {
			r.Status = r.restored()
		}
	}
	r.Overrides, r.Updated = d.Overrides, now
	switch {
	case len(r.Hubs) > 0 && d.DeviceID != "" && d.DeviceID != r.DeviceID:
		return nil, fault.DPSDeviceRecordConflict.New("deviceId of %s is %s since it was assigned; overrides.deviceId holds for its next first assignment", deviceRecords.called(id), r.DeviceID)
	case len(r.Hubs) == 0 && d.Overrides.DeviceID != "":
		r.DeviceID = d.Overrides.DeviceID
	case len(r.Hubs) == 0:
		r.DeviceID = d.DeviceID
	}
	return r, nil
}

// checkRecord answers a fault when ids of the record are another's, or when it
// names what is not there.
func checkRecord(tx *store.Tx, r *DeviceRecord) error {
	other := func(rows []*store.DPSRow, what string) error {
		for _, row := range rows {
			if row.Key != key(r.ID) {
				return fault.DPSDeviceRecordConflict.New("%s is that of the device record %s", what, row.Key)
			}
		}
		return nil
	}
	rows, err := tx.DPSByRef2(KindDeviceRecord, key(r.RegistrationID), 2)
	if err == nil {
		err = other(rows, "registrationId "+r.RegistrationID)
	}
	if err == nil && r.DeviceID != "" {
		if rows, err = tx.DPSByRef(KindDeviceRecord, r.DeviceID, "", 2); err == nil {
			err = other(rows, "deviceId "+r.DeviceID)
		}
	}
	if err == nil && r.Overrides.Hub != "" {
		_, err = linkedHubs.need(tx, r.Overrides.Hub)
	}
	if err == nil && r.Overrides.CredentialPolicy != "" {
		_, err = credentials.need(tx, r.Overrides.CredentialPolicy)
	}
	return err
}

// storeRecord writes the record under a new etag.
func storeRecord(tx *store.Tx, r *DeviceRecord, fresh bool) error {
	r.ETag = newETag()
	row, err := r.row()
	if err != nil {
		return err
	}
	return deviceRecords.store(tx, row, fresh)
}

// moveRecord makes the record a member of exactly the explicit device groups;
// DeviceGroupNotFound, DeviceGroupConflict for a group that has a query.
func moveRecord(tx *store.Tx, r, before *DeviceRecord, groups []string) error {
	var old []string
	if before != nil {
		old = before.Groups
	}
	all := slices.Concat(old, groups)
	for i := range all {
		all[i] = key(all[i])
	}
	slices.Sort(all)
	r.Groups = nil
	for _, id := range slices.Compact(all) { // in order, so that two calls never wait for each other
		g, err := deviceGroups.find(tx, id)
		if err != nil {
			return err
		}
		was, will := named(id, old...), named(id, groups...)
		switch {
		case g == nil && will:
			return fault.DPSDeviceGroupNotFound.New("%s does not exist, deviceGroupIds names it", deviceGroups.called(id))
		case g == nil:
			continue
		case was != will && g.Membership.Query != "":
			return explicitOnly(g)
		case will:
			r.Groups = append(r.Groups, g.ID)
		}
		if was == will {
			continue
		}
		if err := g.enrol(tx, r.ID, will); err != nil {
			return err
		}
	}
	return nil
}

// DeleteDeviceRecord removes a record and its memberships; DeviceRecordNotFound,
// PreconditionFailed, and, without force, DeviceRecordConflict while its status
// is active.
func (a *Access) DeleteDeviceRecord(ctx context.Context, id string, m Match, force bool) error {
	if err := a.enter(ctx, opRecordDelete, id); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		r, err := deviceRecords.toDelete(tx, id, m)
		if err != nil {
			return err
		}
		if r.Status == RecordActive && !force {
			return fault.DPSDeviceRecordConflict.New("%s is active; force=true deletes it all the same", deviceRecords.called(id))
		}
		for _, group := range slices.SortedFunc(slices.Values(r.Groups), strings.Compare) {
			g, err := deviceGroups.find(tx, group)
			if err != nil {
				return err
			}
			if g == nil {
				continue
			}
			if err := g.enrol(tx, r.ID, false); err != nil {
				return err
			}
		}
		return tx.DeleteDPS(KindDeviceRecord, key(id))
	})
}
