package dps

import (
	"errors"
	"fmt"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Rows of enrolments and groups have the id as key and the attestation type as
// ref. Symmetric keys in them are sealed for the place kind/key.

// decodeEnrollment returns what a row of an enrolment or group holds, with keys
// open; ErrSealed.
func (s *Service) decodeEnrollment(row *store.DPSRow) (*Enrollment, error) {
	e, err := decodeRow[Enrollment](row)
	if err != nil || e.Attestation == nil || e.Attestation.SymmetricKey == nil {
		return e, err
	}
	k := e.Attestation.SymmetricKey
	for _, text := range []*string{&k.Primary, &k.Secondary} {
		if *text, err = s.seal.Open(row.Kind+"/"+row.Key, *text); err != nil {
			return nil, fmt.Errorf("%s %s: %w", row.Kind, row.Key, err)
		}
	}
	return e, nil
}

// readEnrollment returns the enrolment or group with keys open; store.ErrNone.
func (s *Service) readEnrollment(tx *store.Tx, kind, id string) (*Enrollment, error) {
	row, err := tx.DPS(kind, key(id))
	if err != nil {
		return nil, err
	}
	return s.decodeEnrollment(row)
}

// enrollmentRow returns the row to store e in.
func (s *Service) enrollmentRow(e *Enrollment) (*store.DPSRow, error) {
	c := *e
	c.State = nil
	place := e.kind() + "/" + key(e.ID())
	if k := e.Attestation.SymmetricKey; k != nil {
		a := *e.Attestation
		a.SymmetricKey = &SymmetricKey{s.seal.Seal(place, k.Primary), s.seal.Seal(place, k.Secondary)}
		c.Attestation = &a
	}
	row, err := newRow(e.kind(), key(e.ID()), &c)
	if err == nil {
		row.Ref = e.Attestation.Type
	}
	return row, err
}

// storeEnrollment writes e, which is new when before is nil, under a new etag.
func (s *Service) storeEnrollment(tx *store.Tx, e, before *Enrollment) error {
	now := Time{s.now()}
	e.ETag, e.Created, e.Updated = newETag(), now, now
	if before != nil {
		e.Created = before.Created
		if e.IsGroup() {
			e.GroupID = before.GroupID
		} else {
			e.RegistrationID = before.RegistrationID
		}
	}
	row, err := s.enrollmentRow(e)
	if err != nil {
		return err
	}
	if e.IsGroup() {
		s.changed(tx, KindGroup)
		if err := noteDeleted(tx, e.GroupID, false); err != nil {
			return err
		}
	}
	if before != nil {
		return tx.PutDPS(row)
	}
	if err = tx.InsertDPS(row); errors.Is(err, store.ErrExists) {
		return faultsOf(e.kind()).Conflict.New("%s exists", called(e.kind(), e.ID()))
	}
	return err
}

// noteDeleted writes into the record of a group whether the group is there.
func noteDeleted(tx *store.Tx, group string, deleted bool) error {
	r, err := groupRecord(tx, group)
	if err != nil || r.ETag == "" || r.Deleted == deleted {
		return err
	}
	r.Deleted = deleted
	return putGroupRecord(tx, r)
}

// faultsOf returns the codes of a kind of enrolment.
func faultsOf(kind string) Faults {
	if kind == KindGroup {
		return Faults{fault.DPSEnrollmentGroupNotFound, fault.DPSEnrollmentGroupConflict}
	}
	return Faults{fault.DPSEnrollmentNotFound, fault.DPSEnrollmentConflict}
}

// called names an enrolment in errors.
func called(kind, id string) string {
	if kind == KindGroup {
		return "the enrollment group " + brief(id)
	}
	return "the enrollment " + brief(id)
}

// checkReferences answers ArgumentInvalid unless the hubs, certificates and
// policies that e names are there (dps 5.4).
func (s *Service) checkReferences(tx *store.Tx, e *Enrollment) error {
	type reference struct{ member, kind, name string }
	var all []reference
	for _, host := range e.Hubs {
		all = append(all, reference{"iotHubs", KindHub, host})
	}
	if x := e.Attestation.X509; x != nil {
		for _, name := range x.References.Names() {
			all = append(all, reference{"attestation.x509.caReferences", KindCertificate, name})
		}
	}
	if e.CredentialPolicy != "" {
		all = append(all, reference{"credentialPolicyName", KindCredential, e.CredentialPolicy})
	}
	if e.Issuance != nil {
		all = append(all, reference{"clientCertificateIssuancePolicy.certificateAuthorityName", KindCA, e.Issuance.Authority})
	}
	if e.TrustBundle != "" {
		all = append(all, reference{"trustBundleId", KindBundle, e.TrustBundle})
	}
	for _, r := range all {
		_, err := tx.DPS(r.kind, key(r.name))
		if errors.Is(err, store.ErrNone) {
			return fault.DPSArgumentInvalid.New("%s names %q, which does not exist here", r.member, brief(r.name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkRoom answers TooManyEnrollments when e is new and its kind is full (dps
// 4.7).
func (s *Service) checkRoom(tx *store.Tx, e *Enrollment, p *Settings) error {
	if !e.IsGroup() {
		n, err := tx.CountDPS(KindEnrollment)
		if limit := p.enrollmentLimit(); err == nil && n >= limit {
			err = fault.DPSTooManyEnrollments.Over("maxEnrollments", limit, n+1, "there is no room for another enrollment")
		}
		return err
	}
	limit := p.groupLimit()
	rows, err := tx.DPSByRef(KindGroup, e.Attestation.Type, "", limit)
	if err == nil && len(rows) >= limit {
		err = fault.DPSTooManyEnrollments.Over("maxGroups", limit, len(rows)+1, "there is no room for another group with %s", e.Attestation.Type)
	}
	return err
}

// referring returns the name of the first enrolment or group that uses says
// yes to, "" for none. It reads all of them.
func (s *Service) referring(tx *store.Tx, uses func(*Enrollment) bool) (string, error) {
	const page = 500
	for _, kind := range []string{KindGroup, KindEnrollment} {
		for after := ""; ; {
			rows, err := tx.DPSAfter(kind, after, page)
			if err != nil {
				return "", err
			}
			for _, row := range rows {
				e, err := decodeRow[Enrollment](row)
				if err != nil {
					return "", err
				}
				if uses(e) {
					return called(kind, e.ID()), nil
				}
			}
			if len(rows) < page {
				break
			}
			after = rows[len(rows)-1].Key
		}
	}
	return "", nil
}
