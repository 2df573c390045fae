package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave/internal/fault"
)

// Times that a driver gets, which only one that hangs exceeds: a case ends itself
// after two minutes.
const (
	startTimeout = 3 * time.Minute
	caseTimeout  = 3 * time.Minute
)

// driver is a child process that runs the cases of one area. The lines that go
// both ways are described in node/driver.js.
type driver struct {
	rig   *rig
	proxy *proxy
	cases []string
	in    io.WriteCloser
	lines chan []byte // closed when the process ends
	log   *tail
}

// line is anything that a driver says.
type line struct {
	Cases []string `json:"cases"`
	Case  string   `json:"case"`
	OK    bool     `json:"ok"`
	MS    int      `json:"ms"`
	Error string   `json:"error"`
	Ask   int      `json:"ask"`
	Do    string   `json:"do"`
	Hub   string   `json:"hub"` // the host of the hub that is asked, the first one when empty
}

// launch starts a driver; it ends with the test.
func launch(t *testing.T, r *rig, p *proxy, about string, cmd *exec.Cmd) *driver {
	t.Helper()
	d := &driver{rig: r, proxy: p, lines: make(chan []byte), log: &tail{}}
	cmd.Env = append(os.Environ(), append(cmd.Env, "NAVE_TEST_SDK_HUB="+about)...)
	cmd.Stderr = d.log
	var err error
	if d.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer cmd.Wait()
		defer close(d.lines)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 16<<20)
		for scan.Scan() {
			d.lines <- bytes.Clone(scan.Bytes())
		}
	}()
	t.Cleanup(func() {
		d.in.Close()
		go func() {
			for range d.lines {
			}
		}()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	first, _, err := d.next(ctx)
	if err != nil {
		t.Fatalf("the driver does not start: %v\n%s", err, d.log)
	}
	d.cases = first.Cases
	return d
}

func (d *driver) next(ctx context.Context) (l line, raw []byte, err error) {
	select {
	case b, ok := <-d.lines:
		if !ok {
			return l, nil, errors.New("the driver ended")
		}
		if err := json.Unmarshal(b, &l); err != nil {
			return l, nil, fmt.Errorf("the driver said %q: %w", b, err)
		}
		return l, b, nil
	case <-ctx.Done():
		return l, nil, ctx.Err()
	}
}

// run runs every case as a subtest. A driver that hangs or dies fails the cases
// that are left.
func (d *driver) run(t *testing.T) {
	for _, name := range d.cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), caseTimeout, errors.New("it did not come"))
			defer cancel()
			d.log.reset()
			if err := d.runCase(ctx, name); err != nil {
				t.Errorf("%v\n%s", err, d.log)
			}
		})
	}
}

func (d *driver) runCase(ctx context.Context, name string) error {
	if err := d.say(map[string]any{"run": name}); err != nil {
		return err
	}
	// What the hub's side waits for must not outlive the case.
	ctx, cancel := context.WithCancel(ctx)
	var answers sync.WaitGroup
	defer func() { cancel(); answers.Wait(); d.proxy.cut() }()
	for {
		l, raw, err := d.next(ctx)
		switch {
		case err != nil:
			return err
		case l.Ask != 0:
			answers.Go(func() { d.answer(ctx, &l, raw) })
		case l.Case != name:
			return fmt.Errorf("the driver ran %q", l.Case)
		case !l.OK:
			return fmt.Errorf("after %d ms: %s", l.MS, l.Error)
		default:
			return nil
		}
	}
}

func (d *driver) answer(ctx context.Context, l *line, raw []byte) {
	reply := map[string]any{"answer": l.Ask}
	verb, ok := verbs[l.Do]
	if !ok {
		reply["error"] = "the hub's side can't " + l.Do
	} else if at, err := d.at(l.Hub); err != nil {
		reply["error"] = err.Error()
	} else if value, err := verb(ctx, at, raw); err != nil {
		reply["error"] = err.Error()
		if e, ok := errors.AsType[*fault.Error](err); ok {
			reply["code"] = e.Code.ID
		}
	} else {
		reply["value"] = value
	}
	d.say(reply)
}

// at returns a driver whose asks go to the hub with the host.
func (d *driver) at(host string) (*driver, error) {
	if host == "" {
		return d, nil
	}
	other := *d
	if other.rig = d.rig.hubs[host]; other.rig == nil {
		return nil, fmt.Errorf("there is no hub %q", host)
	}
	return &other, nil
}

func (d *driver) say(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = d.in.Write(append(b, '\n'))
	}
	return err
}

// tail keeps the end of what a driver writes to stderr.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 8 << 10

// Write keeps the last 8 KiB.
func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	l.text = l.text[max(0, len(l.text)-tailSize):]
	return len(b), nil
}

func (l *tail) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.text) == 0 {
		return ""
	}
	return "stderr of the driver:\n" + strings.TrimSpace(string(l.text))
}
