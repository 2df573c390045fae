package load

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
)

// Events says how to read events. The zero value of a field means its default.
type Events struct {
	Count  int64      // events that the hub has at least when it is read; default 1,000,000
	Size   int        // bytes of an event that is stored; default 256
	Window int        // credit of each link; default 1000
	Stored func(Live) // called while events are stored; may be nil
	Live   func(Live) // called while events are read; may be nil
}

func (o Events) withDefaults() Events {
	if o.Count < 1 {
		o.Count = 1_000_000
	}
	if o.Size < 1 {
		o.Size = 256
	}
	if o.Window < 1 {
		o.Window = 1000
	}
	return o
}

// span is what a partition is read for: sequence numbers from first to last, both included; last is below first when it is nothing.
type span struct{ first, last int64 }

// RunEvents reads all events of the hub over Event Hubs links (service-api 4.4): a connection a partition, consumer group $Default, from the
// earliest event on. When the hub has fewer events than asked for, the devices store what lacks over AMQP first; neither that nor the
// counting of what was there is measured. Sequence numbers have to ascend, which may leave some out, and the number of events has to be
// that of those counted and stored together: so each came exactly once. Anything else is an error in the result, also when others
// send to the hub meanwhile. t is an AMQP listener.
func RunEvents(ctx context.Context, s *Service, t Target, logins []Login, o Events) (*Result, error) {
	o = o.withDefaults()
	spans, err := s.spans(ctx, t)
	if err != nil {
		return nil, err
	}
	found := newEventRun(s, t, o.Window)
	if err := found.read(ctx, spans, nil); err != nil {
		return nil, err
	}
	want := found.count.Load()
	if _, last := found.failed.read(); last != "" {
		return nil, fmt.Errorf("counting the hub's events: %s", last)
	}
	if want < o.Count {
		if err := storeAMQP(ctx, s, t, logins, o.Count-want, Telemetry{Size: o.Size, Live: o.Stored}); err != nil {
			return nil, err
		}
		want = o.Count
		if spans, err = s.spans(ctx, t); err != nil {
			return nil, err
		}
	}
	run := newEventRun(s, t, o.Window)
	if err := run.read(ctx, spans, o.Live); err != nil {
		return nil, err
	}
	got := run.count.Load()
	if _, last := run.failed.read(); got != want && last == "" {
		run.failed.add(fmt.Errorf("%d events were read, %d are stored: does anybody else send?", got, want))
	}
	r := &Result{Kind: "events", Connections: len(spans), Window: o.Window, Size: o.Size, Sent: want, Answered: got, Done: got}
	r.finish(new(Histogram), run.failed, run.took)
	return r, nil
}

// eventRun reads all partitions once.
type eventRun struct {
	s      *Service
	t      Target
	window int
	count  atomic.Int64
	failed *faults
	took   time.Duration // from the first link to the last event
}

func newEventRun(s *Service, t Target, window int) *eventRun {
	return &eventRun{s: s, t: t, window: window, failed: new(faults)}
}

// read opens a connection for each partition and reads its span.
func (e *eventRun) read(ctx context.Context, spans []span, live func(Live)) error {
	peers, err := openPeers(ctx, len(spans), func(ctx context.Context, i int) (*peer, error) {
		return e.s.openBackEnd(ctx, e.t, "reader-"+strconv.Itoa(i))
	})
	if err != nil {
		return err
	}
	defer closePeers(peers)
	var all sync.WaitGroup
	begun, stop := time.Now(), watch(e.count.Load, live)
	for i, p := range peers {
		r := &eventReader{address: fmt.Sprintf("%s/ConsumerGroups/$Default/Partitions/%d", e.s.host, i), span: spans[i], newest: -1, read: &e.count, over: make(chan error, 1)}
		all.Go(func() { e.failed.add(r.run(ctx, p, e.window)) })
	}
	all.Wait()
	e.took = time.Since(begun)
	stop()
	return ctx.Err()
}

