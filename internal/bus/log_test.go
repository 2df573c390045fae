package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
)

func TestAppendOrderAndOnce(t *testing.T) {
	b := openBus(t, bus.Options{})
	l := openLog(t, b, "events", bus.LogOptions{})
	const n = 30_000
	var mu sync.Mutex
	settled := make([][]int, l.Partitions())
	sent := make([][]int, l.Partitions())
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		e := event(names[i%len(names)], fmt.Appendf(nil, "%d", i))
		p := nave.Partition(e.From.Device, l.Partitions())
		sent[p] = append(sent[p], i)
		l.Append(e, func(err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			settled[p] = append(settled[p], i)
			mu.Unlock()
		})
	}
	wg.Wait()
	for p := range sent {
		info, err := l.Info(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Batches >= int64(len(sent[p])) || info.Batches == 0 {
			t.Errorf("partition %d: %d batches for %d events", p, info.Batches, len(sent[p]))
		}
		if fmt.Sprint(sent[p]) != fmt.Sprint(settled[p]) {
			t.Errorf("partition %d: done out of order, missing or twice", p)
		}
		got := read(t, reader(t, l, p, nave.Position{}), len(sent[p]))
		last := int64(-1)
		for i, e := range got {
			if string(e.Body) != fmt.Sprint(sent[p][i]) || e.Partition != p || e.Seq <= last {
				t.Fatalf("partition %d, event %d: body %s, partition %d, seq %d after %d", p, i, e.Body, e.Partition, e.Seq, last)
			}
			last = e.Seq
		}
		if info.First != got[0].Seq || info.Last != last || !info.LastEnqueued.Equal(got[len(got)-1].Enqueued) {
			t.Errorf("partition %d: info %+v, events %d to %d", p, info, got[0].Seq, last)
		}
	}
}

// TestLoneAppend has appends that nothing follows become durable, none waiting for
// company.
func TestLoneAppend(t *testing.T) {
	l := openLog(t, openBus(t, bus.Options{Dir: t.TempDir()}), "events", bus.LogOptions{})
	const n = 200
	start := time.Now()
	for range n {
		put(t, l, event("d", []byte("x")))
	}
	t.Logf("a lone append takes %v", time.Since(start)/n)
	if i, err := l.Info(nave.Partition("d", l.Partitions())); err != nil || i.Batches != n {
		t.Errorf("info %+v, %v", i, err)
	}
}

