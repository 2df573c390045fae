package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
)

// reseal makes header and checksum of raw right, so that what is inside counts.
func reseal(raw []byte) {
	copy(raw, "nv\x01\x00")
	binary.LittleEndian.PutUint32(raw[8:], uint32(len(raw)))
	binary.LittleEndian.PutUint32(raw[4:], crc32.Checksum(raw[8:], castagnoli))
}

// lines is a log that other goroutines write to.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

type world struct {
	t   *testing.T
	b   *Bus
	l   *Log
	out *lines
}

func open(t *testing.T, dir string) *world {
	w := &world{t: t, out: &lines{}}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var err error
	if w.b, err = Open(ctx, Options{Dir: dir, Log: slog.New(slog.NewTextHandler(w.out, nil))}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.b.Close() })
	if w.l, err = w.b.Log(ctx, "a", LogOptions{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) put(text string) {
	w.t.Helper()
	done := make(chan error, 1)
	w.l.Append(&nave.Event{Message: nave.Message{Body: []byte(text)}, From: nave.ID{Device: "d"}}, func(err error) { done <- err })
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}

// bodies reads until the body last.
func (w *world) bodies(last string) (all []string) {
	w.t.Helper()
	r, err := w.l.Read(0, nave.Position{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for len(all) == 0 || all[len(all)-1] != last {
		events, err := r.Next(ctx)
		if err != nil {
			w.t.Fatal(err, all, w.out.String())
		}
		for _, e := range events {
			all = append(all, string(e.Body))
		}
	}
	return all
}

func TestBadBatchIsSkipped(t *testing.T) {
	w := open(t, "")
	w.put("one")
	b := newBatch()
	b.add(&nave.Event{Message: nave.Message{Body: []byte("bad")}})
	raw := bytes.Clone(b.seal(0))
	raw[len(raw)-1]++
	for _, bad := range [][]byte{raw, []byte("rubbish"), nil} {
		if err := w.b.write.Publish(w.l.parts[0].subject, bad); err != nil {
			t.Fatal(err)
		}
	}
	w.put("two")
	if got := fmt.Sprint(w.bodies("two")); got != "[one two]" {
		t.Error(got)
	}
	if w.b.Corrupt() != 3 || strings.Count(w.out.String(), "damaged batch") != 3 {
		t.Errorf("%d counted; log:\n%s", w.b.Corrupt(), w.out)
	}
}

func TestFlippedBytesOnDisk(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	for i := range 20 {
		w.put(fmt.Sprintf("body-%02d", i))
	}
	w.b.Close()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "NAVE_a_0", "msgs", "*.blk"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("body-07"))
	data[at] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	w = open(t, dir)
	w.put("end")
	got := w.bodies("end")
	for _, text := range got {
		if text != "end" && !strings.HasPrefix(text, "body-") {
			t.Errorf("served %q", text)
		}
	}
	if w.b.Corrupt() == 0 || !strings.Contains(w.out.String(), "damaged batch") {
		t.Errorf("nothing reported; got %v, log:\n%s", got, w.out)
	}
	t.Logf("%d of 21 events are left, %d reported", len(got), w.b.Corrupt())
}
