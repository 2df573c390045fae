package node_test

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
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// stopPostgres ends the server of postgres.
var stopPostgres = func() {}

// postgres returns the URL of NAVE_TEST_POSTGRES or of Debian's PostgreSQL,
// started in a temporary folder, or why there is none.
var postgres = sync.OnceValues(func() (url, missing string) {
	if url = os.Getenv("NAVE_TEST_POSTGRES"); url != "" {
		return url, ""
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", "PostgreSQL is not installed and NAVE_TEST_POSTGRES is not set"
	}
	url, err := startPostgres(filepath.Dir(found[len(found)-1]))
	if err != nil {
		return "", err.Error()
	}
	return url, ""
})

func startPostgres(bin string) (url string, err error) {
	dir, err := os.MkdirTemp("", "nave-postgres")
	if err != nil {
		return "", err
	}
	stopPostgres = func() { os.RemoveAll(dir) }
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		if attr.Credential, err = account("postgres"); err != nil {
			return "", err
		}
		os.Chown(dir, int(attr.Credential.Uid), int(attr.Credential.Gid))
	}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(bin, name), args...)
		c.SysProcAttr, c.Dir = attr, dir
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := command("initdb", "-D", data, "-A", "trust", "-U", "nave", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	server := command("postgres", "-D", data, "-k", dir, "-h", "", "-c", "fsync=off", "-c", "max_connections=500")
	started, stop, stopped := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		// The server dies with the thread that started it, so that must last.
		runtime.LockOSThread()
		defer close(stopped)
		err := server.Start()
		started <- err
		if err == nil {
			<-stop
			server.Process.Signal(syscall.SIGINT)
			server.Wait()
		}
	}()
	stopPostgres = func() {
		close(stop)
		<-stopped
		os.RemoveAll(dir)
	}
	if err := <-started; err != nil {
		return "", err
	}
	url = "postgres:///postgres?user=nave&host=" + dir
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) { // it has no other sign
		var db *store.DB
		if db, err = store.Open(context.Background(), url, store.Options{}); err == nil {
			return url, db.Close()
		}
	}
	return "", err
}

// account returns what runs a process as a user.
func account(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
