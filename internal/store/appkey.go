package store

import (
	"database/sql"
	"time"
)

// TokenKey is a private key that access tokens are signed with, sealed by the
// caller. Retired is zero for a key that may sign.
type TokenKey struct {
	ID      string
	Sealed  []byte
	Created time.Time
	Retired time.Time
}

// TokenKeys returns all keys, the newest first.
func (t *Tx) TokenKeys() ([]*TokenKey, error) {
	return list(t, func(rows *sql.Rows) (*TokenKey, error) {
		var k TokenKey
		var created, retired int64
		if err := rows.Scan(&k.ID, &k.Sealed, &created, &retired); err != nil {
			return nil, err
		}
		k.Created, k.Retired = moment(created), moment(retired)
		return &k, nil
	}, `SELECT id, sealed, created, retired FROM token_key WHERE hub = ? ORDER BY created DESC, id DESC`, t.db.hub)
}

// InsertTokenKey adds a key.
func (t *Tx) InsertTokenKey(k *TokenKey) error {
	_, err := t.exec(`INSERT INTO token_key (hub, id, sealed, created, retired) VALUES (?, ?, ?, ?, ?)`,
		t.db.hub, k.ID, k.Sealed, ticks(k.Created), ticks(k.Retired))
	return err
}

// RetireTokenKeys marks every key but one as no longer signing.
func (t *Tx) RetireTokenKeys(but string, at time.Time) error {
	_, err := t.exec(`UPDATE token_key SET retired = ? WHERE hub = ? AND id <> ? AND retired = 0`, ticks(at), t.db.hub, but)
	return err
}

// DeleteTokenKeys removes the keys that retired before the time and returns how
// many.
func (t *Tx) DeleteTokenKeys(before time.Time) (int64, error) {
	return t.exec(`DELETE FROM token_key WHERE hub = ? AND retired > 0 AND retired < ?`, t.db.hub, ticks(before))
}
