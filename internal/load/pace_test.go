package load

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceDue(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, rate := range []float64{0.1, 3, 7, 1000, 33333.3} {
		total := int64(0)
		for member := range 3 {
			p := newPace(start, rate, member, 3)
			for i := range int64(1000) {
				if at := p.at(i); p.due(at) != i+1 || p.due(at.Add(-1)) != i {
					t.Fatalf("rate %g: event %d: due %d, before it %d", rate, i, p.due(at), p.due(at.Add(-1)))
				}
			}
			total += p.due(start.Add(time.Hour - 1))
		}
		if want := rate * 3600; float64(total) < want-3 || float64(total) > want+3 {
			t.Errorf("rate %g: %d in an hour", rate, total)
		}
	}
}

// TestPacedPump checks in fake time that packets leave when they are due, and that a server that stands still is charged for
// all that had to wait.
func TestPacedPump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		p := newPump(client, "t", nil, 1, 4, new(counter))
		p.base, p.until = time.Now(), int64(20*time.Second)
		ended := make(chan error)
		go func() { ended <- p.paced(t.Context(), newPace(p.base, 1, 0, 1)) }()
		b := make([]byte, p.packet)
		for i := range 20 {
			if _, err := io.ReadFull(server, b); err != nil {
				t.Fatal(err)
			}
			want := time.Duration(i) * time.Second
			if i >= 11 && i <= 14 { // stood still from second 10 to 15
				want = 15 * time.Second
			}
			if got := time.Since(p.base); got < want || got > want+5*time.Millisecond {
				t.Errorf("packet %d came after %v, want %v", i, got, want)
			}
			if i == 10 {
				time.Sleep(5 * time.Second)
			}
			if _, err := server.Write([]byte{0x40, 2, b[len(b)-2], b[len(b)-1]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if n := p.count.acked.Load(); n != 20 || p.hist.Count() != 20 {
			t.Errorf("%d acknowledged, %d measured", n, p.hist.Count())
		}
		if worst := p.hist.Max(); worst < 5*time.Second || worst > 5100*time.Millisecond {
			t.Errorf("the longest wait is %v, want 5 s", worst)
		}
		client.Close()
		server.Close()
	})
}
