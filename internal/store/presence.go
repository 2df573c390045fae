package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/nave-hub/nave"
)

// PresenceRow is the connection state of one identity.
type PresenceRow struct {
	ID nave.ID
	nave.Presence
	// Of, unless empty, is the node that must hold the identity for the row to
	// count; a disconnection also counts when nobody holds it.
	Of string
}

// Presence writes the connection states of many identities; those that are
// gone are left out, and of two rows for one identity the last counts.
func (t *Tx) Presence(rows []PresenceRow) error {
	if !t.write {
		return ErrReadOnly
	}
	if t.pg != nil {
		return t.presencePostgres(rows)
	}
	for i := range rows {
		r := &rows[i]
		var was int
		var node string
		err := t.one(`SELECT connected, node FROM presence WHERE hub = ? AND device = ? AND module = ?`, t.key(r.ID), &was, &node)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err != nil {
			return err
		}
		if r.Of != "" && node != r.Of && (was == 1 || r.Connected) {
			continue
		}
		_, err = t.exec(`UPDATE presence SET connected = ?, node = ?, changed = ?, activity = ? WHERE hub = ? AND device = ? AND module = ?`,
			t.set(r.ID, bit(r.Connected), r.Node, ticks(r.Changed), ticks(r.Activity))...)
		if err != nil {
			return err
		}
		if !r.ID.IsModule() {
			t.tally.Connected += bit(r.Connected) - was
		}
	}
	return nil
}

// Activity moves the last activity of an identity forward; its connection state
// stays as it is, and an identity that is gone is left out.
func (t *Tx) Activity(id nave.ID, at time.Time) error {
	if !t.write {
		return ErrReadOnly
	}
	_, err := t.exec(`UPDATE presence SET activity = ? WHERE hub = ? AND device = ? AND module = ? AND activity < ?`,
		append(t.set(id, ticks(at)), ticks(at))...)
	return err
}

// presencePostgres writes all rows in one round trip.
func (t *Tx) presencePostgres(rows []PresenceRow) error {
	type row struct {
		D string `json:"d"`
		M string `json:"m"`
		C int    `json:"c"`
		N string `json:"n"`
		T int64  `json:"t"`
		A int64  `json:"a"`
		O string `json:"o"`
	}
	last := make(map[nave.ID]int, len(rows))
	for i := range rows {
		last[rows[i].ID] = i
	}
	all := make([]row, 0, len(last))
	for i := range rows {
		if r := &rows[i]; last[r.ID] == i {
			all = append(all, row{r.ID.Device, r.ID.Module, bit(r.Connected), r.Node, ticks(r.Changed), ticks(r.Activity), r.Of})
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	var change int
	// The rows are locked in key order, lest two nodes wait for each other.
	err = t.one(`WITH v AS (SELECT * FROM json_to_recordset(CAST(? AS json)) AS v(d text, m text, c smallint, n text, t bigint, a bigint, o text)),
		old AS (SELECT p.device, p.module, p.connected FROM presence p JOIN v ON p.device = v.d AND p.module = v.m
			WHERE p.hub = ? ORDER BY p.device, p.module FOR UPDATE OF p),
		new AS (UPDATE presence p SET connected = v.c, node = v.n, changed = v.t, activity = v.a FROM v JOIN old ON old.device = v.d AND old.module = v.m
			WHERE p.hub = ? AND p.device = v.d AND p.module = v.m AND (v.o = '' OR p.node = v.o OR p.connected = 0 AND v.c = 0) RETURNING CASE WHEN p.module = '' THEN v.c - old.connected ELSE 0 END AS change)
		SELECT COALESCE(SUM(change), 0) FROM new`, []any{string(text), t.db.hub, t.db.hub}, &change)
	t.tally.Connected += change
	return err
}

// ClearPresence disconnects, as of now, whatever the node held and returns it.
func (t *Tx) ClearPresence(node string) ([]nave.ID, error) {
	ids, err := list(t, scanID, `UPDATE presence SET connected = 0, node = '', changed = ? WHERE hub = ? AND node = ? AND connected = 1
		RETURNING device, module`, ticks(t.db.now()), t.db.hub, node)
	for _, id := range ids {
		if !id.IsModule() {
			t.tally.Connected--
		}
	}
	return ids, err
}

func scanID(rows *sql.Rows) (id nave.ID, err error) {
	err = rows.Scan(&id.Device, &id.Module)
	return id, err
}
