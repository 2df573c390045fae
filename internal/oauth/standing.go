package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// standing is the present state of a credential: what tokens are judged by.
type standing struct {
	app, tenant string
	permissions []Permission
	validFrom   int64
	loaded      time.Time // by the real clock
	gone        bool      // there is no such credential
}

// standing returns the present state of the client id, nil when it has gone. It
// answers from memory for a second at most; a change on this node is seen with
// its commit, on another node with the note that follows it.
func (a *Apps) standing(ctx context.Context, client string) (*standing, error) {
	a.mu.Lock()
	s, epoch := a.live[client], a.epoch
	a.mu.Unlock()
	if s == nil || time.Since(s.loaded) > keepFor {
		s = &standing{loaded: time.Now()}
		err := a.db.View(ctx, func(tx *store.Tx) error { _, err := s.read(tx, client); return err })
		switch {
		case errors.Is(err, store.ErrNone):
			s.gone = true
		case err != nil:
			return nil, fault.SIMInternalError.Wrap(err, "the store cannot be reached now")
		}
		a.remember(client, s, epoch)
	}
	if s.gone {
		return nil, nil
	}
	return s, nil
}

func (s *standing) read(tx *store.Tx, client string) (*store.AppCredential, error) {
	row, err := tx.AppCredential(client)
	if err != nil {
		return nil, err
	}
	app, err := tx.App("", row.App)
	if err != nil {
		return nil, err
	}
	permissions, err := tx.AppPermissions(row.App)
	if err != nil {
		return nil, err
	}
	s.app, s.tenant, s.permissions, s.validFrom = app.ID, app.Tenant, permissionsOf(permissions), row.ValidFrom
	return row, nil
}

// remember keeps what was read at epoch, unless something has changed since.
func (a *Apps) remember(client string, s *standing, epoch int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.epoch != epoch {
		return
	}
	if len(a.live) >= maxKept {
		clear(a.live)
	}
	a.live[client] = s
}

func (a *Apps) forget(client string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch++
	delete(a.live, client)
}

// dummy is hashed against for clients that are not there, so that they take as
// long as those with a wrong secret.
var dummy = &store.AppCredential{Salt: make([]byte, 16), Hash: make([]byte, 32)}

// authenticate proves a client by its secret; ErrClient, always after a hash.
func (a *Apps) authenticate(ctx context.Context, client, secret string) (*store.AppCredential, *standing, error) {
	row, known, err := a.credential(ctx, client)
	if err != nil {
		return nil, nil, err
	}
	if subtle.ConstantTimeCompare(row.Hash, saltedHash(row.Salt, secret))&known != 1 {
		return nil, nil, ErrClient
	}
	s := &standing{}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) { row, err = s.read(tx, client); return err })
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, nil, ErrClient
	case err != nil:
		return nil, nil, fault.SIMInternalError.Wrap(err, "the store cannot be reached now")
	}
	return row, s, nil
}

// credential returns the row of the client id and 1, or a row that no secret
// fits and 0.
func (a *Apps) credential(ctx context.Context, client string) (row *store.AppCredential, known int, err error) {
	if !utf8.ValidString(client) || strings.Contains(client, "\x00") {
		return dummy, 0, nil // no database takes it as text
	}
	err = a.db.View(ctx, func(tx *store.Tx) (err error) { row, err = tx.AppCredential(client); return err })
	switch {
	case errors.Is(err, store.ErrNone):
		return dummy, 0, nil
	case err != nil:
		return nil, 0, fault.SIMInternalError.Wrap(err, "the store cannot be reached now")
	}
	return row, 1, nil
}
