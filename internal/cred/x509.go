package cred

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Thumbprints returns the SHA-1 and the SHA-256 of the certificate's DER in upper-case hex (device-protocols 1.4).
func Thumbprints(cert *x509.Certificate) (sha1Hex, sha256Hex string) {
	a, b := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	return strings.ToUpper(hex.EncodeToString(a[:])), strings.ToUpper(hex.EncodeToString(b[:]))
}

// CheckThumbprint returns a ProblemMalformed error unless text is 40 or 64 hex digits, colons and blanks not counted.
func CheckThumbprint(text string) error {
	_, err := decodeThumbprint(text)
	return err
}

// MatchThumbprint reports in constant time whether one of the registered thumbprints, SHA-1 or SHA-256 in any case and with
// or without colons and blanks, is the certificate's; texts CheckThumbprint refuses never match.
func MatchThumbprint(cert *x509.Certificate, registered ...string) bool {
	if cert == nil {
		return false
	}
	short, long := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	found := 0
	for _, text := range registered {
		want, err := decodeThumbprint(text)
		if err != nil {
			continue
		}
		found |= subtle.ConstantTimeCompare(want, short[:]) | subtle.ConstantTimeCompare(want, long[:])
	}
	return found == 1
}

// CheckMatch returns a ProblemThumbprint error unless MatchThumbprint; its text has the shape clients know (device-protocols 1.4).
func CheckMatch(cert *x509.Certificate, primary, secondary string) error {
	if cert == nil {
		return refuse(ProblemMissing, "no client certificate was presented")
	}
	if MatchThumbprint(cert, primary, secondary) {
		return nil
	}
	short, long := Thumbprints(cert)
	return refuse(ProblemThumbprint, "Thumbprint does not match configuration: Thumbprint: SHA1Hash=%s, SHA2Hash=%s; "+
		"Configuration: PrimaryThumbprint=%s, SecondaryThumbprint=%s", short, long, clip(primary), clip(secondary))
}

func decodeThumbprint(text string) ([]byte, error) {
	if len(text) > 256 {
		return nil, refuse(ProblemMalformed, "the thumbprint has %d characters; 40 or 64 hex digits are allowed", len(text))
	}
	bare := strings.Map(func(r rune) rune {
		if r == ':' || r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, text)
	if len(bare) != 2*sha1.Size && len(bare) != 2*sha256.Size {
		return nil, refuse(ProblemMalformed, "the thumbprint has %d characters; 40 (SHA-1) or 64 (SHA-256) hex digits are allowed", len(bare))
	}
	b, err := hex.DecodeString(bare)
	if err != nil {
		return nil, refuse(ProblemMalformed, "the thumbprint holds a character that is no hex digit")
	}
	return b, nil
}

// checkName compares with the common name alone: alternative names say where a server is, not which device this is.
func checkName(leaf *x509.Certificate, name string) error {
	if name == "" || leaf.Subject.CommonName != name {
		return refuse(ProblemName, "the common name of the certificate is %q, expected %q", clip(leaf.Subject.CommonName), clip(name))
	}
	return nil
}

func checkUsage(leaf *x509.Certificate) error {
	none := len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0
	if none || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	return refuse(ProblemUsage, "the extended key usage of certificate %s lacks clientAuth", describe(leaf))
}

func describe(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return fmt.Sprintf("%q", clip(c.Subject.CommonName))
	}
	return fmt.Sprintf("with serial number %x", c.SerialNumber)
}
