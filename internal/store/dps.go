package store

import (
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"
)

// DPSRow is a row of the provisioning service. Kind and Key name it; Key is in
// lower case where ids compare without case.
type DPSRow struct {
	Kind, Key string
	Ref, Ref2 string    // what DPSByRef and DPSByRef2 find, "" for nothing
	At        time.Time // what DPSBefore finds, zero for nothing
	Doc       []byte    // JSON, kept verbatim
}

const selectDPS = `SELECT kind, id, ref, ref2, at, doc FROM dps WHERE hub = ? AND kind = ? AND `

// selectDPSBy returns selectDPS by way of an index. SQLite has to be told: by
// its guess at the sizes, the primary key would do, and it would read all rows
// of the kind.
func (t *Tx) selectDPSBy(index string) string {
	if t.pg != nil {
		return selectDPS
	}
	return `SELECT kind, id, ref, ref2, at, doc FROM dps INDEXED BY ` + index + ` WHERE hub = ? AND kind = ? AND `
}

func scanDPS(rows *sql.Rows) (*DPSRow, error) {
	var r DPSRow
	var at int64
	err := rows.Scan(&r.Kind, &r.Key, &r.Ref, &r.Ref2, &at, &r.Doc)
	r.At = moment(at)
	return &r, err
}

// DPS returns the row, or ErrNone. In an Update the row stays locked.
func (t *Tx) DPS(kind, key string) (*DPSRow, error) {
	all, err := list(t, scanDPS, selectDPS+`id = ? FOR NO KEY UPDATE`, t.db.hub, kind, key)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// InsertDPS adds a row; ErrExists.
func (t *Tx) InsertDPS(r *DPSRow) error {
	n, err := t.exec(`INSERT INTO dps (hub, kind, id, ref, ref2, at, doc) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		t.db.hub, r.Kind, r.Key, r.Ref, r.Ref2, ticks(r.At), string(r.Doc))
	switch {
	case err != nil:
		return err
	case n == 0:
		return ErrExists
	}
	t.countDPS(r.Kind, 1)
	return nil
}

// PutDPS adds the row or replaces the one with its key.
func (t *Tx) PutDPS(r *DPSRow) error {
	for {
		err := t.must(`UPDATE dps SET ref = ?, ref2 = ?, at = ?, doc = ? WHERE hub = ? AND kind = ? AND id = ?`,
			r.Ref, r.Ref2, ticks(r.At), string(r.Doc), t.db.hub, r.Kind, r.Key)
		if !errors.Is(err, ErrNone) {
			return err
		}
		// On PostgreSQL another transaction may have added the row meanwhile,
		// and yet another may delete it again.
		if err = t.InsertDPS(r); !errors.Is(err, ErrExists) {
			return err
		}
	}
}

// DeleteDPS removes the row; ErrNone.
func (t *Tx) DeleteDPS(kind, key string) error {
	err := t.must(`DELETE FROM dps WHERE hub = ? AND kind = ? AND id = ?`, t.db.hub, kind, key)
	if err == nil {
		t.countDPS(kind, -1)
	}
	return err
}

// DPSAfter returns up to limit rows of the kind whose keys follow after, in the
// order of keys.
func (t *Tx) DPSAfter(kind, after string, limit int) ([]*DPSRow, error) {
	return list(t, scanDPS, selectDPS+`id > ? ORDER BY id LIMIT ?`, t.db.hub, kind, after, limit)
}

// DPSByRef returns up to limit rows with the ref, which is not empty, whose
// keys follow after, in the order of keys.
func (t *Tx) DPSByRef(kind, ref, after string, limit int) ([]*DPSRow, error) {
	return list(t, scanDPS, t.selectDPSBy(`dps_ref`)+`ref = ? AND ref <> '' AND id > ? ORDER BY id LIMIT ?`, t.db.hub, kind, ref, after, limit)
}

// DPSByRef2 returns up to limit rows with the second ref, which is not empty,
// in the order of keys.
func (t *Tx) DPSByRef2(kind, ref2 string, limit int) ([]*DPSRow, error) {
	return list(t, scanDPS, t.selectDPSBy(`dps_ref2`)+`ref2 = ? AND ref2 <> '' ORDER BY id LIMIT ?`, t.db.hub, kind, ref2, limit)
}

// DPSBefore returns up to limit rows of the kind whose time lies before at, the
// oldest first.
func (t *Tx) DPSBefore(kind string, at time.Time, limit int) ([]*DPSRow, error) {
	return list(t, scanDPS, selectDPS+`at > 0 AND at < ? ORDER BY at, id LIMIT ?`, t.db.hub, kind, ticks(at), limit)
}

// CountDPS returns how many rows of the kind there are in constant time, this
// transaction included.
func (t *Tx) CountDPS(kind string) (int, error) {
	var n int
	err := t.one(`SELECT n FROM dps_tally WHERE hub = ? AND kind = ?`, []any{t.db.hub, kind}, &n)
	if errors.Is(err, ErrNone) {
		err = nil
	}
	return n + t.dps[kind], err
}

// countDPS notes that rows of the kind came or went.
func (t *Tx) countDPS(kind string, by int) {
	if t.dps == nil {
		t.dps = map[string]int{}
	}
	t.dps[kind] += by
}

// putDPSTally writes the differences that the transaction made. The order of
// kinds keeps transactions from waiting for each other in a circle.
func (t *Tx) putDPSTally() error {
	for _, kind := range slices.Sorted(maps.Keys(t.dps)) {
		if t.dps[kind] == 0 {
			continue
		}
		_, err := t.exec(`INSERT INTO dps_tally (hub, kind, n) VALUES (?, ?, ?)
			ON CONFLICT (hub, kind) DO UPDATE SET n = dps_tally.n + excluded.n`, t.db.hub, kind, t.dps[kind])
		if err != nil {
			return err
		}
	}
	t.dps = nil
	return nil
}
