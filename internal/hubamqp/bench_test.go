package hubamqp_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/navetest"
)

const storedEvents = 200_000

// store fills the log with events of 256 bytes from 64 devices.
func store(b *testing.B, k *navetest.Kit) {
	body := bytes.Repeat([]byte("x"), 256)
	var failed atomic.Int64
	stored := make(chan struct{})
	var left atomic.Int64
	left.Store(storedEvents)
	for d := range 64 {
		l := line(b, k.Device(fmt.Sprintf("device-%d", d)), k)
		go func() {
			for range storedEvents / 64 {
				l.Send(&nave.Message{Body: body, System: nave.System{ContentType: "application/json"}}, func(err error) {
					if err != nil {
						failed.Add(1)
					}
					if left.Add(-1) == 0 {
						close(stored)
					}
				})
			}
		}()
	}
	<-stored
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d events were not stored", n)
	}
}

// BenchmarkRead: 200,000 stored events are read over one TLS connection with a
// link for each of 4 partitions; one op is all of them. The client runs in the
// same process and looks into nothing.
func BenchmarkRead(b *testing.B) {
	k := navetest.Start(b)
	store(b, k)
	for _, mode := range []struct {
		name string
		snd  uint8
	}{{"settled", amqp.SettleSettled}, {"unsettled", amqp.SettleUnsettled}} {
		b.Run(mode.name, func(b *testing.B) {
			for b.Loop() {
				readAll(b, k, mode.snd)
			}
			b.ReportMetric(float64(storedEvents)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func readAll(b *testing.B, k *navetest.Kit, snd uint8) {
	c := service(b, k)
	var left atomic.Int64
	left.Store(storedEvents)
	done := make(chan struct{})
	for p := range k.Hub.Partitions() {
		c.receiver(fmt.Sprintf("hub/ConsumerGroups/$Default/Partitions/%d", p), func(l *amqp.Link) {
			l.Window, l.SndMode = 1000, snd
			l.OnDelivery = func(d *amqp.Delivery) {
				d.Accept()
				if left.Add(-1) == 0 {
					close(done)
				}
			}
		})
	}
	<-done
	c.conn.Close(nil)
}

// BenchmarkRoundTrip: a service sends a message, the device completes it, the
// service reads the feedback; p50 is reported. The pause between feedback
// messages is off.
func BenchmarkRoundTrip(b *testing.B) {
	k := navetest.Start(b, quick(time.Nanosecond))
	c := service(b, k)
	s, f := c.sender("/messages/devicebound"), c.receiver(feedbackAddress)
	d := k.Device("d1")
	l := line(b, d, k)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		wantAccepted(b, s.message(asking("d1", "m", "full")))
		m, err := l.Receive(b.Context(), 0)
		if err != nil || m == nil {
			b.Fatal(m, err)
		}
		if err := l.Settle(b.Context(), m.Lock, nave.Complete); err != nil {
			b.Fatal(err)
		}
		f.next()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}
