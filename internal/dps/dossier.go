package dps

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// dossier is what a worker knows of a device before it decides.
type dossier struct {
	snap         *snapshot
	enrollment   *Enrollment   // individual or group
	registration *Registration // nil before the first
	record       *DeviceRecord // nil without
	account      *GroupRecord  // of the group; nil for individual enrolments
	profile      *Settings
	version      Version
	waste        []*store.DPSRow // devices left on former hubs
}

// freshness is how long a worker relies on the enrolment that the register call
// read.
const freshness = time.Second

// dossier reads what the job needs; EnrollmentNotFound or
// EnrollmentGroupNotFound, with the dossier, when the enrolment is gone.
func (s *Service) dossier(ctx context.Context, j *job) (*dossier, error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	d := &dossier{snap: snap, enrollment: j.enrollment}
	d.version, _ = ParseVersion(j.op.Version)
	if time.Since(j.read) > freshness {
		d.enrollment = nil
	}
	id := key(j.op.Registration)
	var gone error
	err = s.db.View(ctx, func(tx *store.Tx) (err error) {
		if d.enrollment == nil {
			if d.enrollment, gone = s.enrollmentOf(tx, j.op); gone != nil && !isFault(gone) {
				return gone
			}
		}
		if d.registration, err = readRow[Registration](tx, KindRegistration, id); err != nil && !errors.Is(err, store.ErrNone) {
			return err
		}
		if d.record, err = recordOf(tx, id); err != nil {
			return err
		}
		if snap.wasted || s.wasted.Load() {
			if d.waste, err = tx.DPSByRef(KindWaste, id, "", 10); err != nil {
				return err
			}
		}
		if d.enrollment != nil && d.enrollment.IsGroup() {
			d.account, err = snap.account(tx, d.enrollment.GroupID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	named := ""
	if d.account != nil {
		named = d.account.SettingsID
	}
	d.profile = snap.profile(d.enrollment, named)
	return d, gone
}

// enrollmentOf reads the enrolment that an operation was attested by.
func (s *Service) enrollmentOf(tx *store.Tx, op *operation) (*Enrollment, error) {
	kind, id := op.enrolled()
	e, err := s.readEnrollment(tx, kind, id)
	return e, deleted(err, kind, id)
}

// remains answers like enrollmentOf, without reading what the enrolment says.
func remains(tx *store.Tx, op *operation) error {
	kind, id := op.enrolled()
	_, err := tx.DPS(kind, key(id))
	return deleted(err, kind, id)
}

// enrolled names the enrolment that the operation was attested by.
func (op *operation) enrolled() (kind, id string) {
	if op.Group != "" {
		return KindGroup, op.Group
	}
	return KindEnrollment, op.Registration
}

// deleted gives store.ErrNone its meaning: EnrollmentNotFound or
// EnrollmentGroupNotFound.
func deleted(err error, kind, id string) error {
	if errors.Is(err, store.ErrNone) {
		return faultsOf(kind).None.New("the enrollment %s was deleted while the device registered", id)
	}
	return err
}

// isGone says whether the enrolment of an operation was deleted while it ran.
func isGone(err error) bool {
	return errors.Is(err, fault.DPSEnrollmentNotFound) || errors.Is(err, fault.DPSEnrollmentGroupNotFound)
}

// assigned says whether the device has a hub from an earlier registration.
func (d *dossier) assigned() bool {
	return d.registration != nil && d.registration.AssignedHub != ""
}

// policy returns the reprovision policy in force (dps 4.5): the enrolment's,
// for older api-versions to stay, else the settings', else to migrate. An action
// of a device group overrides one that says never.
func (d *dossier) policy() ReprovisionPolicy {
	p := ReprovisionPolicy{UpdateHub: true, MigrateData: true}
	switch {
	case d.enrollment.Reprovision != nil:
		p = *d.enrollment.Reprovision
	case !d.version.hasPolicies():
		p.UpdateHub = false
	case d.profile.Reprov != nil:
		p = *d.profile.Reprov
	}
	if d.record != nil && d.record.Reprovision {
		p.UpdateHub = true
	}
	return p
}

// device returns the id of the device on its hub: that of an earlier
// registration stays (dps 3.9).
func (d *dossier) device(op *operation) string {
	switch {
	case d.assigned():
		return d.registration.DeviceID
	case d.record.overrides().DeviceID != "":
		return d.record.overrides().DeviceID
	}
	return d.enrollment.Device(op.Registration)
}

// overrides returns those of a record that may be nil.
func (r *DeviceRecord) overrides() RecordOverrides {
	if r == nil {
		return RecordOverrides{}
	}
	return r.Overrides
}

// credential returns the name of the credential policy in force.
func (d *dossier) credential() string {
	if o := d.record.overrides().CredentialPolicy; o != "" {
		return o
	}
	return d.enrollment.CredentialPolicy
}

// account returns the record of a group as the snapshot saw it first: its
// counts are not to be relied on.
func (n *snapshot) account(tx *store.Tx, group string) (*GroupRecord, error) {
	if r, ok := n.accounts.Load(key(group)); ok {
		return r.(*GroupRecord), nil
	}
	r, err := groupRecord(tx, group)
	if err == nil {
		n.accounts.Store(key(group), r)
	}
	return r, err
}
