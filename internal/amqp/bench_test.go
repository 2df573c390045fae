package amqp_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nave-hub/nave/internal/amqp"
)

// batcher accepts deliveries on a goroutine of its own, in batches, as a hub
// does when it stores events.
type batcher struct {
	mu    sync.Mutex
	wake  sync.Cond
	queue []*amqp.Delivery
	stop  bool
	count int // deliveries, seen by the server
	bytes int
}

func (b *batcher) Attach(l *amqp.Link) {
	l.Window = 1000
	l.OnDelivery = func(d *amqp.Delivery) {
		b.mu.Lock()
		b.queue = append(b.queue, d)
		b.count++
		b.bytes += len(d.Payload)
		b.mu.Unlock()
		b.wake.Signal()
	}
	l.Accept()
}

func (b *batcher) Closed(error) {}

func (b *batcher) run() {
	var batch []*amqp.Delivery
	for {
		b.mu.Lock()
		for len(b.queue) == 0 && !b.stop {
			b.wake.Wait()
		}
		if b.stop {
			b.mu.Unlock()
			return
		}
		batch, b.queue = b.queue, batch[:0]
		b.mu.Unlock()
		for _, d := range batch {
			d.Accept()
		}
		clear(batch)
	}
}

// BenchmarkTelemetry: 50 connections send messages of 256 bytes unsettled and
// pipelined over loopback TCP; one op is one delivery, sent, accepted and
// reported back. The client runs in the same process.
func BenchmarkTelemetry(b *testing.B) {
	const conns = 50
	bt := &batcher{}
	bt.wake.L = &bt.mu
	var wg sync.WaitGroup
	wg.Go(bt.run)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { amqp.Serve(nc, amqp.Options{}, bt) })
		}
	})
	payload := amqp.AppendData(nil, make([]byte, 251))
	var left, open atomic.Int64
	done := make(chan struct{})
	var clients []*amqp.Conn
	var links []*amqp.Link
	for range conns {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		c, err := amqp.Open(b.Context(), nc, amqp.ClientOptions{})
		if err != nil {
			b.Fatal(err)
		}
		l := &amqp.Link{Name: "d2c", Role: amqp.RoleSender, SndMode: amqp.SettleMixed, Target: &amqp.Terminus{Address: "q"}}
		fill := func() {
			for {
				if left.Add(-1) < 0 {
					left.Add(1)
					return
				}
				if _, err := l.Send(payload, nil, 0, false, nil); err != nil {
					left.Add(1)
					return
				}
			}
		}
		l.OnCredit = func(uint32, bool) { fill() }
		l.OnDisposition = func(_ *amqp.Out, _ amqp.State, settled bool) {
			if open.Add(-1) == 0 {
				close(done)
			}
		}
		if err := c.Begin().Attach(b.Context(), l); err != nil {
			b.Fatal(err)
		}
		clients, links = append(clients, c), append(links, l)
	}
	b.ReportAllocs()
	b.SetBytes(256)
	b.ResetTimer()
	open.Store(int64(b.N))
	left.Store(int64(b.N))
	for _, l := range links {
		if l.Credit() > 0 {
			l.OnCredit(0, false)
		}
	}
	<-done
	b.StopTimer()
	bt.mu.Lock()
	if bt.count != b.N || bt.bytes != b.N*len(payload) {
		b.Errorf("%d deliveries of %d bytes arrived, %d were sent", bt.count, bt.bytes, b.N)
	}
	bt.mu.Unlock()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	for _, c := range clients {
		c.Close(nil)
		<-c.Done()
	}
	ln.Close()
	bt.mu.Lock()
	bt.stop = true
	bt.mu.Unlock()
	bt.wake.Signal()
	wg.Wait()
}

// BenchmarkSections walks over the sections telemetry needs, without decoding the rest.
func BenchmarkSections(b *testing.B) {
	m := amqp.Message{
		Properties:            &amqp.Properties{MessageID: "m-1", ContentType: "application/json", ContentEncoding: "utf-8"},
		ApplicationProperties: amqp.Map{{Key: "level", Value: "high"}, {Key: "room", Value: "kitchen"}},
		Data:                  [][]byte{make([]byte, 200)},
	}
	enc, err := m.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := amqp.NewSections(enc)
		for s, ok := w.Next(); ok; s, ok = w.Next() {
			switch s.Kind {
			case amqp.SectionProperties:
				s.Properties()
			case amqp.SectionApplicationProperties:
				s.Each(func(k, v amqp.Raw) bool { k.Text(); v.Text(); return true })
			case amqp.SectionData:
				s.Data()
			}
		}
	}
}
