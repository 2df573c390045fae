package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed schema/*.sql
var schema embed.FS

// execer is a connection or a transaction of database/sql; it is an interface
// because SQLite's writer owns a connection and PostgreSQL lends a transaction.
type execer interface {
	ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row
}

// step is one file of the schema, named NNNN_noun.sql, or
// NNNN_noun.sqlite.sql for one database only. A released file never changes.
type step struct {
	version int
	file    string
}

// steps returns the files for the database, in order.
func (d *dialect) steps() ([]step, error) {
	entries, err := schema.ReadDir("schema")
	if err != nil {
		return nil, err
	}
	var all []step
	for _, e := range entries {
		parts := strings.Split(e.Name(), ".")
		if len(parts) == 3 && parts[1] != d.name {
			continue
		}
		number, _, _ := strings.Cut(parts[0], "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("store: the schema file %s has no number", e.Name())
		}
		all = append(all, step{version, "schema/" + e.Name()})
	}
	slices.SortFunc(all, func(a, b step) int { return a.version - b.version })
	return all, nil
}

// migrate runs the files that the database has not seen, within the
// transaction that x is in.
func (d *dialect) migrate(ctx context.Context, x execer) error {
	all, err := d.steps()
	if err != nil {
		return err
	}
	if _, err := x.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	var have int
	if err := x.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&have); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if newest := all[len(all)-1].version; have > newest {
		return fmt.Errorf("store: the database has schema %d, this program knows up to %d; run the newer program", have, newest)
	}
	for _, s := range all {
		if s.version <= have {
			continue
		}
		text, err := schema.ReadFile(s.file)
		if err != nil {
			return err
		}
		if _, err := x.ExecContext(ctx, d.words.Replace(string(text))); err != nil {
			return fmt.Errorf("store: %s: %w", s.file, err)
		}
		if _, err := x.ExecContext(ctx, "INSERT INTO schema_version VALUES ("+strconv.Itoa(s.version)+")"); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return nil
}
