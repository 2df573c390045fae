package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
)

const childPartitions = 3

// child appends for ever and prints a line "sender number" for each event that
// was acknowledged.
func child(dir string) int {
	b, err := bus.Open(context.Background(), bus.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := b.Log(context.Background(), "events", bus.LogOptions{Partitions: childPartitions})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var mu sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	for s := range 8 {
		go func() {
			window := make(chan struct{}, 200)
			for i := 0; ; i++ {
				window <- struct{}{}
				l.Append(event(names[s], fmt.Append(make([]byte, 100), i)), func(err error) {
					if err == nil {
						mu.Lock()
						fmt.Fprintln(out, s, i)
						out.Flush()
						mu.Unlock()
					}
					<-window
				})
			}
		}()
	}
	select {}
}

func TestKilledProcessKeepsAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := make([]int, 8) // events of a sender are acknowledged in order
	for round := range 3 {
		before := append([]int(nil), acked...)
		count := killChild(t, dir, acked)
		b := openBus(t, bus.Options{Dir: dir})
		l := openLog(t, b, "events", bus.LogOptions{Partitions: childPartitions})
		found := stored(t, l)
		for s, n := range acked {
			if found[s] < n {
				t.Errorf("round %d: sender %d has %d acknowledged events, %d are there", round, s, n, found[s])
			}
		}
		t.Logf("round %d: %d acknowledged, had %v", round, count, before)
		shut(t, b)
	}
}

// killChild runs a child until it acknowledged enough, kills it, and adds what
// it acknowledged.
func killChild(t *testing.T, dir string, acked []int) (count int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NAVE_BUS_CHILD="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		s, _, ok := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(s)
		if !ok || err != nil || n >= len(acked) {
			continue
		}
		acked[n]++
		if count++; count == 20_000 {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if count < 20_000 {
		t.Fatalf("the child ended after %d events", count)
	}
	return count
}

// stored counts the events of each sender.
func stored(t *testing.T, l *bus.Log) []int {
	t.Helper()
	found := make([]int, 8)
	for p := range childPartitions {
		info, err := l.Info(p)
		if err != nil {
			t.Fatal(err)
		}
		r := reader(t, l, p, nave.Position{})
		for last := int64(-1); last < info.Last; {
			for _, e := range read(t, r, 1) {
				for s := range found {
					if e.From.Device == names[s] {
						found[s]++
					}
				}
				last = e.Seq
			}
		}
	}
	return found
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("mount:", err)
		}
		t.Skip("a small file system can't be mounted:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	b := openBus(t, bus.Options{Dir: dir})
	l := openLog(t, b, "events", bus.LogOptions{Partitions: 2})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 12<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[string]bool{}
	var failed, other atomic.Int64
	var last error
	var wg sync.WaitGroup
	send := func(i int) {
		wg.Add(1)
		key := fmt.Sprint(i)
		e := event(names[i%10], make([]byte, 4<<10))
		e.System.MessageID = key
		l.Append(e, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			defer wg.Done()
			if err == nil {
				acked[key] = true
			} else if failed.Add(1); !isUnavailable(err) {
				other.Add(1)
				last = err
			}
		})
	}
	for i := range 6000 {
		send(i)
	}
	wg.Wait()
	if failed.Load() == 0 || len(acked) == 0 || other.Load() != 0 {
		t.Fatalf("%d acknowledged, %d refused, %d with other errors: %v", len(acked), failed.Load(), other.Load(), last)
	}
	if err := b.Healthy(); !isUnavailable(err) {
		t.Errorf("healthy says %v", err)
	}
	t.Logf("%d acknowledged, %d refused: %v", len(acked), failed.Load(), b.Healthy())
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for b.Healthy() != nil {
		if time.Since(start) > time.Minute {
			t.Fatal("it does not recover:", b.Healthy())
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("recovered after %v", time.Since(start))
	for i := 6000; i < 6100; i++ {
		send(i)
	}
	wg.Wait()
	if !acked["6099"] {
		t.Error("nothing is taken after recovery")
	}
	for p := range 2 {
		info, err := l.Info(p)
		if err != nil {
			t.Fatal(err)
		}
		r := reader(t, l, p, nave.Position{})
		for last := int64(-1); last < info.Last; {
			for _, e := range read(t, r, 1) {
				delete(acked, e.System.MessageID)
				last = e.Seq
			}
		}
	}
	if len(acked) != 0 {
		t.Errorf("%d acknowledged events are gone", len(acked))
	}
}

func isUnavailable(err error) bool { return errors.Is(err, bus.ErrUnavailable) }
