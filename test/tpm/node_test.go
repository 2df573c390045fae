package tpm_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/test/tpm"
)

// modules is the folder of packages with azure-iot-security-tpm and tss.js.
func modules(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("NAVE_TPM_MODULES")
	if dir == "" {
		t.Skip("NAVE_TPM_MODULES names no folder of node packages with azure-iot-security-tpm")
	}
	_, err := os.Stat(filepath.Join(dir, "azure-iot-security-tpm"))
	if _, missing := exec.LookPath("node"); err == nil {
		err = missing
	}
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return dir
}

// startPair is start with the platform's port one above the commands', where clients look for it.
func startPair(t *testing.T) int {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		s, err := tpm.Listen("127.0.0.1:"+strconv.Itoa(port), "127.0.0.1:"+strconv.Itoa(port+1), 0)
		if err == nil {
			t.Cleanup(func() { s.Close() })
			return port
		}
	}
	t.Fatal("no two ports in a row are free")
	return 0
}

// TestNodeClient activates two keys, one after the other, in the TPM client of the Node SDK.
func TestNodeClient(t *testing.T) {
	dir, port := modules(t), startPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // RSA keys are made anew
	defer cancel()
	text := "0ne00000000%2Fregistrations%2Fd1\n1800000000"
	cmd := exec.CommandContext(ctx, "node", "testdata/activate.js", strconv.Itoa(port), text)
	cmd.Env = append(os.Environ(), "NODE_PATH="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	line := func() string {
		if !lines.Scan() {
			cmd.Wait()
			t.Fatalf("the client ended: %s", &stderr)
		}
		return lines.Text()
	}
	ek, err := cred.ParseEndorsementKeyText(line())
	if err != nil {
		t.Fatal(err)
	}
	srk, err := cred.ParseStorageRootKeyText(line())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(ek.String(), "AToAAQALAAMAsgAg") {
		t.Errorf("endorsement key %.16s…", ek)
	}
	sum := sha256.Sum256(ek.Bytes())
	if id := line(); id != strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])) {
		t.Errorf("registration id %q", id)
	}
	for i := range 2 {
		key := cred.NewActivationKey()
		blob, err := cred.Activation(ek, srk, key, fmt.Sprintf("hub.example/devices/d%d", i))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(in, base64.StdEncoding.EncodeToString(blob))
		if got := line(); got != base64.StdEncoding.EncodeToString(mac(key, []byte(text))) {
			t.Errorf("signature %d: %s", i, got)
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, &stderr)
	}
}
