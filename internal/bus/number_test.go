package bus

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/nave-hub/nave"
)

// old turns a sealed batch into one of version 1.
func old(raw []byte) []byte {
	b := append(append([]byte{}, raw[:oldHeader]...), raw[batchHeader:]...)
	b[2] = oldVersion
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

// numbers is a log of one partition that is opened again and again.
type numbers struct {
	t   *testing.T
	dir string
	bus *Bus
	log *Log
	ctx context.Context
}

func (n *numbers) open() {
	n.t.Helper()
	var err error
	if n.bus, err = Open(n.ctx, Options{Dir: n.dir, Node: "a"}); err != nil {
		n.t.Fatal(err)
	}
	if n.log, err = n.bus.Log(n.ctx, "events", LogOptions{Partitions: 1}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *numbers) again() {
	n.t.Helper()
	if err := n.bus.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.open()
}

// put appends so many events, in one batch.
func (n *numbers) put(count int) {
	n.t.Helper()
	events := make([]*nave.Event, count)
	for i := range events {
		events[i] = &nave.Event{From: nave.ID{Device: "d"}, Source: nave.Telemetry}
	}
	done := make(chan error, 1)
	n.log.AppendAll(events, func(err error) { done <- err })
	if err := <-done; err != nil {
		n.t.Fatal(err)
	}
}

// want reads so many events from a number on.
func (n *numbers) want(from int64, all ...int64) {
	n.t.Helper()
	r, err := n.log.Read(0, nave.Position{From: from})
	if err != nil {
		n.t.Fatal(err)
	}
	defer r.Close()
	for len(all) > 0 {
		events, err := r.Next(n.ctx)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, e := range events {
			if len(all) == 0 {
				break
			}
			if e.Seq != all[0] {
				n.t.Fatalf("from %d came %d, still due are %v", from, e.Seq, all)
			}
			all = all[1:]
		}
	}
}

func (n *numbers) info(first, last int64) {
	n.t.Helper()
	if i, err := n.log.Info(0); err != nil || i.First != first || i.Last != last {
		n.t.Errorf("the partition has %d to %d (%v), want %d to %d", i.First, i.Last, err, first, last)
	}
}

// TestNumbers: events are numbered from 0 without gaps, over batches and
// restarts; behind batches of version 1 and behind a log that is empty again
// numbers only rise (service-api 4.6).
func TestNumbers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n := &numbers{t: t, dir: t.TempDir(), ctx: ctx}
	n.open()
	defer func() { n.bus.Close() }()
	n.info(-1, -1)
	n.put(1)
	n.put(3)
	n.again()
	n.put(2)
	n.again()
	n.again()
	n.put(1)
	n.want(0, 0, 1, 2, 3, 4, 5, 6)
	for from := range int64(7) {
		n.want(from, from)
	}
	n.info(0, 6)

	b := newBatch()
	b.add(&nave.Event{From: nave.ID{Device: "d"}, Source: nave.Telemetry, Enqueued: time.Now()})
	b.add(&nave.Event{From: nave.ID{Device: "d"}, Source: nave.Telemetry, Enqueued: time.Now()})
	ack, err := n.bus.js.Publish(ctx, n.log.parts[0].subject, old(b.seal(0)))
	if err != nil || ack.Sequence != 5 {
		t.Fatal(ack, err)
	}
	n.again()
	n.put(2)
	n.want(5, 5, 6, 5<<12, 5<<12|1, 5<<12|2, 5<<12|3)
	n.want(5<<12|3, 5<<12|3)
	n.info(0, 5<<12|3)

	s, err := n.bus.js.Stream(ctx, n.log.parts[0].stream)
	if err == nil {
		err = s.Purge(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.info(-1, -1)
	n.put(1) // while it runs the node knows
	n.want(0, 5<<12|4)
	if err := s.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	n.again()
	n.put(1)
	n.put(1)
	n.want(0, 8<<12, 8<<12+1)
	n.info(8<<12, 8<<12+1)
}
