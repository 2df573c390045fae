package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/nave-hub/nave"
)

// A batch on disk, little endian:
//
//	0  'n' 'v' version flags
//	4  CRC-32C of everything from byte 8 on
//	8  length of the whole
//	12 count of events
//	16 base time, Unix nanoseconds: when the first event was enqueued
//	24 sequence number of the first event, or byStream; not in version 1
//	32 (length, event)…
//
// Events are numbered from 0 without gaps by the process that alone appends to
// a partition. Several nodes can't agree on that without waiting for each other:
// there, and in version 1, the number follows from that of the stream.
const (
	batchHeader  = 32
	batchVersion = 2
	oldHeader    = 24
	oldVersion   = 1

	byStream = -1 // first event of stream number n: n << seqBits

	seqBits   = 12
	batchMax  = 1 << seqBits // events
	batchFull = 1 << 20      // bytes at which a batch closes
	eventMax  = 4 << 20      // bytes of one event or of one group that stays together
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errBatch   = errors.New("bus: batch is damaged")
)

// batch is a batch while it fills and until it is acknowledged.
type batch struct {
	buf   []byte
	count int
	base  int64
	last  int64 // time of the last event
	first int64 // sequence number of the first event, or byStream; set by seal
	dones []settle
}

// settle is a caller that waits; err is set when it was refused on the way in.
type settle struct {
	done func(error)
	err  error
}

var batches = sync.Pool{New: func() any { return &batch{buf: make([]byte, batchHeader, 64<<10)} }}

func newBatch() *batch {
	b := batches.Get().(*batch)
	b.buf, b.count, b.base, b.dones = b.buf[:batchHeader], 0, 0, b.dones[:0]
	return b
}

// free gives b back; nothing may hold its buffer any more.
func (b *batch) free() {
	clear(b.dones)
	if cap(b.buf) <= 2*batchFull {
		batches.Put(b)
	}
}

func (b *batch) add(e *nave.Event) {
	at := e.Enqueued.UnixNano()
	if b.count == 0 {
		b.base = at
	}
	b.last = at
	n := len(b.buf)
	b.buf = append(b.buf, 0, 0, 0, 0)
	b.buf = AppendEvent(b.buf, e, b.base)
	binary.LittleEndian.PutUint32(b.buf[n:], uint32(len(b.buf)-n-4))
	b.count++
}

// seal writes the header and returns the whole batch; first is the sequence
// number of its first event, or byStream.
func (b *batch) seal(first int64) []byte {
	b.first = first
	h := b.buf
	h[0], h[1], h[2], h[3] = 'n', 'v', batchVersion, 0
	le := binary.LittleEndian
	le.PutUint32(h[8:], uint32(len(h)))
	le.PutUint32(h[12:], uint32(b.count))
	le.PutUint64(h[16:], uint64(b.base))
	le.PutUint64(h[24:], uint64(first))
	le.PutUint32(h[4:], crc32.Checksum(h[8:], castagnoli))
	return h
}

// header is the fixed part of a batch.
type header struct {
	size  int // of the fixed part
	count int
	base  int64
	first int64 // sequence number of the first event
}

// parseHeader checks the fixed part of the batch with the stream's number seq.
func parseHeader(raw []byte, seq uint64) (h header, err error) {
	le := binary.LittleEndian
	switch {
	case len(raw) < oldHeader || raw[0] != 'n' || raw[1] != 'v':
		return h, fmt.Errorf("%w: no header", errBatch)
	case raw[2] == batchVersion && raw[3] == 0 && len(raw) >= batchHeader:
		h.size, h.first = batchHeader, int64(le.Uint64(raw[24:]))
	case raw[2] == oldVersion && raw[3] == 0:
		h.size, h.first = oldHeader, byStream
	default:
		return h, fmt.Errorf("%w: version %d.%d is unknown", errBatch, raw[2], raw[3])
	}
	if h.first == byStream {
		h.first = streamFirst(seq)
	}
	n := le.Uint32(raw[12:])
	switch {
	case le.Uint32(raw[8:]) != uint32(len(raw)):
		return h, fmt.Errorf("%w: %d bytes where %d were written", errBatch, len(raw), le.Uint32(raw[8:]))
	case n == 0 || n > batchMax:
		return h, fmt.Errorf("%w: count %d", errBatch, n)
	case h.first < 0:
		return h, fmt.Errorf("%w: sequence number %d", errBatch, h.first)
	}
	h.count, h.base = int(n), int64(le.Uint64(raw[16:]))
	return h, nil
}

// streamFirst returns the number of the first event of a batch by that of the
// stream. No batch before it has an event with that number or a higher one,
// however it is numbered, as none has more than batchMax.
func streamFirst(seq uint64) int64 { return int64(seq) << seqBits }

// parseBatch decodes a whole batch or nothing. The events share one block of
// memory and their bodies share raw.
func parseBatch(raw []byte, partition int, seq uint64) ([]*nave.Event, error) {
	h, err := parseHeader(raw, seq)
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(raw[8:], castagnoli) != binary.LittleEndian.Uint32(raw[4:]) {
		return nil, fmt.Errorf("%w: checksum", errBatch)
	}
	count, base := h.count, h.base
	rest := raw[h.size:]
	if count > len(rest)/8 {
		return nil, fmt.Errorf("%w: count %d in %d bytes", errBatch, count, len(raw))
	}
	block, events := make([]nave.Event, count), make([]*nave.Event, count)
	for i := range block {
		if len(rest) < 4 || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, fmt.Errorf("%w: event %d", errBatch, i)
		}
		n := 4 + binary.LittleEndian.Uint32(rest)
		e := &block[i]
		if err := ParseEvent(rest[4:n], e, base); err != nil {
			return nil, fmt.Errorf("%w: event %d: %w", errBatch, i, err)
		}
		e.Partition, e.Seq = partition, h.first+int64(i)
		events[i], rest = e, rest[n:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errBatch, len(rest))
	}
	return events, nil
}

// lastTime returns when the last event of a batch was enqueued.
func lastTime(events []*nave.Event) time.Time { return events[len(events)-1].Enqueued }
