package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/nave-hub/nave"
)

const (
	seekTimeout = 15 * time.Second
	// Events of one partition are ordered by time only roughly: nodes stamp them
	// before they queue for the batch. A search by time starts this much earlier.
	disorder = 2 * time.Second
)

// errMissing says that no batch is there.
var errMissing = errors.New("bus: no such batch")

// Info is the extent of a partition.
type Info struct {
	First, Last  int64     // sequence numbers of the oldest and the newest event, -1 when empty
	LastEnqueued time.Time // of the newest event, zero when empty
	Batches      int64     // stored
	Bytes        int64     // on disk, of the batches
}

// Info returns the extent of a partition as it is now, or ErrUnavailable.
func (l *Log) Info(partition int) (Info, error) {
	p, err := l.part(partition)
	if err != nil {
		return Info{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), seekTimeout)
	defer cancel()
	s, err := p.state(ctx)
	if err != nil {
		return Info{}, err
	}
	if s.Msgs == 0 {
		return Info{First: -1, Last: -1}, nil
	}
	last, err := p.newest(ctx, s.LastSeq)
	if err != nil {
		return Info{}, err
	}
	i := Info{Last: last.first + int64(last.count) - 1, Batches: int64(s.Msgs), Bytes: int64(s.Bytes)}
	if last.count > 0 {
		i.LastEnqueued = time.Unix(0, last.at).UTC()
	}
	i.First, err = p.oldest(ctx, s.FirstSeq, i.Last)
	return i, err
}

func (l *Log) part(partition int) (*part, error) {
	if partition < 0 || partition >= len(l.parts) {
		return nil, fmt.Errorf("bus: log %s has no partition %d, only 0 to %d", l.name, partition, len(l.parts)-1)
	}
	return l.parts[partition], nil
}

func (p *part) state(ctx context.Context) (jetstream.StreamState, error) {
	s, err := p.log.bus.js.Stream(ctx, p.stream)
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("%w: log %s: %w", ErrUnavailable, p.log.name, err)
	}
	return s.CachedInfo().State, nil
}

// unreadable describes a last batch that is gone or damaged: numbers go on
// where no batch up to it can have been.
func unreadable(seq uint64) lastBatch { return lastBatch{seq: seq, first: streamFirst(seq + 1)} }

// oldest returns the number of the first event that is stored, that of the
// newest when it can't be read.
func (p *part) oldest(ctx context.Context, seq uint64, newest int64) (int64, error) {
	raw, got, err := p.next(ctx, seq)
	if errors.Is(err, errMissing) {
		return newest, nil
	}
	if err != nil {
		return 0, err
	}
	h, err := parseHeader(raw, got)
	if err != nil {
		return newest, nil
	}
	return h.first, nil
}

// newest describes the batch seq, the last one.
func (p *part) newest(ctx context.Context, seq uint64) (lastBatch, error) {
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	if last.seq == seq {
		return last, nil
	}
	raw, _, err := p.next(ctx, seq)
	if errors.Is(err, errMissing) {
		return unreadable(seq), nil
	}
	if err != nil {
		return lastBatch{}, err
	}
	events, err := parseBatch(raw, p.index, seq)
	if err != nil {
		return unreadable(seq), nil
	}
	last = lastBatch{seq, events[0].Seq, len(events), lastTime(events).UnixNano()}
	p.mu.Lock()
	if p.last.seq < seq {
		p.last = last
	}
	p.mu.Unlock()
	return last, nil
}

// getRequest is the request of JetStream's direct get.
type getRequest struct {
	Seq      uint64 `json:"seq"`
	Next     string `json:"next_by_subj,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

func (p *part) getSubject() string { return "$JS.API.DIRECT.GET." + p.stream }

// next returns the batch seq or the first one behind it.
func (p *part) next(ctx context.Context, seq uint64) (raw []byte, got uint64, err error) {
	req, err := json.Marshal(getRequest{Seq: seq, Next: p.subject})
	if err != nil {
		return nil, 0, err
	}
	m, err := p.log.bus.read.RequestWithContext(ctx, p.getSubject(), req)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: read log %s: %w", ErrUnavailable, p.log.name, err)
	}
	return found(m)
}

// found takes a batch out of an answer to a direct get.
func found(m *nats.Msg) (raw []byte, seq uint64, err error) {
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return nil, 0, errMissing
	default:
		return nil, 0, fmt.Errorf("%w: direct get: status %s %s", ErrUnavailable, status, m.Header.Get("Description"))
	}
	seq, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("bus: direct get without a sequence number: %w", err)
	}
	return m.Data, seq, nil
}

// Read opens a reader of one partition. Errors: no such partition,
// ErrUnavailable.
func (l *Log) Read(partition int, from nave.Position) (*Reader, error) {
	p, err := l.part(partition)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), seekTimeout)
	defer cancel()
	r := &Reader{part: p, want: 1}
	switch {
	case from.Latest:
		s, err := p.state(ctx)
		if err != nil {
			return nil, err
		}
		r.want = s.LastSeq + 1
	case from.From > 0:
		r.least = from.From
		r.want, err = p.search(ctx, func(h header) bool { return h.first >= from.From })
	case !from.Since.IsZero():
		r.since = from.Since
		at := from.Since.Add(-disorder).UnixNano()
		r.want, err = p.search(ctx, func(h header) bool { return h.base >= at })
	}
	if err != nil {
		return nil, err
	}
	r.want = max(r.want, 1)
	return r, r.open()
}

// search returns a batch before which there is nothing that is wanted; reached
// says of a batch whether its first event is, or lies behind that.
func (p *part) search(ctx context.Context, reached func(header) bool) (uint64, error) {
	s, err := p.state(ctx)
	if err != nil {
		return 0, err
	}
	lo, hi := s.FirstSeq, s.LastSeq+1
	for lo < hi {
		mid := lo + (hi-lo)/2
		raw, seq, err := p.next(ctx, mid)
		if errors.Is(err, errMissing) || err == nil && seq >= hi {
			hi = mid
			continue
		}
		if err != nil {
			return 0, err
		}
		h, err := parseHeader(raw, seq)
		if err == nil && reached(h) {
			hi = mid
		} else {
			lo = seq + 1
		}
	}
	// The batch in front begins too early but may go on far enough.
	return max(s.FirstSeq, lo-1), nil
}
