package dps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// attested is the outcome of a successful attestation: which enrolment speaks
// for the device, and by what proof.
type attested struct {
	enrollment *Enrollment // individual or group
	kind       string      // AttestKey, AttestX509 or AttestTPM
	spelled    string      // id that the keys of a group are derived for
	leaf       *x509.Certificate
	signing    *x509.Certificate // of the group
	ek, srk    []byte
}

// group returns the id of the group, "" for an individual enrolment.
func (a *attested) group() string { return a.enrollment.GroupID }

// identity is the same for the same proof: registers that differ in it conflict
// (dps 2.2).
func (a *attested) identity() []byte {
	h := sha256.New()
	h.Write([]byte(a.kind + "\x00" + key(a.group()) + "\x00"))
	if a.leaf != nil {
		h.Write(a.leaf.Raw)
	}
	h.Write(a.ek)
	return h.Sum(nil)
}

// attest proves that the claim speaks for its registration id. An individual
// enrolment decides alone; else the groups are asked (dps 4.1). What is refused
// is IotHubUnauthorizedAccess, for a TPM without enrolment EnrollmentNotFound; a
// TPM that shows no token gets a *Challenge; ThrottlingException when an address
// has failed too often.
func (s *Service) attest(ctx context.Context, c *Claim, r *DeviceRequest) (*attested, error) {
	if err := CheckRegistrationID(c.ID); err != nil {
		return nil, err
	}
	var e *Enrollment
	err := s.db.View(ctx, func(tx *store.Tx) (err error) { e, err = s.readEnrollment(tx, KindEnrollment, c.ID); return err })
	switch {
	case err == nil:
		return s.attestOne(ctx, c, r, e)
	case !errors.Is(err, store.ErrNone):
		return nil, translated(err)
	case c.Proven != nil, r.EK != nil:
		return nil, fault.DPSEnrollmentNotFound.New("no individual enrollment has the registration id %s, and TPMs are enrolled one by one", c.ID)
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case c.SAS != "":
		return s.attestByKey(ctx, c, snap)
	case len(c.Certs) > 0:
		return s.attestByCA(c, snap)
	}
	return nil, fault.DPSIotHubUnauthorizedAccess.New("Unauthorized")
}

// refuse answers that a proof does not hold; the reason goes to the log only.
func refuse(why error) error { return fault.DPSIotHubUnauthorizedAccess.Wrap(why, "Unauthorized") }

func refuseCertificate(why error) error {
	return fault.DPSIotHubUnauthorizedAccess.Wrap(why, "Invalid certificate.")
}

// attestOne judges a claim by its individual enrolment. The header decides
// where both kinds of proof are present (dps 2.3).
func (s *Service) attestOne(ctx context.Context, c *Claim, r *DeviceRequest, e *Enrollment) (*attested, error) {
	a := &attested{enrollment: e}
	if e.Attestation != nil {
		a.kind = e.Attestation.Type
	}
	switch {
	case a.kind == AttestTPM:
		return s.attestTPM(c, r, a)
	case c.Proven != nil, r.EK != nil && c.SAS == "":
		return nil, refuse(errors.New("the enrollment is not for a TPM"))
	case c.SAS != "" && a.kind == AttestKey:
		if _, err := cred.VerifyProvisioning(c.SAS, s.scope, c.ID, [][]string{e.Attestation.Keys()}, s.now()); err != nil {
			return nil, refuse(err)
		}
		return a, nil
	case c.SAS == "" && len(c.Certs) > 0 && a.kind == AttestX509:
		return s.attestCertificate(ctx, c, a)
	}
	return nil, refuse(errors.New("the enrollment asks for " + a.kind))
}

