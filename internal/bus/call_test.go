package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
)

// startServer starts an external server on a free port.
func startServer(t *testing.T, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true, MaxPayload: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// pair runs f with two buses that must reach each other: the same embedded one
// twice, and two nodes of a cluster.
func pair(t *testing.T, f func(t *testing.T, a, b *bus.Bus)) {
	t.Run("embedded", func(t *testing.T) {
		b := openBus(t, bus.Options{})
		f(t, b, b)
	})
	t.Run("cluster", func(t *testing.T) {
		url := startServer(t, t.TempDir()).ClientURL()
		f(t, openBus(t, bus.Options{URL: url, Node: "a"}), openBus(t, bus.Options{URL: url, Node: "b"}))
	})
}

func TestCall(t *testing.T) {
	pair(t, func(t *testing.T, a, b *bus.Bus) {
		ctx := limit(t)
		type question struct{ N int }
		ask := func(ctx context.Context, subject string) (n int, err error) {
			err = a.Call(ctx, subject, question{20}, &n)
			return n, err
		}
		if _, err := ask(ctx, "double.x"); !errors.Is(err, bus.ErrNobody) {
			t.Fatalf("nobody: %v", err)
		}
		stop, err := b.Serve("double.x", func(_ context.Context, in []byte) (any, error) {
			var q question
			err := json.Unmarshal(in, &q)
			return q.N * 2, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := ask(ctx, "double.x"); n != 40 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		stop()
		stop()
		if _, err := ask(ctx, "double.x"); !errors.Is(err, bus.ErrNobody) {
			t.Errorf("after stop: %v", err)
		}
		stop, err = b.Serve("fail", func(context.Context, []byte) (any, error) { return nil, errors.New("no such thing") })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		var remote *bus.RemoteError
		if _, err := ask(ctx, "fail"); !errors.As(err, &remote) || remote.Text != "no such thing" {
			t.Errorf("error of the far side: %v", err)
		}
		begun, ended := make(chan struct{}, 1000), make(chan struct{}, 1000)
		stop, err = b.Serve("slow", func(ctx context.Context, _ []byte) (any, error) {
			begun <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return nil, ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		for len(begun) == 0 { // the time may be over before the call is on its way
			short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
			if _, err := ask(short, "slow"); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("timeout: %v", err)
			}
			cancel()
		}
		select {
		case <-ended:
		case <-ctx.Done():
			t.Fatal("the handler of a call that timed out never ended")
		}
		for _, bad := range []string{"", "a..b", "a.*", ">", "a b"} {
			if _, err := ask(ctx, bad); err == nil || errors.Is(err, bus.ErrNobody) {
				t.Errorf("subject %q: %v", bad, err)
			}
		}
	})
}

func TestCloseEndsCalls(t *testing.T) {
	url := startServer(t, t.TempDir()).ClientURL()
	a, b := openBus(t, bus.Options{URL: url}), openBus(t, bus.Options{URL: url})
	running := make(chan struct{})
	if _, err := b.Serve("slow", func(ctx context.Context, _ []byte) (any, error) {
		close(running)
		<-ctx.Done()
		return nil, ctx.Err()
	}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Call(limit(t), "slow", nil, nil) }()
	<-running
	shut(t, b)
	if err := <-ended; !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("call to a closed node: %v", err)
	}
	if err := a.Call(limit(t), "slow", nil, nil); !errors.Is(err, bus.ErrNobody) {
		t.Errorf("call after that: %v", err)
	}
}

func TestTell(t *testing.T) {
	pair(t, func(t *testing.T, a, b *bus.Bus) {
		got := make(chan string, 1000)
		for _, who := range []string{"one", "two"} {
			stop, err := b.Listen("c2d."+bus.Word("a.b*c"), func(in []byte) { got <- who + string(in) })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
		}
		for i := range 100 {
			a.Tell("c2d."+bus.Word("a.b*c"), i)
		}
		next := map[string]int{}
		for range 200 {
			text := <-got
			if want := fmt.Sprintf("%s%d", text[:3], next[text[:3]]); text != want {
				t.Fatalf("got %s, want %s", text, want)
			}
			next[text[:3]]++
		}
		if len(got) != 0 {
			t.Errorf("%d wake-ups too many", len(got))
		}
		a.Tell("nobody", 1)
	})
}

func TestClusterLog(t *testing.T) {
	s := startServer(t, t.TempDir())
	a := openBus(t, bus.Options{URL: s.ClientURL(), Node: "a"})
	b := openBus(t, bus.Options{URL: s.ClientURL(), Node: "b"})
	la, lb := openLog(t, a, "events", bus.LogOptions{Partitions: 2}), openLog(t, b, "events", bus.LogOptions{Partitions: 2})
	p := nave.Partition("d", 2)
	r := reader(t, lb, p, nave.Position{})
	for i := range 20 {
		put(t, la, event("d", fmt.Append(nil, i)))
		if e := read(t, r, 1)[0]; string(e.Body) != fmt.Sprint(i) {
			t.Fatalf("%d: %s", i, e.Body)
		}
	}
	if i, err := lb.Info(p); err != nil || i.Batches != 20 || i.Last != 20<<12 {
		t.Errorf("info %+v, %v", i, err)
	}
	if _, err := b.Log(limit(t), "events", bus.LogOptions{Partitions: 4}); err == nil {
		t.Error("other number of partitions")
	}
}

func TestClusterReconnect(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir)
	relay := newRelay(t)
	relay.to.Store(s.Addr().String())
	a := openBus(t, bus.Options{URL: "nats://" + relay.Addr().String()})
	l := openLog(t, a, "events", bus.LogOptions{Partitions: 1})
	r := reader(t, l, 0, nave.Position{})
	put(t, l, event("d", []byte("before")))
	relay.to.Store("")
	s.Shutdown()
	s.WaitForShutdown()
	done := make(chan error, 1)
	l.Append(event("d", []byte("during")), func(err error) { done <- err })
	relay.to.Store(startServer(t, dir).Addr().String())
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := read(t, r, 2)
	if len(got) != 2 || string(got[1].Body) != "during" {
		t.Errorf("%d events, the second %s", len(got), got[1].Body)
	}
}

// relay is an address that stays while servers come and go behind it.
type relay struct {
	net.Listener
	to atomic.Value // address of the server, "" while there is none
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: ln}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.pass(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return r
}

// pass copies in both directions until either side ends.
func (r *relay) pass(c net.Conn) {
	defer c.Close()
	far, err := net.Dial("tcp", r.to.Load().(string))
	if err != nil {
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, far}, {far, c}} {
		go func() { io.Copy(way[0], way[1]); ended <- struct{}{} }()
	}
	<-ended
}

func TestWord(t *testing.T) {
	for text, want := range map[string]string{"": "=", "abc-_9Z": "abc-_9Z", "a.b": "a=2eb", "*>$% ": "=2a=3e=24=25=20", "ü": "=c3=bc", "=": "=3d"} {
		if got := bus.Word(text); got != want {
			t.Errorf("Word(%q) = %q, want %q", text, got, want)
		}
	}
}
