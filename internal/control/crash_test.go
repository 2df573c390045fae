package control_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/store"
)

// plant is a hub with iot/v1 on a folder.
type plant struct {
	db      *store.DB
	bus     *bus.Bus
	gate    *gate.Gate
	hub     *hub.Hub
	tokens  *oauth.Server
	control *control.Control
}

// openPlant opens what a node would; mem keeps the store in memory.
func openPlant(ctx context.Context, dir string, mem bool, now func() time.Time) (p *plant, err error) {
	const host = "hub.test"
	log := slog.New(slog.DiscardHandler)
	p = &plant{}
	url := "sqlite:" + dir + "/nave.db"
	switch postgres := os.Getenv("NAVE_TEST_POSTGRES"); {
	case mem && postgres != "":
		url = postgres
	case mem:
		url = "sqlite::memory:"
	}
	if p.db, err = store.Open(ctx, url, store.Options{Now: now, Log: log}); err != nil {
		return nil, err
	}
	if p.db = p.db.Scope(host); mem {
		p.db = p.db.Scope(filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)) // of its own on a shared database
	}
	if p.bus, err = bus.Open(ctx, bus.Options{Dir: dir + "/log", Node: "n1", Log: log}); err != nil {
		return nil, err
	}
	if p.gate, err = gate.New(ctx, gate.Options{Hub: host, DB: p.db, Now: now, Log: log}); err != nil {
		return nil, err
	}
	if p.hub, err = hub.Open(ctx, hub.Options{Host: host, DB: p.db, Bus: p.bus, Gate: p.gate, Partitions: 1, Log: log}); err != nil {
		return nil, err
	}
	if p.tokens, err = oauth.Open(ctx, oauth.ServerOptions{Realm: "iot", Host: host, DB: p.db, Bus: p.bus, Log: log}); err != nil {
		return nil, err
	}
	p.control, err = control.Open(ctx, control.Options{Hub: p.hub, DB: p.db, Bus: p.bus, Gate: p.gate, Broker: "mqtts://hub.test:8883",
		Clients: control.Clients{Put: p.tokens.PutClient, Delete: p.tokens.DeleteClient}, Log: log})
	return p, err
}

func (p *plant) close(t testing.TB) {
	t.Helper()
	if err := p.control.Close(); err != nil {
		t.Error(err)
	}
	p.tokens.Close()
	for _, f := range []func() error{p.hub.Close, p.gate.Close, p.bus.Close, p.db.Close} {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("NAVE_TEST_FEED"); dir != "" {
		fmt.Println(feedUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const feeders = 8

// feedUntilKilled is the child of TestKill: it prints each item that was
// accepted, after it was.
func feedUntilKilled(dir string) error {
	ctx := context.Background()
	p, err := openPlant(ctx, dir, false, time.Now)
	if err != nil {
		return err
	}
	all, err := p.control.List(ctx, "", 1)
	if err != nil {
		return err
	}
	d, err := p.control.Find(ctx, all[0].ID)
	if err != nil {
		return err
	}
	run := time.Now().UnixNano()
	failed := make(chan error)
	var out sync.Mutex
	for f := range feeders {
		go func() {
			for n := 0; ; n++ {
				i := &control.Item{Message: fmt.Sprintf("r%d-%d-%d", run, f, n), Source: d.Sources[0].ID, Value: strconv.Itoa(n), Observed: time.Now().UTC()}
				r, err := d.Feed(ctx, i, control.HTTPS)
				if err != nil {
					failed <- err
					return
				}
				out.Lock()
				fmt.Println("OK", r.FeedID, i.Message)
				out.Unlock()
			}
		}()
	}
	return <-failed
}

// TestKill kills a process that accepts items, several times: every item whose
// acceptance was seen is in the store, under its id, and in the event log.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	p, err := openPlant(t.Context(), dir, false, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	d, _, err := p.control.Create(t.Context(), control.Draft{Sensors: []control.SourceDraft{{ControlSource: nave.ControlSource{Kind: "meter"}}}})
	if err != nil {
		t.Fatal(err)
	}
	p.close(t)
	accepted := map[string]string{} // message to id
	for range 3 {
		killOnce(t, dir, accepted)
	}
	if p, err = openPlant(t.Context(), dir, false, time.Now); err != nil {
		t.Fatal(err)
	}
	defer p.close(t)
	stored := map[string]string{}
	for before := int64(0); ; {
		rows, err := p.control.History(t.Context(), d.ID, d.Sources[0].ID, before, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			stored[r.Message] = strconv.FormatInt(r.ID, 10)
			before = r.ID
		}
	}
	for message, id := range accepted {
		if stored[message] != id {
			t.Fatalf("%s was accepted as %s, the store has %q", message, id, stored[message])
		}
	}
	logged := p.logged(t, len(stored))
	for message, id := range stored {
		if logged[id] == 0 {
			t.Fatalf("%s, item %s, is stored, but not in the event log", message, id)
		}
	}
	copies := 0
	for _, n := range logged {
		copies += n - 1
	}
	t.Logf("%d accepted, %d stored, %d logged twice", len(accepted), len(stored), copies)
}

// logged reads the event log until it has seen so many items.
func (p *plant) logged(t *testing.T, items int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := p.hub.Backend(hub.Operator()).Events(ctx, 0, nave.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := map[string]int{}
	for len(all) < items {
		events, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("%d of %d items are in the event log: %v", len(all), items, err)
		}
		for _, e := range events {
			id, _ := e.AppValue("feedDataId")
			all[id]++
		}
	}
	return all
}

func killOnce(t *testing.T, dir string, accepted map[string]string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "NAVE_TEST_FEED="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	lines := bufio.NewScanner(out)
	seen := 0
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 3 || words[0] != "OK" {
			continue // cut by the end
		}
		accepted[words[2]] = words[1]
		if seen++; seen == 400 {
			cmd.Process.Kill()
		}
	}
	if seen < 400 {
		t.Fatalf("the child accepted %d items", seen)
	}
}
