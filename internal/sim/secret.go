package sim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// seal encrypts a secret with AES-GCM; of binds it to its place.
func seal(key []byte, secret, of string) ([]byte, error) {
	g, err := aead(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, g.NonceSize())
	rand.Read(nonce) // never fails since Go 1.24
	return g.Seal(nonce, nonce, []byte(secret), []byte(of)), nil
}

var errSealed = errors.New("the secret cannot be read with the present key")

// unseal decrypts what seal returned; nothing is an empty secret.
func unseal(key, sealed []byte, of string) (string, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	g, err := aead(key)
	if err != nil {
		return "", err
	}
	if len(sealed) < g.NonceSize() {
		return "", errSealed
	}
	plain, err := g.Open(nil, sealed[:g.NonceSize()], sealed[g.NonceSize():], []byte(of))
	if err != nil {
		return "", errSealed
	}
	return string(plain), nil
}

func aead(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}
