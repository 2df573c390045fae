package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	lib "modernc.org/sqlite/lib"
)

// maxGroup bounds a group, and with it how long its first update waits.
const maxGroup = 1024

// writer runs the updates of a SQLite database, see the package comment.
type writer struct {
	// Set by newWriter, then read only:
	base   *base
	link   *link
	memory bool // views share the connection
	jobs   chan *job
	gone   chan struct{} // closed when the last goroutine has ended

	// turn is held during a group, and in memory during a view.
	turn sync.Mutex

	// Owned by the writer goroutine:
	group   []*job
	broken  error // concerns the whole group
	refused error // a sync failed: no more updates

	commits atomic.Int64 // groups that were committed
}

// job is one update. Whoever moves state away from queued owns its end.
type job struct {
	ctx   context.Context
	f     func(*Tx) error
	tx    Tx
	err   error
	state atomic.Int32
	done  chan struct{}
}

const (
	queued int32 = iota
	started
	abandoned
)

func newWriter(b *base, l *link, memory bool) *writer {
	return &writer{base: b, link: l, memory: memory, jobs: make(chan *job, 256), gone: make(chan struct{})}
}

// update queues f and awaits its commit.
func (w *writer) update(ctx context.Context, db *DB, f func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, f: f, done: make(chan struct{})}
	j.tx = Tx{db: db, ctx: context.Background(), write: true, link: w.link}
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.base.closed:
		return ErrClosed
	}
	var ended error
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		ended = ctx.Err()
	case <-w.gone:
		ended = ErrClosed
	}
	if j.state.CompareAndSwap(queued, abandoned) {
		return ended
	}
	<-j.done
	return j.err
}

// view runs f between groups, for databases in memory.
func (w *writer) view(ctx context.Context, db *DB, f func(*Tx) error) error {
	w.turn.Lock()
	defer w.turn.Unlock()
	return (&Tx{db: db, ctx: ctx, link: w.link}).run(f)
}

// run is the writer goroutine. A function that ends its goroutine
// (runtime.Goexit, which testing's FailNow calls) costs its group and not the
// writer: another goroutine takes over.
func (w *writer) run() {
	clean := false
	defer func() {
		if clean {
			close(w.gone)
			return
		}
		w.link.do("ROLLBACK")
		w.answer(errors.New("store: a function of this group ended the writer's goroutine"))
		w.turn.Unlock()
		go w.run()
	}()
	for {
		select {
		case <-w.base.closed:
			clean = true
			return
		case j := <-w.jobs:
			w.commit(j)
		}
	}
}

// commit runs a group that starts with first.
func (w *writer) commit(first *job) {
	w.turn.Lock()
	w.broken = w.refused
	if w.broken == nil {
		w.broken = w.link.do("BEGIN IMMEDIATE")
	}
	failed := w.broken != nil
	for j := first; j != nil; j = w.next() {
		if !j.state.CompareAndSwap(queued, started) {
			continue
		}
		w.group = append(w.group, j)
		if failed {
			break
		}
		w.do(j)
		if w.broken != nil || len(w.group) == maxGroup {
			break
		}
	}
	w.answer(w.end(failed))
	w.turn.Unlock()
}

// next returns an update that has arrived meanwhile, or nil.
func (w *writer) next() *job {
	for range 2 {
		select {
		case j := <-w.jobs:
			return j
		default:
			// Callers that the last group woke get the chance to come back.
			runtime.Gosched()
		}
	}
	return nil
}

// do runs one update and undoes it when it fails.
func (w *writer) do(j *job) {
	j.err = j.tx.run(j.f)
	if !j.tx.saved || w.broken != nil {
		return
	}
	var err error
	if j.err != nil {
		err = w.link.do("ROLLBACK TO s")
	}
	if err == nil {
		err = w.link.do("RELEASE s")
	}
	if err != nil {
		w.broken = err
	}
}

// noteBroken keeps an error after which SQLite may have rolled back the
// transaction of the group.
func (w *writer) noteBroken(err error) {
	switch code(err) {
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_NOMEM, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_BUSY, lib.SQLITE_INTERRUPT:
		if w.broken == nil {
			w.broken = err
		}
	}
}

// end commits the group, or rolls it back, and returns the error of all.
func (w *writer) end(unbegun bool) error {
	if unbegun {
		return full(w.broken)
	}
	if w.broken != nil {
		w.link.do("ROLLBACK") // fails when SQLite has done so
		w.relieve(w.broken)
		return full(w.broken)
	}
	err := w.link.do("COMMIT")
	if err == nil {
		w.commits.Add(1)
		return nil
	}
	w.link.do("ROLLBACK")
	switch code(err) {
	case lib.SQLITE_FULL:
		w.relieve(err)
		return full(err)
	case lib.SQLITE_BUSY:
		return fmt.Errorf("store: %w", err)
	}
	w.refuse(err)
	return w.refused
}

// relieve frees the log for reuse when the disk is full, as far as possible.
func (w *writer) relieve(err error) {
	if code(err) == lib.SQLITE_FULL {
		w.base.log.Error("the disk of the database is full", "error", err)
		w.link.do("PRAGMA wal_checkpoint(PASSIVE)")
	}
}

// refuse ends writing after a commit that may stand half in the log, and
// overwrites that half.
func (w *writer) refuse(err error) {
	w.refused = fmt.Errorf("%w: %w; reopen the database", ErrFull, err)
	w.base.log.Error("the database could not be synced and takes no more updates; repair the disk and restart the hub", "error", err)
	if w.link.do("BEGIN IMMEDIATE") != nil {
		return
	}
	if w.link.do("UPDATE fence SET n = n + 1") != nil || w.link.do("COMMIT") != nil {
		w.link.do("ROLLBACK")
	}
}

// answer tells the group how it ended.
func (w *writer) answer(err error) {
	for _, j := range w.group {
		switch {
		case err != nil:
			j.err = err
		case j.err == nil:
			j.tx.announce()
		}
	}
	for i, j := range w.group {
		close(j.done)
		w.group[i] = nil
	}
	w.group = w.group[:0]
}
