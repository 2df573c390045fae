package dps

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// storePause is the wait after the store has refused an ending.
const storePause = time.Second

// close writes how the operation ended, in one transaction with all that
// follows from it, and tells whoever polls.
func (s *Service) close(ctx context.Context, j *job, e *ending) {
	done := j.op.ended(e.outcome)
	err := s.ends.do(ctx, func(tx *store.Tx, t *together) error { return s.conclude(tx, t, j, e, done) })
	switch {
	case errors.Is(err, errLost):
		s.lost(j)
		return
	case s.ctx.Err() != nil:
		return
	case isGone(err):
		s.close(ctx, j, s.failing(j, err))
		return
	case err != nil:
		s.o.Log.Warn("the end of a registration could not be stored", "registration", j.op.Registration, "op", j.op.ID, "err", err)
		lane := s.pool.lane(j.far)
		time.AfterFunc(storePause, func() {
			select {
			case lane.jobs <- j:
			case <-s.ctx.Done():
			}
		})
		return
	}
	s.operations.put(done.ID, done)
	s.pool.drop(j)
	if e.cause != nil {
		s.o.Log.Warn("a registration failed", "registration", j.op.Registration, "op", j.op.ID, "why", e.cause)
		s.o.Report("dps.register", j.op.Registration, e.cause)
	}
}

// conclude writes registration, ended operation, provisioning record, device
// record and account of the group; it answers EnrollmentNotFound or
// EnrollmentGroupNotFound, before it writes, when the device was assigned and the
// enrolment is gone.
func (s *Service) conclude(tx *store.Tx, t *together, j *job, e *ending, done *operation) error {
	if !s.holds() {
		if err := s.mine(tx, j.op); err != nil {
			return err
		}
	}
	if e.placed != nil {
		if err := remains(tx, j.op); err != nil {
			return err
		}
	}
	err := tx.DeleteDPS(KindRunning, key(j.op.Registration))
	if errors.Is(err, store.ErrNone) {
		return errLost
	}
	if err == nil {
		err = s.putRegistration(tx, j, e)
	}
	if err != nil {
		return err
	}
	row, err := done.row()
	if err == nil {
		err = tx.InsertDPS(row)
	}
	if err == nil {
		err = s.putRecord(tx, j, e, done)
	}
	if err == nil && e.placed != nil {
		err = s.putDeviceRecord(tx, j, e, done)
	}
	if err == nil && e.placed != nil && j.op.Kind == AttestTPM {
		err = s.recordSRK(tx, j.op)
	}
	if err == nil {
		e.account(t, j.op)
	}
	return err
}

