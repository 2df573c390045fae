package hubamqp

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

const opRead = "events.read"

const (
	epochProperty     = "com.microsoft:epoch"
	metricsCapability = amqp.Symbol("com.microsoft:enable-receiver-runtime-metric")

	// drainGrace is how long a reader that is drained looks for further events.
	drainGrace = 50 * time.Millisecond
	// drainLimit is how long it looks for events that the log says are there: one
	// that cannot give them out must not hold the credit for ever.
	drainLimit = 10 * time.Second
	// metricsAge is how old metrics may become while events flow.
	metricsAge = 100 * time.Millisecond
	// eventBuffer is kept between events, a greater one is not.
	eventBuffer = 64 << 10
)

// reader gives the events of one partition to one receiver (service-api 4.4).
// Its goroutine reads as long as there is credit. Where the receiver stands is
// the receiver's business: outcomes move nothing here.
type reader struct {
	// Set by attachReader, then read only:
	c         *conn
	l         *amqp.Link
	b         *hub.Backend
	group     string
	partition int
	epoch     int64
	from      nave.Position
	ctx       context.Context // ends with the link
	cancel    context.CancelFunc
	more      chan struct{} // credit may have come

	// Owned by the goroutine of run:
	events  *hub.EventReader
	metrics *metrics // nil unless the receiver wants them
	buf     []byte
	behind  int64 // sequence number behind the newest event sent, 0 before the first
	owed    bool  // events are there that a receiver which drains has to get

	// Guarded by mu:
	mu       sync.Mutex
	draining bool
	stop     context.CancelFunc // ends the search for events under way
}

// attachReader opens a receiver at ENTITY/ConsumerGroups/GROUP/Partitions/P. One
// that asks for messages/events is sent to the entity's address.
func (c *conn) attachReader(l *amqp.Link, entity, group, partition string) {
	if strings.EqualFold(entity, below) {
		c.redirect(l)
		return
	}
	r, err := c.newReader(l, entity, group, partition)
	if err != nil {
		l.Refuse(c.readFault(err))
		return
	}
	c.work.Go(r.run)
}

// newReader judges an attach by what needs no storage.
func (c *conn) newReader(l *amqp.Link, entity, group, partition string) (*reader, error) {
	switch {
	case l.Role != amqp.RoleSender:
		return nil, fault.IotHubUnauthorizedAccess.New("Unauthorized: no policy of a hub may publish to its event endpoint")
	case !c.isEntity(entity):
		return nil, noEntity(entity)
	}
	b, err := c.readerBackend(entity, "ConsumerGroups", group, "Partitions", partition)
	if err != nil {
		return nil, err
	}
	r := &reader{c: c, l: l, b: b, group: group, epoch: hub.NoEpoch, more: make(chan struct{}, 1)}
	if r.partition, err = parsePartition(partition, c.hub.Partitions()); err != nil {
		return nil, err
	}
	if v, ok := l.Properties.Find(epochProperty); ok && v != nil {
		if r.epoch, ok = amqp.Int(v); !ok || r.epoch < 0 {
			return nil, fault.ArgumentInvalid.New("the link property %s is %v, expected is an integer from 0 on", epochProperty, v)
		}
	}
	if l.Source != nil {
		if r.from, err = parseFilter(l.Source.Filter); err != nil {
			return nil, err
		}
	}
	for _, want := range l.Desired {
		if want == metricsCapability {
			l.Offered, r.metrics = []amqp.Symbol{metricsCapability}, &metrics{seq: -1}
		}
	}
	r.ctx, r.cancel = context.WithCancel(c.ctx)
	return r, c.mayOpen()
}

// isEntity says whether the name means the hub's event endpoint: the hub's name
// or host name, or another name that clients dial it by.
func (c *conn) isEntity(name string) bool {
	return strings.EqualFold(name, c.hub.Name()) || c.hub.Answers(name)
}

func noEntity(name string) error {
	return fault.AmqpAddressNotFound.New("The messaging entity '%s' could not be found.", brief(name))
}

// parsePartition reads a partition id, of which there are n.
func parsePartition(text string, n int) (int, error) {
	p, err := strconv.Atoi(text)
	if err != nil || p < 0 || p >= n || text != strconv.Itoa(p) {
		return 0, fault.PartitionNotFound.New("the partition %q does not exist, the hub has 0 to %d", brief(text), n-1)
	}
	return p, nil
}

// readFault is condition with what Event Hubs clients expect in two cases.
func (c *conn) readFault(err error) *amqp.Error {
	e := c.condition(opRead, nave.ID{}, err)
	switch {
	case fault.From(err).Code == fault.PartitionNotFound:
		e.Condition = "com.microsoft:argument-out-of-range"
	case errors.Is(err, hub.ErrTooManyReaders):
		e.Condition = amqp.ResourceLimitExceeded
	}
	return e
}

