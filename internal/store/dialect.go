package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// dialect is what differs between the databases. Statements are written once,
// with ? for arguments and PostgreSQL's FOR … at the end where an Update locks
// what it reads.
type dialect struct {
	name     string            // ending of schema files that only this database runs
	words    *strings.Replacer // words in schema files
	numbered bool              // arguments are $1, $2
	locks    bool              // FOR … is known
	rendered sync.Map          // of statement and write, for numbered
}

func newSQLite() *dialect {
	return &dialect{name: "sqlite", words: strings.NewReplacer(
		"{text}", "TEXT", "{json}", "TEXT", "{bytes}", "BLOB",
		"{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT", "{clustered}", "WITHOUT ROWID")}
}

func newPostgres() *dialect {
	return &dialect{name: "postgres", numbered: true, locks: true, words: strings.NewReplacer(
		"{text}", `TEXT COLLATE "C"`, "{json}", "JSON", "{bytes}", "BYTEA",
		"{serial}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "{clustered}", "")}
}

// render returns the statement as the database wants it.
func (d *dialect) render(q string, write bool) string {
	type key struct {
		q     string
		write bool
	}
	k := key{q, write}
	if text, ok := d.rendered.Load(k); ok {
		return text.(string)
	}
	text := q
	if at := strings.LastIndex(text, " FOR "); at >= 0 && (!d.locks || !write) {
		text = text[:at]
	}
	if d.numbered {
		parts := strings.Split(text, "?")
		var b strings.Builder
		for i, part := range parts {
			if i > 0 {
				b.WriteString("$" + strconv.Itoa(i))
			}
			b.WriteString(part)
		}
		text = b.String()
	}
	d.rendered.Store(k, text)
	return text
}

// openPostgres connects and migrates.
func (b *base) openPostgres(ctx context.Context, url string) (err error) {
	b.dialect = newPostgres()
	if b.sql, err = sql.Open("pgx", url); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	b.sql.SetMaxOpenConns(16)
	b.sql.SetMaxIdleConns(16)
	defer func() {
		if err != nil {
			b.sql.Close()
		}
	}()
	tx, err := b.sql.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer tx.Rollback()
	// Nodes that start together migrate one after the other.
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(6286)"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := b.dialect.migrate(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (db *DB) viewPostgres(ctx context.Context, f func(*Tx) error) error {
	pg, err := db.sql.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer pg.Rollback()
	return (&Tx{db: db, ctx: ctx, pg: pg}).run(f)
}

// attempts is how often PostgreSQL is asked before a conflict is given back.
const attempts = 12

func (db *DB) updatePostgres(ctx context.Context, f func(*Tx) error) error {
	for n := 1; ; n++ {
		err := db.tryPostgres(ctx, f)
		var pe *pgconn.PgError
		if !errors.As(err, &pe) {
			return err
		}
		switch {
		case pe.Code == "53100":
			return fmt.Errorf("%w: %w", ErrFull, err)
		case pe.Code != "40001" && pe.Code != "40P01" || n == attempts:
			return err
		}
		pause := time.Duration(rand.Int64N(int64(time.Millisecond) << min(n, 7)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

func (db *DB) tryPostgres(ctx context.Context, f func(*Tx) error) error {
	conn, err := db.sql.Conn(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer conn.Close()
	// Once f has started the result is awaited, so ctx ends here.
	ctx = context.WithoutCancel(ctx)
	pg, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer pg.Rollback()
	t := &Tx{db: db, ctx: ctx, pg: pg, write: true}
	if err := t.run(f); err != nil {
		return err
	}
	if err := pg.Commit(); err != nil {
		return err
	}
	t.announce()
	return nil
}
