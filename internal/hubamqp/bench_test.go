package hubamqp_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

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
