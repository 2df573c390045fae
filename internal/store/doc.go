// Package store keeps the state of hubs in SQL: identities, presence, twins,
// command queues, feedback, sessions, policies. It holds every SQL statement
// of the product and no rule; meaning is given to rows and errors above it.
//
// A DB is opened from a URL: sqlite:/path/nave.db, sqlite::memory: (tests) or
// postgres://…. Scope narrows it to the rows of one hub. View runs a function
// on a read-only snapshot, Update runs one that may write; both hand it a Tx,
// whose methods are the row operations, one file per noun. A Tx is used by one
// goroutine and only until its function returns. The function may be run more
// than once (PostgreSQL repeats it after a serialization failure), must not
// call View or Update of the same database, and holds no network call.
//
// # SQLite: one writer, grouped commits
//
// All updates run on one goroutine over one connection. It begins a
// transaction with the first update that arrives, runs those that have arrived
// meanwhile in the same transaction, commits, and answers all of them. While a
// COMMIT syncs the next updates gather, so a group is as large as the load
// makes it and a lone update waits for no timer, only for its own sync. An
// update takes a savepoint at its first write; its error undoes only it. An
// answer, also a failed one, follows the commit, because it may rest on what
// others in the group wrote.
//
// # When the disk fails
//
// Pages stay in memory until COMMIT (cache_spill is off), and a page goes to
// the write-ahead log first, the frame that marks the commit last, then one
// sync. From that order follows what a failing COMMIT means:
//
//   - The disk is full (SQLITE_FULL): the write that failed is that of the
//     commit frame or of one before it, so the log has no complete commit.
//     SQLite rolls back and ignores the torn frames, also after a crash. All
//     of the group get ErrFull; the store goes on, and works again once there
//     is room. A checkpoint is tried, since it frees the log for reuse.
//   - Any other input/output error, a failing sync above all: the commit frame
//     may stand in the file although nobody was promised anything. The
//     rollback hides it from this process, but recovery after a crash would
//     bring it back. Therefore a tiny transaction is written to the same place
//     in the log: the chained checksums make whatever lies behind it void.
//     Then the store refuses updates with ErrFull until it is reopened, since
//     a medium that lost one sync is not asked to keep another promise. Only
//     a power failure within that moment leaves the group's fate open.
//
// Errors of automatic checkpoints are harmless: frames stay in the log until a
// checkpoint has synced them.
//
// # PostgreSQL
//
// Each update is a transaction of its own at READ COMMITTED. What an Update
// reads by Identity, Twin, LockedC2D, LeaseC2D, PendingC2D, QueuedC2D, DueC2D
// or Session is locked until it ends, so a decision on it holds; all calls on
// one command queue are in order because they lock the queue's row first.
// Deadlocks and serialization failures are retried.
//
// # Forms
//
// Times are 100 ns ticks since the year 1, UTC; 0 is the zero time. JSON is
// kept as written (TEXT, on PostgreSQL JSON rather than JSONB) because numbers
// keep their text. Times and numbers in the metadata of twins are documented
// at PutTwin.
package store
