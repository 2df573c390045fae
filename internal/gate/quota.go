package gate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// quota counts the message units of a UTC day (hub-semantics 2.1). What this
// node adds is pending until flush has moved it to the store, which knows the
// sum over all nodes.
type quota struct {
	// Set by newQuota, then read only:
	db  *store.DB
	log *slog.Logger

	limit atomic.Int64 // units per day; 0: not enforced
	today atomic.Pointer[day]

	// Guarded by mu:
	mu   sync.Mutex
	past []*day // ended, perhaps not wholly written

	flushing sync.Mutex // one flush at a time; taken before mu
}

// day is the usage of one UTC day.
type day struct {
	name    string // 2006-01-02
	end     int64  // Unix seconds of the next midnight
	stored  atomic.Int64
	pending atomic.Int64
}

func newDay(now time.Time) *day {
	now = now.UTC()
	return &day{name: now.Format(time.DateOnly), end: now.Truncate(24 * time.Hour).Add(24 * time.Hour).Unix()}
}

func newQuota(db *store.DB, log *slog.Logger, now time.Time) *quota {
	q := &quota{db: db, log: log}
	q.today.Store(newDay(now))
	return q
}

func (q *quota) load(ctx context.Context) error {
	if q.db == nil {
		return nil
	}
	return q.read(ctx, q.today.Load())
}

func (q *quota) read(ctx context.Context, d *day) error {
	var n int64
	err := q.db.View(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Usage(d.name)
		return err
	})
	if err != nil {
		return fmt.Errorf("usage of %s: %w", d.name, err)
	}
	d.stored.Store(n)
	return nil
}

// at returns the day that now belongs to, which may be a new one. A clock that
// steps back over midnight stays in the new day.
func (q *quota) at(now time.Time) *day {
	if d := q.today.Load(); now.Unix() < d.end {
		return d
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.today.Load()
	if now.Unix() < d.end {
		return d
	}
	q.past = append(q.past, d)
	d = newDay(now)
	q.today.Store(d)
	return d
}

func (q *quota) add(now time.Time, units int64) { q.at(now).pending.Add(units) }

func (q *quota) used(now time.Time) int64 {
	d := q.at(now)
	return d.stored.Load() + d.pending.Load()
}

// check answers IotHubQuotaExceeded when the day's units are used up.
func (q *quota) check(now time.Time) *fault.Error {
	limit, used := q.limit.Load(), q.used(now)
	if used < limit {
		return nil
	}
	next := time.Unix(q.at(now).end, 0)
	return fault.IotHubQuotaExceeded.Over("quota.dailyMessageLimit", limit, used,
		"the message units of the day are used up; the count starts again at 00:00 UTC").RetryAfter(next.Sub(now))
}

// flush writes what is pending, of ended days too, and reads what other nodes
// have added. What cannot be written stays pending.
func (q *quota) flush(ctx context.Context) error {
	if q.db == nil {
		return nil
	}
	q.flushing.Lock()
	defer q.flushing.Unlock()
	err := q.write(ctx, q.today.Load())
	for _, d := range q.ended() {
		if err == nil && d.pending.Load() != 0 {
			err = q.write(ctx, d)
		}
	}
	if err != nil && ctx.Err() == nil {
		q.log.Error("usage not written, it stays in memory", "op", "gate.flush", "error", err)
	}
	return err
}

// ended returns the past days and forgets those that are written. The latest
// stays, for operations that looked at the clock just before midnight.
func (q *quota) ended() []*day {
	q.mu.Lock()
	defer q.mu.Unlock()
	days := slices.Clone(q.past)
	for len(q.past) > 1 && q.past[0].pending.Load() == 0 {
		q.past = q.past[1:]
	}
	return days
}

func (q *quota) write(ctx context.Context, d *day) error {
	n := d.pending.Load()
	if n == 0 {
		if q.limit.Load() == 0 {
			return nil
		}
		return q.read(ctx, d)
	}
	var sum int64
	err := q.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err = tx.AddUsage(d.name, n); err != nil {
			return err
		}
		sum, err = tx.Usage(d.name)
		return err
	})
	if err != nil {
		return fmt.Errorf("usage of %s: %w", d.name, err)
	}
	// In this order the sum is never too high, so nobody is refused wrongly.
	d.pending.Add(-n)
	d.stored.Store(sum)
	return nil
}