// attestCertificate compares the leaf with those of the enrolment, or has it
// lead to one of the CAs that it names (dps 2.8).
func (s *Service) attestCertificate(ctx context.Context, c *Claim, a *attested) (*attested, error) {
	a.leaf = c.Certs[0]
	if err := cred.CheckLeaf(a.leaf, c.ID, s.now(), cred.Skew); err != nil {
		return nil, refuseCertificate(err)
	}
	x := a.enrollment.Attestation.X509
	if x == nil {
		return nil, refuseCertificate(errors.New("the enrollment has no certificates"))
	}
	if x.Client != nil {
		for _, known := range x.Client.All() {
			cert, err := known.Parse()
			if err == nil && cred.MatchThumbprint(a.leaf, sha256Of(cert)) {
				return a, nil
			}
		}
		return nil, refuseCertificate(errors.New("the certificate is not one of the enrollment's"))
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var roots []*x509.Certificate
	for _, name := range x.References.Names() {
		if cert := snap.certificates[key(name)]; cert != nil {
			roots = append(roots, cert)
		}
	}
	path, err := cred.Path(c.Certs, append(slices.Clip(snap.known), snap.roots...), roots, s.now(), cred.Skew)
	if err != nil {
		return nil, refuseCertificate(err)
	}
	if snap.isRevoked(path) {
		return nil, refuseCertificate(errRevoked)
	}
	for _, cert := range path[1:] {
		if slices.ContainsFunc(roots, cert.Equal) {
			a.signing = cert
			break
		}
	}
	return a, nil
}

func sha256Of(cert *x509.Certificate) string {
	_, long := cred.Thumbprints(cert)
	return long
}

// derivations counts the derived keys that tokens were compared with; tests
// read it.
var derivations atomic.Int64

// attestByKey finds the group whose derived key made the token: the one that
// fitted last time, else, unless the proof or its address has failed before,
// each of them.
func (s *Service) attestByKey(ctx context.Context, c *Claim, snap *snapshot) (*attested, error) {
	t, err := cred.ParseProvisioning(c.SAS, s.scope, c.ID, s.now())
	if err != nil {
		return nil, refuse(err)
	}
	tried := s.groupBefore(ctx, c.ID, snap)
	if tried != nil {
		if a := fitsGroup(t, tried, c.ID); a != nil {
			s.groupOf.put(key(c.ID), key(tried.GroupID))
			return a, nil
		}
	}
	proof := sha256.Sum256(append(snap.mark(), key(c.ID)+"\x00"+c.SAS...))
	if err := s.maySearch(c, proof[:]); err != nil {
		return nil, err
	}
	for _, g := range snap.symmetric {
		if g == tried {
			continue
		}
		if a := fitsGroup(t, g, c.ID); a != nil {
			s.groupOf.put(key(c.ID), key(g.GroupID))
			return a, nil
		}
	}
	s.searchFailed(c, proof[:])
	return nil, refuse(errors.New("no group's derived key made the token"))
}

// fewGroups are tried sooner than the store is asked.
const fewGroups = 8

// groupBefore returns the group that the registration belonged to last; nil
// where looking for it costs more than trying all.
func (s *Service) groupBefore(ctx context.Context, id string, snap *snapshot) *group {
	name, ok := s.groupOf.get(key(id))
	if !ok && len(snap.symmetric) > fewGroups {
		_ = s.db.View(ctx, func(tx *store.Tx) error { // a hint only: the search finds it too
			row, err := tx.DPS(KindRegistration, key(id))
			if err == nil {
				name = key(row.Ref)
			}
			return err
		})
	}
	if g := snap.groups[name]; g != nil && len(g.keys) > 0 {
		return g
	}
	return nil
}

// fitsGroup tries the keys that the group derives for the id as it was sent and
// in lower case; nil when none of them made the token.
func fitsGroup(t *cred.SAS, g *group, id string) *attested {
	for _, spelled := range spellings(id) {
		for _, k := range g.keys {
			derived, err := cred.Derive(k, spelled)
			if err != nil {
				continue
			}
			derivations.Add(1)
			if t.VerifyLoose(derived) {
				return &attested{enrollment: g.Enrollment, kind: AttestKey, spelled: spelled}
			}
		}
	}
	return nil
}

func spellings(id string) []string {
	if low := strings.ToLower(id); low != id {
		return []string{id, low}
	}
	return []string{id}
}

// pathFound are the certificates that vouch for a leaf, nearest first.
type pathFound struct {
	path []*x509.Certificate
}

// attestByCA finds the group whose signing certificate stands nearest to the
// leaf on its path to a verified CA (dps 2.8).
func (s *Service) attestByCA(c *Claim, snap *snapshot) (*attested, error) {
	leaf := c.Certs[0]
	if err := cred.CheckLeaf(leaf, c.ID, s.now(), cred.Skew); err != nil {
		return nil, refuseCertificate(err)
	}
	h := sha256.New()
	h.Write(snap.mark())
	for _, cert := range c.Certs {
		h.Write(cert.Raw)
	}
	proof := h.Sum(nil)
	found, ok := s.paths.get(string(proof))
	if !ok || !soundAt(found, s) {
		if err := s.maySearch(c, proof); err != nil {
			return nil, err
		}
		path, err := cred.Path(c.Certs, snap.known, snap.roots, s.now(), cred.Skew)
		if err != nil {
			s.searchFailed(c, proof)
			return nil, refuseCertificate(err)
		}
		found = &pathFound{path}
		s.paths.put(string(proof), found)
	}
	if snap.isRevoked(found.path) {
		return nil, refuseCertificate(errRevoked)
	}
	for _, cert := range found.path[1:] {
		if groups := snap.signers[string(cert.Raw)]; len(groups) > 0 {
			return &attested{enrollment: groups[0].Enrollment, kind: AttestX509, leaf: leaf, signing: cert}, nil
		}
	}
	return nil, refuseCertificate(errors.New("no enrollment group stands on the certificate's path"))
}

// soundAt says whether no certificate of a remembered path has run out.
func soundAt(f *pathFound, s *Service) bool {
	now := s.now()
	for _, cert := range f.path {
		if now.After(cert.NotAfter.Add(cred.Skew)) || now.Before(cert.NotBefore.Add(-cred.Skew)) {
			return false
		}
	}
	return true
}

// isRevoked says whether a CA of ours has revoked a certificate of the path.
func (n *snapshot) isRevoked(path []*x509.Certificate) bool {
	if len(n.revoked) == 0 {
		return false
	}
	for _, cert := range path {
		for _, ca := range path {
			if bytes.Equal(cert.RawIssuer, ca.RawSubject) && n.revoked[string(ca.Raw)+serialOf(cert)] {
				return true
			}
		}
	}
	return false
}

// serialOf returns a serial number as revocations name it.
func serialOf(cert *x509.Certificate) string {
	return bareSerial(strings.ToUpper(hex.EncodeToString(cert.SerialNumber.Bytes())))
}
