package store

import (
	"database/sql"
	"time"
)

// OAuthClient is a client of a realm; only the hash of its secret is kept.
type OAuthClient struct {
	Realm, ID string
	Hash      []byte
	Created   time.Time
}

// OAuthToken is an access token, known by its hash. Claims is a JSON object.
type OAuthToken struct {
	Realm, Client string
	Hash          []byte
	Scope, Claims string
	Issued        time.Time
	Expires       time.Time
}

// OAuthClient returns the client, or ErrNone. In an Update the row stays
// locked.
func (t *Tx) OAuthClient(realm, id string) (*OAuthClient, error) {
	c := &OAuthClient{Realm: realm, ID: id}
	var created int64
	err := t.one(`SELECT hash, created FROM oauth_client WHERE hub = ? AND realm = ? AND id = ? FOR NO KEY UPDATE`, []any{t.db.hub, realm, id}, &c.Hash, &created)
	if err != nil {
		return nil, err
	}
	c.Created = moment(created)
	return c, nil
}

// PutOAuthClient adds the client, or replaces the hash of its secret.
func (t *Tx) PutOAuthClient(c *OAuthClient) error {
	_, err := t.exec(`INSERT INTO oauth_client (hub, realm, id, hash, created) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (hub, realm, id) DO UPDATE SET hash = excluded.hash`, t.db.hub, c.Realm, c.ID, c.Hash, ticks(c.Created))
	return err
}

// DeleteOAuthClient removes the client with its tokens. It answers ErrNone.
func (t *Tx) DeleteOAuthClient(realm, id string) error {
	return t.must(`DELETE FROM oauth_client WHERE hub = ? AND realm = ? AND id = ?`, t.db.hub, realm, id)
}

const selectToken = `SELECT realm, client, hash, scope, claims, issued, expires FROM oauth_token WHERE hub = ? AND realm = ? AND `

func scanToken(rows *sql.Rows) (*OAuthToken, error) {
	var k OAuthToken
	var issued, expires int64
	if err := rows.Scan(&k.Realm, &k.Client, &k.Hash, &k.Scope, &k.Claims, &issued, &expires); err != nil {
		return nil, err
	}
	k.Issued, k.Expires = moment(issued), moment(expires)
	return &k, nil
}

// OAuthToken returns the token of the hash, or ErrNone.
func (t *Tx) OAuthToken(realm string, hash []byte) (*OAuthToken, error) {
	all, err := list(t, scanToken, selectToken+`hash = ?`, t.db.hub, realm, hash)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// OAuthTokens returns the tokens of the client, the oldest first.
func (t *Tx) OAuthTokens(realm, client string) ([]*OAuthToken, error) {
	return list(t, scanToken, selectToken+`client = ? ORDER BY issued, hash`, t.db.hub, realm, client)
}

// InsertOAuthToken adds a token; ErrNone without its client.
func (t *Tx) InsertOAuthToken(k *OAuthToken) error {
	return t.must(`INSERT INTO oauth_token (hub, realm, hash, client, scope, claims, issued, expires)
		SELECT hub, realm, ?, id, ?, ?, ?, ? FROM oauth_client WHERE hub = ? AND realm = ? AND id = ?`,
		k.Hash, k.Scope, k.Claims, ticks(k.Issued), ticks(k.Expires), t.db.hub, k.Realm, k.Client)
}

// DeleteOAuthToken removes the token. It answers ErrNone.
func (t *Tx) DeleteOAuthToken(realm string, hash []byte) error {
	return t.must(`DELETE FROM oauth_token WHERE hub = ? AND realm = ? AND hash = ?`, t.db.hub, realm, hash)
}

// DeleteOAuthTokens removes all tokens of the client and returns how many.
func (t *Tx) DeleteOAuthTokens(realm, client string) (int64, error) {
	return t.exec(`DELETE FROM oauth_token WHERE hub = ? AND realm = ? AND client = ?`, t.db.hub, realm, client)
}

// ExpireOAuthTokens removes the tokens of the realm that ended before the time.
func (t *Tx) ExpireOAuthTokens(realm string, before time.Time) (int64, error) {
	return t.exec(`DELETE FROM oauth_token WHERE hub = ? AND realm = ? AND expires < ?`, t.db.hub, realm, ticks(before))
}
