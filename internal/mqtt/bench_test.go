package mqtt_test

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nave-hub/nave/internal/mqtt"
)

// committer completes acks in batches on a goroutine of its own, as a log that syncs does.
type committer struct {
	mu   sync.Mutex
	cond *sync.Cond
	acks []mqtt.Ack
	end  bool
}

func newCommitter() *committer {
	c := &committer{}
	c.cond = sync.NewCond(&c.mu)
	return c
}

func (c *committer) add(a mqtt.Ack) {
	c.mu.Lock()
	c.acks = append(c.acks, a)
	if len(c.acks) == 1 {
		c.cond.Signal()
	}
	c.mu.Unlock()
}

func (c *committer) close() {
	c.mu.Lock()
	c.end = true
	c.cond.Signal()
	c.mu.Unlock()
}

func (c *committer) run() {
	var batch []mqtt.Ack
	for {
		c.mu.Lock()
		for len(c.acks) == 0 && !c.end {
			c.cond.Wait()
		}
		if c.end {
			c.mu.Unlock()
			return
		}
		batch, c.acks = c.acks, batch[:0]
		c.mu.Unlock()
		for _, a := range batch {
			a.Done()
		}
	}
}

type benchHandler struct{ c *committer }

func (h benchHandler) Publish(p *mqtt.Publish, ack mqtt.Ack) error {
	if h.c == nil {
		ack.Done()
	} else {
		h.c.add(ack)
	}
	return nil
}

func (benchHandler) Subscribe(subs []mqtt.Subscription) ([]byte, error) {
	return make([]byte, len(subs)), nil
}
func (benchHandler) Subscribed([]mqtt.Subscription) {}
func (benchHandler) Unsubscribe([]string) error     { return nil }
func (benchHandler) Acked(uint16)                   {}
func (benchHandler) Closed(error)                   {}

func listen(tb testing.TB, handler func() mqtt.Handler) (addr string, stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				if s, _, err := mqtt.Accept(nc, mqtt.Options{}); err == nil {
					s.Serve(ctx, false, handler()).Start()
				}
			})
		}
	})
	return ln.Addr().String(), func() { ln.Close(); cancel(); all.Wait() }
}

// BenchmarkPublish is 50 connections with a window of 100 QoS 1 publishes of 256 bytes; one operation is one acknowledged publish,
// client and server in this
// process. Batched: the acks are completed by another goroutine; immediate: by the handler.
func BenchmarkPublish(b *testing.B) {
	b.Run("batched", func(b *testing.B) {
		done := newCommitter()
		go done.run()
		defer done.close()
		publish(b, benchHandler{done})
	})
	b.Run("immediate", func(b *testing.B) { publish(b, benchHandler{}) })
}

func publish(b *testing.B, h benchHandler) {
	const conns, window = 50, 100
	addr, stop := listen(b, func() mqtt.Handler { return h })
	defer stop()
	var started, acked atomic.Int64
	finished := make(chan struct{})
	total := int64(b.N)
	payload := make([]byte, 256)
	clients := make([]*mqtt.Client, conns)
	publish := make([]func(), conns)
	for i := range clients {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		var mu sync.Mutex // the first window is sent from here while callbacks begin
		p := mqtt.Publish{Topic: "devices/device" + strconv.Itoa(i) + "/messages/events/", Payload: payload, QoS: 1}
		publish[i] = func() {
			if started.Add(1) <= total {
				mu.Lock()
				defer mu.Unlock()
				if p.ID++; p.ID == 0 {
					p.ID = 1
				}
				clients[i].Publish(&p)
			}
		}
		clients[i], _, err = mqtt.Open(nc, mqtt.ClientOptions{ClientID: strconv.Itoa(i), Clean: true}, mqtt.ClientHandler{
			Acked: func(uint16) {
				if acked.Add(1) == total {
					close(finished)
				}
				publish[i]()
			},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range clients {
		for range window {
			publish[i]()
		}
	}
	<-finished
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
	for _, c := range clients {
		c.Close()
		<-c.Done()
	}
}

// BenchmarkIdle reports what one idle plain connection costs: heap of both ends (this end holds a bare socket), and stacks. "used" has
// published once before.
func BenchmarkIdle(b *testing.B) {
	for _, used := range []bool{false, true} {
		b.Run(map[bool]string{false: "fresh", true: "used"}[used], func(b *testing.B) {
			for range b.N {
				idle(b, 2000, used)
			}
		})
	}
}

func idle(b *testing.B, conns int, used bool) {
	addr, stop := listen(b, func() mqtt.Handler { return &peer{ended: make(chan error, 1)} })
	defer stop()
	raw := make([]net.Conn, conns)
	before := inUse()
	for i := range raw {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		raw[i] = nc
		write(b, nc, &mqtt.Connect{ClientID: "idle", KeepAlive: 60, Clean: true})
		expect(b, nc, mqtt.Connack{})
		if used {
			write(b, nc, &mqtt.Publish{Topic: "t", Payload: make([]byte, 256), QoS: 1, ID: 1})
			expect(b, nc, mqtt.Puback{ID: 1})
		}
	}
	after := inUse()
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(conns), "heapB/conn")
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/float64(conns), "stackB/conn")
}

func inUse() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}
