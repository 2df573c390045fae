package store

import (
	"database/sql"
	"time"

	"github.com/nave-hub/nave"
)

const selectDesired = `SELECT id, device, command, source, value, sequence, issued, expires, status, closed, feed, reported, asker FROM control_desired WHERE `

func scanDesired(rows *sql.Rows) (*nave.DesiredState, error) {
	var d nave.DesiredState
	var issued, expires, closed int64
	err := rows.Scan(&d.ID, &d.Device, &d.Command, &d.Source, &d.Value, &d.Sequence, &issued, &expires, &d.Status, &closed, &d.Feed, &d.Reported, &d.By)
	d.Issued, d.Expires, d.Closed = moment(issued), moment(expires), moment(closed)
	return &d, err
}

// Desired returns the desired state, or ErrNone. In an Update the row stays
// locked.
func (t *Tx) Desired(id string) (*nave.DesiredState, error) {
	return first(list(t, scanDesired, selectDesired+`hub = ? AND id = ? FOR NO KEY UPDATE`, t.db.hub, id))
}

// OpenDesired returns the pending desired state of the command, or ErrNone.
func (t *Tx) OpenDesired(source int64) (*nave.DesiredState, error) {
	return first(list(t, scanDesired, selectDesired+`source = ? AND status = 'pending' FOR NO KEY UPDATE`, source))
}

// NewestDesired returns the desired state of the command with the greatest
// sequence number, or ErrNone.
func (t *Tx) NewestDesired(source int64) (*nave.DesiredState, error) {
	return first(list(t, scanDesired, selectDesired+`source = ? ORDER BY sequence DESC LIMIT 1`, source))
}

// PendingDesired returns the pending desired states of the device in the order
// of commands.
func (t *Tx) PendingDesired(device string) ([]*nave.DesiredState, error) {
	return list(t, scanDesired, selectDesired+`hub = ? AND device = ? AND status = 'pending' ORDER BY command`, t.db.hub, device)
}

// DesiredHistory returns up to limit desired states of the command, the newest
// first.
func (t *Tx) DesiredHistory(source int64, limit int) ([]*nave.DesiredState, error) {
	return list(t, scanDesired, selectDesired+`source = ? ORDER BY sequence DESC LIMIT ?`, source, limit)
}

// DueDesired returns up to limit pending desired states that have expired.
func (t *Tx) DueDesired(now time.Time, limit int) ([]*nave.DesiredState, error) {
	return list(t, scanDesired, selectDesired+`hub = ? AND status = 'pending' AND expires > 0 AND expires <= ? ORDER BY expires LIMIT ?`, t.db.hub, ticks(now), limit)
}

// InsertDesired adds a desired state.
func (t *Tx) InsertDesired(d *nave.DesiredState) error {
	_, err := t.exec(`INSERT INTO control_desired (hub, id, device, command, source, value, sequence, issued, expires, status, closed, feed, reported, asker)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, t.db.hub, d.ID, d.Device, d.Command, d.Source, d.Value, d.Sequence,
		ticks(d.Issued), ticks(d.Expires), d.Status, ticks(d.Closed), d.Feed, d.Reported, d.By)
	return err
}

// CloseDesired writes how a desired state ended: Status, Closed, Feed and
// Reported. It answers ErrNone.
func (t *Tx) CloseDesired(d *nave.DesiredState) error {
	return t.must(`UPDATE control_desired SET status = ?, closed = ?, feed = ?, reported = ? WHERE hub = ? AND id = ?`,
		d.Status, ticks(d.Closed), d.Feed, d.Reported, t.db.hub, d.ID)
}

// OldDesiredSources returns the commands of the device that have a desired state
// which ended before the time and is not their newest.
func (t *Tx) OldDesiredSources(device string, before time.Time) ([]int64, error) {
	return list(t, func(rows *sql.Rows) (no int64, err error) { err = rows.Scan(&no); return no, err },
		`SELECT s.no FROM control_source s JOIN control_state t ON t.source = s.no WHERE s.hub = ? AND s.device = ?
		AND (SELECT d.closed FROM control_desired d WHERE d.source = s.no AND d.sequence < t.sequence ORDER BY d.sequence LIMIT 1) < ?`,
		t.db.hub, device, ticks(before))
}

// ExpireDesired removes up to limit desired states of the command that ended
// before the time, the oldest first, and returns how many. The newest stays:
// its time says which reports are adopted (iot-v1 CM-10).
func (t *Tx) ExpireDesired(source int64, before time.Time, limit int) (int, error) {
	n, err := t.exec(`DELETE FROM control_desired WHERE source = ? AND status <> 'pending' AND closed < ? AND sequence IN (
		SELECT d.sequence FROM control_desired d JOIN control_state t ON t.source = d.source
		WHERE d.source = ? AND d.sequence < t.sequence ORDER BY d.sequence LIMIT ?)`, source, ticks(before), source, limit)
	return int(n), err
}

func first[T any](all []*T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// ControlCredential is an MQTT password, known by its hash (iot-v1 11.3). Token
// is the hash of the access token that asked for it.
type ControlCredential struct {
	Hash    []byte
	Device  string
	Token   []byte
	Scopes  string
	Issued  time.Time
	Expires time.Time
}

const selectCredential = `SELECT hash, device, token, scopes, issued, expires FROM control_credential WHERE hub = ? AND `

func scanCredential(rows *sql.Rows) (*ControlCredential, error) {
	var c ControlCredential
	var issued, expires int64
	err := rows.Scan(&c.Hash, &c.Device, &c.Token, &c.Scopes, &issued, &expires)
	c.Issued, c.Expires = moment(issued), moment(expires)
	return &c, err
}

// ControlCredentials returns the MQTT credentials of the device, the oldest
// first.
func (t *Tx) ControlCredentials(device string) ([]*ControlCredential, error) {
	return list(t, scanCredential, selectCredential+`device = ? ORDER BY issued, hash`, t.db.hub, device)
}

// InsertControlCredential adds an MQTT credential.
func (t *Tx) InsertControlCredential(c *ControlCredential) error {
	_, err := t.exec(`INSERT INTO control_credential (hub, hash, device, token, scopes, issued, expires) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		t.db.hub, c.Hash, c.Device, c.Token, c.Scopes, ticks(c.Issued), ticks(c.Expires))
	return err
}

// DeleteControlCredential removes the credential if it is there.
func (t *Tx) DeleteControlCredential(hash []byte) error {
	_, err := t.exec(`DELETE FROM control_credential WHERE hub = ? AND hash = ?`, t.db.hub, hash)
	return err
}

// EndControlCredentials removes the credentials of the device; with a token
// only those it asked for. It returns how many there were.
func (t *Tx) EndControlCredentials(device string, token []byte) (int64, error) {
	if token == nil {
		return t.exec(`DELETE FROM control_credential WHERE hub = ? AND device = ?`, t.db.hub, device)
	}
	return t.exec(`DELETE FROM control_credential WHERE hub = ? AND device = ? AND token = ?`, t.db.hub, device, token)
}
