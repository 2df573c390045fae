package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	host      = "localhost"
	startTime = 5 * time.Minute
)

// site is a data folder and the program that serves it.
type site struct{ binary, data, log string }

// process is a running hub.
type process struct {
	// Set by start, then read only:
	cmd       *exec.Cmd
	out       io.Reader
	exited    chan struct{} // closed when the process is gone
	err       error         // how it ended; read after exited
	base      string        // of the console
	token     string
	addresses map[string]string
	tls       *tls.Config
	console   *http.Client
	web       *http.Client
}

// launch starts the program and does not wait for the hub.
func (s *site) launch() (*process, error) {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{exited: make(chan struct{})}
	p.cmd = exec.Command(s.binary, "serve", "--data", s.data, "--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--amqp", "off", "--console", "127.0.0.1:0")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NAVE_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Stderr = log
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.out = in, out
	err = p.cmd.Start()
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// start launches the hub and returns when it listens.
func (s *site) start() (*process, error) {
	p, err := s.launch()
	if err != nil {
		return nil, err
	}
	if err = p.greeting(); err == nil {
		err = p.meet(s.data)
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("the hub did not start: %w\n%s", err, s.tail())
	}
	return p, nil
}

// greeting waits until the hub says that it runs, and then drops its output.
func (p *process) greeting() error {
	late := time.AfterFunc(startTime, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(p.out)
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), " runs.") {
			go io.Copy(io.Discard, p.out)
			return nil
		}
	}
	<-p.exited
	return fmt.Errorf("it ended before it listened: %w", errors.Join(p.err, lines.Err()))
}

// meet learns addresses, token and CA.
func (p *process) meet(data string) error {
	text, err := os.ReadFile(filepath.Join(data, "console.json"))
	if err != nil {
		return err
	}
	var plate struct{ URL, Token string }
	if err := json.Unmarshal(text, &plate); err != nil {
		return err
	}
	p.base, p.token = plate.URL, plate.Token
	p.console = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	status, body, err := p.ask(context.Background(), http.MethodGet, "/api/status", nil)
	if err != nil || status != http.StatusOK {
		return unexpected("the console's status", status, body, err)
	}
	var answer struct {
		Addresses map[string]string
		CAFile    string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	p.addresses = answer.Addresses
	pem, err := os.ReadFile(answer.CAFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	p.tls = &tls.Config{RootCAs: roots, ServerName: host}
	p.web = &http.Client{Transport: &http.Transport{TLSClientConfig: p.tls, MaxIdleConnsPerHost: 64,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", p.addresses["https"])
		}}}
	return nil
}

// ask sends a request to the console. A status of 0 comes with an error.
func (p *process) ask(ctx context.Context, method, path string, body any, header ...string) (int, []byte, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, p.base+path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return do(p.console, r)
}

// rest sends a request to the service REST as the operator.
func (p *process) rest(ctx context.Context, method, path string, body any, header ...string) (int, []byte, error) {
	return p.ask(ctx, method, "/api/hubs/"+host+"/rest"+path+"?api-version=2021-04-12", body, header...)
}

func do(c *http.Client, r *http.Request) (int, []byte, error) {
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err // the answer was cut off, so nothing was acknowledged
	}
	return resp.StatusCode, data, nil
}

// unexpected makes an error of an answer that should have been another.
func unexpected(what string, status int, body []byte, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: the answer is %d %s", what, status, bytes.TrimSpace(body))
}

// kill ends the process as a power cut would, and waits for it.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
	p.drop()
}

// stop ends the process as Ctrl-C would.
func (p *process) stop() error {
	p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.exited:
		p.drop()
		return p.err
	case <-time.After(startTime):
		p.kill()
		return fmt.Errorf("the hub did not stop within %s of Ctrl-C", startTime)
	}
}

func (p *process) drop() {
	for _, c := range []*http.Client{p.console, p.web} {
		if c != nil {
			c.CloseIdleConnections()
		}
	}
	if c, ok := p.out.(io.Closer); ok {
		c.Close()
	}
}

// tail returns the last lines of the hub's log.
func (s *site) tail() string {
	text, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

var building struct {
	once sync.Once
	file string
	err  error
}

// build makes the binary that a test tortures, in a folder of its own.
func build() (string, error) {
	building.once.Do(func() {
		dir, err := os.MkdirTemp("", "nave-torture-bin-")
		if err != nil {
			building.err = err
			return
		}
		building.file = filepath.Join(dir, "nave")
		c := exec.Command("go", "build", "-o", building.file, "github.com/nave-hub/nave/cmd/nave")
		if out, err := c.CombinedOutput(); err != nil {
			building.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	return building.file, building.err
}
