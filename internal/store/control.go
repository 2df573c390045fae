package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nave-hub/nave"
)

const selectControl = `SELECT d.id, d.created, d.seen, d.doc,
	(SELECT COUNT(*) FROM control_source s WHERE s.hub = d.hub AND s.device = d.id)
	FROM control_device d WHERE d.hub = ? AND `

func scanControl(rows *sql.Rows) (*nave.ControlDevice, error) {
	var d nave.ControlDevice
	var created, seen int64
	var doc string
	if err := rows.Scan(&d.ID, &created, &seen, &doc, &d.SourceCount); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		return nil, fmt.Errorf("store: control device %s: %w", d.ID, err)
	}
	d.Created, d.Seen = moment(created), moment(seen)
	return &d, nil
}

// Control returns the control device, or ErrNone. In an Update the row stays
// locked.
func (t *Tx) Control(id string) (*nave.ControlDevice, error) {
	all, err := list(t, scanControl, selectControl+`d.id = ? FOR NO KEY UPDATE OF d`, t.db.hub, id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// Controls returns up to limit control devices whose ids follow after, in the
// order of ids.
func (t *Tx) Controls(after string, limit int) ([]*nave.ControlDevice, error) {
	return list(t, scanControl, selectControl+`d.id > ? ORDER BY d.id LIMIT ?`, t.db.hub, after, limit)
}

// InsertControl adds a control device; ErrExists.
func (t *Tx) InsertControl(d *nave.ControlDevice) error {
	doc, err := json.Marshal(d)
	if err != nil {
		return err
	}
	n, err := t.exec(`INSERT INTO control_device (hub, id, created, seen, doc) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		t.db.hub, d.ID, ticks(d.Created), ticks(d.Seen), string(doc))
	if err == nil && n == 0 {
		err = ErrExists
	}
	return err
}

// PutControl replaces the definition of a control device; ErrNone.
func (t *Tx) PutControl(d *nave.ControlDevice) error {
	doc, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return t.must(`UPDATE control_device SET doc = ? WHERE hub = ? AND id = ?`, string(doc), t.db.hub, d.ID)
}

// SeeControl notes when the control device made its last request, if it is
// there.
func (t *Tx) SeeControl(id string, at time.Time) error {
	_, err := t.exec(`UPDATE control_device SET seen = ? WHERE hub = ? AND id = ?`, ticks(at), t.db.hub, id)
	return err
}

// DeleteControl removes the control device with everything but its items,
// which DropControlFeed removes a few at a time. It answers ErrNone.
func (t *Tx) DeleteControl(id string) error {
	if _, err := t.exec(`INSERT INTO control_gone (hub, source) SELECT hub, no FROM control_source WHERE hub = ? AND device = ?`, t.db.hub, id); err != nil {
		return err
	}
	return t.must(`DELETE FROM control_device WHERE hub = ? AND id = ?`, t.db.hub, id)
}

const selectSource = `SELECT s.no, s.device, s.id, s.doc, t.feed, t.value, t.observed, t.received, t.desired, t.sequence
	FROM control_source s JOIN control_state t ON t.source = s.no WHERE s.hub = ? AND `

// ControlSourceRow is a source with its state.
type ControlSourceRow struct {
	nave.ControlSource
	State nave.ControlState
}

func scanSource(rows *sql.Rows) (*ControlSourceRow, error) {
	var r ControlSourceRow
	var observed, received int64
	var doc string
	if err := rows.Scan(&r.No, &r.Device, &r.ID, &doc, &r.State.Feed, &r.State.Value, &observed, &received, &r.State.Desired, &r.State.Sequence); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(doc), &r.ControlSource); err != nil {
		return nil, fmt.Errorf("store: source %s: %w", r.ID, err)
	}
	r.State.Source, r.State.Observed, r.State.Received = r.No, moment(observed), moment(received)
	return &r, nil
}

// ControlSources returns commands and sensors of the control device with their
// states, in the order of ids.
func (t *Tx) ControlSources(device string) ([]*ControlSourceRow, error) {
	return list(t, scanSource, selectSource+`s.device = ? ORDER BY s.id`, t.db.hub, device)
}

// ControlSource returns the command or sensor, or ErrNone. In an Update its
// state stays locked.
func (t *Tx) ControlSource(id string) (*ControlSourceRow, error) {
	all, err := list(t, scanSource, selectSource+`s.id = ? FOR NO KEY UPDATE OF t`, t.db.hub, id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// InsertControlSource adds a command or sensor and sets its number; desired is
// the first desired value of a command. ErrNone without the device.
func (t *Tx) InsertControlSource(s *nave.ControlSource, desired string) error {
	doc, err := json.Marshal(s)
	if err != nil {
		return err
	}
	err = t.one(`INSERT INTO control_source (hub, device, id, doc)
		SELECT hub, id, ?, ? FROM control_device WHERE hub = ? AND id = ? RETURNING no`, []any{s.ID, string(doc), t.db.hub, s.Device}, &s.No)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO control_state (source, feed, value, observed, received, desired, sequence) VALUES (?, 0, '', 0, 0, ?, 0)`, s.No, desired)
	return err
}

// PutControlSource replaces the definition of a command or sensor; ErrNone.
func (t *Tx) PutControlSource(s *nave.ControlSource) error {
	doc, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return t.must(`UPDATE control_source SET doc = ? WHERE hub = ? AND id = ?`, string(doc), t.db.hub, s.ID)
}

// DeleteControlSource removes a command or sensor; its items go later. It
// answers ErrNone.
func (t *Tx) DeleteControlSource(device, id string) error {
	if _, err := t.exec(`INSERT INTO control_gone (hub, source) SELECT hub, no FROM control_source WHERE hub = ? AND device = ? AND id = ?`, t.db.hub, device, id); err != nil {
		return err
	}
	return t.must(`DELETE FROM control_source WHERE hub = ? AND device = ? AND id = ?`, t.db.hub, device, id)
}

// ControlState returns the state of a source by its number, or ErrNone. In an
// Update the row stays locked.
func (t *Tx) ControlState(source int64) (*nave.ControlState, error) {
	s := &nave.ControlState{Source: source}
	var observed, received int64
	err := t.one(`SELECT feed, value, observed, received, desired, sequence FROM control_state WHERE source = ? FOR NO KEY UPDATE`, []any{source},
		&s.Feed, &s.Value, &observed, &received, &s.Desired, &s.Sequence)
	if err != nil {
		return nil, err
	}
	s.Observed, s.Received = moment(observed), moment(received)
	return s, nil
}

// PutControlState replaces the state of a source; ErrNone.
func (t *Tx) PutControlState(s *nave.ControlState) error {
	return t.must(`UPDATE control_state SET feed = ?, value = ?, observed = ?, received = ?, desired = ?, sequence = ? WHERE source = ?`,
		s.Feed, s.Value, ticks(s.Observed), ticks(s.Received), s.Desired, s.Sequence, s.Source)
}

// ControlAudit is an entry of the audit log of a control device.
type ControlAudit struct {
	At     time.Time
	What   string
	Detail json.RawMessage
}

// AddControlAudit appends an entry to the audit log of a device; detail is a
// JSON object.
func (t *Tx) AddControlAudit(device string, a ControlAudit) error {
	_, err := t.exec(`INSERT INTO control_audit (hub, device, at, what, detail) VALUES (?, ?, ?, ?, ?)`,
		t.db.hub, device, ticks(a.At), a.What, string(a.Detail))
	return err
}

// ControlAudits returns the newest entries of a device, the newest first.
func (t *Tx) ControlAudits(device string, limit int) ([]ControlAudit, error) {
	return list(t, func(rows *sql.Rows) (a ControlAudit, err error) {
		var at int64
		var detail string
		err = rows.Scan(&at, &a.What, &detail)
		a.At, a.Detail = moment(at), json.RawMessage(detail)
		return a, err
	}, `SELECT at, what, detail FROM control_audit WHERE hub = ? AND device = ? ORDER BY id DESC LIMIT ?`, t.db.hub, device, limit)
}

// ExpireControlAudit removes up to limit entries of the hub's audit log from
// before the time, also of devices that are gone, and returns how many.
func (t *Tx) ExpireControlAudit(before time.Time, limit int) (int, error) {
	n, err := t.exec(`DELETE FROM control_audit WHERE id IN (SELECT id FROM control_audit WHERE hub = ? AND at < ? ORDER BY id LIMIT ?)`,
		t.db.hub, ticks(before), limit)
	return int(n), err
}
