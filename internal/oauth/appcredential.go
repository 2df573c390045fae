package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Credential is a client id of an application. Secret is set only in the answer
// that made it; Refreshed is zero before the first refresh.
type Credential struct {
	ClientID, Secret   string
	Created, Refreshed time.Time
}

func credentialOf(c *store.AppCredential) Credential {
	return Credential{ClientID: c.ID, Created: c.Created, Refreshed: c.Refreshed}
}

// saltedHash is what is kept of an application's secret. Secrets bear 256
// random bits, so no slow hash is needed.
func saltedHash(salt []byte, secret string) []byte {
	h := hmac.New(sha256.New, salt)
	h.Write([]byte(secret))
	return h.Sum(nil)
}

// newCredential makes a credential with its row.
func (a *Apps) newCredential(app string, now time.Time) (*store.AppCredential, Credential) {
	row := &store.AppCredential{ID: newUUID(), App: app, Created: now}
	secret := renewSecret(row, now)
	made := credentialOf(row)
	made.Secret = secret
	return row, made
}

// renewSecret puts a new secret into the row. ValidFrom never stays, so that
// tokens of the old secret are told from those of the new one even when both
// are issued in the same second.
func renewSecret(row *store.AppCredential, now time.Time) (secret string) {
	secret = NewSecret()
	row.Salt = make([]byte, 16)
	rand.Read(row.Salt)
	row.Hash = saltedHash(row.Salt, secret)
	row.ValidFrom = max(now.UnixMicro(), row.ValidFrom+1)
	return secret
}

// AddCredential gives the application another client id with a secret. Errors:
// SIMApplicationNotFound, SIMCredentialLimit beyond MaxCredentials.
func (a *Apps) AddCredential(ctx context.Context, tenant, id string) (*Credential, error) {
	row, made := a.newCredential(id, a.db.Now())
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		app, err := readApp(tx, tenant, id)
		if err != nil {
			return err
		}
		if len(app.Credentials) >= MaxCredentials {
			return fault.SIMCredentialLimit.New("the application already has %d credentials", MaxCredentials)
		}
		return tx.PutAppCredential(row)
	})
	if err != nil {
		return nil, known(err)
	}
	return &made, nil
}

// RefreshCredential replaces the secret of a client id. The old secret and the
// tokens that were issued for it end with the commit (connectivity-api AP-5).
func (a *Apps) RefreshCredential(ctx context.Context, tenant, id, client string) (*Credential, error) {
	var made Credential
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		row, err := credentialIn(tx, tenant, id, client)
		if err != nil {
			return err
		}
		row.Refreshed = a.db.Now()
		secret := renewSecret(row, row.Refreshed)
		made = credentialOf(row)
		made.Secret = secret
		a.changed(tx, client)
		return tx.PutAppCredential(row)
	})
	if err != nil {
		return nil, known(err)
	}
	return &made, nil
}

// DeleteCredential removes a client id; its tokens end with the commit.
func (a *Apps) DeleteCredential(ctx context.Context, tenant, id, client string) error {
	return known(a.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := credentialIn(tx, tenant, id, client); err != nil {
			return err
		}
		a.changed(tx, client)
		return tx.DeleteAppCredential(id, client)
	}))
}

// credentialIn returns the client id if it belongs to that application of the
// tenant.
func credentialIn(tx *store.Tx, tenant, id, client string) (*store.AppCredential, error) {
	if _, err := tx.App(tenant, id); err != nil {
		return nil, err
	}
	row, err := tx.AppCredential(client)
	if err != nil {
		return nil, err
	}
	if row.App != id {
		return nil, store.ErrNone
	}
	return row, nil
}
