package sdk_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Registries fail now and then, which says nothing about the hub.
const (
	installTimeout  = 5 * time.Minute
	installAttempts = 3
)

// tool returns the path of a program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(t, "%s is missing: %v", name, err)
	}
	return path
}

// version returns the first line that a program prints for --version.
func version(t *testing.T, program string) string {
	t.Helper()
	out, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil {
		unavailable(t, "%s does not run: %v", program, err)
	}
	text, _, _ := strings.Cut(string(out), "\n")
	return text
}

// installed runs install unless what it made fits the lock file and the version
// of the tool, which a stamp in folder tells. A failure skips the test: the
// registry is out of reach.
func installed(t *testing.T, lock, toolVersion, folder string, install func(ctx context.Context) error) {
	t.Helper()
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(text, runtime.GOOS+runtime.GOARCH+toolVersion...))
	want, stamp := hex.EncodeToString(sum[:]), filepath.Join(folder, ".nave-stamp")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	for left := installAttempts; ; left-- {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		err := install(ctx)
		if err == nil {
			break
		}
		if left == 1 || ctx.Err() != nil {
			unavailable(t, "the packages of %s can't be installed: %v", lock, err)
		}
	}
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// command runs a program in a folder; its output becomes part of the error.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	log := &tail{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return &commandError{err, log.String()}
	}
	return nil
}

type commandError struct {
	error
	output string
}

// Error returns the error with what the program printed.
func (e *commandError) Error() string { return e.error.Error() + "\n" + e.output }
