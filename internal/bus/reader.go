package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nave-hub/nave"
)

const (
	fetchCount = 512     // batches asked for at once
	fetchBytes = 2 << 20 // and bytes, to which one batch may come on top
	fetchWait  = 10 * time.Second
	lookAgain  = 5 * time.Second // cluster: a lost wake-up is noticed after this
	retryFirst = 50 * time.Millisecond
	retryLast  = 2 * time.Second
)

// Reader reads one partition in order. Next is for one goroutine at a time;
// Close may come from any.
type Reader struct {
	// Set by Read, then read only:
	part   *part
	least  int64     // events below are skipped
	since  time.Time // events before are skipped
	sub    *nats.Subscription
	inbox  string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	// Owned by Next:
	want    uint64 // the next batch
	fetched []stored
	fetches uint64
	retry   time.Duration
}

// stored is a batch as the server gave it.
type stored struct {
	seq uint64
	raw []byte
}

var readers atomic.Uint64

func (r *Reader) open() error {
	b := r.part.log.bus
	r.inbox = "nave.read." + b.id + "." + strconv.FormatUint(readers.Add(1), 36) + "."
	var err error
	if r.sub, err = b.read.SubscribeSync(r.inbox + "*"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	r.ctx, r.cancel = context.WithCancel(b.table.ctx)
	return r.sub.SetPendingLimits(-1, -1)
}

// Close ends the reader and a Next that waits.
func (r *Reader) Close() {
	r.cancel()
	r.sub.Unsubscribe()
}

// Next returns the events that follow, those of one stored batch, waiting until
// there are some; Partition and Seq are set. The events share memory, so who
// keeps one for long copies it. Errors: that of ctx, or ErrUnavailable when the
// reader, the log or the bus is closed. While the log is out of reach it waits.
func (r *Reader) Next(ctx context.Context) ([]*nave.Event, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	for {
		if len(r.fetched) > 0 {
			if events := r.take(ctx); len(events) > 0 {
				return events, nil
			}
			if ctx.Err() == nil {
				continue
			}
		}
		if r.ctx.Err() != nil {
			return nil, errClosing
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		tail, grown := r.part.tail.get()
		if r.want > tail {
			if look := r.wait(ctx, grown); !look {
				continue
			}
		}
		if err := r.fetch(ctx); err != nil && ctx.Err() == nil {
			r.pause(ctx, err)
			continue
		}
		r.retry = 0
	}
}

// wait returns when the partition grows, and true when it is time to look
// whether a wake-up got lost.
func (r *Reader) wait(ctx context.Context, grown <-chan struct{}) bool {
	var late <-chan time.Time
	if r.part.log.bus.server == nil {
		timer := time.NewTimer(lookAgain)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-grown:
	case <-ctx.Done():
	case <-r.part.log.gone:
		r.cancel()
	case <-late:
		return true
	}
	return false
}

// pause waits after a failure, longer each time.
func (r *Reader) pause(ctx context.Context, err error) {
	bus := r.part.log.bus
	if r.retry == 0 {
		r.retry = retryFirst
		bus.o.Log.Warn("event log can't be read now", "node", bus.o.Node, "log", r.part.log.name, "partition", r.part.index, "error", err)
	}
	select {
	case <-ctx.Done():
	case <-r.part.log.gone:
		r.cancel()
	case <-time.After(r.retry):
	}
	r.retry = min(2*r.retry, retryLast)
}

// take decodes the first fetched batch; nothing when it is damaged, unwanted or
// not the next one.
func (r *Reader) take(ctx context.Context) []*nave.Event {
	s := r.fetched[0]
	if s.seq > r.want {
		filled, err := r.hole(ctx, s.seq)
		if err != nil {
			r.pause(ctx, err)
			return nil
		}
		if filled == nil {
			return nil
		}
		s = *filled
	} else {
		r.fetched[0] = stored{}
		r.fetched = r.fetched[1:]
	}
	if s.seq < r.want {
		return nil
	}
	r.want = s.seq + 1
	events, err := parseBatch(s.raw, r.part.index, s.seq)
	if err != nil {
		r.damaged(s.seq, err)
		return nil
	}
	return r.filter(events)
}

func (r *Reader) filter(events []*nave.Event) []*nave.Event {
	if r.least == 0 && r.since.IsZero() {
		return events
	}
	kept := events[:0]
	for _, e := range events {
		if e.Seq >= r.least && !e.Enqueued.Before(r.since) {
			kept = append(kept, e)
		}
	}
	return kept
}

func (r *Reader) damaged(seq uint64, err error) {
	bus := r.part.log.bus
	bus.corrupt.Add(1)
	bus.o.Log.Error("damaged batch of events skipped", "node", bus.o.Node, "log", r.part.log.name,
		"partition", r.part.index, "batch", seq, "error", err)
}

// fetch asks for the next batches and collects all that come.
func (r *Reader) fetch(ctx context.Context) error {
	bus := r.part.log.bus
	select {
	case bus.fetches <- struct{}{}:
		defer func() { <-bus.fetches }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	r.fetches++
	reply := r.inbox + strconv.FormatUint(r.fetches, 36)
	req, err := json.Marshal(getRequest{Seq: r.want, Batch: fetchCount, MaxBytes: fetchBytes})
	if err != nil {
		return err
	}
	if err := bus.read.PublishRequest(r.part.getSubject(), reply, req); err != nil {
		return err
	}
	r.fetched = r.fetched[:0]
	for {
		m, err := r.sub.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		if m.Subject != reply {
			continue // of a fetch given up
		}
		if m.Header.Get("Status") == "204" {
			return nil
		}
		raw, seq, err := found(m)
		if errors.Is(err, errMissing) {
			return r.missing(ctx)
		}
		if err != nil {
			return err
		}
		r.fetched = append(r.fetched, stored{seq, raw})
	}
}

// missing handles that nothing was found from want on. Either nothing is there,
// or retention has removed it all, or the server can't read the batch.
func (r *Reader) missing(ctx context.Context) error {
	s, err := r.part.state(ctx)
	if err != nil {
		return err
	}
	if s.LastSeq < r.want {
		if r.want > r.part.tail.now() {
			return nil
		}
		return fmt.Errorf("bus: batch %d is not there, the last one is %d", r.want, s.LastSeq)
	}
	filled, err := r.hole(ctx, s.LastSeq+1)
	if filled != nil {
		r.fetched = append(r.fetched[:0], *filled)
	}
	return err
}

// hole handles that the batch want is not there though one behind it is: what
// retention removed is stepped over, what a lagging replica did not have is
// asked from the leader, and what is damaged is reported and stepped over.
func (r *Reader) hole(ctx context.Context, until uint64) (*stored, error) {
	s, err := r.part.state(ctx)
	if err != nil {
		return nil, err
	}
	if s.FirstSeq > r.want {
		r.want = min(s.FirstSeq, until)
		return nil, nil
	}
	stream, err := r.part.log.bus.js.Stream(ctx, r.part.stream)
	if err != nil {
		return nil, err
	}
	m, err := stream.GetMsg(ctx, r.want)
	if err == nil {
		return &stored{r.want, m.Data}, nil
	}
	var refused *jetstream.APIError
	if !errors.As(err, &refused) && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, err
	}
	if s, err := r.part.state(ctx); err != nil || s.FirstSeq > r.want {
		return nil, err // retention came in between
	}
	r.damaged(r.want, err)
	r.want++
	return nil, nil
}
