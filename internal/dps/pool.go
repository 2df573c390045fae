package dps

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// pool are the workers of a node, in two lanes: registrations that need nothing
// but hubs of this process, and those that may wait for webhooks and remote
// hubs, so that slow ones hold up nobody else.
type pool struct {
	near, far lane
}

// job is an operation on its way through this node, owned by whoever holds it:
// the queue, a worker or a timer.
type job struct {
	op         *operation
	enrollment *Enrollment // as the register call saw it; nil after a restart
	read       time.Time   // when, by the real clock
	far        bool
	tries      int
	until      time.Time       // no further try after it, by the real clock; zero before the first
	plan       *plan           // what an earlier try has decided
	issued     *issuance       // what an earlier try has issued
	down       map[string]bool // hubs that did not answer, with failoverAllocation
}

// newJob returns a job for the operation; e may be nil.
func newJob(op *operation, e *Enrollment) *job {
	return &job{op: op, enrollment: e, read: time.Now(), far: op.far}
}

// lane is a queue and its workers.
type lane struct {
	jobs    chan *job
	places  atomic.Int64 // reserved or taken
	backlog int64
	ended   atomic.Int64 // since the last look
	rate    atomic.Int64 // ended in a second, while the queue was not empty
}

// Guesses before there is experience.
const (
	nearRate = 500
	farRate  = 20
)

func (p *pool) start(s *Service) {
	for _, l := range []*lane{&p.near, &p.far} {
		l.backlog = int64(s.o.Backlog)
		l.jobs = make(chan *job, s.o.Backlog)
	}
	p.near.rate.Store(nearRate)
	p.far.rate.Store(farRate)
	for range s.o.Workers {
		s.work.Go(func() { p.near.run(s) })
	}
	for range s.o.Workers {
		s.work.Go(func() { p.far.run(s) })
	}
}

func (p *pool) lane(far bool) *lane {
	if far {
		return &p.far
	}
	return &p.near
}

// put queues a job whose place was reserved.
func (p *pool) put(j *job) {
	p.lane(j.far).jobs <- j // has room: the place was reserved
}

// drop gives the place of a job free that has ended or was lost.
func (p *pool) drop(j *job) {
	l := p.lane(j.far)
	l.ended.Add(1)
	l.unreserve()
}

// reserve takes a place in the queue, or returns how long to stay away.
func (l *lane) reserve() time.Duration {
	if l.places.Add(1) <= l.backlog {
		return 0
	}
	l.unreserve()
	return max(l.wait()/2, leastRetry)
}

func (l *lane) unreserve() { l.places.Add(-1) }

// wait estimates how long a job that comes now waits for its end.
func (l *lane) wait() time.Duration {
	return time.Duration(float64(l.places.Load()) / float64(max(1, l.rate.Load())) * float64(time.Second))
}

// Advice to clients under load (dps 5.7).
const (
	loaded    = time.Second // waits below it change nothing
	mostWait  = 30 * time.Second
	mostNoise = 3 * time.Second
)

// advise returns the pause before the next poll in whole seconds: base, under
// load longer by the wait and some noise.
func (l *lane) advise(base time.Duration) time.Duration {
	wait := l.wait()
	if wait < loaded {
		return base
	}
	d := base + wait + rand.N(mostNoise)
	return max(base, min(d, mostWait)).Round(time.Second)
}

// look takes the lane's rate; called once a second.
func (l *lane) look() {
	ended := l.ended.Swap(0)
	if busy := l.places.Load() > 0; busy || ended > l.rate.Load() {
		old := l.rate.Load()
		l.rate.Store(max(1, old+(ended-old)/4))
	}
}

func (l *lane) run(s *Service) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case j := <-l.jobs:
			s.carry(j)
		}
	}
}
