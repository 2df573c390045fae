package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNone: the row, or the row it belongs to, does not exist.
	ErrNone = errors.New("store: no such row")
	// ErrStale: the row has moved on since the value to be written was read.
	ErrStale = errors.New("store: stale")
	// ErrExists: a row with this key exists.
	ErrExists = errors.New("store: exists")
	// ErrFull: the disk is full or failed; nothing was committed.
	ErrFull = errors.New("store: the disk is full or failing")
	// ErrClosed: the database was closed.
	ErrClosed = errors.New("store: closed")
	// ErrReadOnly: a write in View.
	ErrReadOnly = errors.New("store: write in a read-only transaction")
)

// Options are the parts of a database's surroundings; the zero value is valid.
type Options struct {
	Now func() time.Time // default time.Now
	Log *slog.Logger     // default slog.Default()
}

// DB is a database, narrowed to the rows of one hub. It is safe for use by
// many goroutines.
type DB struct {
	*base
	hub string
}

// base is what the scopes of a database share.
type base struct {
	// Set by Open, then read only:
	now     func() time.Time
	log     *slog.Logger
	dialect *dialect
	sql     *sql.DB
	writer  *writer  // SQLite
	readers *readers // SQLite in a file

	closing sync.Once
	closed  chan struct{}
	views   sync.WaitGroup
	viewing sync.Mutex // orders views.Add before Close's Wait
}

// Open connects to the database at url (sqlite:/path, sqlite::memory: or
// postgres://…) and brings its schema up to date. It refuses a database that a
// newer program has written.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	b := &base{now: o.Now, log: o.Log, closed: make(chan struct{})}
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	kind, rest, _ := strings.Cut(url, ":")
	var err error
	switch kind {
	case "sqlite":
		err = b.openSQLite(ctx, rest)
	case "postgres", "postgresql":
		err = b.openPostgres(ctx, url)
	default:
		// The URL is not shown: it may hold a password.
		err = fmt.Errorf("store: the database URL starts with %q, known are sqlite: and postgres:", kind)
	}
	if err != nil {
		return nil, err
	}
	return &DB{base: b}, nil
}

// Scope returns the same database, narrowed to the rows of the hub name. Open
// returns the scope of the hub with the empty name.
func (db *DB) Scope(name string) *DB { return &DB{base: db.base, hub: name} }

// Now returns the time by the database's clock, Options.Now.
func (db *DB) Now() time.Time { return db.now() }

// Close ends the database for all scopes: updates that run are committed,
// those that wait get ErrClosed, views are awaited.
func (db *DB) Close() error {
	var err error
	db.closing.Do(func() {
		db.viewing.Lock()
		close(db.closed)
		db.viewing.Unlock()
		if db.writer != nil {
			<-db.writer.gone
		}
		db.views.Wait()
		if db.readers != nil {
			db.readers.close()
		}
		if db.writer != nil {
			db.writer.link.close()
		}
		err = db.sql.Close()
	})
	return err
}

// View runs f on a read-only snapshot and returns its error.
func (db *DB) View(ctx context.Context, f func(*Tx) error) error {
	if err := db.enter(ctx); err != nil {
		return err
	}
	defer db.views.Done()
	switch {
	case db.readers != nil:
		return db.readers.view(ctx, db, f)
	case db.writer != nil:
		return db.writer.view(ctx, db, f)
	}
	return db.viewPostgres(ctx, f)
}

// Update runs f in a transaction that may write and returns when it is durable;
// an error of f undoes what f wrote and is returned. A ctx that ends before f
// has started cancels the update, later the result is awaited. On SQLite f runs
// on the writer's goroutine.
func (db *DB) Update(ctx context.Context, f func(*Tx) error) error {
	if db.writer != nil {
		return db.writer.update(ctx, db, f)
	}
	if err := db.enter(ctx); err != nil {
		return err
	}
	defer db.views.Done()
	return db.updatePostgres(ctx, f)
}

// enter counts a call in that Close must await.
func (db *DB) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.viewing.Lock()
	defer db.viewing.Unlock()
	select {
	case <-db.closed:
		return ErrClosed
	default:
	}
	db.views.Add(1)
	return nil
}