func TestAppendAll(t *testing.T) {
	l := openLog(t, openBus(t, bus.Options{}), "events", bus.LogOptions{})
	t.Run("several devices", func(t *testing.T) {
		var all []*nave.Event
		for i := range 1000 {
			all = append(all, event(names[i], []byte("x")))
		}
		put(t, l, all...)
	})
	t.Run("one device is one batch", func(t *testing.T) {
		var all []*nave.Event
		for range 4096 {
			all = append(all, event("one", []byte("x")))
		}
		p := nave.Partition("one", 4)
		r := reader(t, l, p, nave.Position{Latest: true})
		put(t, l, all...)
		if got := read(t, r, 1); len(got) != 4096 {
			t.Errorf("the batch has %d events", len(got))
		}
	})
	t.Run("too many of one device", func(t *testing.T) {
		done := make(chan error, 1)
		all := make([]*nave.Event, 4097)
		for i := range all {
			all[i] = event("one", nil)
		}
		l.AppendAll(all, func(err error) { done <- err })
		if err := <-done; err == nil || errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("none", func(t *testing.T) { put(t, l) })
	t.Run("event too large", func(t *testing.T) {
		done := make(chan error, 1)
		l.Append(event("one", make([]byte, 5<<20)), func(err error) { done <- err })
		if err := <-done; err == nil || !strings.Contains(err.Error(), "4194304") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("large events", func(t *testing.T) {
		p := nave.Partition("one", 4)
		r := reader(t, l, p, nave.Position{Latest: true})
		for i := range 6 {
			put(t, l, event("one", bytes.Repeat([]byte{byte(i)}, 3<<20)))
		}
		for i, e := range read(t, r, 6) {
			if len(e.Body) != 3<<20 || e.Body[77] != byte(i) {
				t.Errorf("event %d: %d bytes", i, len(e.Body))
			}
		}
	})
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, bus.Options{Dir: dir})
	l := openLog(t, b, "events.of/α", bus.LogOptions{Partitions: 2})
	var wg sync.WaitGroup
	for i := range 5000 {
		wg.Add(1)
		l.Append(event(names[i%100], fmt.Append(nil, i)), func(error) { wg.Done() })
	}
	wg.Wait()
	before := map[int64]string{}
	for p := range 2 {
		info, err := l.Info(p)
		if err != nil {
			t.Fatal(err)
		}
		r := reader(t, l, p, nave.Position{})
		for last := int64(0); last < info.Last; {
			for _, e := range read(t, r, 1) {
				before[e.Seq<<1|int64(p)] = string(e.Body)
				last = e.Seq
			}
		}
	}
	if len(before) != 5000 {
		t.Fatalf("%d events", len(before))
	}
	if _, err := bus.Open(context.Background(), bus.Options{Dir: dir, Log: quiet()}); err == nil {
		t.Fatal("two buses on one folder")
	}
	shut(t, b)
	done := make(chan error, 1)
	l.Append(event("d", nil), func(err error) { done <- err })
	if err := <-done; !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("append after close: %v", err)
	}

	b = openBus(t, bus.Options{Dir: dir})
	if _, err := b.Log(limit(t), "events.of/α", bus.LogOptions{Partitions: 3}); err == nil ||
		!strings.Contains(err.Error(), "2 partitions") || !strings.Contains(err.Error(), "with 3") {
		t.Errorf("other number of partitions: %v", err)
	}
	l = openLog(t, b, "events.of/α", bus.LogOptions{Partitions: 2, MaxAge: time.Hour})
	if _, err := b.Log(limit(t), "events.of/α", bus.LogOptions{Partitions: 3}); err == nil {
		t.Error("other number of partitions taken on an open log")
	}
	for p := range 2 {
		r := reader(t, l, p, nave.Position{})
		info, err := l.Info(p)
		if err != nil {
			t.Fatal(err)
		}
		for last := int64(0); last < info.Last; {
			for _, e := range read(t, r, 1) {
				if before[e.Seq<<1|int64(p)] != string(e.Body) {
					t.Fatalf("seq %d: %q", e.Seq, e.Body)
				}
				delete(before, e.Seq<<1|int64(p))
				last = e.Seq
			}
		}
	}
	if len(before) != 0 {
		t.Errorf("%d events are gone", len(before))
	}
}

func TestDrop(t *testing.T) {
	b := openBus(t, bus.Options{})
	l := openLog(t, b, "a", bus.LogOptions{Partitions: 2})
	put(t, l, event("d", nil))
	r := reader(t, l, 0, nave.Position{Latest: true})
	ended := make(chan error, 1)
	go func() { _, err := r.Next(context.Background()); ended <- err }()
	if err := b.Drop(limit(t), "a"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("reader of a dropped log: %v", err)
	}
	l = openLog(t, b, "a", bus.LogOptions{Partitions: 3})
	if i, err := l.Info(0); err != nil || i.First != -1 || i.Last != -1 || !i.LastEnqueued.IsZero() {
		t.Errorf("info %+v, %v", i, err)
	}
	if err := b.Drop(limit(t), "nothing"); err != nil {
		t.Error(err)
	}
}

func TestLogOptionsRefused(t *testing.T) {
	b := openBus(t, bus.Options{})
	for name, o := range map[string]bus.LogOptions{
		"partitions": {Partitions: 129}, "age": {MaxAge: time.Millisecond}, "bytes": {MaxBytes: 4<<20 - 1},
	} {
		if _, err := b.Log(limit(t), name, o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := b.Log(limit(t), "", bus.LogOptions{}); err == nil {
		t.Error("empty name taken")
	}
}

func TestCloseWaitsForAppends(t *testing.T) {
	b := openBus(t, bus.Options{})
	l := openLog(t, b, "a", bus.LogOptions{})
	var left atomic.Int64
	for i := range 5000 {
		left.Add(1)
		l.Append(event(names[i%10], nil), func(err error) {
			if err != nil {
				t.Error(err)
			}
			left.Add(-1)
		})
	}
	shut(t, b)
	if n := left.Load(); n != 0 {
		t.Errorf("%d appends open after Close", n)
	}
}

func TestAppendAllocations(t *testing.T) {
	l := openLog(t, openBus(t, bus.Options{}), "a", bus.LogOptions{Partitions: 1})
	e := event("d", make([]byte, 256))
	var wg sync.WaitGroup
	done := func(error) { wg.Done() }
	n := testing.AllocsPerRun(20_000, func() {
		wg.Add(1)
		l.Append(e, done)
	})
	wg.Wait()
	n -= testing.AllocsPerRun(1000, func() { nave.Partition("d", 1) })
	if n > 1 {
		t.Errorf("%v allocations an append", n)
	}
}
