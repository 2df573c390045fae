package oauth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrClient: the client is unknown or its secret is wrong; which of the two
	// is not said (iot-v1 AU-16).
	ErrClient = errors.New("oauth: client authentication failed")
	// ErrToken: the token is malformed, unknown, expired or revoked.
	ErrToken = errors.New("oauth: invalid token")
)

// Throttled is the answer to a source or client with too many failed attempts.
type Throttled struct{ After time.Duration }

func (t *Throttled) Error() string {
	return fmt.Sprintf("oauth: too many failed attempts, wait %s", t.After)
}

// maxID is the greatest length of client ids that failures are counted for.
const maxID = 128

type digest [sha256.Size]byte

// Hash returns what is kept of a secret or token.
func Hash(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

// NewSecret returns 256 random bits as 43 characters of base64url, the form of
// secrets and tokens (iot-v1 AU-2, AU-6).
func NewSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// PutClient adds the client, or gives it a new secret and ends its tokens, and
// returns the secret, which is not kept.
func (s *Server) PutClient(tx *store.Tx, id string) (secret string, err error) {
	secret = NewSecret()
	if err := tx.PutOAuthClient(&store.OAuthClient{Realm: s.o.Realm, ID: id, Hash: Hash(secret), Created: s.db.Now()}); err != nil {
		return "", err
	}
	return secret, s.EndTokens(tx, id)
}

// DeleteClient removes the client with its tokens; one that is not there is no
// error.
func (s *Server) DeleteClient(tx *store.Tx, id string) error {
	s.changed(tx, id)
	err := tx.DeleteOAuthClient(s.o.Realm, id)
	if errors.Is(err, store.ErrNone) {
		err = nil
	}
	return err
}

// EndTokens ends all tokens of the client.
func (s *Server) EndTokens(tx *store.Tx, id string) error {
	s.changed(tx, id)
	_, err := tx.DeleteOAuthTokens(s.o.Realm, id)
	return err
}

// Authenticate proves that the caller, who calls from source (an address), is
// the client. Answers: ErrClient; *Throttled for a source with too many failed
// attempts, and for a wrong secret of a client with too many: the right secret
// is never locked out by others; a fault when the store is away.
func (s *Server) Authenticate(ctx context.Context, id, secret, source string) error {
	if wait := s.sources.blocked(source); wait > 0 {
		return &Throttled{wait}
	}
	want := make([]byte, sha256.Size)
	known := 0
	err := s.db.View(ctx, func(tx *store.Tx) error {
		c, err := tx.OAuthClient(s.o.Realm, id)
		if err == nil {
			want, known = c.Hash, 1
		}
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNone) {
		return away(err)
	}
	if subtle.ConstantTimeCompare(want, Hash(secret))&known == 1 {
		return nil
	}
	s.sources.fail(source)
	if len(id) > maxID { // there is no such client, and anybody sees that
		return ErrClient
	}
	// Also for a client that is not known, or its answers would tell that.
	if wait := s.clients.blocked(id); wait > 0 {
		return &Throttled{wait}
	}
	s.clients.fail(id)
	return ErrClient
}

func parseNote(in []byte) (n note, ok bool) { return n, json.Unmarshal(in, &n) == nil }
