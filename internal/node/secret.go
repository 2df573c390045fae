package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nave-hub/nave/internal/store"
)

// secretName is the file in the data folder, or the setting in a shared store,
// that holds the key which encrypts secrets at rest.
const secretName = "secret.key"

// secretKey returns the 32 bytes that encrypt secrets at rest: from the
// configured file; else made at the first start and kept beside a SQLite store,
// or in a store that nodes share, which then all find the same key.
func (n *Node) secretKey(ctx context.Context) ([]byte, error) {
	switch {
	case n.conf.SecretKey != "":
		text, err := os.ReadFile(n.conf.SecretKey)
		if err != nil {
			return nil, fmt.Errorf("secretKey: %w", err)
		}
		return parseSecret(string(text), n.conf.SecretKey)
	case strings.HasPrefix(n.conf.Store, "postgres"):
		return n.sharedSecret(ctx)
	}
	file := filepath.Join(n.conf.Data, secretName)
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		text = []byte(newSecret() + "\n")
		err = writeFile(file, text, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("the key that encrypts secrets: %w", err)
	}
	return parseSecret(string(text), file)
}

func (n *Node) sharedSecret(ctx context.Context) ([]byte, error) {
	text := ""
	err := n.db.Scope("node").Update(ctx, func(tx *store.Tx) (err error) {
		text, err = tx.FirstSetting(secretName, newSecret())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the key that encrypts secrets: %w", err)
	}
	return parseSecret(text, "the store's setting "+secretName)
}

func newSecret() string {
	var key [32]byte
	rand.Read(key[:]) // never fails
	return hex.EncodeToString(key[:])
}

func parseSecret(text, where string) ([]byte, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("the key that encrypts secrets is not 64 hex digits: %s", where)
	}
	return key, nil
}
