package dps

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opLogRead   = newOp("record.read", RegistrationRead)
	opLogWrite  = newOp("record.write", RegistrationWrite)
	opLogDelete = newOp("record.delete", RegistrationWrite)
)

var recordFaults = Faults{fault.DPSProvisioningRecordNotFound, fault.DPSProvisioningRecordConflict}

// ProvisioningRecord returns the log entry of an operation, also of one that
// runs (dps 6.5); ProvisioningRecordNotFound.
func (a *Access) ProvisioningRecord(ctx context.Context, id string) (*ProvisioningRecord, error) {
	if err := a.enter(ctx, opLogRead, ""); err != nil {
		return nil, err
	}
	var r *ProvisioningRecord
	err := a.view(ctx, func(tx *store.Tx) (err error) { r, err = readRecord(tx, id); return noRecord(err, id) })
	if err != nil {
		return nil, err
	}
	if r.ETag == "" {
		r.ETag = unmarked
	}
	return r, nil
}

func noRecord(err error, id string) error {
	if errors.Is(err, store.ErrNone) {
		return fault.DPSProvisioningRecordNotFound.New("there is no record of the operation %s", brief(id))
	}
	return err
}

// RecordFilter chooses entries of the log; zero fields choose all.
type RecordFilter struct {
	RegistrationID string
	From, To       time.Time // of the start; To is not included
}

// ProvisioningRecords returns a page of the entries of operations that have
// ended, in the order of operation ids.
func (a *Access) ProvisioningRecords(ctx context.Context, f RecordFilter, token string, limit int) ([]*ProvisioningRecord, string, error) {
	l := &listing[*ProvisioningRecord]{name: "provisioningRecords/" + key(f.RegistrationID), rows: kindRows(KindRecord)}
	if f.RegistrationID != "" {
		l.rows = func(tx *store.Tx, after string, n int) ([]*store.DPSRow, error) {
			return tx.DPSByRef(KindRecord, key(f.RegistrationID), after, n)
		}
	}
	l.take = func(_ *store.Tx, row *store.DPSRow) (*ProvisioningRecord, bool, error) {
		if !f.From.IsZero() && row.At.Before(f.From) || !f.To.IsZero() && !row.At.Before(f.To) {
			return nil, false, nil
		}
		r, err := decodeRow[ProvisioningRecord](row)
		return r, err == nil, err
	}
	return pages(ctx, a, opLogRead, l, token, limit)
}

// maxRecordID is the longest id of an operation that is imported.
const maxRecordID = 128

// ParseProvisioningRecord reads an entry of another instance's log;
// DeserializationError, ArgumentNull, ArgumentInvalid, InvalidRegistrationId.
func ParseProvisioningRecord(b []byte) (*ProvisioningRecord, error) {
	r := &ProvisioningRecord{}
	if err := Decode(b, r); err != nil {
		return nil, err
	}
	switch {
	case r.RegistrationID == "":
		return nil, fault.DPSArgumentNull.New("registrationId is missing")
	case r.Started.IsZero():
		return nil, fault.DPSArgumentNull.New("startedUtc is missing")
	}
	if err := CheckRegistrationID(r.RegistrationID); err != nil {
		return nil, err
	}
	status, err := canonical("status", string(r.Status), string(Assigned), string(Failed), string(Disabled))
	if err != nil {
		return nil, err
	}
	r.Status = Status(status)
	if !r.Finished.IsZero() && r.Finished.Before(r.Started.Time) {
		return nil, fault.DPSArgumentInvalid.New("finishedUtc lies before startedUtc")
	}
	return r, nil
}

// ImportRecord adds an entry that ParseProvisioningRecord has read to the log;
// ProvisioningRecordConflict when the operation is there, whatever the etag:
// entries never change. ArgumentInvalid for its id.
func (a *Access) ImportRecord(ctx context.Context, id string, r *ProvisioningRecord, m Match) (*ProvisioningRecord, error) {
	if err := a.enter(ctx, opLogWrite, ""); err != nil {
		return nil, err
	}
	if why := idProblem(id); why != "" || len(id) > maxRecordID {
		return nil, fault.DPSArgumentInvalid.New("the operation id %s", why)
	}
	if r.OperationID != "" && r.OperationID != id {
		return nil, fault.DPSArgumentInvalid.New("the path names the operation %q, operationId of the body %q", id, brief(r.OperationID))
	}
	n := *r
	n.OperationID, n.ETag = id, newETag()
	row, err := newRow(KindRecord, id, &n)
	if err != nil {
		return nil, translated(err)
	}
	row.Ref, row.At = key(n.RegistrationID), n.Started.Time
	err = a.update(ctx, func(tx *store.Tx) error {
		_, err := readRecord(tx, id)
		switch {
		case err == nil:
			return fault.DPSProvisioningRecordConflict.New("there is a record of the operation %s, and records do not change", id)
		case !errors.Is(err, store.ErrNone):
			return err
		}
		if err := m.Put(r.ETag, "", recordFaults, "the record of "+id); err != nil && m.IfMatch != "" {
			return err // an etag in the body is that of the instance it comes from
		}
		return tx.InsertDPS(row)
	})
	return &n, err
}

// DeleteRecord removes an entry of the log; ProvisioningRecordNotFound,
// PreconditionFailed, ProvisioningRecordConflict while its operation runs.
func (a *Access) DeleteRecord(ctx context.Context, id string, m Match) error {
	if err := a.enter(ctx, opLogDelete, ""); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		r, err := readRecord(tx, id)
		switch {
		case err != nil:
			return noRecord(err, id)
		case r.Status == Assigning:
			return fault.DPSProvisioningRecordConflict.New("the operation %s runs", id)
		}
		if r.ETag == "" {
			r.ETag = unmarked
		}
		if err := m.Delete(r.ETag, recordFaults, "the record of "+brief(id)); err != nil {
			return err
		}
		return noRecord(tx.DeleteDPS(KindRecord, id), id)
	})
}