// spans asks the hub's management node what each partition holds (service-api 4.3).
func (s *Service) spans(ctx context.Context, t Target) (spans []span, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	p, err := s.openBackEnd(ctx, t, "management")
	if err != nil {
		return nil, err
	}
	defer p.close()
	about, err := s.describe(ctx, p, amqp.Map{{Key: "type", Value: "com.microsoft:eventhub"}})
	if err != nil {
		return nil, err
	}
	n, ok := amqp.Int(about.Get("partition_count"))
	if !ok || n < 1 {
		return nil, fmt.Errorf("the hub says that it has %v partitions", about.Get("partition_count"))
	}
	for i := range n {
		about, err := s.describe(ctx, p, amqp.Map{{Key: "type", Value: "com.microsoft:partition"}, {Key: "partition", Value: strconv.FormatInt(i, 10)}})
		if err != nil {
			return nil, err
		}
		first, _ := amqp.Int(about.Get("begin_sequence_number"))
		last, _ := amqp.Int(about.Get("last_enqueued_sequence_number"))
		spans = append(spans, span{first, last})
	}
	return spans, nil
}

func (s *Service) describe(ctx context.Context, p *peer, what amqp.Map) (amqp.Map, error) {
	m, err := p.request(ctx, "$management", &amqp.Message{HasValue: true,
		ApplicationProperties: append(amqp.Map{{Key: "operation", Value: "READ"}, {Key: "name", Value: s.host}}, what...)})
	if err != nil {
		return nil, fmt.Errorf("asking what the hub holds: %w", err)
	}
	about, ok := m.Value.(amqp.Map)
	if !ok {
		return nil, fmt.Errorf("the management node answered with %T", m.Value)
	}
	return about, nil
}

// eventReader reads one partition.
type eventReader struct {
	// Set before run, then read only:
	address string
	span    span
	read    *atomic.Int64
	over    chan error // gets what ended the reading, nil at the last event

	// Owned by the connection's read goroutine:
	newest int64
	done   bool
}

// run reads until the last event has come.
func (r *eventReader) run(ctx context.Context, p *peer, window int) error {
	if r.span.last < r.span.first {
		return nil
	}
	l := &amqp.Link{Name: "reader", Role: amqp.RoleReceiver, SndMode: amqp.SettleMixed, Source: &amqp.Terminus{Address: r.address}, Window: uint32(window),
		OnDelivery: r.take, OnDetach: func(cause error, _ []*amqp.Out) {
			r.end(fmt.Errorf("%s: the link ended: %w", r.address, orClosed(cause)))
		}}
	if err := p.s.Attach(ctx, l); err != nil {
		return fmt.Errorf("%s: %w", r.address, err)
	}
	select {
	case err := <-r.over:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take counts an event; all behind the last are left alone.
func (r *eventReader) take(d *amqp.Delivery) {
	defer d.Accept()
	if r.done {
		return
	}
	seq, ok := sequence(d.Payload)
	switch {
	case !ok:
		r.end(fmt.Errorf("%s: an event without a sequence number", r.address))
	case seq <= r.newest || seq > r.span.last:
		r.end(fmt.Errorf("%s: event %d came behind %d, and %d is the last", r.address, seq, r.newest, r.span.last))
	default:
		r.newest = seq
		r.read.Add(1)
		if seq == r.span.last {
			r.end(nil)
		}
	}
}

func (r *eventReader) end(err error) {
	if !r.done {
		r.done = true
		r.over <- err
	}
}

// sequence returns the sequence number of an encoded event.
func sequence(b []byte) (n int64, ok bool) {
	w := amqp.NewSections(b)
	for s, more := w.Next(); more; s, more = w.Next() {
		if s.Kind != amqp.SectionMessageAnnotations {
			continue
		}
		s.Each(func(key, value amqp.Raw) bool {
			if text, is := key.Text(); is && string(text) == "x-opt-sequence-number" {
				if v, err := value.Value(); err == nil {
					n, ok = amqp.Int(v)
				}
			}
			return !ok
		})
		return n, ok
	}
	return 0, false
}
