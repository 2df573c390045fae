package dps

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opCARead   = newOp("ca.read", ServiceConfig)
	opCAWrite  = newOp("ca.write", ServiceConfig)
	opCADelete = newOp("ca.delete", ServiceConfig)
	opCARotate = newOp("ca.rotate", ServiceConfig)
	opCARevoke = newOp("ca.revoke", ServiceConfig)
)

var authorities = &resource[CertificateAuthority]{KindCA, "the certificate authority",
	Faults{fault.DPSCertificateAuthorityNotFound, fault.DPSCertificateAuthorityConflict}, func(c *CertificateAuthority) *string { return &c.ETag }}

// CertificateAuthority returns an authority without its secrets (dps 6.7);
// CertificateAuthorityNotFound.
func (a *Access) CertificateAuthority(ctx context.Context, name string) (*CertificateAuthority, error) {
	c, err := read(ctx, a, opCARead, authorities, name)
	if err != nil {
		return nil, err
	}
	return c.shown(a.s.now()), nil
}

// CertificateAuthorities returns a page of the authorities, in the order of
// names.
func (a *Access) CertificateAuthorities(ctx context.Context, token string, limit int) ([]*CertificateAuthority, string, error) {
	now := a.s.now()
	show := func(c *CertificateAuthority) *CertificateAuthority { return c.shown(now) }
	return pages(ctx, a, opCARead, authorities.listed("certificateAuthorities", show), token, limit)
}

// PutCertificateAuthority creates an authority that ParseCertificateAuthority
// has read, or replaces its settings; key and certificate of a local one stay
// until it is rotated. The certificate of a local authority is on file as a
// verified CA certificate from then on. It answers
// CertificateAuthorityConflict, CertificateAuthorityNotFound,
// PreconditionFailed, ArgumentNull and ArgumentInvalid.
func (a *Access) PutCertificateAuthority(ctx context.Context, name string, c *CertificateAuthority, m Match) (*CertificateAuthority, error) {
	if err := a.enter(ctx, opCAWrite, name); err != nil {
		return nil, err
	}
	if err := checkName("a certificate authority", name); err != nil {
		return nil, err
	}
	if err := sameName("name", name, c.Name); err != nil {
		return nil, err
	}
	draft := *c
	draft.Name = name
	var made *cred.CA // outside of the transaction: it takes long
	if exists, err := a.s.hasRow(ctx, KindCA, name); err != nil {
		return nil, err
	} else if !exists && c.Type == LocalAuthority {
		if made, err = draft.generate(); err != nil {
			return nil, err
		}
	}
	var n *CertificateAuthority
	err := a.update(ctx, func(tx *store.Tx) (err error) {
		n, err = a.s.replaceCA(tx, draft, made, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	return n.shown(a.s.now()), nil
}

// hasRow says whether there is a row.
func (s *Service) hasRow(ctx context.Context, kind, id string) (found bool, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error { _, err := tx.DPS(kind, key(id)); return err })
	if errors.Is(err, store.ErrNone) {
		return false, nil
	}
	return err == nil, translated(err)
}

// replaceCA writes the draft in place of what is there; made is the key of a
// new local authority.
func (s *Service) replaceCA(tx *store.Tx, n CertificateAuthority, made *cred.CA, m Match) (*CertificateAuthority, error) {
	before, err := authorities.toPut(tx, n.Name, n.ETag, m)
	if err != nil {
		return nil, err
	}
	n.Updated = Time{s.now()}
	if before == nil {
		return s.createCA(tx, n, made)
	}
	if before.Type != n.Type {
		return nil, fault.DPSArgumentInvalid.New("certificateAuthorityType of %s is %s and cannot change", n.Name, before.Type)
	}
	if n.Type == LocalAuthority && (n.Key != "" || n.KeyType != "" && n.KeyType != before.KeyType || n.Subject != "" && n.Subject != before.Subject) {
		return nil, fault.DPSArgumentInvalid.New("keyType, subject and privateKey of %s cannot be replaced; rotate the authority", n.Name)
	}
	next := *before
	next.Validity, next.Profile, next.Updated = n.Validity, n.Profile, n.Updated
	next.inForce(s.now())
	if n.APIKey != "" && n.APIKey != mask {
		next.APIKey = s.seal.Seal(KindCA+"/"+key(n.Name), n.APIKey)
	}
	return &next, authorities.put(tx, n.Name, &next, false)
}

func (s *Service) createCA(tx *store.Tx, n CertificateAuthority, made *cred.CA) (*CertificateAuthority, error) {
	if err := authorities.room(tx, maxAuthorities, "certificate authorities"); err != nil {
		return nil, err
	}
	n.Created, n.Status = n.Updated, AuthorityStored
	switch {
	case n.Type == LocalAuthority && made == nil:
		return nil, fault.DPSCertificateAuthorityConflict.New("%s is changed by somebody else at the same time", authorities.called(n.Name))
	case n.Type == LocalAuthority:
		n.adopt(made)
		n.Status = AuthorityActive
		if err := s.registerCA(tx, n.Name, made.Cert); err != nil {
			return nil, err
		}
	case n.APIKey == "" || n.APIKey == mask:
		return nil, fault.DPSArgumentNull.New("apiKey is missing")
	}
	place := KindCA + "/" + key(n.Name)
	n.Key, n.APIKey = s.seal.Seal(place, n.Key), s.seal.Seal(place, n.APIKey)
	return &n, authorities.put(tx, n.Name, &n, true)
}

// registerCA puts the certificate of an authority on file as a verified one, so
// that what it issues attests later (dps 6.7). Certificates of earlier
// rotations stay.
func (s *Service) registerCA(tx *store.Tx, name string, cert *x509.Certificate) error {
	sha1, _ := cred.Thumbprints(cert)
	id := "ca-" + name + "-" + strings.ToLower(sha1[:8])
	if before, err := certificates.find(tx, id); err != nil || before != nil {
		return err
	}
	if err := certificates.room(tx, maxCertificates, "certificates"); err != nil {
		return err
	}
	now := Time{s.now()}
	c := &Certificate{Name: id, PEM: string(cred.AppendCertificate(nil, cert)), Verified: true, Created: now, Updated: now, Thumbprint: sha1, Authority: name}
	s.changed(tx, KindCertificate)
	return certificates.put(tx, id, c, true)
}

// DeleteCertificateAuthority removes an authority and its key; the certificate
// on file stays, so that devices keep theirs. It answers
// CertificateAuthorityNotFound, PreconditionFailed, and, without force,
// CertificateAuthorityConflict while a policy or an enrolment names it.
func (a *Access) DeleteCertificateAuthority(ctx context.Context, name string, m Match, force bool) error {
	if err := a.enter(ctx, opCADelete, name); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		if _, err := authorities.toDelete(tx, name, m); err != nil {
			return err
		}
		if !force {
			if err := a.s.checkCAUnused(tx, name); err != nil {
				return err
			}
		}
		return tx.DeleteDPS(KindCA, key(name))
	})
}

