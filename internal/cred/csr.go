package cred

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
)

// MaxRequest is the longest signing request in bytes, in whatever spelling, that ParseRequest looks at (dps 2.10.2).
const MaxRequest = 8 << 10

// Request is what of a certificate signing request is used: all else, a challenge password above all, is dropped when it is
// read (dps 2.10.3). Made by ParseRequest, then read only.
type Request struct {
	CommonName string           // of the subject, exactly as it stands there; never empty
	PublicKey  crypto.PublicKey // *rsa.PublicKey of 2048 to 8192 bits, or *ecdsa.PublicKey on P-256 or P-384
}

// ParseRequest reads a PKCS #10 request as DER, base64 of DER, PEM, or base64 of PEM; white space within base64 is skipped.
// The request's own signature must be good (RFC 2986; dps 2.10). Errors are ProblemMissing, ProblemSize beyond MaxRequest,
// ProblemMalformed for what cannot be read or has no common name, ProblemKey for a weak or foreign key, and ProblemSignature.
func ParseRequest(text []byte) (*Request, error) {
	der, err := requestDER(text)
	if err != nil {
		return nil, err
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, refuse(ProblemMalformed, "the signing request cannot be read: it is no PKCS #10 structure") // the library's text may quote it
	}
	if err := checkPublic("the signing request", r.PublicKey); err != nil {
		return nil, err
	}
	if r.CheckSignature() != nil {
		return nil, refuse(ProblemSignature, "the signing request was not signed with the key it is for")
	}
	if r.Subject.CommonName == "" {
		return nil, refuse(ProblemMalformed, "the subject of the signing request has no common name")
	}
	return &Request{CommonName: r.Subject.CommonName, PublicKey: r.PublicKey}, nil
}

// CheckName returns a ProblemName error unless the common name is name, ASCII letters compared without case (dps 2.8, 2.10).
func (r *Request) CheckName(name string) error {
	if name == "" || !equalFold(r.CommonName, name) {
		return refuse(ProblemName, "the common name of the signing request is %q, expected %q", clip(r.CommonName), clip(name))
	}
	return nil
}

func requestDER(text []byte) ([]byte, error) {
	if len(text) == 0 {
		return nil, refuse(ProblemMissing, "the signing request is empty")
	}
	if len(text) > MaxRequest {
		return nil, refuse(ProblemSize, "the signing request has %d bytes; at most %d are allowed", len(text), MaxRequest)
	}
	if !bytes.Contains(text, []byte("-----BEGIN")) && text[0] != derSequence {
		plain, ok := decodeLoose(text)
		if !ok {
			return nil, refuse(ProblemMalformed, "the signing request is neither PEM nor base64 (standard alphabet)")
		}
		text = plain
	}
	if !bytes.Contains(text, []byte("-----BEGIN")) {
		return text, nil
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, refuse(ProblemMalformed, "the signing request holds no PEM block of type CERTIFICATE REQUEST")
	}
	return block.Bytes, nil
}

// derSequence is the first byte of any certificate or request in DER; base64 of one begins with 'M', PEM with '-'.
const derSequence = 0x30

// decodeLoose decodes base64, with or without padding, after taking white space out.
func decodeLoose(text []byte) ([]byte, bool) {
	bare := bytes.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, text)
	b, err := base64.RawStdEncoding.DecodeString(string(bytes.TrimRight(bare, "=")))
	return b, err == nil
}

// checkPublic refuses keys that are weaker than dps 2.8 allows, or so large that checking a signature would be dear.
func checkPublic(what string, key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > maxRSA {
			return refuse(ProblemKey, "%s has an RSA key of %d bits; 2048 to %d are allowed", what, n, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return refuse(ProblemKey, "%s has a key on the curve %s; P-256 and P-384 are allowed", what, k.Curve.Params().Name)
		}
		return nil
	}
	return refuse(ProblemKey, "%s has a key that is neither RSA nor on the curves P-256 and P-384", what)
}

// equalFold compares without the case of ASCII letters; Unicode folding would make the Kelvin sign a k.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
