package store_test

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
	"syscall"
	"testing"

	"github.com/nave-hub/nave/internal/store"
)

// children are what this test binary does instead when it starts itself; each
// prints "ok NAME" for every row that was acknowledged.
var children = map[string]func(){"write": childWrite, "limit": childLimit, "sync": childSync}

// child starts this binary in a role, with a database file, under the program
// and arguments of wrap.
func child(t *testing.T, role, file string, wrap ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	line := append(wrap, os.Args[0])
	c := exec.Command(line[0], line[1:]...)
	c.Env = append(os.Environ(), "STORE_TEST_CHILD="+role, "STORE_TEST_FILE="+file)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewScanner(out)
}

func childOpen() *store.DB {
	db, err := store.Open(context.Background(), "sqlite:"+os.Getenv("STORE_TEST_FILE"), store.Options{})
	if err != nil {
		panic(err)
	}
	return db
}

// childWrite writes from many goroutines until it is killed.
func childWrite() {
	db := childOpen()
	var mu sync.Mutex
	for i := range 16 {
		go func() {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%d-%d", i, n)
				if err := db.Update(context.Background(), func(tx *store.Tx) error { return tx.PutGroup(name) }); err != nil {
					panic(err)
				}
				mu.Lock()
				fmt.Println("ok", name)
				mu.Unlock()
			}
		}()
	}
	select {}
}

func TestKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nave.db")
	acknowledged := map[string]bool{}
	for round := range 3 {
		c, lines := child(t, "write", file)
		for n := 0; lines.Scan(); n++ {
			if n == 300*(round+1) {
				c.Process.Kill()
			}
			if name, ok := strings.CutPrefix(lines.Text(), "ok "); ok {
				acknowledged[name] = true
			}
		}
		c.Wait()
		db := open(t, "sqlite:"+file, nil)
		have := groups(t, db)
		for name := range acknowledged {
			if !have[name] {
				t.Errorf("round %d: %s was acknowledged and is lost", round, name)
			}
		}
		db.Close()
	}
	if len(acknowledged) < 300 {
		t.Errorf("only %d updates were acknowledged", len(acknowledged))
	}
}

func groups(t *testing.T, db *store.DB) map[string]bool {
	t.Helper()
	have := map[string]bool{}
	view(t, db, func(tx *store.Tx) error {
		names, err := tx.Groups()
		for _, name := range names {
			have[name] = true
		}
		return err
	})
	return have
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// childLimit writes until the kernel refuses to let a file grow, which SQLite
// sees as an input/output error at COMMIT and not as a full disk.
func childLimit() {
	db := childOpen()
	var old syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 2_000_001, Max: old.Max}))
	writeUntilFailure(db, func() { check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old)) })
}

// childSync runs under strace, which makes fsync fail.
func childSync() { writeUntilFailure(childOpen(), func() {}) }

// writeUntilFailure prints how the first failing update, the next one, and a
// view afterwards end. The database is not closed: the next process has to
// recover.
func writeUntilFailure(db *store.DB, repair func()) {
	value := strings.Repeat("x", 20_000)
	put := func(name string) error {
		return db.Update(context.Background(), func(tx *store.Tx) error {
			return errors.Join(tx.PutGroup(name), tx.PutSetting(name, value))
		})
	}
	for n := range 1000 {
		if err := put(strconv.Itoa(n)); err != nil {
			fmt.Println("first", errors.Is(err, store.ErrFull), err)
			break
		}
		fmt.Println("ok", n)
	}
	repair()
	err := put("later")
	fmt.Println("later", errors.Is(err, store.ErrFull), err)
	check(db.View(context.Background(), func(tx *store.Tx) error {
		names, err := tx.Groups()
		fmt.Println("visible", len(names))
		return err
	}))
}

func TestFailedCommit(t *testing.T) {
	t.Run("write", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "nave.db")
		c, lines := child(t, "limit", file)
		checkFailure(t, file, c, lines)
	})
	// Once, so that overwriting the commit succeeds, and for good.
	for _, when := range []string{"25", "25+"} {
		t.Run("sync "+when, func(t *testing.T) {
			strace, err := exec.LookPath("strace")
			if err == nil {
				err = exec.Command(strace, "-o", "/dev/null", "true").Run()
			}
			if err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal("strace, which makes syncs fail:", err)
				}
				t.Skipf("strace, which makes syncs fail: %v", err)
			}
			file := filepath.Join(t.TempDir(), "nave.db")
			c, lines := child(t, "sync", file, strace, "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
				"-e", "inject=fsync,fdatasync:error=EIO:when="+when)
			checkFailure(t, file, c, lines)
		})
	}
}

// checkFailure compares what the child said with what a new process finds.
func checkFailure(t *testing.T, file string, c *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	acknowledged, said := 0, map[string]string{}
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word == "ok" {
			acknowledged++
		} else {
			said[word] = rest
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Log(acknowledged, said)
	if !strings.HasPrefix(said["first"], "true ") {
		t.Errorf("the failing commit answered %q", said["first"])
	}
	if !strings.HasPrefix(said["later"], "true ") || !strings.Contains(said["later"], "reopen") {
		t.Errorf("the next update answered %q", said["later"])
	}
	if said["visible"] != strconv.Itoa(acknowledged) {
		t.Errorf("%s visible, %d acknowledged", said["visible"], acknowledged)
	}
	db := open(t, "sqlite:"+file, nil)
	if have := groups(t, db); len(have) != acknowledged || acknowledged == 0 {
		t.Errorf("%d after reopening, %d acknowledged", len(have), acknowledged)
	}
	update(t, db, func(tx *store.Tx) error { return tx.PutGroup("again") })
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mounting a tmpfs: %v", err)
		}
		t.Skipf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, "sqlite:"+dir+"/nave.db", nil)
	value := strings.Repeat("x", 3000)
	put := func(db *store.DB, name string) error {
		return db.Update(context.Background(), func(tx *store.Tx) error {
			return errors.Join(tx.PutGroup(name), tx.PutSetting(name, value))
		})
	}
	acknowledged := fill(t, db, put)
	if have := groups(t, db); !same(have, acknowledged) {
		t.Errorf("%d visible, %d acknowledged", len(have), len(acknowledged))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// A full disk is no failed sync: with room the same DB goes on.
	if err := put(db, "room"); err != nil {
		t.Error(err)
	}
	acknowledged["room"] = true
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, "sqlite:"+dir+"/nave.db", nil)
	if have := groups(t, db); !same(have, acknowledged) {
		t.Errorf("after reopening %d, %d acknowledged", len(have), len(acknowledged))
	}
	if err := put(db, "again"); err != nil {
		t.Error(err)
	}
}

// fill writes from several goroutines until each has seen ErrFull.
func fill(t *testing.T, db *store.DB, put func(*store.DB, string) error) map[string]bool {
	acknowledged := map[string]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%d-%d", i, n)
				err := put(db, name)
				if err != nil {
					if !errors.Is(err, store.ErrFull) {
						t.Errorf("not ErrFull: %v", err)
					}
					return
				}
				mu.Lock()
				acknowledged[name] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d acknowledged until the disk was full", len(acknowledged))
	return acknowledged
}

func same(a, b map[string]bool) bool {
	for name := range b {
		if !a[name] {
			return false
		}
	}
	return len(a) == len(b) && len(a) > 0
}
