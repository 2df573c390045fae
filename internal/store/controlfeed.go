package store

import (
	"database/sql"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave"
)

// Rows a statement inserts at once: few sizes, so that the statements stay
// prepared.
var chunks = []int{50, 10, 1}

var chunked sync.Map // of chunkKey, statements

type chunkKey struct {
	head string
	rows int
}

// insert runs head with rows of width arguments each, and tail, for all args.
func (t *Tx) insert(head, tail string, width int, args []any) (done int64, err error) {
	for len(args) > 0 {
		for _, rows := range chunks {
			for len(args) >= rows*width {
				n, err := t.exec(many(head, tail, width, rows), args[:rows*width]...)
				if err != nil {
					return done, err
				}
				done += n
				args = args[rows*width:]
			}
		}
	}
	return done, nil
}

func many(head, tail string, width, rows int) string {
	key := chunkKey{head, rows}
	if q, ok := chunked.Load(key); ok {
		return q.(string)
	}
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", width), ", ") + ")"
	q := head + strings.TrimSuffix(strings.Repeat(row+", ", rows), ", ") + tail
	chunked.Store(key, q)
	return q
}

// InsertControlKeys adds the idempotency keys of items where they are free and
// returns how many were.
func (t *Tx) InsertControlKeys(items []*nave.ControlFeedRow) (int64, error) {
	args := make([]any, 0, 4*len(items))
	for _, f := range items {
		args = append(args, f.Source, f.Message, f.ID, f.Digest)
	}
	return t.insert(`INSERT INTO control_key (source, message, feed, digest) VALUES `, ` ON CONFLICT DO NOTHING`, 4, args)
}

// ControlKey returns which item has the key, and its digest; ErrNone.
func (t *Tx) ControlKey(source int64, message string) (feed int64, digest []byte, err error) {
	err = t.one(`SELECT feed, digest FROM control_key WHERE source = ? AND message = ?`, []any{source, message}, &feed, &digest)
	return feed, digest, err
}

// InsertControlFeed adds items to the history; their keys are the caller's to
// add.
func (t *Tx) InsertControlFeed(items []*nave.ControlFeedRow) error {
	args := make([]any, 0, 11*len(items))
	for _, f := range items {
		args = append(args, f.Source, f.ID, f.Message, f.Value, ticks(f.Observed), ticks(f.Received), f.Desired, f.Report, f.Sequence, f.Via, f.Warnings)
	}
	_, err := t.insert(`INSERT INTO control_feed (source, id, message, value, observed, received, desired, report, sequence, via, warnings) VALUES `, ``, 11, args)
	return err
}

const selectFeed = `SELECT f.source, f.id, f.message, f.value, f.observed, f.received, f.desired, f.report, f.sequence, f.via, f.warnings FROM control_feed f `

func scanFeed(rows *sql.Rows) (*nave.ControlFeedRow, error) {
	var f nave.ControlFeedRow
	var observed, received int64
	err := rows.Scan(&f.Source, &f.ID, &f.Message, &f.Value, &observed, &received, &f.Desired, &f.Report, &f.Sequence, &f.Via, &f.Warnings)
	f.Observed, f.Received = moment(observed), moment(received)
	return &f, err
}