// run opens the reader and pumps until the link is over.
func (r *reader) run() {
	defer r.cancel()
	group, ok, err := r.b.Group(r.ctx, r.group)
	if err == nil && !ok {
		err = fault.AmqpAddressNotFound.New("The messaging entity '%s:%s' could not be found.", r.c.hub.Name(), brief(r.group))
	}
	var place *hub.Reading
	if err == nil {
		place, err = r.b.JoinGroup(r.ctx, group, r.partition, r.epoch, r.evicted)
	}
	if err == nil {
		defer place.Leave()
		r.events, err = r.b.Events(r.ctx, r.partition, r.from)
	}
	if err != nil {
		r.l.Refuse(r.c.readFault(err))
		return
	}
	defer r.events.Close()
	r.l.OnCredit = r.credited
	r.l.OnDetach = func(error, []*amqp.Out) {
		place.Leave() // here already: the next attach of the same client may need the place
		r.cancel()
	}
	if r.c.accept(r.l) {
		r.pump()
	}
}

// evicted ends the link for another reader's sake.
func (r *reader) evicted(why *fault.Error) {
	r.l.Detach(r.c.condition(opRead, nave.ID{}, why))
	r.cancel()
}

// credited implements Link.OnCredit.
func (r *reader) credited(_ uint32, drain bool) {
	r.mu.Lock()
	stop := r.stop
	first := drain && !r.draining
	r.draining = drain
	r.mu.Unlock()
	if first && stop != nil {
		time.AfterFunc(drainGrace, stop)
	}
	wake(r.more)
}

func (r *reader) pump() {
	for credited(r.ctx, r.l, r.more) {
		events, err := r.next()
		switch {
		case r.ctx.Err() != nil:
			return
		case errors.Is(err, context.Canceled):
			if r.owed = !r.owed && r.owes(); !r.owed {
				r.drained()
			}
			continue
		case err != nil:
			r.l.Detach(r.c.condition(opRead, nave.ID{}, fault.ServiceUnavailable.Wrap(err, "the event log can't be read now")))
			return
		}
		r.measure(events[len(events)-1])
		for _, e := range events {
			if !r.send(e) {
				return
			}
			r.behind, r.owed = e.Seq+1, false
		}
	}
}

// owes reports whether events are stored that a draining receiver still has to
// get, as far as the log tells.
func (r *reader) owes() bool {
	r.mu.Lock()
	draining := r.draining
	r.mu.Unlock()
	if !draining {
		return false
	}
	info, err := r.b.PartitionInfo(r.ctx, r.partition)
	switch {
	case err != nil:
		return false
	case r.behind == 0 && (r.from.Latest || info.LastEnqueued.Before(r.from.Since)):
		return false
	}
	return info.Last >= max(r.behind, r.from.From)
}

// next waits for events, while the receiver drains only for a moment.
func (r *reader) next() ([]*nave.Event, error) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	r.mu.Lock()
	r.stop = cancel
	draining := r.draining
	r.mu.Unlock()
	if draining {
		grace := drainGrace
		if r.owed {
			grace = drainLimit
		}
		defer time.AfterFunc(grace, cancel).Stop()
	}
	events, err := r.events.Next(ctx)
	if len(events) > 0 {
		return events, nil
	}
	return nil, err
}

// drained gives the credit back, as nothing more is there.
func (r *reader) drained() {
	r.mu.Lock()
	r.draining = false
	r.mu.Unlock()
	r.l.Drained()
}

// measure keeps the metrics fresh.
func (r *reader) measure(newest *nave.Event) {
	m := r.metrics
	if m == nil {
		return
	}
	now := r.c.hub.Now()
	if now.Sub(m.retrieved) >= metricsAge {
		info, err := r.b.PartitionInfo(r.ctx, r.partition)
		if err == nil {
			m.seq, m.enqueued = info.Last, info.LastEnqueued
		}
		m.retrieved = now
	}
	m.include(newest)
}

// send sends one event as soon as there is credit; false when the link is over.
func (r *reader) send(e *nave.Event) bool {
	r.buf = appendEvent(r.buf[:0], e, r.metrics)
	if cap(r.buf) > eventBuffer {
		defer func() { r.buf = nil }()
	}
	for {
		// Outcomes mean nothing here: settled, where the receiver leaves the choice.
		_, err := r.l.Send(r.buf, nil, 0, true, nil)
		switch {
		case err == nil:
			return true
		case errors.Is(err, amqp.ErrTooLarge):
			r.l.Detach(amqp.Errorf(amqp.MessageSizeExceeded, "Event %d has %d bytes, the receiver takes %d.", e.Seq, len(r.buf), r.l.PeerMax))
			return false
		case !errors.Is(err, amqp.ErrNoCredit):
			return false
		}
		select {
		case <-r.more:
		case <-r.ctx.Done():
			return false
		}
	}
}
