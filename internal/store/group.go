package store

import "database/sql"

func scanName(rows *sql.Rows) (name string, err error) {
	err = rows.Scan(&name)
	return name, err
}

// Groups returns the names of the consumer groups in byte order.
func (t *Tx) Groups() ([]string, error) {
	return list(t, scanName, `SELECT name FROM consumer_group WHERE hub = ? ORDER BY name`, t.db.hub)
}

// PutGroup adds the consumer group if it is missing.
func (t *Tx) PutGroup(name string) error {
	_, err := t.exec(`INSERT INTO consumer_group (hub, name) VALUES (?, ?) ON CONFLICT DO NOTHING`, t.db.hub, name)
	return err
}

// DeleteGroup removes the consumer group. It answers ErrNone.
func (t *Tx) DeleteGroup(name string) error {
	return t.must(`DELETE FROM consumer_group WHERE hub = ? AND name = ?`, t.db.hub, name)
}
