package dps

import (
	"context"
	"errors"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opEnrollmentRead   = newOp("enrollment.read", EnrollmentRead)
	opEnrollmentKeys   = newOp("enrollment.keys", EnrollmentRead)
	opEnrollmentWrite  = newOp("enrollment.write", EnrollmentWrite)
	opEnrollmentDelete = newOp("enrollment.delete", EnrollmentWrite)
	opEnrollmentQuery  = newOp("enrollment.query", EnrollmentRead)
	opEnrollmentBulk   = newOp("enrollment.bulk", EnrollmentWrite)
	opGroupRead        = newOp("group.read", EnrollmentRead)
	opGroupKeys        = newOp("group.keys", EnrollmentRead)
	opGroupWrite       = newOp("group.write", EnrollmentWrite)
	opGroupDelete      = newOp("group.delete", EnrollmentWrite)
	opGroupQuery       = newOp("group.query", EnrollmentRead)
	opGroupBulk        = newOp("group.bulk", EnrollmentWrite)
)

// Enrollment returns an individual enrolment without keys and with its
// registration state (dps 3.3); EnrollmentNotFound.
func (a *Access) Enrollment(ctx context.Context, id string) (*Enrollment, error) {
	return a.readPublic(ctx, opEnrollmentRead, KindEnrollment, id)
}

// Group returns an enrolment group without keys (dps 3.4);
// EnrollmentGroupNotFound.
func (a *Access) Group(ctx context.Context, id string) (*Enrollment, error) {
	return a.readPublic(ctx, opGroupRead, KindGroup, id)
}

func (a *Access) readPublic(ctx context.Context, op *serviceOp, kind, id string) (e *Enrollment, err error) {
	if err := a.enter(ctx, op, id); err != nil {
		return nil, err
	}
	err = a.view(ctx, func(tx *store.Tx) error {
		if e, err = a.s.readEnrollment(tx, kind, id); err != nil {
			return err
		}
		e = e.public()
		return fillState(tx, e)
	})
	return e, missing(err, kind, id)
}

// missing gives store.ErrNone its meaning.
func missing(err error, kind, id string) error {
	if errors.Is(err, store.ErrNone) {
		return faultsOf(kind).None.New("%s does not exist", called(kind, id))
	}
	return err
}

// fillState adds the registration state of an individual enrolment, one that
// says unassigned before the first registration (dps 3.5).
func fillState(tx *store.Tx, e *Enrollment) error {
	if e.IsGroup() {
		return nil
	}
	r, err := readRow[Registration](tx, KindRegistration, key(e.RegistrationID))
	if errors.Is(err, store.ErrNone) {
		e.State = &RegistrationState{RegistrationID: e.RegistrationID, Status: Unassigned, Created: e.Created, Updated: e.Updated, ETag: asRegistrationETag(e.ETag)}
		return nil
	}
	if err == nil {
		e.State = &r.RegistrationState
	}
	return err
}

// EnrollmentAttestation returns how an individual enrolment attests, keys
// included (dps 3.8); EnrollmentNotFound.
func (a *Access) EnrollmentAttestation(ctx context.Context, id string) (*Attestation, error) {
	return a.readAttestation(ctx, opEnrollmentKeys, KindEnrollment, id)
}

// GroupAttestation returns how a group attests, keys included (dps 3.8);
// EnrollmentGroupNotFound.
func (a *Access) GroupAttestation(ctx context.Context, id string) (*Attestation, error) {
	return a.readAttestation(ctx, opGroupKeys, KindGroup, id)
}

func (a *Access) readAttestation(ctx context.Context, op *serviceOp, kind, id string) (*Attestation, error) {
	if err := a.enter(ctx, op, id); err != nil {
		return nil, err
	}
	var e *Enrollment
	err := a.view(ctx, func(tx *store.Tx) (err error) { e, err = a.s.readEnrollment(tx, kind, id); return err })
	if err != nil {
		return nil, missing(err, kind, id)
	}
	return e.Attestation, nil
}

// PutEnrollment creates or replaces an individual enrolment, and returns it with
// keys; e stays as it is (dps 3.2, 3.3). It answers EnrollmentConflict,
// EnrollmentNotFound, PreconditionFailed, TooManyEnrollments, ArgumentInvalid for
// what e names and is not there, and what ParseEnrollment does.
func (a *Access) PutEnrollment(ctx context.Context, id string, e *Enrollment, m Match) (*Enrollment, error) {
	return a.put(ctx, opEnrollmentWrite, KindEnrollment, id, e, m)
}

