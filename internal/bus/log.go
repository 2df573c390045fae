package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/nave-hub/nave"
)

const (
	maxPartitions  = 128
	metaPartitions = "nave-partitions"
	minShare       = 1 << 20 // bytes a partition may be limited to
	openAtOnce     = 8       // streams opened at the same time
)

// LogOptions says how a log is cut and how long it keeps events.
type LogOptions struct {
	Partitions int           // 4 by default, up to 128; fixed once the log exists
	MaxAge     time.Duration // 24 h by default, by the clock of the server
	MaxBytes   int64         // all partitions together, at least 1 MiB each; 0: no limit
}

// Log is one durable event log.
type Log struct {
	// Set by Bus.Log, then read only:
	bus   *Bus
	name  string
	parts []*part
	full  int // bytes at which a batch closes
	max   int // bytes of an event or a group

	ready chan struct{} // closed when opening ended
	err   error         // why it failed; read after ready

	gone     chan struct{} // closed by shut
	shutOnce sync.Once
	replies  atomic.Uint64
}

// Log opens the log, creating it when it does not exist. Retention of an
// existing log is changed to o. Errors: another number of partitions than the
// log has, limits out of range, ErrUnavailable.
func (b *Bus) Log(ctx context.Context, name string, o LogOptions) (*Log, error) {
	if err := o.check(name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, errClosing
	}
	l, found := b.logs[name]
	if !found {
		l = &Log{bus: b, name: name, ready: make(chan struct{}), gone: make(chan struct{}), full: batchFull, max: eventMax}
		b.logs[name] = l
	}
	b.mu.Unlock()
	if found {
		return b.again(ctx, l, &o)
	}
	defer close(l.ready)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.table.ctx, cancel)()
	if l.err = l.open(ctx, &o); l.err != nil {
		b.mu.Lock()
		delete(b.logs, name)
		b.mu.Unlock()
		l.shut()
		return nil, l.err
	}
	return l, nil
}

// again serves a further opening of a log that this Bus has already.
func (b *Bus) again(ctx context.Context, l *Log, o *LogOptions) (*Log, error) {
	select {
	case <-l.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.err != nil {
		return nil, l.err
	}
	return l, l.configure(ctx, o)
}

func (o *LogOptions) check(name string) error {
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	if o.MaxAge == 0 {
		o.MaxAge = 24 * time.Hour
	}
	switch {
	case name == "" || len(Word(name)) > 128:
		return fmt.Errorf("bus: log name %q is empty or too long", name)
	case o.Partitions < 1 || o.Partitions > maxPartitions:
		return fmt.Errorf("bus: log %s: %d partitions, allowed are 1 to %d", name, o.Partitions, maxPartitions)
	case o.MaxAge < time.Second:
		return fmt.Errorf("bus: log %s: maximum age %v is below 1 s", name, o.MaxAge)
	case o.MaxBytes < 0 || o.MaxBytes > 0 && o.MaxBytes/int64(o.Partitions) < minShare:
		return fmt.Errorf("bus: log %s: maximum of %d bytes is below %d for each of %d partitions", name, o.MaxBytes, minShare, o.Partitions)
	}
	return nil
}

func (l *Log) open(ctx context.Context, o *LogOptions) error {
	b := l.bus
	if o.MaxBytes > 0 {
		share := int(o.MaxBytes / int64(o.Partitions))
		l.full, l.max = min(l.full, share/8), min(l.max, share/2)
	}
	if b.server == nil {
		l.max = min(l.max, int(b.write.MaxPayload())-4096)
		l.full = min(l.full, l.max)
	}
	if err := l.count(ctx, o.Partitions); err != nil {
		return err
	}
	for i := range o.Partitions {
		l.parts = append(l.parts, newPart(l, i))
	}
	if err := l.configure(ctx, o); err != nil {
		return err
	}
	if err := l.refresh(ctx); err != nil {
		return err
	}
	for _, p := range l.parts {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// count refuses another number of partitions than the log was created with.
func (l *Log) count(ctx context.Context, want int) error {
	s, err := l.bus.js.Stream(ctx, streamName(l.name, 0))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: log %s: %w", ErrUnavailable, l.name, err)
	}
	if have := s.CachedInfo().Config.Metadata[metaPartitions]; have != strconv.Itoa(want) {
		return fmt.Errorf("bus: log %s has %s partitions and can't be opened with %d", l.name, have, want)
	}
	return nil
}

// configure creates the streams of the log, or changes their retention.
func (l *Log) configure(ctx context.Context, o *LogOptions) error {
	if n := len(l.parts); n != o.Partitions {
		return fmt.Errorf("bus: log %s has %d partitions and can't be opened with %d", l.name, n, o.Partitions)
	}
	limit := int64(-1)
	if o.MaxBytes > 0 {
		limit = o.MaxBytes / int64(o.Partitions)
	}
	return l.each(ctx, func(ctx context.Context, p *part) error {
		_, err := l.bus.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name:        p.stream,
			Description: fmt.Sprintf("nave event log %s, partition %d of %d", l.name, p.index, o.Partitions),
			Subjects:    []string{p.subject},
			Storage:     jetstream.FileStorage,
			Retention:   jetstream.LimitsPolicy,
			Discard:     jetstream.DiscardOld,
			MaxAge:      o.MaxAge,
			MaxBytes:    limit,
			Replicas:    l.bus.o.Replicas,
			Duplicates:  min(time.Minute, o.MaxAge),
			AllowDirect: true,
			Metadata:    map[string]string{metaPartitions: strconv.Itoa(o.Partitions)},
		})
		return err
	})
}

