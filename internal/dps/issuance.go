package dps

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// defaultValidity is the life of issued certificates in days (dps 2.10.3).
const defaultValidity = 90

// issuance is a certificate made for a CSR: leaf first, root last.
type issuance struct {
	chain []*x509.Certificate
}

// issue answers the CSR of an operation by the credential policy or, for the
// older preview, the issuance policy of the enrolment (dps 2.10). Faults end the
// operation: ArgumentInvalid without a policy, CertificateAuthorityNotFound.
func (s *Service) issue(ctx context.Context, j *job, d *dossier) error {
	if j.op.CSR == nil || j.issued != nil {
		return nil
	}
	var ca *CertificateAuthority
	var policy *CredentialPolicy
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		ca, policy, err = s.issuer(tx, d)
		return err
	})
	if err != nil {
		return err
	}
	if ca.Type != LocalAuthority {
		return fault.DPSArgumentInvalid.New("certificates of the authority %s, a %s, cannot be issued here", ca.Name, ca.Type)
	}
	ca.inForce(s.now())
	secret, err := s.seal.Open(KindCA+"/"+key(ca.Name), ca.Key)
	if err != nil {
		return err
	}
	authority, err := cred.LoadCA([]byte(ca.Issuer), []byte(secret))
	if err != nil {
		return err
	}
	request, err := cred.ParseRequest(j.op.CSR)
	if err != nil {
		return fault.DPSArgumentInvalid.Wrap(err, "the CSR: %s", err)
	}
	if err := policy.allows(request); err != nil {
		return err
	}
	days := cmp.Or(policy.days(), ca.Validity, d.profile.Validity, defaultValidity)
	chain, err := authority.Issue(request, s.now(), time.Duration(days)*24*time.Hour)
	if err != nil {
		return fault.DPSArgumentInvalid.Wrap(err, "the authority %s: %s", ca.Name, err)
	}
	j.issued = &issuance{chain}
	return nil
}

// issuer returns the authority in force and the credential policy that names
// it, nil for an issuance policy.
func (s *Service) issuer(tx *store.Tx, d *dossier) (ca *CertificateAuthority, by *CredentialPolicy, err error) {
	name := ""
	if policy := d.credential(); policy != "" {
		by, err = readRow[CredentialPolicy](tx, KindCredential, key(policy))
		if errors.Is(err, store.ErrNone) {
			return nil, nil, fault.DPSCertificateAuthorityNotFound.New("Credential policy not found: %s", policy)
		}
		if err != nil {
			return nil, nil, err
		}
		name = by.Authority
	} else if d.enrollment.Issuance != nil {
		name = d.enrollment.Issuance.Authority
	}
	if name == "" {
		return nil, nil, fault.DPSArgumentInvalid.New("The enrollment has no policy by which certificates are issued")
	}
	ca, err = readRow[CertificateAuthority](tx, KindCA, key(name))
	if errors.Is(err, store.ErrNone) {
		return nil, nil, fault.DPSCertificateAuthorityNotFound.New("Certificate authority not found: %s", name)
	}
	return ca, by, err
}

func (i *issuance) leaf() *x509.Certificate { return i.chain[0] }

// facts returns what records keep of the certificate.
func (i *issuance) facts() *Issued {
	short, long := cred.Thumbprints(i.leaf())
	return &Issued{Serial: strings.ToUpper(hex.EncodeToString(i.leaf().SerialNumber.Bytes())), SHA1: short, SHA256: long, Until: Time{i.leaf().NotAfter}}
}

// give writes the chain into the outcome as the CSR asked for it: base64 of DER
// for csr, one PEM text for clientCertificateCsr.
func (i *issuance) give(o *outcome, legacy bool) {
	if !legacy {
		for _, cert := range i.chain {
			o.Chain = append(o.Chain, encode64(cert.Raw))
		}
		return
	}
	var text []byte
	for _, cert := range i.chain {
		text = cred.AppendCertificate(text, cert)
	}
	o.PEM = string(text)
}

// bundle returns the trust bundle of the enrolment as the device gets it; nil
// when it names none or one that is gone.
func (s *Service) bundle(ctx context.Context, d *dossier) (json.RawMessage, error) {
	if d.enrollment.TrustBundle == "" {
		return nil, nil
	}
	var b *TrustBundle
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		b, err = readRow[TrustBundle](tx, KindBundle, key(d.enrollment.TrustBundle))
		return err
	})
	if errors.Is(err, store.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return jsonv2.Marshal(b)
}
