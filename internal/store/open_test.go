package store_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// postgresURL is the server that the suite also runs on, noPostgres why there
// is none.
var postgresURL, noPostgres string

func TestMain(m *testing.M) {
	if run, ok := children[os.Getenv("STORE_TEST_CHILD")]; ok {
		run()
		return
	}
	// The server must die with this process, so its parent thread has to last.
	runtime.LockOSThread()
	stop := func() {}
	if postgresURL = os.Getenv("NAVE_TEST_POSTGRES"); postgresURL == "" {
		stop, noPostgres = startPostgres()
	}
	code := m.Run()
	stop()
	os.Exit(code)
}

// startPostgres runs Debian's PostgreSQL in a temporary directory, on a Unix
// socket only.
func startPostgres() (stop func(), missing string) {
	stop = func() {}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return stop, "PostgreSQL is not installed and NAVE_TEST_POSTGRES is not set"
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "nave-postgres")
	if err != nil {
		return stop, err.Error()
	}
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return stop, err.Error()
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		os.Chown(dir, uid, gid)
	}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, name), args...)
		c.SysProcAttr, c.Dir = attr, dir
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := command("initdb", "-D", data, "-A", "trust", "-U", "nave", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		return stop, fmt.Sprintf("initdb: %v: %s", err, out)
	}
	server := command("postgres", "-D", data, "-k", dir, "-h", "", "-c", "fsync=off", "-c", "max_connections=200")
	if err := server.Start(); err != nil {
		return stop, err.Error()
	}
	postgresURL = "postgres:///postgres?user=nave&host=" + dir
	return func() {
		server.Process.Signal(syscall.SIGINT)
		server.Wait()
		os.RemoveAll(dir)
	}, awaitPostgres()
}

// awaitPostgres asks until the server answers: it has no other sign.
func awaitPostgres() (missing string) {
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var db *store.DB
		if db, err = store.Open(context.Background(), postgresURL, store.Options{}); err == nil {
			db.Close()
			return ""
		}
	}
	return err.Error()
}

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 1234500, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func open(t testing.TB, url string, c *clock) *store.DB {
	t.Helper()
	o := store.Options{}
	if c != nil {
		o.Now = c.now
	}
	db, err := store.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func openPostgres(t testing.TB, c *clock) *store.DB {
	t.Helper()
	if noPostgres != "" {
		if os.Getenv("CI") != "" {
			t.Fatal(noPostgres)
		}
		t.Skip(noPostgres)
	}
	return open(t, postgresURL, c).Scope(fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano()))
}

// each runs a test on all databases.
func each(t *testing.T, f func(t *testing.T, db *store.DB, c *clock)) {
	t.Run("memory", func(t *testing.T) {
		c := newClock()
		f(t, open(t, "sqlite::memory:", c).Scope("hub"), c)
	})
	t.Run("file", func(t *testing.T) {
		c := newClock()
		f(t, open(t, "sqlite:"+t.TempDir()+"/nave.db", c).Scope("hub"), c)
	})
	t.Run("postgres", func(t *testing.T) {
		c := newClock()
		f(t, openPostgres(t, c), c)
	})
}

func update(t testing.TB, db *store.DB, f func(*store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, db *store.DB, f func(*store.Tx) error) {
	t.Helper()
	if err := db.View(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func device(name string) *nave.Identity {
	return &nave.Identity{ID: nave.ID{Device: name}, Generation: "1", ETag: "e", Status: nave.Enabled, Auth: nave.Auth{Type: nave.AuthSAS}}
}

func insert(t testing.TB, db *store.DB, names ...string) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		for _, name := range names {
			id, err := nave.ParseID(name)
			if err != nil {
				return err
			}
			i := device("")
			i.ID = id
			if err := tx.InsertIdentity(i); err != nil {
				return err
			}
		}
		return nil
	})
}
