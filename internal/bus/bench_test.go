package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
)

func event(device string, body []byte) *nave.Event {
	return &nave.Event{Message: nave.Message{Body: body}, Source: nave.Telemetry, From: nave.ID{Device: device},
		Generation: "638000000000000000", Auth: `{"scope":"device","type":"sas","issuer":"iothub"}`}
}

// BenchmarkAppend has 50 senders with 100 events each under way.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 4, 32} {
		b.Run(fmt.Sprintf("partitions=%d", n), func(b *testing.B) {
			l := openLog(b, openBus(b, bus.Options{Dir: b.TempDir()}), "events", bus.LogOptions{Partitions: n})
			body := bytes.Repeat([]byte("x"), 256)
			const senders = 50
			b.SetBytes(256)
			b.ReportAllocs()
			b.ResetTimer()
			start := time.Now()
			var wg sync.WaitGroup
			for s := range senders {
				wg.Go(func() {
					window := make(chan struct{}, 100)
					done := func(err error) {
						if err != nil {
							b.Error(err)
						}
						<-window
					}
					var e nave.Event
					for i := s; i < b.N; i += senders {
						window <- struct{}{}
						e = *event(names[i%len(names)], body)
						l.Append(&e, done)
					}
					for range cap(window) {
						window <- struct{}{}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "events/s")
		})
	}
}

var names = func() (all [1000]string) {
	for i := range all {
		all[i] = fmt.Sprintf("device-%04d", i)
	}
	return all
}()

// BenchmarkRead replays one partition from its start.
func BenchmarkRead(b *testing.B) {
	l := openLog(b, openBus(b, bus.Options{Dir: b.TempDir()}), "events", bus.LogOptions{Partitions: 1})
	body := bytes.Repeat([]byte("x"), 256)
	const stored = 400_000
	var wg sync.WaitGroup
	wg.Add(stored)
	for i := range stored {
		l.Append(event(names[i%len(names)], body), func(error) { wg.Done() })
	}
	wg.Wait()
	b.SetBytes(256)
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	for n := 0; n < b.N; {
		r, err := l.Read(0, nave.Position{})
		if err != nil {
			b.Fatal(err)
		}
		for got := 0; got < stored && n < b.N; {
			events, err := r.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			got += len(events)
			n += len(events)
		}
		r.Close()
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "events/s")
}
