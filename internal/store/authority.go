package store

import (
	"database/sql"

	"github.com/nave-hub/nave"
)

// Authorities returns the certificate authorities in the byte order of their
// names.
func (t *Tx) Authorities() ([]nave.CertificateAuthority, error) {
	return list(t, func(rows *sql.Rows) (a nave.CertificateAuthority, err error) {
		var verified int
		var created int64
		err = rows.Scan(&a.Name, &a.PEM, &verified, &created)
		a.Verified, a.Created = verified == 1, moment(created)
		return a, err
	}, `SELECT name, pem, verified, created FROM authority WHERE hub = ? ORDER BY name`, t.db.hub)
}

// PutAuthority adds or replaces the authority of that name.
func (t *Tx) PutAuthority(a nave.CertificateAuthority) error {
	_, err := t.exec(`INSERT INTO authority (hub, name, pem, verified, created) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (hub, name) DO UPDATE SET pem = excluded.pem, verified = excluded.verified, created = excluded.created`,
		t.db.hub, a.Name, a.PEM, bit(a.Verified), ticks(a.Created))
	return err
}

// DeleteAuthority removes the authority. It answers ErrNone.
func (t *Tx) DeleteAuthority(name string) error {
	return t.must(`DELETE FROM authority WHERE hub = ? AND name = ?`, t.db.hub, name)
}
