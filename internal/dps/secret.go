package dps

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Sealer encrypts secrets at rest with AES-256-GCM.
type Sealer struct{ aead cipher.AEAD }

// sealed starts every sealed text.
const sealed = "v1:"

// ErrSealed: a secret of the store was sealed with another key or for another
// place.
var ErrSealed = errors.New("dps: a stored secret cannot be opened; the key at rest has changed")

// NewSealer makes a Sealer from 32 bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("dps: the key at rest has %d bytes, 32 are needed", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{aead}, nil
}

// Seal encrypts the secret for the place, such as "enrollment/a", where alone
// it can be opened; "" stays "".
func (s *Sealer) Seal(place, secret string) string {
	if secret == "" {
		return ""
	}
	nonce := make([]byte, s.aead.NonceSize())
	rand.Read(nonce) // never fails since Go 1.24
	return sealed + base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, []byte(secret), []byte(place)))
}

// Open returns what Seal was given; ErrSealed.
func (s *Sealer) Open(place, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	rest, ok := strings.CutPrefix(text, sealed)
	b, err := base64.StdEncoding.DecodeString(rest)
	if n := s.aead.NonceSize(); ok && err == nil && len(b) >= n {
		if plain, err := s.aead.Open(nil, b[:n], b[n:], []byte(place)); err == nil {
			return string(plain), nil
		}
	}
	return "", ErrSealed
}