// PutGroup is PutEnrollment for groups: EnrollmentGroupConflict and so on (dps
// 3.4).
func (a *Access) PutGroup(ctx context.Context, id string, e *Enrollment, m Match) (*Enrollment, error) {
	return a.put(ctx, opGroupWrite, KindGroup, id, e, m)
}

func (a *Access) put(ctx context.Context, op *serviceOp, kind, id string, e *Enrollment, m Match) (*Enrollment, error) {
	if err := a.enter(ctx, op, id); err != nil {
		return nil, err
	}
	if !strings.EqualFold(id, e.ID()) || e.kind() != kind {
		return nil, mismatch(id, e.ID(), kind == KindGroup)
	}
	return a.write(ctx, e, m)
}

// write is put without gate.
func (a *Access) write(ctx context.Context, e *Enrollment, m Match) (*Enrollment, error) {
	e, err := e.checked()
	if err != nil {
		return nil, err
	}
	snap, err := a.s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if err := snap.profile(e, "").checkWebhook(e); err != nil {
		return nil, err
	}
	var written *Enrollment
	err = a.update(ctx, func(tx *store.Tx) error {
		// A second run must not see what the first has filled in.
		c := *e
		c.Attestation = e.Attestation.clone()
		written = &c
		return a.s.replace(tx, &c, m, snap.standard)
	})
	if err != nil {
		return nil, err
	}
	return written, nil
}

// replace writes e in place of what is there and turns it into its answer.
func (s *Service) replace(tx *store.Tx, e *Enrollment, m Match, p *Settings) error {
	before, err := s.readEnrollment(tx, e.kind(), e.ID())
	var etag string
	var attestation *Attestation
	switch {
	case errors.Is(err, store.ErrNone):
		before = nil
	case err != nil:
		return err
	default:
		etag, attestation = before.ETag, before.Attestation
	}
	if err := m.Put(e.ETag, etag, faultsOf(e.kind()), called(e.kind(), e.ID())); err != nil {
		return err
	}
	if before == nil || e.IsGroup() && e.Attestation.Type != attestation.Type {
		if err := s.checkRoom(tx, e, p); err != nil {
			return err
		}
	}
	if err := s.checkReferences(tx, e); err != nil {
		return err
	}
	if err := e.Attestation.fill(attestation); err != nil {
		return err
	}
	if err := s.storeEnrollment(tx, e, before); err != nil {
		return err
	}
	*e = *e.shown()
	return fillState(tx, e)
}

// checkWebhook refuses a plain http URL unless the settings allow it (dps 3.9).
func (p *Settings) checkWebhook(e *Enrollment) error {
	if e.Custom != nil && !p.Webhook.AllowHTTP && !strings.HasPrefix(key(e.Custom.URL), "https:") {
		return fault.DPSArgumentInvalid.New("webhookUrl of customAllocationDefinition must be an https URL; webhook.allowHttp of the provisioning settings allows others")
	}
	return nil
}

// DeleteEnrollment removes an individual enrolment and its registration state;
// the device on the hub stays (dps 3.3). It answers EnrollmentNotFound and
// PreconditionFailed.
func (a *Access) DeleteEnrollment(ctx context.Context, id string, m Match) error {
	return a.remove(ctx, opEnrollmentDelete, KindEnrollment, id, m)
}

// DeleteGroup removes a group; registrations of its members stay (dps 3.4). It
// answers EnrollmentGroupNotFound and PreconditionFailed.
func (a *Access) DeleteGroup(ctx context.Context, id string, m Match) error {
	return a.remove(ctx, opGroupDelete, KindGroup, id, m)
}

func (a *Access) remove(ctx context.Context, op *serviceOp, kind, id string, m Match) error {
	if err := a.enter(ctx, op, id); err != nil {
		return err
	}
	return a.erase(ctx, kind, id, m)
}

// erase is remove without gate.
func (a *Access) erase(ctx context.Context, kind, id string, m Match) error {
	return a.update(ctx, func(tx *store.Tx) error {
		var etag string
		e, err := readRow[Enrollment](tx, kind, key(id))
		switch {
		case err == nil:
			etag = e.ETag
		case !errors.Is(err, store.ErrNone):
			return err
		}
		if err := m.Delete(etag, faultsOf(kind), called(kind, id)); err != nil {
			return err
		}
		if err := tx.DeleteDPS(kind, key(id)); err != nil {
			return err
		}
		if kind == KindGroup {
			a.s.changed(tx, KindGroup)
			return noteDeleted(tx, id, true)
		}
		r, err := readRow[Registration](tx, KindRegistration, key(id))
		if errors.Is(err, store.ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		return forget(tx, r)
	})
}
