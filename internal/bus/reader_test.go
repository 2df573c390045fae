package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
)

func TestPositions(t *testing.T) {
	base := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	b := openBus(t, bus.Options{})
	l := openLog(t, b, "a", bus.LogOptions{Partitions: 1})
	const n = 300
	for i := 0; i < n; i += 3 { // three a batch, ten seconds apart
		var group []*nave.Event
		for k := range 3 {
			e := event("d", fmt.Append(nil, i+k))
			e.Enqueued = base.Add(time.Duration(i+k) * 10 * time.Second)
			group = append(group, e)
		}
		put(t, l, group...)
	}
	all := read(t, reader(t, l, 0, nave.Position{}), n)
	first := func(p nave.Position) string {
		return string(read(t, reader(t, l, 0, p), 1)[0].Body)
	}
	for _, i := range []int{0, 1, 2, 3, 100, 101, 298} {
		e := all[i]
		if got := first(nave.Position{From: e.Seq}); got != fmt.Sprint(i) {
			t.Errorf("at %d: %s", i, got)
		}
		if got := first(nave.Position{From: e.Seq + 1}); got != fmt.Sprint(i+1) {
			t.Errorf("after %d: %s", i, got)
		}
		if got := first(nave.Position{Since: e.Enqueued}); got != fmt.Sprint(i) {
			t.Errorf("since %d: %s", i, got)
		}
		if got := first(nave.Position{Since: e.Enqueued.Add(time.Nanosecond)}); got != fmt.Sprint(i+1) {
			t.Errorf("since behind %d: %s", i, got)
		}
	}
	if got := first(nave.Position{Since: base.Add(-time.Hour)}); got != "0" {
		t.Errorf("since before all: %s", got)
	}
	for name, p := range map[string]nave.Position{"latest": {Latest: true}, "after the last": {From: all[n-1].Seq + 1}, "since the future": {Since: base.Add(9999 * time.Hour)}} {
		r := reader(t, l, 0, p)
		e := event("d", []byte("new"))
		e.Enqueued = base.Add(10_000 * time.Hour)
		put(t, l, e)
		if got := read(t, r, 1)[0]; string(got.Body) != "new" {
			t.Errorf("%s: %s", name, got.Body)
		}
	}
	if _, err := l.Read(1, nave.Position{}); err == nil {
		t.Error("partition 1 of 1")
	}
}

func TestReaderWaits(t *testing.T) {
	l := openLog(t, openBus(t, bus.Options{}), "a", bus.LogOptions{Partitions: 1})
	r := reader(t, l, 0, nave.Position{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	for i := range 50 {
		got := make(chan []*nave.Event, 1)
		go func() { got <- read(t, r, 1) }()
		put(t, l, event("d", fmt.Append(nil, i)))
		if e := <-got; string(e[0].Body) != fmt.Sprint(i) {
			t.Fatalf("%d: %s", i, e[0].Body)
		}
	}
	ended := make(chan error, 1)
	go func() { _, err := r.Next(context.Background()); ended <- err }()
	r.Close()
	if err := <-ended; !errors.Is(err, bus.ErrUnavailable) {
		t.Error(err)
	}
}

func TestRetentionByBytes(t *testing.T) {
	l := openLog(t, openBus(t, bus.Options{}), "a", bus.LogOptions{Partitions: 1, MaxBytes: 2 << 20})
	r := reader(t, l, 0, nave.Position{})
	put(t, l, event("d", []byte("first")))
	start := read(t, r, 1)[0]
	const n = 800
	for i := range n {
		put(t, l, event("d", fmt.Appendf(make([]byte, 8<<10), "%d", i)))
	}
	info, err := l.Info(0)
	if err != nil {
		t.Fatal(err)
	}
	if info.First <= start.Seq || info.Bytes > 2<<20 || info.Batches < 100 {
		t.Errorf("info %+v", info)
	}
	// Both a reader left behind and one sent there go on at the first that exists.
	for _, r := range []*bus.Reader{r, reader(t, l, 0, nave.Position{From: start.Seq}), reader(t, l, 0, nave.Position{Since: start.Enqueued})} {
		if e := read(t, r, 1)[0]; e.Seq != info.First {
			t.Errorf("went on at %d, the first is %d", e.Seq, info.First)
		}
	}
}

func TestReaderAgainstRetention(t *testing.T) {
	b := openBus(t, bus.Options{})
	l := openLog(t, b, "a", bus.LogOptions{Partitions: 1, MaxBytes: 1 << 20})
	stop := make(chan struct{})
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for range 600 {
			put(t, l, event("d", make([]byte, 20<<10)))
		}
		close(stop)
	}()
	for running := true; running; {
		r := reader(t, l, 0, nave.Position{})
		last := int64(-1)
		for range 20 {
			for _, e := range read(t, r, 1) {
				if e.Seq <= last {
					t.Fatalf("%d after %d", e.Seq, last)
				}
				last = e.Seq
			}
			select {
			case <-stop:
				running = false
			default:
			}
			if !running {
				break
			}
		}
		r.Close()
	}
	<-wrote
	if n := b.Corrupt(); n != 0 {
		t.Errorf("%d batches reported as damaged", n)
	}
}

func TestRetentionByAge(t *testing.T) {
	b := openBus(t, bus.Options{})
	l := openLog(t, b, "a", bus.LogOptions{Partitions: 1, MaxAge: time.Second})
	put(t, l, event("d", nil))
	r := reader(t, l, 0, nave.Position{})
	for end := time.Now().Add(time.Minute); ; {
		info, err := l.Info(0)
		if err != nil {
			t.Fatal(err)
		}
		if info.First == -1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("never removed")
		}
		time.Sleep(20 * time.Millisecond)
	}
	// What follows must not become too old before it is read.
	l = openLog(t, b, "a", bus.LogOptions{Partitions: 1, MaxAge: time.Hour})
	put(t, l, event("d", []byte("new")))
	if e := read(t, r, 1)[0]; string(e.Body) != "new" {
		t.Errorf("%s", e.Body)
	}
}
