package oauth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/nave-hub/nave/internal/store"
)

// signingKey is one key of the issuer.
type signingKey struct {
	id      string
	private *rsa.PrivateKey
	signer  jose.Signer
	retired bool
}

// chain is the keys that tokens are signed with: kept in the store, so that
// every node and every start has the same ones, and in memory.
type chain struct {
	// Set before open, then read only:
	db     *store.DB
	secret []byte

	reading sync.Mutex // held during a read of the store

	// Guarded by mu:
	mu    sync.Mutex
	keys  []*signingKey // the newest first; replaced, never changed
	read  time.Time     // by the real clock
	stale bool
}

const (
	keyBits   = 2048
	keyMaxAge = time.Minute // of what is in memory; a note that is lost costs that much
	keyPause  = time.Second // between reads of the store for unknown names of keys
)

// open reads the keys and makes the first one.
func (c *chain) open(ctx context.Context) error {
	if err := c.load(ctx); err != nil || len(c.all()) > 0 {
		return err
	}
	return c.rotate(ctx)
}

// rotate makes a new key, which signs from now on; the others go on verifying.
func (c *chain) rotate(ctx context.Context) error {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	row := &store.TokenKey{ID: newUUID(), Created: c.db.Now()}
	if row.Sealed, err = c.seal(der, row.ID); err != nil {
		return err
	}
	err = c.db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.InsertTokenKey(row); err != nil {
			return err
		}
		return tx.RetireTokenKeys(row.ID, row.Created)
	})
	if err != nil {
		return fmt.Errorf("oauth: the key of access tokens cannot be kept: %w", err)
	}
	return c.load(ctx)
}

// load reads all keys from the store.
func (c *chain) load(ctx context.Context) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	var rows []*store.TokenKey
	err := c.db.View(ctx, func(tx *store.Tx) (err error) { rows, err = tx.TokenKeys(); return err })
	if err != nil {
		return fmt.Errorf("oauth: the keys of access tokens cannot be read: %w", err)
	}
	old := c.all()
	var keys []*signingKey
	for _, r := range rows {
		k := find(old, r.ID)
		if k == nil {
			if k, err = c.parse(r); err != nil {
				return err
			}
		}
		keys = append(keys, &signingKey{k.id, k.private, k.signer, !r.Retired.IsZero()})
	}
	c.mu.Lock()
	c.keys, c.read, c.stale = keys, time.Now(), false
	c.mu.Unlock()
	return nil
}

func find(keys []*signingKey, id string) *signingKey {
	for _, k := range keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (c *chain) parse(r *store.TokenKey) (*signingKey, error) {
	der, err := c.unseal(r.Sealed, r.ID)
	if err != nil {
		return nil, fmt.Errorf("oauth: the key %s of access tokens cannot be decrypted; is the secret another one than before? %w", r.ID, err)
	}
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("oauth: the key %s of access tokens is damaged: %w", r.ID, err)
	}
	private, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("oauth: the key %s of access tokens is no RSA key", r.ID)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: private, KeyID: r.ID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, err
	}
	return &signingKey{id: r.ID, private: private, signer: signer}, nil
}

func (c *chain) all() []*signingKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys
}

// age has the next use read the store again.
func (c *chain) age() {
	c.mu.Lock()
	c.stale = true
	c.mu.Unlock()
}

// fresh reads the store again when what is in memory is too old.
func (c *chain) fresh(ctx context.Context) error {
	c.mu.Lock()
	old := c.stale || time.Since(c.read) > keyMaxAge
	c.mu.Unlock()
	if !old {
		return nil
	}
	return c.load(ctx)
}

// signing returns the key that signs.
func (c *chain) signing(ctx context.Context) (*signingKey, error) {
	if err := c.fresh(ctx); err != nil {
		return nil, err
	}
	for _, k := range c.all() {
		if !k.retired {
			return k, nil
		}
	}
	return nil, errors.New("oauth: there is no key to sign with")
}

// verifying returns the key of this name, nil when there is none.
func (c *chain) verifying(ctx context.Context, id string) (*signingKey, error) {
	if err := c.fresh(ctx); err != nil {
		return nil, err
	}
	if k := find(c.all(), id); k != nil {
		return k, nil
	}
	c.mu.Lock()
	again := time.Since(c.read) > keyPause // another node may just have made it
	c.mu.Unlock()
	if !again {
		return nil, nil
	}
	if err := c.load(ctx); err != nil {
		return nil, err
	}
	return find(c.all(), id), nil
}

// Forms of a key in the store, told by the first byte.
const (
	plainKey  = 0
	sealedKey = 1
)

func (c *chain) aead() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, c.secret, nil, "nave token key", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (c *chain) seal(der []byte, id string) ([]byte, error) {
	if len(c.secret) == 0 {
		return append([]byte{plainKey}, der...), nil
	}
	aead, err := c.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal([]byte{sealedKey}, nil, der, []byte(id)), nil
}

func (c *chain) unseal(kept []byte, id string) ([]byte, error) {
	switch {
	case len(kept) == 0:
		return nil, errors.New("it is empty")
	case kept[0] == plainKey:
		return kept[1:], nil
	case len(c.secret) == 0:
		return nil, errors.New("it is sealed and no secret is set")
	}
	aead, err := c.aead()
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, kept[1:], []byte(id))
}