// each runs f for all partitions, a few at a time.
func (l *Log) each(ctx context.Context, f func(context.Context, *part) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(l.parts))
	slots := make(chan struct{}, openAtOnce)
	for i, p := range l.parts {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = f(ctx, p)
			<-slots
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: log %s: %w", ErrUnavailable, l.name, err)
	}
	return nil
}

// refresh learns where the partitions end.
func (l *Log) refresh(ctx context.Context) error {
	return l.each(ctx, func(ctx context.Context, p *part) error {
		s, err := l.bus.js.Stream(ctx, p.stream)
		if err != nil {
			return err
		}
		seq := s.CachedInfo().State.LastSeq
		p.tail.set(seq)
		return p.resume(ctx, seq)
	})
}

// resume learns which number follows the last batch seq, where this process
// alone appends.
func (p *part) resume(ctx context.Context, seq uint64) error {
	if p.log.bus.server == nil {
		return nil
	}
	var last lastBatch
	if seq > 0 {
		var err error
		if last, err = p.newest(ctx, seq); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = last
	return nil
}

// shut stops appends and waits for those in flight.
func (l *Log) shut() {
	l.shutOnce.Do(func() {
		for _, p := range l.parts {
			p.close()
		}
		for _, p := range l.parts {
			p.wait()
		}
		close(l.gone)
	})
}

// Drop deletes the log with all its events; a log that does not exist is fine.
func (b *Bus) Drop(ctx context.Context, name string) error {
	b.mu.Lock()
	l := b.logs[name]
	delete(b.logs, name)
	b.mu.Unlock()
	if l != nil {
		<-l.ready
		l.shut()
	}
	names := b.js.StreamNames(ctx, jetstream.WithStreamListSubject(logPrefix+Word(name)+".>"))
	for stream := range names.Name() {
		if err := b.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%w: drop log %s: %w", ErrUnavailable, name, err)
		}
	}
	if err := names.Err(); err != nil {
		return fmt.Errorf("%w: drop log %s: %w", ErrUnavailable, name, err)
	}
	return nil
}

// Name returns the name of the log.
func (l *Log) Name() string { return l.name }

// Partitions returns the number of partitions.
func (l *Log) Partitions() int { return len(l.parts) }

// Append adds e to the partition of its device and takes ownership of it:
// Partition is set at once, Enqueued when it was zero. done runs exactly once,
// on a goroutine of the log, in the order of appends to the partition: with nil
// when e is durable, with ErrUnavailable, or with an error for an event above
// 4 MiB. done must not block or append. When the log is behind by some
// megabytes Append waits until it has caught up, at most ten seconds.
func (l *Log) Append(e *nave.Event, done func(error)) {
	p := l.stamp(e)
	p.append(e, done)
}

func (l *Log) stamp(e *nave.Event) *part {
	e.Partition = nave.Partition(e.From.Device, len(l.parts))
	if e.Enqueued.IsZero() {
		e.Enqueued = l.bus.o.Now()
	}
	return l.parts[e.Partition]
}

// AppendAll adds events under the rules of Append; done runs once, when all are
// durable or some were refused. Events of one device are in one batch, all or
// nothing, and are refused above 4,096 or 4 MiB.
func (l *Log) AppendAll(events []*nave.Event, done func(error)) {
	if len(events) == 0 {
		go done(nil)
		return
	}
	byPart := make([][]*nave.Event, len(l.parts))
	parts := 0
	for _, e := range events {
		l.stamp(e)
		if byPart[e.Partition] == nil {
			parts++
		}
		byPart[e.Partition] = append(byPart[e.Partition], e)
	}
	if parts > 1 {
		done = countdown(parts, done)
	}
	for i, some := range byPart {
		if len(some) > 0 {
			l.parts[i].appendAll(some, done)
		}
	}
}

// countdown returns a done that calls the given one at the n-th call, with the
// errors of all.
func countdown(n int, done func(error)) func(error) {
	var mu sync.Mutex
	var all error
	return func(err error) {
		mu.Lock()
		all = errors.Join(all, err)
		n--
		last, all := n == 0, all
		mu.Unlock()
		if last {
			done(all)
		}
	}
}

// streamName returns the stream of a partition; names hold neither dots nor
// path separators.
func streamName(log string, partition int) string {
	return "NAVE_" + Word(log) + "_" + strconv.Itoa(partition)
}
