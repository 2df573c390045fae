package cred

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
)

// KeyType names the kind of key a new authority gets (dps 6.7).
type KeyType string

// The kinds of key.
const (
	RSA2048 KeyType = "rsa2048"
	RSA4096 KeyType = "rsa4096"
	EC256   KeyType = "ec256"
	EC384   KeyType = "ec384"
)

// ParseKeyType reads the name of a kind of key, "" being rsa2048; the error is ProblemKey.
func ParseKeyType(text string) (KeyType, error) {
	switch t := KeyType(text); t {
	case RSA2048, RSA4096, EC256, EC384:
		return t, nil
	case "":
		return RSA2048, nil
	}
	return "", refuse(ProblemKey, "there is no key type %q; rsa2048, rsa4096, ec256 and ec384 are allowed", clip(text))
}

// newKey makes a private key; the zero value means rsa2048.
func (t KeyType) newKey() (crypto.Signer, error) {
	switch t {
	case RSA2048, "":
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case EC256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EC384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	_, err := ParseKeyType(string(t))
	return nil, err
}