// ControlFeed returns the item, or ErrNone.
func (t *Tx) ControlFeed(source, id int64) (*nave.ControlFeedRow, error) {
	all, err := list(t, scanFeed, selectFeed+`WHERE f.source = ? AND f.id = ?`, source, id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// ControlHistory returns up to limit items of the source with ids below before,
// the newest first.
func (t *Tx) ControlHistory(source, before int64, limit int) ([]*nave.ControlFeedRow, error) {
	return list(t, scanFeed, selectFeed+`WHERE f.source = ? AND f.id < ? ORDER BY f.id DESC LIMIT ?`, source, before, limit)
}

// ControlFeedBetween returns the items of the hub's sources with ids from low
// up to but without high, in no order, at most limit.
func (t *Tx) ControlFeedBetween(low, high int64, limit int) ([]*nave.ControlFeedRow, error) {
	return list(t, scanFeed, `SELECT f.source, f.id, f.message, f.value, f.observed, f.received, f.desired, f.report, f.sequence, f.via, f.warnings
		FROM control_source s CROSS JOIN control_feed f WHERE s.hub = ? AND f.source = s.no AND f.id >= ? AND f.id < ? ORDER BY f.id LIMIT ?`,
		t.db.hub, low, high, limit)
}

// TakeControlIDs reserves n item ids for the node and returns the first. The
// node's earlier reservation is forgotten: low is where its block begins now.
func (t *Tx) TakeControlIDs(node string, low, n int64) (first int64, err error) {
	var next int64
	err = t.one(`INSERT INTO control_counter (hub, next) VALUES (?, ?)
		ON CONFLICT (hub) DO UPDATE SET next = control_counter.next + ? RETURNING next`, []any{t.db.hub, n + 1, n}, &next)
	if err != nil {
		return 0, err
	}
	first = next - n
	if low == 0 {
		low = first
	}
	_, err = t.exec(`INSERT INTO control_block (hub, node, low, high) VALUES (?, ?, ?, ?)
		ON CONFLICT (hub, node) DO UPDATE SET low = excluded.low, high = excluded.high`, t.db.hub, node, low, next)
	return first, err
}

// ControlBlock returns which item ids of the node may not be in the event log:
// from low up to but without high; 0, 0 for a new node.
func (t *Tx) ControlBlock(node string) (low, high int64, err error) {
	err = t.one(`SELECT low, high FROM control_block WHERE hub = ? AND node = ?`, []any{t.db.hub, node}, &low, &high)
	if errors.Is(err, ErrNone) {
		err = nil
	}
	return low, high, err
}

// LoggedControl notes that the node's items below low are in the event log.
func (t *Tx) LoggedControl(node string, low int64) error {
	_, err := t.exec(`UPDATE control_block SET low = ? WHERE hub = ? AND node = ?`, low, t.db.hub, node)
	return err
}

// DropControlFeed removes up to limit items of sources that are gone, and
// returns whether there is more to do.
func (t *Tx) DropControlFeed(limit int) (more bool, err error) {
	var source int64
	err = t.one(`SELECT source FROM control_gone WHERE hub = ? ORDER BY source LIMIT 1`, []any{t.db.hub}, &source)
	if errors.Is(err, ErrNone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n, err := t.dropOldest(source, time.Time{}, limit)
	if err == nil && n < limit {
		err = t.must(`DELETE FROM control_gone WHERE hub = ? AND source = ?`, t.db.hub, source)
	}
	return true, err
}

// ExpireControlFeed removes up to limit items of the source that were received
// before the time, and returns how many.
func (t *Tx) ExpireControlFeed(source int64, before time.Time, limit int) (int, error) {
	return t.dropOldest(source, before, limit)
}

func (t *Tx) dropOldest(source int64, before time.Time, limit int) (n int, err error) {
	all, err := list(t, scanFeed, selectFeed+`WHERE f.source = ? ORDER BY f.id LIMIT ?`, source, limit)
	if err != nil {
		return 0, err
	}
	for _, f := range all {
		if !before.IsZero() && !f.Received.Before(before) {
			break
		}
		if _, err := t.exec(`DELETE FROM control_key WHERE source = ? AND message = ?`, source, f.Message); err != nil {
			return n, err
		}
		if _, err := t.exec(`DELETE FROM control_feed WHERE source = ? AND id = ?`, source, f.ID); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// ControlGone says whether items of deleted sources are left.
func (t *Tx) ControlGone() (bool, error) {
	var source int64
	err := t.one(`SELECT source FROM control_gone WHERE hub = ? LIMIT 1`, []any{t.db.hub}, &source)
	if errors.Is(err, ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// OldControlSources returns the sources of the device whose oldest item was
// received before the time.
func (t *Tx) OldControlSources(device string, before time.Time) ([]int64, error) {
	return list(t, func(rows *sql.Rows) (no int64, err error) { err = rows.Scan(&no); return no, err },
		`SELECT s.no FROM control_source s WHERE s.hub = ? AND s.device = ?
		AND (SELECT f.received FROM control_feed f WHERE f.source = s.no ORDER BY f.id LIMIT 1) < ?`, t.db.hub, device, ticks(before))
}

// ControlSourceOf returns the device id and the id of the source with the
// number, or ErrNone.
func (t *Tx) ControlSourceOf(no int64) (device, id string, err error) {
	err = t.one(`SELECT device, id FROM control_source WHERE no = ?`, []any{no}, &device, &id)
	return device, id, err
}
