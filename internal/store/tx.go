package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nave-hub/nave"
)

// Tx is a transaction on the rows of one hub. Its methods answer ErrReadOnly
// for a write in View.
type Tx struct {
	// Set when made, then read only:
	db    *DB
	ctx   context.Context // of lists; single rows are not worth a watcher
	write bool
	link  *link   // SQLite
	pg    *sql.Tx // PostgreSQL

	// Owned by the goroutine that runs the function:
	saved bool // SQLite: the savepoint is taken
	over  bool
	after []func()
	tally Counts         // difference, written at the end
	dps   map[string]int // difference by kind, written at the end
}

var errOver = errors.New("store: transaction used after its function returned")

// After has f run once when the transaction is durable, never when it is
// rolled back. On SQLite f runs on the writer's goroutine in commit order and
// before Update returns; f must not block.
func (t *Tx) After(f func()) { t.after = append(t.after, f) }

// run calls f and turns a panic into an error.
func (t *Tx) run(f func(*Tx) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("store: panic in a transaction: %v", r)
			t.db.log.Error("panic in a transaction", "panic", r, "stack", string(debug.Stack()))
		}
		t.over = true
	}()
	if err := f(t); err != nil {
		return err
	}
	if err := t.putTally(); err != nil {
		return err
	}
	return t.putDPSTally()
}

// announce runs the After functions.
func (t *Tx) announce() {
	for _, f := range t.after {
		func() {
			defer func() {
				if r := recover(); r != nil {
					t.db.log.Error("panic after a transaction", "panic", r, "stack", string(debug.Stack()))
				}
			}()
			f()
		}()
	}
}

// query runs a statement that returns rows.
func (t *Tx) query(ctx context.Context, q string, args []any) (*sql.Rows, error) {
	if err := t.allow(q); err != nil {
		return nil, err
	}
	if t.pg != nil {
		rows, err := t.pg.QueryContext(t.ctx, t.db.dialect.render(q, t.write), args...)
		return rows, t.failed(err)
	}
	s, err := t.link.stmt(t.db.dialect, q)
	if err != nil {
		return nil, t.failed(err)
	}
	rows, err := s.QueryContext(ctx, args...)
	return rows, t.failed(err)
}

// exec runs a statement and returns how many rows it changed.
func (t *Tx) exec(q string, args ...any) (int64, error) {
	if err := t.allow(q); err != nil {
		return 0, err
	}
	var r sql.Result
	var err error
	if t.pg != nil {
		r, err = t.pg.ExecContext(t.ctx, t.db.dialect.render(q, t.write), args...)
	} else {
		var s *sql.Stmt
		if s, err = t.link.stmt(t.db.dialect, q); err == nil {
			r, err = s.ExecContext(context.Background(), args...)
		}
	}
	if err != nil {
		return 0, t.failed(err)
	}
	return r.RowsAffected()
}

// must runs a statement that has to change a row; ErrNone when it does not.
func (t *Tx) must(q string, args ...any) error {
	n, err := t.exec(q, args...)
	if err == nil && n == 0 {
		return ErrNone
	}
	return err
}

// allow refuses what the transaction may not do and takes the savepoint before
// the first write. Statements that start with SELECT read, all others write.
func (t *Tx) allow(q string) error {
	switch {
	case t.over:
		return errOver
	case q[0] == 'S':
		return nil
	case !t.write:
		return ErrReadOnly
	case t.pg != nil || t.saved:
		return nil
	}
	if err := t.link.do("SAVEPOINT s"); err != nil {
		return t.failed(err)
	}
	t.saved = true
	return nil
}

// failed tells the writer of errors that concern the whole group.
func (t *Tx) failed(err error) error {
	if err != nil && t.link != nil && t.write {
		t.db.writer.noteBroken(err)
	}
	return err
}

// one reads the only row of a query into dest; ErrNone when there is none.
func (t *Tx) one(q string, args []any, dest ...any) error {
	rows, err := t.query(context.Background(), q, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return t.failed(err)
		}
		return ErrNone
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	// Draining ends a RETURNING statement before the next one starts.
	for rows.Next() {
	}
	return t.failed(rows.Err())
}

// list reads all rows of a query.
func list[T any](t *Tx, scan func(*sql.Rows) (T, error), q string, args ...any) ([]T, error) {
	rows, err := t.query(t.ctx, q, args)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, t.failed(rows.Err())
}

// key returns the arguments that select the rows of an identity, and more.
func (t *Tx) key(id nave.ID, more ...any) []any {
	return append([]any{t.db.hub, id.Device, id.Module}, more...)
}

// set returns more, then the arguments that select the rows of an identity.
func (t *Tx) set(id nave.ID, more ...any) []any {
	return append(more, t.db.hub, id.Device, id.Module)
}

// epoch is the Unix time of the year 1 in seconds.
const epoch = -62135596800

// ticks returns the time in 100 ns since the year 1, 0 for the zero time.
func ticks(at time.Time) int64 {
	return (at.Unix()-epoch)*1e7 + int64(at.Nanosecond()/100)
}

// moment returns the time of ticks, in UTC.
func moment(ticks int64) time.Time {
	if ticks == 0 {
		return time.Time{}
	}
	return time.Unix(ticks/1e7+epoch, ticks%1e7*100).UTC()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
