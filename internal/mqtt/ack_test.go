package mqtt_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

func publishes(topic string, from, to int) []packet {
	var list []packet
	for id := from; id <= to; id++ {
		list = append(list, &mqtt.Publish{Topic: topic, Payload: []byte("payload"), QoS: 1, ID: uint16(id)})
	}
	return list
}

// TestAckOrder completes acks from many goroutines, backwards and twice, over more segments than one.
func TestAckOrder(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		const n = 5000
		acks := make(chan mqtt.Ack, 64)
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() { completeBackwards(acks, w) })
		}
		seen := 0
		h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error {
			acks <- ack
			if seen++; seen == n {
				close(acks)
			}
			return nil
		}}
		client, conn := dial(t, loopback, mqtt.Options{MaxUnacked: n}, h)
		all.Go(func() { client.Write(encode(publishes("t", 1, n))) })
		for id := 1; id <= n; id++ {
			expect(t, client, mqtt.Puback{ID: uint16(id)})
		}
		all.Wait()
		write(t, client, mqtt.Disconnect{})
		ended(t, h, conn, nil)
	})
}

func completeBackwards(acks <-chan mqtt.Ack, hold int) {
	var held []mqtt.Ack
	flush := func() {
		slices.Reverse(held)
		for _, a := range held {
			a.Done()
			a.Done()
		}
		held = held[:0]
	}
	for a := range acks {
		if held = append(held, a); len(held) > hold {
			flush()
		}
	}
	flush()
}

func TestAckNever(t *testing.T) {
	var held []mqtt.Ack
	h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error {
		switch held = append(held, ack); p.ID {
		case 2:
			ack.Never()
			ack.Done()
		case 4:
			held[2].Done()
			held[3].Done()
			held[0].Done()
		}
		return nil
	}}
	client, conn := dial(t, true, mqtt.Options{}, h)
	write(t, client, publishes("t", 1, 4)...)
	expect(t, client, mqtt.Puback{ID: 1}, mqtt.Puback{ID: 3}, mqtt.Puback{ID: 4})
	write(t, client, &mqtt.Publish{Topic: "qos 0"}, mqtt.Pingreq{})
	expect(t, client, mqtt.Pingresp{})
	client.Close()
	<-conn.Done()
	held[0].Done()
	mqtt.Ack{}.Done()
}

// TestBackPressure: with four publishes pending the fifth is not handled, whatever else happens on the connection.
func TestBackPressure(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		got := make(chan mqtt.Ack, 100)
		h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error { got <- ack; return nil }}
		client, conn := dial(t, loopback, mqtt.Options{MaxUnacked: 4}, h)
		go client.Write(encode(publishes("t", 1, 40)))
		var held []mqtt.Ack
		for id := 1; id <= 40; id++ {
			if len(held) == 0 {
				for range 4 {
					held = append(held, <-got)
				}
				if err := conn.Publish(&mqtt.Publish{Topic: "x"}); err != nil {
					t.Fatal(err)
				}
				expect(t, client, &mqtt.Publish{Topic: "x"})
				if len(got) != 0 {
					t.Fatal("a fifth publish was handled")
				}
			}
			held[0].Done()
			held = held[1:]
			expect(t, client, mqtt.Puback{ID: uint16(id)})
		}
		conn.Close(nil)
		ended(t, h, conn, mqtt.ErrClosed)
	})
}

// TestBackPressureEnds: a reader that stands still because of pending publishes does not outlive the connection.
func TestBackPressureEnds(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		two := make(chan bool, 2)
		h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error { two <- true; return nil }}
		client, conn := dial(t, loopback, mqtt.Options{MaxUnacked: 2}, h)
		go client.Write(encode(publishes("t", 1, 3)))
		<-two
		<-two
		conn.Abort(errors.New("enough"))
		if err := <-h.ended; err.Error() != "enough" {
			t.Fatal(err)
		}
		<-conn.Done()
	})
}

// TestPublishError: what was acknowledged before leaves before the connection closes, the refused one has no PUBACK.
func TestPublishError(t *testing.T) {
	refused := errors.New("refused")
	h := &peer{publish: func(p *mqtt.Publish, ack mqtt.Ack) error {
		if p.ID == 3 {
			return refused
		}
		ack.Done()
		return nil
	}}
	client, conn := dial(t, true, mqtt.Options{}, h)
	write(t, client, publishes("t", 1, 100)...)
	expect(t, client, mqtt.Puback{ID: 1}, mqtt.Puback{ID: 2})
	closedSocket(t, client)
	client.Close()
	ended(t, h, conn, refused)
}

// TestCrossed sends both ways at once over a connection without any buffer; neither side may wait for the other.
func TestCrossed(t *testing.T) {
	const n = 3000
	both(t, func(t *testing.T, loopback bool) {
		var conn *mqtt.Conn
		ready := make(chan struct{})
		h := &peer{}
		h.publish = func(p *mqtt.Publish, ack mqtt.Ack) error {
			<-ready
			ack.Done()
			return conn.Publish(&mqtt.Publish{Topic: "back", Payload: p.Payload, QoS: 1, ID: p.ID})
		}
		settled := make(chan struct{})
		h.acked = func(id uint16) {
			if id == n {
				close(settled)
			}
		}
		c, server := socket(t, loopback)
		conns := serve(t, server, mqtt.Options{MaxQueue: 64 << 20, MaxUnacked: 16}, h)
		var acked, got int
		finished := make(chan struct{})
		both := func() {
			if acked == n && got == n {
				close(finished)
			}
		}
		client, _, err := mqtt.Open(c, mqtt.ClientOptions{ClientID: "d1"}, mqtt.ClientHandler{
			Acked:   func(uint16) { acked++; both() },
			Message: func(p *mqtt.Publish) { got++; both() },
		})
		if err != nil {
			t.Fatal(err)
		}
		conn = <-conns
		close(ready)
		for id := 1; id <= n; id++ {
			if err := client.Publish(&mqtt.Publish{Topic: "t", Payload: make([]byte, id), QoS: 1, ID: uint16(id)}); err != nil {
				t.Fatal(err)
			}
		}
		wait(t, finished)
		wait(t, settled)
		client.Close()
		ended(t, h, conn, nil)
		wait(t, client.Done())
	})
}

func wait(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
}

// TestAckAhead publishes right behind the ack: the PUBACK is on the wire first each time, and its slot is free for the next.
func TestAckAhead(t *testing.T) {
	both(t, func(t *testing.T, loopback bool) {
		const n = 500
		conns := make(chan *mqtt.Conn, 1)
		h := &peer{}
		var conn *mqtt.Conn
		h.publish = func(p *mqtt.Publish, ack mqtt.Ack) error {
			if conn == nil {
				conn = <-conns
			}
			ack.Ahead()
			ack.Ahead()
			ack.Done()
			return conn.Publish(&mqtt.Publish{Topic: "answer", Payload: []byte{byte(p.ID)}})
		}
		client, c := dial(t, loopback, mqtt.Options{MaxUnacked: 3}, h)
		conns <- c
		sent := make(chan error, 1)
		go func() {
			_, err := client.Write(encode(publishes("t", 1, n)))
			sent <- err
		}()
		for id := 1; id <= n; id++ {
			expect(t, client, mqtt.Puback{ID: uint16(id)}, &mqtt.Publish{Topic: "answer", Payload: []byte{byte(id)}})
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		write(t, client, mqtt.Disconnect{})
		ended(t, h, c, nil)
	})
}
