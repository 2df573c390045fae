package store

// Commits returns how many groups SQLite has committed.
func (db *DB) Commits() int64 { return db.writer.commits.Load() }
