package dps_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/store"
)

// crashKey is the master key of the group that the killed process registers
// devices of.
const crashKey = "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="

// crashPath names the database for the process that is to be killed.
const crashPath = "NAVE_TEST_DPS_CRASH"

// crashed are the acknowledged registrations that the test waits for before it
// kills.
const crashed = 150

// TestCrash kills a process while it registers devices: each registration that
// it acknowledged is carried to its end by the next one, and counted once.
func TestCrash(t *testing.T) {
	if path := os.Getenv(crashPath); path != "" {
		registerForEver(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "nave.db")
	k := openRig(t, "sqlite:"+path, newOffset())
	k.link(hubA, 1)
	k.link(hubB, 1)
	g := k.group("crash", func(e *dps.Enrollment) { e.Attestation.SymmetricKey.Primary = crashKey })
	k.outage = true
	k.shut()
	acknowledged := killed(t, path)
	next := openRig(t, "sqlite:"+path, newOffset())
	for id, op := range acknowledged {
		assigned(t, next.await(next.by(g, id), op))
	}
	var left, registered int
	until(t, "what was stored but not acknowledged ends too", func() bool {
		r := stored[dps.GroupRecord](next, dps.KindGroupRecord, "crash")
		_ = next.options.DB.View(context.Background(), func(tx *store.Tx) (err error) {
			if left, err = tx.CountDPS(dps.Running); err == nil {
				registered, err = tx.CountDPS(dps.KindRegistration)
			}
			return err
		})
		return left == 0 && r.Count == registered
	})
	if registered < len(acknowledged) {
		t.Errorf("%d registrations of %d acknowledged ones", registered, len(acknowledged))
	}
}

// killed runs the process, kills it without warning and returns the operations
// by device that it acknowledged.
func killed(t *testing.T, path string) map[string]string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	child.Env = append(os.Environ(), crashPath+"="+path)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { child.Process.Kill() })
	defer watchdog.Stop()
	all := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if id, op, ok := strings.Cut(rest, " "); ok && word == "acknowledged" {
			all[id] = op
		}
		if len(all) == crashed {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
	if len(all) < crashed {
		t.Fatalf("the process ended by itself after %d registrations", len(all))
	}
	return all
}

func registerForEver(t *testing.T, path string) {
	k := openRig(t, "sqlite:"+path, newOffset())
	g, err := k.GroupAttestation(context.Background(), "crash")
	if err != nil {
		t.Fatal(err)
	}
	e := &dps.Enrollment{GroupID: "crash", Attestation: g}
	var n atomic.Int64
	var out sync.Mutex
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for {
				id := fmt.Sprint("crash-", n.Add(1))
				op, err := k.service.Register(context.Background(), k.by(e, id), nil)
				if err != nil {
					t.Error(err)
					return
				}
				out.Lock()
				fmt.Println("acknowledged", id, op.ID)
				out.Unlock()
			}
		})
	}
	work.Wait()
}
