package store

// Waiting returns how many updates of SQLite have not begun.
func (db *DB) Waiting() int { return len(db.writer.jobs) }

// Commits returns how many groups SQLite has committed.
func (db *DB) Commits() int64 { return db.writer.commits.Load() }