func (s *Service) putRegistration(tx *store.Tx, j *job, e *ending) error {
	r := &Registration{RegistrationState: e.outcome.RegistrationState, Attestation: j.op.Kind, Group: j.op.Group, Version: j.op.Version,
		TPM: e.outcome.TPM, X509: e.outcome.X509, Symmetric: e.outcome.Symmetric, Operation: j.op.ID}
	if j.issued != nil && e.placed != nil {
		r.Issued = j.issued.facts()
	}
	fresh := e.dossier != nil && e.dossier.registration == nil
	if e.placed == nil && e.dossier != nil && e.dossier.assigned() {
		r.Group = e.dossier.registration.Group // which still counts the device
	}
	row, err := r.row()
	if err != nil {
		return err
	}
	if fresh {
		if err = tx.InsertDPS(row); !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	return tx.PutDPS(row)
}

func (s *Service) putRecord(tx *store.Tx, j *job, e *ending, done *operation) error {
	r, o := done.record(), e.outcome
	r.Scope, r.Substatus, r.ErrorCode, r.ErrorMessage = s.scope, "", o.ErrorCode, o.ErrorMessage
	r.Finished, r.ETag = o.Updated, newETag()
	if j.plan != nil {
		r.WebhookMS = j.plan.webhook.Milliseconds()
	}
	if e.placed != nil {
		r.Substatus, r.AssignedHub = o.Substatus, o.AssignedHub
	}
	if e.dossier != nil && e.dossier.assigned() {
		r.PreviousHub = e.dossier.registration.AssignedHub
	}
	if j.issued != nil && e.placed != nil {
		r.Issued = j.issued.facts()
	}
	row, err := newRow(KindRecord, r.OperationID, r)
	if err != nil {
		return err
	}
	row.Ref, row.At = key(r.RegistrationID), r.Started.Time
	return tx.InsertDPS(row)
}

// putDeviceRecord updates the device's record, or makes it at the first
// registration (dps 6.1).
func (s *Service) putDeviceRecord(tx *store.Tx, j *job, e *ending, done *operation) error {
	now := e.outcome.Updated
	r := &DeviceRecord{ID: j.op.Registration, RegistrationID: j.op.Registration, Created: now}
	fresh := e.dossier.record == nil
	if !fresh {
		old, err := readRow[DeviceRecord](tx, KindDeviceRecord, key(e.dossier.record.ID)) // it may have changed meanwhile
		switch {
		case err == nil:
			r = old
		case errors.Is(err, store.ErrNone):
			fresh = true
		default:
			return err
		}
	}
	r.Source = RecordSource{Type: "enrollment", ID: e.dossier.enrollment.ID()}
	if e.dossier.enrollment.IsGroup() {
		r.Source.Type = "enrollmentGroup"
	}
	r.DeviceID, r.LastRecord, r.Updated, r.ETag = e.placed.device, done.ID, now, newETag()
	if !r.barred() {
		r.Status = RecordActive
	}
	r.Reprovision, r.ReprovisionHubs = false, nil
	r.stay(e.outcome.AssignedHub, now)
	if j.issued != nil {
		r.note(j.issued.facts())
	}
	row, err := r.row()
	if err != nil {
		return err
	}
	if fresh {
		// A record of this id that is another registration's stays what it is.
		if err = tx.InsertDPS(row); errors.Is(err, store.ErrExists) {
			return nil
		}
		return err
	}
	return tx.PutDPS(row)
}

// note adds an issued certificate, which takes the place of those before.
func (r *DeviceRecord) note(i *Issued) {
	for n := range r.Issued {
		if r.Issued[n].Status == "valid" {
			r.Issued[n].Status = "replaced"
		}
	}
	r.Issued = append(r.Issued, RecordIssued{Serial: i.Serial, SHA256: i.SHA256, Until: i.Until, Status: "valid"})
	if n := len(r.Issued); n > maxIssued {
		r.Issued = r.Issued[n-maxIssued:]
	}
}

// account counts the ending for the groups that it concerns.
func (e *ending) account(t *together, op *operation) {
	d := e.dossier
	if op.Group == "" {
		if e.placed != nil && d.assigned() && d.registration.Group != "" {
			t.group(d.registration.Group).count-- // the device has an enrolment of its own now
		}
		return
	}
	c := t.group(op.Group)
	switch {
	case e.placed == nil && op.Counted:
		c.count--
	case e.placed != nil && !op.Counted && !d.counted():
		c.count++
	}
	switch e.outcome.Status {
	case Assigned:
		c.at = e.outcome.Updated
		if d.assigned() && d.registration.Group != "" && !d.counted() {
			t.group(d.registration.Group).count--
		}
	case Failed:
		c.failed++
	}
}

// recordSRK keeps the storage root key that the first registration has shown
// where the enrolment has none (dps 2.9.3). The etag stays: nothing has changed
// that an operator wrote.
func (s *Service) recordSRK(tx *store.Tx, op *operation) error {
	e, err := s.readEnrollment(tx, KindEnrollment, op.Registration)
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil || e.Attestation == nil || e.Attestation.TPM == nil || e.Attestation.TPM.SRK != "" {
		return err
	}
	e.Attestation.TPM.SRK = encode64(op.SRK)
	row, err := s.enrollmentRow(e)
	if err != nil {
		return err
	}
	return tx.PutDPS(row)
}
