package cred

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

// maxCertificate bounds the text of one certificate, in whatever spelling.
const maxCertificate = 64 << 10

// CertificateInfo describes a certificate in answers of the provisioning service; all fields are always written (dps 3.9).
type CertificateInfo struct {
	SubjectName      string `json:"subjectName"`      // such as CN=d1,O=Nave (RFC 2253)
	SHA1Thumbprint   string `json:"sha1Thumbprint"`   // upper-case hex
	SHA256Thumbprint string `json:"sha256Thumbprint"` // upper-case hex
	IssuerName       string `json:"issuerName"`       // as SubjectName
	NotBeforeUTC     string `json:"notBeforeUtc"`     // such as 2026-01-31T23:59:59Z
	NotAfterUTC      string `json:"notAfterUtc"`      // as NotBeforeUTC
	SerialNumber     string `json:"serialNumber"`     // upper-case hex, whole bytes
	Version          int    `json:"version"`          // 3 for all that matter
}

// Info returns the description of c.
func Info(c *x509.Certificate) CertificateInfo {
	short, long := Thumbprints(c)
	return CertificateInfo{SubjectName: c.Subject.String(), SHA1Thumbprint: short, SHA256Thumbprint: long, IssuerName: c.Issuer.String(),
		NotBeforeUTC: c.NotBefore.UTC().Format(time.RFC3339), NotAfterUTC: c.NotAfter.UTC().Format(time.RFC3339),
		SerialNumber: SerialNumber(c), Version: c.Version}
}

// SerialNumber returns the certificate's serial number in upper-case hex, whole bytes, without leading zero bytes.
func SerialNumber(c *x509.Certificate) string {
	if b := c.SerialNumber.Bytes(); len(b) > 0 {
		return fmt.Sprintf("%X", b)
	}
	return "00"
}

// ParseCertificate reads one certificate in any spelling that clients send: PEM, base64 of DER, base64 of PEM, or DER; white
// space within base64 is skipped, and of several PEM blocks the first certificate counts (dps 3.9, 3.10). Errors are
// ProblemMissing for an empty text and ProblemMalformed otherwise.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	if len(text) == 0 {
		return nil, refuse(ProblemMissing, "the certificate is empty")
	}
	if len(text) > maxCertificate {
		return nil, refuse(ProblemMalformed, "the certificate has %d bytes; at most %d are allowed", len(text), maxCertificate)
	}
	if text[0] != derSequence && !bytes.Contains(text, []byte("-----BEGIN")) {
		plain, ok := decodeLoose(text)
		if !ok {
			return nil, refuse(ProblemMalformed, "the certificate is neither PEM nor base64 (standard alphabet)")
		}
		text = plain
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		certs, err := ParseCertificates(text)
		if err != nil {
			return nil, err
		}
		return certs[0], nil
	}
	c, err := x509.ParseCertificate(text)
	if err != nil {
		return nil, refuse(ProblemMalformed, "the certificate cannot be read: %v", err)
	}
	return c, nil
}

// AppendCertificate appends c as a PEM block.
func AppendCertificate(b []byte, c *x509.Certificate) []byte {
	return append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
}
