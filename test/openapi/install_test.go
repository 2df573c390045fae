package openapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

const installTimeout = 10 * time.Minute

// unavailable skips the test for something that this machine lacks; where CI is
// set nothing may be lacking.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// installed makes node_modules fit the lock file, and returns the path of node.
func installed(t *testing.T) (node string) {
	t.Helper()
	if os.Getenv("NAVE_TEST_SDK") == "" && os.Getenv("CI") == "" {
		t.Skip("the tests of the OpenAPI document run with NAVE_TEST_SDK=1; they install npm packages into test/openapi")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		unavailable(t, "node is missing: %v", err)
	}
	version, err := exec.Command(node, "--version").Output()
	if err != nil {
		unavailable(t, "node does not run: %v", err)
	}
	lock, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(lock, runtime.GOOS+runtime.GOARCH+string(version)...))
	want, stamp := hex.EncodeToString(sum[:]), filepath.Join("node_modules", ".nave-stamp")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return node
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTimeout)
	defer cancel()
	// The registry may be out of reach for a moment.
	for pause := 5 * time.Second; ; pause *= 3 {
		npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		out, err := npm.CombinedOutput()
		if err == nil {
			break
		}
		if pause > time.Minute || ctx.Err() != nil {
			unavailable(t, "the packages can't be installed: %v\n%s", err, out)
		}
		t.Logf("npm: %v, once more in %v\n%s", err, pause, out)
		time.Sleep(pause)
	}
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
	return node
}

// run runs a Node program of this folder; a failure fails the test with what it
// printed.
func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	t.Logf("%s", out)
}
