package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// link is one connection to SQLite with its prepared statements. It is used by
// one goroutine at a time.
type link struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // by statement before render
}

// stmt returns the prepared statement of q.
func (l *link) stmt(d *dialect, q string) (*sql.Stmt, error) {
	if s := l.stmts[q]; s != nil {
		return s, nil
	}
	s, err := l.conn.PrepareContext(context.Background(), d.render(q, true))
	if err != nil {
		return nil, err
	}
	l.stmts[q] = s
	return s, nil
}

// do runs a control statement: BEGIN, COMMIT, SAVEPOINT and their like.
func (l *link) do(q string) error {
	s := l.stmts[q]
	if s == nil {
		var err error
		if s, err = l.conn.PrepareContext(context.Background(), q); err != nil {
			return err
		}
		l.stmts[q] = s
	}
	_, err := s.ExecContext(context.Background())
	return err
}

func (l *link) close() {
	for _, s := range l.stmts {
		s.Close()
	}
	l.conn.Close()
}

// Settings of connections. The log is checkpointed by the writer when it has
// 16 MB; pages are 4 KiB.
const (
	fileSettings   = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)"
	writerSettings = "&_pragma=cache_spill(0)&_pragma=cache_size(-64000)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)"
	readerSettings = "&_pragma=query_only(1)&_pragma=cache_size(-8000)"
	memorySettings = "_pragma=foreign_keys(1)&_pragma=journal_mode(MEMORY)&_pragma=synchronous(OFF)"
)

var memories atomic.Int64

// openSQLite opens the file, or a database of its own in memory.
func (b *base) openSQLite(ctx context.Context, path string) (err error) {
	b.dialect = newSQLite()
	memory := path == ":memory:"
	var name string
	if memory {
		name = fmt.Sprintf("file:nave%d?mode=memory&%s", memories.Add(1), memorySettings)
	} else if name, err = fileName(path); err != nil {
		return err
	}
	writerName := name
	if !memory {
		writerName += writerSettings
	}
	if b.sql, err = sql.Open("sqlite", writerName); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	l, err := openLink(ctx, b.sql)
	if err == nil {
		if err = b.migrateSQLite(ctx, l); err != nil {
			l.close()
		}
	}
	if err != nil {
		b.sql.Close()
		return fmt.Errorf("store: %s: %w", path, full(err))
	}
	if !memory {
		if b.readers, err = openReaders(name + readerSettings); err != nil {
			l.close()
			b.sql.Close()
			return err
		}
	}
	b.writer = newWriter(b, l, memory)
	go b.writer.run()
	return nil
}

// fileName returns the driver's name of a database file and creates the file,
// readable by its owner only, because it holds keys.
func fileName(path string) (string, error) {
	if path == "" {
		return "", errors.New("store: the database URL has no path after sqlite:")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	f.Close()
	return (&url.URL{Scheme: "file", Path: path}).String() + "?" + fileSettings, nil
}

func openLink(ctx context.Context, db *sql.DB) (*link, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &link{conn: conn, stmts: map[string]*sql.Stmt{}}, nil
}

func (b *base) migrateSQLite(ctx context.Context, l *link) error {
	if err := l.do("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := b.dialect.migrate(ctx, l.conn)
	if err == nil {
		err = l.do("COMMIT")
	}
	if err != nil {
		l.do("ROLLBACK")
	}
	return err
}

// readers is the pool of read connections of a SQLite file.
type readers struct {
	sql  *sql.DB
	idle chan *link // nil: not yet connected
}

func openReaders(name string) (*readers, error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	r := &readers{sql: db, idle: make(chan *link, max(4, runtime.GOMAXPROCS(0)))}
	for range cap(r.idle) {
		r.idle <- nil
	}
	return r, nil
}

func (r *readers) close() {
	for range cap(r.idle) {
		if l := <-r.idle; l != nil {
			l.close()
		}
	}
	r.sql.Close()
}

func (r *readers) view(ctx context.Context, db *DB, f func(*Tx) error) (err error) {
	var l *link
	select {
	case l = <-r.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { r.idle <- l }()
	if l == nil {
		if l, err = openLink(ctx, r.sql); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if err := l.do("BEGIN"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() {
		if e := l.do("ROLLBACK"); e != nil {
			l.close()
			l = nil
		}
	}()
	return (&Tx{db: db, ctx: ctx, link: l}).run(f)
}

// code returns SQLite's primary result code, 0 when err is not SQLite's.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// full wraps an error that means a full disk in ErrFull.
func full(err error) error {
	if code(err) == lib.SQLITE_FULL && !errors.Is(err, ErrFull) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
