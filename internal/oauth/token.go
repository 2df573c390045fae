package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// Grant is what a token allows its bearer. It is shared and must not be
// changed.
type Grant struct {
	Client  string
	Scopes  []string
	Claims  json.RawMessage // a JSON object of the contract's own
	Hash    []byte          // of the token
	Issued  time.Time
	Expires time.Time
}

// Has says whether the scope was granted.
func (g *Grant) Has(scope string) bool { return slices.Contains(g.Scopes, scope) }

// Token is an access token that was just issued; Text is shown once.
type Token struct {
	Text  string
	Life  time.Duration
	Renew time.Duration // after which the client asks for its next one
	Grant Grant
}

// maxOpaque bounds what is taken for a token at all.
const maxOpaque = 512

// Issue makes a token of the client with the scopes; claims may be nil. The
// oldest live tokens beyond ServerOptions.MaxTokens end. It answers ErrClient for a
// client that has gone meanwhile, or a fault when the store is away.
func (s *Server) Issue(ctx context.Context, client string, scopes []string, claims json.RawMessage) (*Token, error) {
	if claims == nil {
		claims = json.RawMessage("{}")
	}
	t := &Token{Text: NewSecret(), Life: s.o.Lifetime, Renew: (s.o.Lifetime * 8 / 10).Truncate(time.Second)}
	now := s.db.Now()
	row := &store.OAuthToken{Realm: s.o.Realm, Client: client, Hash: Hash(t.Text), Scope: strings.Join(scopes, " "), Claims: string(claims),
		Issued: now, Expires: now.Add(t.Life)}
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		// Takes the client's lock, so that two calls cannot pass the limit.
		if _, err := tx.OAuthClient(s.o.Realm, client); err != nil {
			return err
		}
		newest, err := s.trim(tx, client, now)
		if err != nil {
			return err
		}
		// Of tokens that were issued within one tick of the clock it must be known which is the oldest, too.
		if row.Issued = now; !now.After(newest) {
			row.Issued = newest.Add(tick)
		}
		return tx.InsertOAuthToken(row)
	})
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, ErrClient
	case err != nil:
		return nil, away(err)
	}
	t.Grant = *grantOf(row)
	return t, nil
}

// tick is how exactly the store keeps times.
const tick = 100 * time.Nanosecond

// trim ends tokens until there is room for one more and returns when the newest
// was issued, the zero time when there is none.
func (s *Server) trim(tx *store.Tx, client string, now time.Time) (newest time.Time, err error) {
	all, err := tx.OAuthTokens(s.o.Realm, client)
	if err != nil {
		return newest, err
	}
	live := len(all)
	for _, k := range all {
		newest = k.Issued
		dead := !now.Before(k.Expires)
		if !dead && live < s.o.MaxTokens {
			continue
		}
		live--
		if err := tx.DeleteOAuthToken(s.o.Realm, k.Hash); err != nil {
			return newest, err
		}
		if dead {
			continue
		}
		s.changed(tx, client)
		if err := s.o.Ended(tx, client, k.Hash); err != nil {
			return newest, err
		}
	}
	return newest, nil
}

func grantOf(k *store.OAuthToken) *Grant {
	return &Grant{Client: k.Client, Scopes: strings.Fields(k.Scope), Claims: json.RawMessage(k.Claims), Hash: k.Hash, Issued: k.Issued, Expires: k.Expires}
}

// kept is a token in memory.
type kept struct {
	grant  *Grant
	loaded time.Time // by the real clock
}

// keepFor is how stale an answer may be when a note is lost.
var keepFor = time.Second

const maxKept = 50_000

// Check returns what the token allows, ErrToken, or a fault when the store is
// away.
func (s *Server) Check(ctx context.Context, token string) (*Grant, error) {
	if token == "" || len(token) > maxOpaque {
		return nil, ErrToken
	}
	key := digest(sha256.Sum256([]byte(token)))
	s.mu.Lock()
	k, epoch := s.known[key], s.epoch
	s.mu.Unlock()
	if k == nil || time.Since(k.loaded) > keepFor {
		row, err := s.read(ctx, key)
		if err != nil {
			return nil, err
		}
		k = &kept{grantOf(row), time.Now()}
		s.keep(key, k, epoch)
	}
	if !s.db.Now().Before(k.grant.Expires) {
		return nil, ErrToken
	}
	return k.grant, nil
}

func (s *Server) read(ctx context.Context, key digest) (row *store.OAuthToken, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error { row, err = tx.OAuthToken(s.o.Realm, key[:]); return err })
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, ErrToken
	case err != nil:
		return nil, away(err)
	}
	return row, nil
}

// keep stores a token that was read at epoch, unless something has changed
// since.
func (s *Server) keep(key digest, k *kept, epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		return
	}
	if len(s.known) >= maxKept {
		clear(s.known)
	}
	s.known[key] = k
}

// forget drops the client's tokens from memory.
func (s *Server) forget(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	for key, k := range s.known {
		if k.grant.Client == client {
			delete(s.known, key)
		}
	}
}

// Revoke ends a token of the client. One that is unknown or another client's is
// left alone, without an error (RFC 7009, iot-v1 AU-17).
func (s *Server) Revoke(ctx context.Context, client, token string) error {
	hash := Hash(token)
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		row, err := tx.OAuthToken(s.o.Realm, hash)
		if err != nil {
			return err
		}
		if row.Client != client {
			return nil
		}
		s.changed(tx, client)
		if err := s.o.Ended(tx, client, bytes.Clone(hash)); err != nil {
			return err
		}
		return tx.DeleteOAuthToken(s.o.Realm, hash)
	})
	if err != nil && !errors.Is(err, store.ErrNone) {
		return away(err)
	}
	return nil
}
