package store

import (
	"database/sql"
	"time"

	"github.com/nave-hub/nave"
)

// AddFeedback adds a record that is dropped after expires; the zero time keeps
// it until it is settled.
func (t *Tx) AddFeedback(f nave.Feedback, expires time.Time) error {
	_, err := t.exec(`INSERT INTO feedback (hub, device, module, generation, message, enqueued, status, description, expires, lock, lock_until, tries)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, 0)`, t.db.hub, f.Device, f.Module, f.Generation, f.OriginalMessageID,
		ticks(f.Enqueued), string(f.Status), f.Description, ticks(expires))
	return err
}

// waiting selects records that are unexpired and not locked, or whose lock has
// run out; its two arguments are the present time.
const waiting = `hub = ? AND (expires = 0 OR expires > ?) AND (lock = '' OR lock_until > 0 AND lock_until <= ?)`

// Feedback returns how many records can be leased now and the oldest one's
// time of outcome, zero when there are none.
func (t *Tx) Feedback() (count int, oldest time.Time, err error) {
	now := ticks(t.db.now())
	var first int64
	err = t.one(`SELECT COUNT(*), COALESCE(MIN(enqueued), 0) FROM feedback WHERE `+waiting, []any{t.db.hub, now, now}, &count, &first)
	return count, moment(first), err
}

type record struct {
	nave.Feedback
	id    int64
	lock  string
	tries int
}

func scanRecord(rows *sql.Rows) (r record, err error) {
	var enqueued int64
	err = rows.Scan(&r.id, &r.lock, &r.tries, &r.Device, &r.Module, &r.Generation, &r.OriginalMessageID, &enqueued, &r.Status, &r.Description)
	r.Enqueued = moment(enqueued)
	return r, err
}

// LeaseFeedback gives the lock to up to limit records, the oldest first, and
// returns them with the greatest number of failed deliveries among them. A lock
// that ran out counts as one. A zero until never runs out; no records and no
// error mean that none wait.
func (t *Tx) LeaseFeedback(lock string, until time.Time, limit int) ([]nave.Feedback, int, error) {
	now := ticks(t.db.now())
	records, err := list(t, scanRecord, `SELECT id, lock, tries, device, module, generation, message, enqueued, status, description
		FROM feedback WHERE `+waiting+` ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`, t.db.hub, now, now, limit)
	if err != nil {
		return nil, 0, err
	}
	var all []nave.Feedback
	tries := 0
	for _, r := range records {
		if r.lock != "" {
			r.tries++
		}
		tries = max(tries, r.tries)
		if _, err := t.exec(`UPDATE feedback SET lock = ?, lock_until = ?, tries = ? WHERE id = ?`, lock, ticks(until), r.tries, r.id); err != nil {
			return nil, 0, err
		}
		all = append(all, r.Feedback)
	}
	return all, tries, nil
}

// SettleFeedback removes the records under the lock when done, otherwise gives
// them back with one more failed delivery. It answers ErrNone when the lock is
// unknown or has run out.
func (t *Tx) SettleFeedback(lock string, done bool) error {
	const held = ` WHERE hub = ? AND lock = ? AND lock <> '' AND (lock_until = 0 OR lock_until > ?)`
	q := `UPDATE feedback SET lock = '', lock_until = 0, tries = tries + 1` + held
	if done {
		q = `DELETE FROM feedback` + held
	}
	return t.must(q, t.db.hub, lock, ticks(t.db.now()))
}

// SweepFeedback takes back locks that have run out, each a failed delivery, and
// drops records that have expired or failed maxTries times, unless they are
// locked. It returns how many it dropped.
func (t *Tx) SweepFeedback(now time.Time, maxTries int) (dropped int, err error) {
	at := ticks(now)
	_, err = t.exec(`UPDATE feedback SET lock = '', lock_until = 0, tries = tries + 1
		WHERE hub = ? AND lock <> '' AND lock_until > 0 AND lock_until <= ?`, t.db.hub, at)
	if err != nil {
		return 0, err
	}
	n, err := t.exec(`DELETE FROM feedback WHERE hub = ? AND lock = '' AND (expires > 0 AND expires <= ? OR tries >= ?)`, t.db.hub, at, maxTries)
	return int(n), err
}
