package sdk_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nave-hub/nave/test/report"
)

// buildTPM builds the software TPM, or skips the test.
func (p *provisioning) buildTPM(t *testing.T) {
	t.Helper()
	if lack := report.LackForTPM(); lack != "" {
		unavailable(t, "%s", lack)
	}
	p.tpm = filepath.Join(t.TempDir(), "tpm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", p.tpm, "./cmd")
	cmd.Dir, cmd.Env = "../tpm", append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// startTPM gives a case a TPM, which is a process of its own, and returns the
// port of its commands; clients expect the next port for the signals of the
// platform.
func startTPM(_ context.Context, d *driver, _ struct{}) (any, error) {
	p := d.rig.dps
	var failed error
	for range 10 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		cmd := exec.Command(p.tpm, "-port", strconv.Itoa(port))
		cmd.Stderr = d.log
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			failed = fmt.Errorf("the TPM says %q: %w", line, err)
			cmd.Wait()
			continue
		}
		p.mu.Lock()
		p.tpms = append(p.tpms, cmd)
		p.mu.Unlock()
		return port, nil
	}
	return nil, errors.Join(errors.New("no two ports in a row are free"), failed)
}

// endTPMs ends all TPMs.
func (p *provisioning) endTPMs() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cmd := range p.tpms {
		cmd.Process.Kill()
		cmd.Wait()
	}
}
