package amqp_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nave-hub/nave/internal/amqp"
)

// exchange sends n messages through the broker and receives them again, with
// the frame size and window given for both ends.
func exchange(t *testing.T, n, size int, server, client amqp.Options) {
	b, address := start(t, server)
	c := connect(t, address, amqp.ClientOptions{Mechanism: amqp.Anonymous, Options: client})
	s := c.Begin()
	got := make(chan []byte, n)
	in := &amqp.Link{Name: "in", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: "q"}, SndMode: amqp.SettleMixed,
		OnDelivery: func(d *amqp.Delivery) { got <- d.Payload; d.Accept() }}
	if err := s.Attach(within(t), in); err != nil {
		t.Fatal(err)
	}
	accepted := 0 // owned by the client's reader
	all := make(chan struct{})
	room := make(chan struct{}, 1)
	out := &amqp.Link{Name: "out", Role: amqp.RoleSender, Target: &amqp.Terminus{Address: "q"}, SndMode: amqp.SettleMixed,
		OnCredit: func(uint32, bool) {
			select {
			case room <- struct{}{}:
			default:
			}
		},
		OnDisposition: func(_ *amqp.Out, st amqp.State, settled bool) {
			if st == (amqp.Accepted{}) && settled {
				if accepted++; accepted == n {
					close(all)
				}
			}
		}}
	if err := s.Attach(within(t), out); err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	go func() {
		for i := 0; i < n; {
			_, err := out.Send(payloadOf(i, size), nil, 0, false, nil)
			if err == nil {
				i++
				continue
			}
			select {
			case <-room:
			case <-ctx.Done():
				return
			}
		}
	}()
	for i := range n {
		select {
		case p := <-got:
			if !bytes.Equal(p, payloadOf(i, size)) {
				t.Fatalf("message %d is wrong", i)
			}
		case <-ctx.Done():
			t.Fatalf("%d of %d messages arrived", i, n)
		}
	}
	b.wait(t, "all accepted", func() bool { return b.settled["accepted"] == n })
	select {
	case <-all:
	case <-ctx.Done():
		t.Fatal("the sender did not learn that all were accepted")
	}
}

func payloadOf(i, size int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%08d", i), size/8)
}

func TestNoStallBeyondTheWindows(t *testing.T) {
	t.Run("more transfers than any window", func(t *testing.T) {
		exchange(t, 12000, 64, amqp.Options{}, amqp.Options{IncomingWindow: 2048})
	})
	t.Run("tiny windows", func(t *testing.T) {
		exchange(t, 300, 4000, amqp.Options{IncomingWindow: 3}, amqp.Options{IncomingWindow: 1, MaxFrame: 512})
	})
}

func TestSplitToFrames(t *testing.T) {
	t.Run("60 KiB in frames of 4096", func(t *testing.T) {
		exchange(t, 50, 60<<10, amqp.Options{}, amqp.Options{MaxFrame: 4096})
	})
	t.Run("frames of 512", func(t *testing.T) {
		exchange(t, 50, 60<<10, amqp.Options{MaxFrame: 512}, amqp.Options{MaxFrame: 512})
	})
	t.Run("1 MiB", func(t *testing.T) {
		exchange(t, 5, 1<<20, amqp.Options{}, amqp.Options{})
	})
	t.Run("little room to write", func(t *testing.T) {
		exchange(t, 500, 20000, amqp.Options{MaxUnsent: 50000, MaxUnsettled: 10}, amqp.Options{MaxUnsent: 50000})
	})
}

