package dps

import (
	"crypto/x509"

	"github.com/nave-hub/nave/internal/cred"
)

// Attestation is how devices of an enrolment prove themselves: Type and
// exactly the member of that name (dps 3.9).
type Attestation struct {
	Type         string           `json:"type,omitzero"`
	TPM          *TPMAttestation  `json:"tpm,omitzero"`
	X509         *X509Attestation `json:"x509,omitzero"`
	SymmetricKey *SymmetricKey    `json:"symmetricKey,omitzero"`
}

// The values of Attestation.Type.
const (
	AttestNone = "none"
	AttestTPM  = "tpm"
	AttestX509 = "x509"
	AttestKey  = "symmetricKey"
)

// TPMAttestation are keys of a TPM in base64 of TPM2B_PUBLIC. An empty SRK is
// filled in by the first registration.
type TPMAttestation struct {
	EK  string `json:"endorsementKey,omitzero"`
	SRK string `json:"storageRootKey,omitzero"`
}

// X509Attestation has exactly one member: certificates of the device itself,
// of CAs (groups), or names of uploaded CA certificates.
type X509Attestation struct {
	Client     *CertificatePair `json:"clientCertificates,omitzero"`
	Signing    *CertificatePair `json:"signingCertificates,omitzero"`
	References *References      `json:"caReferences,omitzero"`
}

// CertificatePair is a primary and perhaps a secondary certificate.
type CertificatePair struct {
	Primary   *CertificateWithInfo `json:"primary,omitzero"`
	Secondary *CertificateWithInfo `json:"secondary,omitzero"`
}

// All returns the certificates that are there, the primary first.
func (p *CertificatePair) All() (all []*CertificateWithInfo) {
	if p == nil {
		return nil
	}
	for _, c := range []*CertificateWithInfo{p.Primary, p.Secondary} {
		if c != nil {
			all = append(all, c)
		}
	}
	return all
}

// References are names of uploaded CA certificates.
type References struct {
	Primary   string `json:"primary,omitzero"`
	Secondary string `json:"secondary,omitzero"`
}

// Names returns the names that are set, the primary first.
func (r *References) Names() (all []string) {
	if r == nil {
		return nil
	}
	for _, name := range []string{r.Primary, r.Secondary} {
		if name != "" {
			all = append(all, name)
		}
	}
	return all
}

// CertificateWithInfo is a certificate as it was sent, PEM or base64, and what
// it says.
type CertificateWithInfo struct {
	Certificate string           `json:"certificate,omitzero"`
	Info        *CertificateInfo `json:"info,omitzero"`
}

// Parse returns the certificate; stored ones always parse.
func (c *CertificateWithInfo) Parse() (*x509.Certificate, error) {
	return cred.ParseCertificate([]byte(c.Certificate))
}

// SymmetricKey are two keys in base64; empty where reads leave them out. In
// the store they are sealed.
type SymmetricKey struct {
	Primary   string `json:"primaryKey,omitzero"`
	Secondary string `json:"secondaryKey,omitzero"`
}

// Keys returns both keys of a symmetric key attestation, the primary first;
// nil for others.
func (a *Attestation) Keys() []string {
	if a == nil || a.SymmetricKey == nil {
		return nil
	}
	return []string{a.SymmetricKey.Primary, a.SymmetricKey.Secondary}
}
