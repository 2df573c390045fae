package dps

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opCertificateRead   = newOp("certificate.read", ServiceConfig)
	opCertificateWrite  = newOp("certificate.write", ServiceConfig)
	opCertificateDelete = newOp("certificate.delete", ServiceConfig)
	opCertificateVerify = newOp("certificate.verify", ServiceConfig)
)

// maxCertificates is how many CA certificates an instance has at most (dps 4.7).
const maxCertificates = 25

var certificates = &resource[Certificate]{KindCertificate, "the certificate",
	Faults{fault.DPSGenericNotFound, fault.DPSGenericConflict}, func(c *Certificate) *string { return &c.ETag }}

// Certificate returns an uploaded CA certificate (dps 3.10); GenericNotFound.
func (a *Access) Certificate(ctx context.Context, name string) (*Certificate, error) {
	c, err := read(ctx, a, opCertificateRead, certificates, name)
	if err != nil {
		return nil, err
	}
	return c.shown(), nil
}

// Certificates returns a page of the CA certificates, in the order of names.
func (a *Access) Certificates(ctx context.Context, token string, limit int) ([]*Certificate, string, error) {
	return pages(ctx, a, opCertificateRead, certificates.listed("certificates", (*Certificate).shown), token, limit)
}

// PutCertificate uploads a CA certificate or replaces one; other content has to
// be proved again. It answers GenericConflict, PreconditionFailed, and
// ArgumentInvalid for one that has expired and for the 26th.
func (a *Access) PutCertificate(ctx context.Context, name string, d *CertificateDraft, m Match) (*Certificate, error) {
	if err := a.enter(ctx, opCertificateWrite, name); err != nil {
		return nil, err
	}
	if err := checkName("a certificate", name); err != nil {
		return nil, err
	}
	var c *Certificate
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := certificates.find(tx, name)
		if err != nil {
			return err
		}
		if before == nil {
			err = certificates.room(tx, maxCertificates, "certificates") // If-Match counts for updates only
		} else {
			err = m.Put(d.etag, before.ETag, certificates.faults, certificates.called(name))
		}
		if err != nil {
			return err
		}
		if c, err = d.apply(name, before, a.s.now()); err != nil {
			return err
		}
		a.s.changed(tx, KindCertificate)
		return certificates.put(tx, name, c, before == nil)
	})
	return c, err
}

// needMatch answers ArgumentNull for a call without If-Match.
func needMatch(m Match) error {
	if m.IfMatch == "" {
		return fault.DPSArgumentNull.New("the header If-Match is missing; send the etag of the certificate, or *")
	}
	return nil
}

// DeleteCertificate removes a CA certificate; If-Match is needed. It answers
// ArgumentNull, GenericNotFound, PreconditionFailed, and GenericConflict while
// an enrolment names it.
func (a *Access) DeleteCertificate(ctx context.Context, name string, m Match) error {
	if err := a.enter(ctx, opCertificateDelete, name); err != nil {
		return err
	}
	if err := needMatch(m); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		if _, err := certificates.toDelete(tx, name, m); err != nil {
			return err
		}
		by, err := a.s.referring(tx, func(e *Enrollment) bool {
			return e.Attestation != nil && e.Attestation.X509 != nil && named(name, e.Attestation.X509.References.Names()...)
		})
		if err != nil {
			return err
		}
		if by != "" {
			return fault.DPSGenericConflict.New("%s is named by %s", certificates.called(name), by)
		}
		a.s.changed(tx, KindCertificate)
		return tx.DeleteDPS(KindCertificate, key(name))
	})
}

// named says whether name is among names, without regard to case.
func named(name string, names ...string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// GenerateCode begins a proof of possession: the certificate comes back with a
// code that is good until the next one, or the next upload. It answers
// ArgumentNull without If-Match, GenericNotFound, PreconditionFailed (dps 3.10).
func (a *Access) GenerateCode(ctx context.Context, name string, m Match) (*Certificate, error) {
	return a.changeCertificate(ctx, opCertificateVerify, name, m, func(c *Certificate) error {
		var b [24]byte
		rand.Read(b[:]) // never fails since Go 1.24
		c.Code = strings.ToUpper(hex.EncodeToString(b[:]))
		return nil
	})
}

// VerifyCertificate ends a proof of possession with a certificate, PEM or
// base64, whose common name is the code and that is signed with the key of the
// uploaded one; ArgumentInvalid when it proves nothing, else as GenerateCode.
func (a *Access) VerifyCertificate(ctx context.Context, name, proof string, m Match) (*Certificate, error) {
	return a.changeCertificate(ctx, opCertificateVerify, name, m, func(c *Certificate) error {
		if proof == "" {
			return fault.DPSArgumentNull.New("certificate is missing")
		}
		cert, err := cred.ParseCertificate([]byte(proof))
		if err == nil {
			err = c.prove(cert, a.s.now())
		}
		if err != nil {
			return fault.DPSArgumentInvalid.Wrap(err, "certificate: %s", err)
		}
		c.Verified, c.Code = true, ""
		return nil
	})
}

func (a *Access) changeCertificate(ctx context.Context, op *serviceOp, name string, m Match, change func(*Certificate) error) (c *Certificate, err error) {
	if err := a.enter(ctx, op, name); err != nil {
		return nil, err
	}
	if err := needMatch(m); err != nil {
		return nil, err
	}
	err = a.update(ctx, func(tx *store.Tx) error {
		if c, err = certificates.toPut(tx, name, "", m); err != nil {
			return err
		}
		if err := change(c); err != nil {
			return err
		}
		c.Updated = Time{a.s.now()}
		a.s.changed(tx, KindCertificate)
		return certificates.put(tx, name, c, false)
	})
	return c, err
}

// ParseProof reads the body of a verification: {"certificate"};
// DeserializationError.
func ParseProof(b []byte) (string, error) {
	var body struct {
		Certificate string `json:"certificate"`
	}
	err := Decode(b, &body)
	return body.Certificate, err
}
