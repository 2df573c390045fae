package cred

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
)

// maxPEM bounds how much text ParseCertificates and LoadCA look at.
const maxPEM = 256 << 10

// ParseCertificates reads all certificates of a PEM text in their order; it returns at least one or a ProblemMalformed error.
// Blocks of other types are skipped.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	if len(text) > maxPEM {
		return nil, refuse(ProblemMalformed, "the PEM text has %d bytes; at most %d are allowed", len(text), maxPEM)
	}
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, refuse(ProblemMalformed, "certificate %d of the PEM text cannot be read: %v", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if certs == nil {
		return nil, refuse(ProblemMalformed, "the text holds no PEM block of type CERTIFICATE")
	}
	return certs, nil
}

// parseKey never quotes the library's errors: they might hold bytes of the key.
func parseKey(text []byte) (crypto.Signer, error) {
	if len(text) > maxPEM {
		return nil, refuse(ProblemMalformed, "the PEM text has %d bytes; at most %d are allowed", len(text), maxPEM)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default: // "EC PARAMETERS" precedes the key in files of openssl
			continue
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, refuse(ProblemKey, "the private key in the PEM block %q cannot be read", block.Type)
		}
		return signer, nil
	}
	return nil, refuse(ProblemKey, "the text holds no PEM block with an unencrypted private key")
}
