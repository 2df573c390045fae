package store

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/nave-hub/nave"
)

const selectC2D = `SELECT device, module, seq, enqueued, expires, generation, deliveries, failed, lock, lock_until, head, body FROM c2d WHERE hub = ? AND `

func scanC2D(rows *sql.Rows) (*nave.C2D, error) {
	var m nave.C2D
	var enqueued, expires, until int64
	var head []byte
	err := rows.Scan(&m.On.Device, &m.On.Module, &m.Seq, &enqueued, &expires, &m.Generation, &m.Deliveries, &m.Failed,
		&m.Lock, &until, &head, &m.Body)
	if err != nil {
		return nil, err
	}
	if err := parseHead(head, &m.Message, moment(expires)); err != nil {
		return nil, fmt.Errorf("store: command %d of %s: %w", m.Seq, m.On, err)
	}
	m.Enqueued, m.Expires, m.LockUntil = moment(enqueued), moment(expires), moment(until)
	return &m, nil
}

// EnqueueC2D puts the message at the end of the queue of m.On and sets m.Seq,
// which increases for the life of the identity. It answers ErrNone.
func (t *Tx) EnqueueC2D(m *nave.C2D) error {
	size := m.Size()
	if m.Expires.IsZero() {
		m.Expires = m.System.Expiry
	}
	var seq int64
	err := t.one(`UPDATE queue SET seq = seq + 1, pending = pending + 1, bytes = bytes + ? WHERE hub = ? AND device = ? AND module = ?
		RETURNING seq`, t.set(m.On, size), &seq)
	if err != nil {
		return err
	}
	body := m.Body
	if body == nil {
		body = []byte{}
	}
	_, err = t.exec(`INSERT INTO c2d (hub, device, module, seq, enqueued, expires, generation, deliveries, failed, lock, lock_until, size, head, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, t.key(m.On, seq, ticks(m.Enqueued), ticks(m.Expires),
		m.Generation, m.Deliveries, m.Failed, m.Lock, ticks(m.LockUntil), size, appendHead(nil, &m.Message), body)...)
	if err == nil {
		m.Seq = seq
	}
	return err
}

// PendingC2D returns how many messages and bytes (nave.Message.Size) the queue
// holds, locked ones and those past their expiry included; ErrNone without the
// identity. In an Update no other transaction changes the queue until the end.
func (t *Tx) PendingC2D(id nave.ID) (count, bytes int, err error) {
	err = t.one(`SELECT pending, bytes FROM queue WHERE hub = ? AND device = ? AND module = ? FOR UPDATE`, t.key(id), &count, &bytes)
	return count, bytes, err
}

// lockQueue makes calls on one queue take turns; ErrNone without the identity.
// SQLite has one writer and needs none.
func (t *Tx) lockQueue(id nave.ID) error {
	if t.pg == nil || !t.write {
		return nil
	}
	_, _, err := t.PendingC2D(id)
	return err
}

// LeaseC2D gives the lock to the first message that is Enqueued and has not
// expired, counts the delivery and returns it; a zero until never runs out. It
// answers ErrNone when no message waits.
func (t *Tx) LeaseC2D(id nave.ID, lock string, until time.Time) (*nave.C2D, error) {
	if err := t.lockQueue(id); err != nil {
		return nil, err
	}
	m, err := t.firstC2D(`device = ? AND module = ? AND lock = '' AND (expires = 0 OR expires > ?) ORDER BY seq LIMIT 1`, t.key(id, ticks(t.db.now()))...)
	if err != nil {
		return nil, err
	}
	m.Lock, m.LockUntil = lock, moment(ticks(until))
	m.Deliveries++
	return m, t.must(`UPDATE c2d SET lock = ?, lock_until = ?, deliveries = ? WHERE hub = ? AND device = ? AND module = ? AND seq = ?`,
		append(t.set(id, lock, ticks(until), m.Deliveries), m.Seq)...)
}

func (t *Tx) firstC2D(where string, args ...any) (*nave.C2D, error) {
	all, err := list(t, scanC2D, selectC2D+where, args...)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// LockedC2D returns the message that holds the lock, also one whose lock has
// run out but was not yet taken back (LockUntil tells), or ErrNone.
func (t *Tx) LockedC2D(id nave.ID, lock string) (*nave.C2D, error) {
	if lock == "" {
		return nil, ErrNone
	}
	if err := t.lockQueue(id); err != nil {
		return nil, err
	}
	return t.firstC2D(`device = ? AND module = ? AND lock = ?`, t.key(id, lock)...)
}

// RequeueC2D takes the lock back from a message, which stands in its old place
// again, and sets its count of failed deliveries. It answers ErrNone unless the
// message is locked.
func (t *Tx) RequeueC2D(id nave.ID, seq int64, failed int) error {
	return t.must(`UPDATE c2d SET lock = '', lock_until = 0, failed = ? WHERE hub = ? AND device = ? AND module = ? AND seq = ? AND lock <> ''`,
		append(t.set(id, failed), seq)...)
}

// DropC2D removes a message, locked or not. It answers ErrNone.
func (t *Tx) DropC2D(id nave.ID, seq int64) error {
	if err := t.lockQueue(id); err != nil {
		return err
	}
	var size int64
	err := t.one(`DELETE FROM c2d WHERE hub = ? AND device = ? AND module = ? AND seq = ? RETURNING size`, t.key(id, seq), &size)
	if err != nil {
		return err
	}
	return t.must(`UPDATE queue SET pending = pending - 1, bytes = bytes - ? WHERE hub = ? AND device = ? AND module = ?`, t.set(id, size)...)
}

// QueuedC2D returns the Enqueued messages in order, with locked also those
// that are out for delivery. An unknown identity has none.
func (t *Tx) QueuedC2D(id nave.ID, locked bool) ([]*nave.C2D, error) {
	if err := t.lockQueue(id); err == ErrNone {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	where := `device = ? AND module = ? AND lock = '' ORDER BY seq`
	if locked {
		where = `device = ? AND module = ? ORDER BY seq`
	}
	return list(t, scanC2D, selectC2D+where, t.key(id)...)
}

// DueC2D returns up to limit messages of all queues that are past their expiry,
// and up to limit unexpired ones whose lock has run out, the longest due first.
// In an Update rows that another transaction holds are left out.
func (t *Tx) DueC2D(now time.Time, limit int) (expired, lapsed []*nave.C2D, err error) {
	at := ticks(now)
	expired, err = list(t, scanC2D, selectC2D+`expires > 0 AND expires <= ? ORDER BY expires, device, module, seq LIMIT ? FOR UPDATE SKIP LOCKED`,
		t.db.hub, at, limit)
	if err != nil {
		return nil, nil, err
	}
	lapsed, err = list(t, scanC2D, selectC2D+`lock <> '' AND lock_until > 0 AND lock_until <= ? AND (expires = 0 OR expires > ?)
		ORDER BY lock_until, device, module, seq LIMIT ? FOR UPDATE SKIP LOCKED`, t.db.hub, at, at, limit)
	return expired, lapsed, err
}

// ReleaseC2D takes back the locks that never run out and begin with prefix, at
// the start of the node that gave them, when no line can hold one, and returns
// how many there were. Failed counts stay.
func (t *Tx) ReleaseC2D(prefix string) (int, error) {
	n, err := t.exec(`UPDATE c2d SET lock = '' WHERE hub = ? AND lock <> '' AND lock_until = 0 AND substr(lock, 1, ?) = ?`, t.db.hub, len(prefix), prefix)
	return int(n), err
}
