package store

import (
	"database/sql"

	"github.com/nave-hub/nave"
)

// Policies returns the shared access policies in the byte order of their names.
func (t *Tx) Policies() ([]nave.Policy, error) {
	return list(t, func(rows *sql.Rows) (p nave.Policy, err error) {
		err = rows.Scan(&p.Name, &p.Rights, &p.Primary, &p.Secondary)
		return p, err
	}, `SELECT name, rights, key1, key2 FROM policy WHERE hub = ? ORDER BY name`, t.db.hub)
}

// PutPolicy adds or replaces the policy of that name.
func (t *Tx) PutPolicy(p nave.Policy) error {
	_, err := t.exec(`INSERT INTO policy (hub, name, rights, key1, key2) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (hub, name) DO UPDATE SET rights = excluded.rights, key1 = excluded.key1, key2 = excluded.key2`,
		t.db.hub, p.Name, int(p.Rights), p.Primary, p.Secondary)
	return err
}

// DeletePolicy removes the policy. It answers ErrNone.
func (t *Tx) DeletePolicy(name string) error {
	return t.must(`DELETE FROM policy WHERE hub = ? AND name = ?`, t.db.hub, name)
}