func (s *Service) checkCAUnused(tx *store.Tx, name string) error {
	err := credentials.every(tx, func(p *CredentialPolicy) error {
		if named(name, p.Authority) {
			return fault.DPSCertificateAuthorityConflict.New("%s is named by the credential policy %s; force=true deletes it all the same", authorities.called(name), p.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	by, err := s.referring(tx, func(e *Enrollment) bool { return e.Issuance != nil && named(name, e.Issuance.Authority) })
	if err == nil && by != "" {
		err = fault.DPSCertificateAuthorityConflict.New("%s is named by %s; force=true deletes it all the same", authorities.called(name), by)
	}
	return err
}

// RotateCertificateAuthority gives a local authority a new key, at once or
// after the rotation's hours; its certificate is on file at once. It answers
// CertificateAuthorityNotFound, PreconditionFailed, ArgumentInvalid for an
// authority that is not local, CertificateAuthorityConflict while another
// rotation is pending.
func (a *Access) RotateCertificateAuthority(ctx context.Context, name string, r *Rotation, m Match) (*CertificateAuthority, error) {
	if err := a.enter(ctx, opCARotate, name); err != nil {
		return nil, err
	}
	var c *CertificateAuthority
	err := a.view(ctx, func(tx *store.Tx) (err error) {
		if c, err = authorities.need(tx, name); err != nil {
			return err
		}
		return c.mayRotate(m, a.s.now())
	})
	if err != nil {
		return nil, err
	}
	draft := CertificateAuthority{Name: c.Name, KeyType: r.KeyType, Subject: c.Subject, Issuer: r.Issuer, Key: r.Key}
	if draft.KeyType == "" {
		if _, err := cred.ParseKeyType(c.KeyType); err == nil { // an imported key may be of another kind
			draft.KeyType = c.KeyType
		}
	}
	made, err := draft.generate()
	if err != nil {
		return nil, err
	}
	err = a.update(ctx, func(tx *store.Tx) (err error) {
		if c, err = authorities.need(tx, name); err != nil {
			return err
		}
		if err := c.mayRotate(m, a.s.now()); err != nil {
			return err
		}
		return a.s.rotate(tx, c, made, time.Duration(r.Hours)*time.Hour)
	})
	if err != nil {
		return nil, err
	}
	return c.shown(a.s.now()), nil
}

func (c *CertificateAuthority) mayRotate(m Match, now time.Time) error {
	c.inForce(now)
	switch {
	case m.IfMatch != "" && !sameETag(m.IfMatch, c.ETag):
		return stale(authorities.called(c.Name))
	case c.Type != LocalAuthority:
		return fault.DPSArgumentInvalid.New("%s is a %s; its keys are not here", authorities.called(c.Name), c.Type)
	case c.Next != nil:
		return fault.DPSCertificateAuthorityConflict.New("a rotation of %s is pending until %s", c.Name, c.Next.From.UTC().Format(timeForm))
	}
	return nil
}

func (s *Service) rotate(tx *store.Tx, c *CertificateAuthority, made *cred.CA, after time.Duration) error {
	now := s.now()
	if err := s.registerCA(tx, c.Name, made.Cert); err != nil {
		return err
	}
	certPEM, keyPEM := made.PEM()
	c.Updated, c.Status = Time{now}, AuthorityRotating
	c.Next = &NextAuthority{string(certPEM), Time{now.Add(after)}, s.seal.Seal(KindCA+"/"+key(c.Name), string(keyPEM))}
	c.inForce(now)
	return authorities.put(tx, c.Name, c, false)
}

// RevokeCertificate withdraws a certificate that a local authority has issued:
// it no longer attests, and the record of its device says so. It answers
// CertificateAuthorityNotFound, and ArgumentInvalid for an authority that is
// not local.
func (a *Access) RevokeCertificate(ctx context.Context, name, serial string) (*Revocation, error) {
	if err := a.enter(ctx, opCARevoke, name); err != nil {
		return nil, err
	}
	r := &Revocation{Serial: serial, At: Time{a.s.now()}}
	record, err := a.s.issuedTo(ctx, serial)
	if err != nil {
		return nil, translated(err)
	}
	return r, a.update(ctx, func(tx *store.Tx) error {
		c, err := authorities.need(tx, name)
		if err != nil {
			return err
		}
		if c.Type != LocalAuthority {
			return fault.DPSArgumentInvalid.New("%s is a %s; it revokes by itself", authorities.called(name), c.Type)
		}
		if err := a.s.distrust(tx, c.Name, serial); err != nil || record == "" {
			return err
		}
		d, err := deviceRecords.find(tx, record)
		if err != nil || d == nil {
			return err
		}
		r.Registration = d.RegistrationID
		for i := range d.Issued {
			if bareSerial(d.Issued[i].Serial) == serial {
				d.Issued[i].Status = "revoked"
			}
		}
		return storeRecord(tx, d, false)
	})
}

// distrust notes the serial number with all certificates of the authority.
func (s *Service) distrust(tx *store.Tx, authority, serial string) error {
	s.changed(tx, KindCertificate)
	return certificates.every(tx, func(c *Certificate) error {
		if !named(authority, c.Authority) || slices.Contains(c.Revoked, serial) {
			return nil
		}
		c.Revoked = append(c.Revoked, serial)
		return certificates.put(tx, c.Name, c, false)
	})
}

// issuedTo returns the id of the device record that names the serial number,
// "" for none. It looks at all records, a page per transaction.
func (s *Service) issuedTo(ctx context.Context, serial string) (id string, err error) {
	const page = 500
	for after := ""; ; {
		var rows []*store.DPSRow
		err := s.db.View(ctx, func(tx *store.Tx) (err error) { rows, err = tx.DPSAfter(KindDeviceRecord, after, page); return err })
		if err != nil {
			return "", err
		}
		for _, row := range rows {
			if !bytes.Contains(row.Doc, []byte(serial+`"`)) {
				continue
			}
			r, err := decodeRow[DeviceRecord](row)
			if err != nil {
				return "", err
			}
			if slices.ContainsFunc(r.Issued, func(i RecordIssued) bool { return bareSerial(i.Serial) == serial }) {
				return row.Key, nil
			}
		}
		if len(rows) < page {
			return "", nil
		}
		after = rows[len(rows)-1].Key
	}
}