func TestRefusalAndRejection(t *testing.T) {
	_, address := start(t, amqp.Options{})
	c := connect(t, address, amqp.ClientOptions{})
	s := c.Begin()
	err := s.Attach(within(t), &amqp.Link{Name: "x", Role: amqp.RoleSender, Target: &amqp.Terminus{Address: "refused"}})
	var e *amqp.Error
	if !errors.As(err, &e) || e.Condition != amqp.NotFound {
		t.Error(err)
	}
	states := make(chan amqp.State, 1)
	l := &amqp.Link{Name: "x", Role: amqp.RoleSender, SndMode: amqp.SettleMixed, Target: &amqp.Terminus{Address: "rejects"}}
	credit := make(chan struct{}, 10)
	l.OnCredit = func(uint32, bool) { credit <- struct{}{} }
	l.OnDisposition = func(_ *amqp.Out, st amqp.State, _ bool) { states <- st }
	if err := s.Attach(within(t), l); err != nil {
		t.Fatal(err)
	}
	<-credit
	if _, err := l.Send([]byte("x"), nil, 0, false, nil); err != nil {
		t.Fatal(err)
	}
	r, ok := (<-states).(amqp.Rejected)
	if !ok || r.Error.Condition != "x:bad" || r.Error.Info.Get("n") != int32(1) {
		t.Errorf("%+v", r)
	}
}

// One session's end costs the others nothing.
func TestFateOfSessions(t *testing.T) {
	b, address := start(t, amqp.Options{})
	c := connect(t, address, amqp.ClientOptions{})
	var gone sync.WaitGroup
	var sessions []*amqp.Session
	var links []*amqp.Link
	for range 3 {
		s := c.Begin()
		l := &amqp.Link{Name: "same", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: "q"},
			OnDetach: func(error, []*amqp.Out) { gone.Done() }}
		if err := s.Attach(within(t), l); err != nil {
			t.Fatal(err)
		}
		sessions, links = append(sessions, s), append(links, l)
	}
	gone.Add(1)
	sessions[1].End(nil)
	gone.Wait()
	if links[0].Credit() != amqp.DefaultCredit || links[2].Credit() != amqp.DefaultCredit || links[1].Credit() != 0 {
		t.Error("credit")
	}
	s := c.Begin() // the channel is free again
	if err := s.Attach(within(t), &amqp.Link{Name: "same", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: "q"}}); err != nil {
		t.Error(err)
	}
	gone.Add(2)
	b.mu.Lock()
	b.conns[0].Close(amqp.Errorf(amqp.ConnectionForced, "stop"))
	b.mu.Unlock()
	<-c.Done()
	gone.Wait()
	var e *amqp.Error
	if err := c.Err(); !errors.As(err, &e) || e.Condition != amqp.ConnectionForced {
		t.Error(err)
	}
}

func TestDrainOfAReceiver(t *testing.T) {
	_, address := start(t, amqp.Options{})
	c := connect(t, address, amqp.ClientOptions{})
	s := c.Begin()
	drained := make(chan struct{})
	l := &amqp.Link{Name: "r", Role: amqp.RoleReceiver, Source: &amqp.Terminus{Address: "q"}, ManualCredit: true, OnDrained: func() { close(drained) }}
	if err := s.Attach(within(t), l); err != nil {
		t.Fatal(err)
	}
	l.Grant(10)
	l.Drain()
	<-drained
	if l.Credit() != 0 {
		t.Error(l.Credit())
	}
}

// A connection that is killed gives the answers that are due before.
func TestKill(t *testing.T) {
	_, address := start(t, amqp.Options{})
	c := connect(t, address, amqp.ClientOptions{})
	states := make(chan amqp.State, 1)
	credit := make(chan struct{}, 10)
	l := &amqp.Link{Name: "x", Role: amqp.RoleSender, SndMode: amqp.SettleMixed, Target: &amqp.Terminus{Address: "kills"},
		OnCredit:      func(uint32, bool) { credit <- struct{}{} },
		OnDisposition: func(_ *amqp.Out, st amqp.State, _ bool) { states <- st }}
	if err := c.Begin().Attach(within(t), l); err != nil {
		t.Fatal(err)
	}
	<-credit
	if _, err := l.Send([]byte("x"), nil, 0, false, nil); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	var own *amqp.Error
	if err := c.Err(); err == nil || errors.As(err, &own) {
		t.Errorf("%v, want a reset", err)
	}
	select {
	case st := <-states:
		if st != (amqp.Accepted{}) {
			t.Errorf("outcome %#v, want accepted", st)
		}
	default:
		t.Error("no outcome came")
	}
}
