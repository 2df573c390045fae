package dps

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// batch runs small transactions of many goroutines as one: what a transaction
// costs besides its rows is paid once.
type batch struct {
	s    *Service
	jobs chan *batchJob
}

// batchJob is one caller's part. f may run more than once, and answers faults
// only before it writes.
type batchJob struct {
	f    func(*store.Tx, *together) error
	err  error
	done chan struct{}
}

// together is what the parts of one transaction leave to its end.
type together struct {
	groups map[string]*groupChange // by key of the group
}

// groupChange is what registrations add to the record of a group.
type groupChange struct {
	group         string
	count, failed int
	at            Time
}

func (t *together) group(id string) *groupChange {
	if t.groups == nil {
		t.groups = map[string]*groupChange{}
	}
	c := t.groups[key(id)]
	if c == nil {
		c = &groupChange{group: id}
		t.groups[key(id)] = c
	}
	return c
}

// write applies the changes; the order of groups keeps transactions of two
// nodes from waiting for each other in a circle.
func (t *together) write(tx *store.Tx) error {
	for _, name := range slices.Sorted(maps.Keys(t.groups)) {
		c := t.groups[name]
		r, err := groupRecord(tx, c.group)
		if err != nil {
			return err
		}
		r.Count, r.Failed = max(0, r.Count+c.count), r.Failed+c.failed
		if !c.at.IsZero() {
			if r.First.IsZero() {
				r.First = c.at
			}
			r.Last = c.at
		}
		if err := putGroupRecord(tx, r); err != nil {
			return err
		}
	}
	return nil
}

// most is how many parts one transaction takes.
const most = 256

func newBatch(s *Service) *batch {
	b := &batch{s: s, jobs: make(chan *batchJob, most)}
	s.work.Go(b.run)
	return b
}

// do runs f in a transaction and returns when it is durable.
func (b *batch) do(ctx context.Context, f func(*store.Tx, *together) error) error {
	j := &batchJob{f: f, done: make(chan struct{})}
	select {
	case b.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.s.ctx.Done():
		return store.ErrClosed
	}
	select {
	case <-j.done:
		return j.err
	case <-b.s.ctx.Done():
		// The job may still be run: whoever asks again finds its result.
		select {
		case <-j.done:
			return j.err
		default:
			return store.ErrClosed
		}
	}
}

func (b *batch) run() {
	for {
		select {
		case <-b.s.ctx.Done():
			return
		case j := <-b.jobs:
			b.commit(b.gather(j))
		}
	}
}

// gather takes what waits already.
func (b *batch) gather(first *batchJob) []*batchJob {
	jobs := append(make([]*batchJob, 0, most), first)
	for len(jobs) < most {
		select {
		case j := <-b.jobs:
			jobs = append(jobs, j)
		default:
			return jobs
		}
	}
	return jobs
}

// commit runs the jobs together; when that fails for other than a fault, each
// on its own.
func (b *batch) commit(jobs []*batchJob) {
	ctx := context.WithoutCancel(b.s.ctx)
	err := b.s.db.Update(ctx, func(tx *store.Tx) error {
		t := &together{}
		for _, j := range jobs {
			if j.err = j.f(tx, t); j.err != nil && !isFault(j.err) {
				return j.err
			}
		}
		return t.write(tx)
	})
	for _, j := range jobs {
		if err != nil {
			j.err = b.alone(ctx, j)
		}
		close(j.done)
	}
}

func (b *batch) alone(ctx context.Context, j *batchJob) error {
	return b.s.db.Update(ctx, func(tx *store.Tx) error {
		t := &together{}
		if err := j.f(tx, t); err != nil {
			return err
		}
		return t.write(tx)
	})
}

func isFault(err error) bool {
	_, ok := errors.AsType[*fault.Error](err)
	return ok
}
