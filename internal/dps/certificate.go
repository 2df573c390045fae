package dps

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

// Certificate is an uploaded CA certificate (dps 3.10). Its row has the name
// as key.
type Certificate struct {
	Name       string `json:"name"`
	PEM        string `json:"certificate"` // PEM
	Verified   bool   `json:"isVerified"`
	Code       string `json:"verificationCode,omitzero"` // open proof of possession
	Created    Time   `json:"created,omitzero"`
	Updated    Time   `json:"updated,omitzero"`
	ETag       string `json:"etag,omitzero"`
	Thumbprint string `json:"thumbprint,omitzero"`

	// Authority is the local CA whose certificate it is, and Revoked are the
	// serial numbers that are not trusted any more. Stored only.
	Authority string   `json:"certificateAuthorityName,omitzero"`
	Revoked   []string `json:"revoked,omitzero"`
}

// CertificateResource is a certificate as answers have it.
type CertificateResource struct {
	ID         string                `json:"id"`
	Name       string                `json:"name"`
	Type       string                `json:"type"`
	ETag       string                `json:"etag"`
	Properties CertificateProperties `json:"properties"`
}

// CertificateProperties are the facts of a certificate.
type CertificateProperties struct {
	Subject     string `json:"subject"`
	Expiry      string `json:"expiry"` // RFC 1123
	Thumbprint  string `json:"thumbprint"`
	Verified    bool   `json:"isVerified"`
	Certificate string `json:"certificate"` // base64 of DER
	Created     string `json:"created"`     // RFC 1123
	Updated     string `json:"updated"`     // RFC 1123
	Code        string `json:"verificationCode,omitzero"`
}

// certificateType is the type member of all certificates.
const certificateType = "Microsoft.Devices/ProvisioningServices/Certificates"

// managed is how times of certificates are written (dps 1.3).
func managed(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }

// Resource returns c as answers have it; id is the path it is addressed by.
func (c *Certificate) Resource(id string) (*CertificateResource, error) {
	cert, err := cred.ParseCertificate([]byte(c.PEM))
	if err != nil {
		return nil, fault.DPSServerError.Wrap(err, "the stored certificate %s cannot be read", c.Name)
	}
	sha1, _ := cred.Thumbprints(cert)
	return &CertificateResource{id, c.Name, certificateType, c.ETag, CertificateProperties{
		Subject: subject(cert), Expiry: managed(cert.NotAfter), Thumbprint: sha1, Verified: c.Verified,
		Certificate: encode64(cert.Raw), Created: managed(c.Created.Time), Updated: managed(c.Updated.Time), Code: c.Code}}, nil
}

func subject(cert *x509.Certificate) string { return cert.Subject.String() }

// shown is c without the open proof.
func (c *Certificate) shown() *Certificate {
	n := *c
	n.Code = ""
	return &n
}

// CertificateDraft is the body of an upload, made by ParseCertificateDraft.
type CertificateDraft struct {
	cert     *x509.Certificate
	verified *bool
	etag     string
}

// ParseCertificateDraft reads {"properties": {"certificate", "isVerified"}}, or
// the older form without properties. The certificate may be PEM or base64; it
// has to be that of a CA. It answers DeserializationError, ArgumentNull and
// ArgumentInvalid.
func ParseCertificateDraft(b []byte) (*CertificateDraft, error) {
	type properties struct {
		Certificate string `json:"certificate"`
		Verified    *bool  `json:"isVerified"`
	}
	var body struct {
		properties
		Properties *properties `json:"properties"`
		ETag       string      `json:"etag"`
	}
	if err := Decode(b, &body); err != nil {
		return nil, err
	}
	p := body.properties
	if body.Properties != nil {
		p = *body.Properties
	}
	cert, err := parseAuthority("properties.certificate", p.Certificate)
	if err != nil {
		return nil, err
	}
	return &CertificateDraft{cert, p.Verified, body.ETag}, nil
}

// parseAuthority reads the certificate of a CA; ArgumentNull, ArgumentInvalid.
func parseAuthority(member, text string) (*x509.Certificate, error) {
	if text == "" {
		return nil, fault.DPSArgumentNull.New("%s is missing", member)
	}
	cert, err := cred.ParseCertificate([]byte(text))
	if err != nil {
		return nil, fault.DPSArgumentInvalid.Wrap(err, "%s: %s", member, err)
	}
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return nil, fault.DPSArgumentInvalid.New("%s is not the certificate of a CA: its basic constraints do not say so", member)
	}
	return cert, nil
}

// apply returns what an upload makes of before, nil for a new certificate.
func (d *CertificateDraft) apply(name string, before *Certificate, now time.Time) (*Certificate, error) {
	if now.After(d.cert.NotAfter) {
		return nil, fault.DPSArgumentInvalid.New("the certificate has expired on %s", managed(d.cert.NotAfter))
	}
	sha1, _ := cred.Thumbprints(d.cert)
	c := &Certificate{Name: name, PEM: string(cred.AppendCertificate(nil, d.cert)), Created: Time{now}, Updated: Time{now}, Thumbprint: sha1}
	if before != nil {
		c.Name, c.Created = before.Name, before.Created
		if c.PEM == before.PEM {
			c.Verified, c.Authority, c.Revoked = before.Verified, before.Authority, before.Revoked
		}
	}
	if d.verified != nil {
		c.Verified = *d.verified
	}
	return c, nil
}

// prove checks a verification certificate: signed by c's key, for the code that
// was generated last, and within its dates (dps 3.10).
func (c *Certificate) prove(proof *x509.Certificate, now time.Time) error {
	if c.Code == "" {
		return errors.New("no verification code was generated since the last upload")
	}
	authority, err := cred.ParseCertificate([]byte(c.PEM))
	switch {
	case err != nil:
		return err
	case !bytes.Equal(proof.RawIssuer, authority.RawSubject) || proof.CheckSignatureFrom(authority) != nil:
		return errors.New("the verification certificate was not signed with the key of the uploaded certificate")
	case !strings.EqualFold(proof.Subject.CommonName, c.Code):
		return errors.New("the common name of the verification certificate is not the code that was generated last")
	case now.Before(proof.NotBefore.Add(-cred.Skew)) || now.After(proof.NotAfter):
		return errors.New("the verification certificate is not valid now")
	}
	return nil
}

// errRevoked is the answer to a certificate that was revoked.
var errRevoked = errors.New("the certificate was revoked by its authority")
