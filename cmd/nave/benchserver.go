package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/load"
)

const (
	startTime = 30 * time.Second
	stopTime  = 20 * time.Second
)

// tail keeps the last bytes that a program wrote.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}

// child is a server that was started to be measured.
type child struct {
	name  string
	cmd   *exec.Cmd
	said  *tail
	ended chan struct{} // closed when the process is gone
	dir   string
}

// startChild runs the program until ready says yes.
func startChild(ctx context.Context, cmd *exec.Cmd, name, dir string, ready func() bool) (*child, error) {
	c := &child{name: name, cmd: cmd, said: new(tail), ended: make(chan struct{}), dir: dir}
	cmd.Stdout, cmd.Stderr = c.said, c.said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s could not be started: %w", name, err)
	}
	go func() { cmd.Wait(); close(c.ended) }()
	limit, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !ready() {
		select {
		case <-poll.C:
		case <-c.ended:
			return nil, fmt.Errorf("%s ended at its start: %s", name, c.said)
		case <-limit.Done():
			c.stop()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%s was not ready after %s: %s", name, startTime, c.said)
		}
	}
	return c, nil
}

// stop ends the process and removes its folder.
func (c *child) stop() {
	c.cmd.Process.Signal(os.Interrupt)
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-timer.C:
		c.cmd.Process.Kill()
		<-c.ended
	}
	os.RemoveAll(c.dir)
}

// pid is the process's id.
func (c *child) pid() int { return c.cmd.Process.Pid }

// findMosquitto returns the program's path; a user's PATH often lacks sbin.
func findMosquitto(path string) (string, error) {
	names := []string{path}
	if path == "" {
		names = []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"}
	}
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", trouble("Install it ('apt-get install mosquitto'; its service need not run), name it with --mosquitto, or leave it out with --rounds 0.",
		"mosquitto, which nave is compared with, was not found")
}

// mosquittoConf makes the broker as fast as it can be: nothing on disk, no limits in flight, no delay.
const mosquittoConf = `listener %d 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
`

func startMosquitto(ctx context.Context, path string) (*child, load.Target, error) {
	address, port, err := freePort()
	if err != nil {
		return nil, load.Target{}, err
	}
	dir, err := os.MkdirTemp("", "nave-bench-")
	if err != nil {
		return nil, load.Target{}, err
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, mosquittoConf, port), 0o644); err != nil {
		return nil, load.Target{}, errors.Join(err, os.RemoveAll(dir))
	}
	c, err := startChild(ctx, exec.Command(path, "-c", file), "mosquitto", dir, func() bool {
		nc, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return false
		}
		nc.Close()
		return true
	})
	if err != nil {
		os.RemoveAll(dir)
	}
	return c, load.Target{Address: address}, err
}

func freePort() (address string, port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, err
	}
	defer l.Close()
	return l.Addr().String(), l.Addr().(*net.TCPAddr).Port, nil
}

// naveChild is a node of this very program, with a new data folder.
type naveChild struct {
	*child
	hub *loadHub
}

func startNave(ctx context.Context, parent string) (*naveChild, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "nave-bench-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "serve", "--data", dir)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "NAVE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	for _, listener := range []string{"HTTPS", "MQTT", "MQTTPLAIN", "AMQPPLAIN", "CONSOLE"} {
		cmd.Env = append(cmd.Env, "NAVE_LISTEN_"+listener+"=127.0.0.1:0")
	}
	for _, limit := range []string{"ADDRESSPERSECOND", "TENANTPERSECOND", "APPLICATIONPERHOUR", "TOKENSPERMINUTE"} {
		cmd.Env = append(cmd.Env, "NAVE_CONNECTIVITY_RATELIMIT_"+limit+"=0")
	}
	cmd.Env = append(cmd.Env, "NAVE_LISTEN_AMQP=off", "NAVE_DPS_HOST=dps.localhost", "NAVE_LOG_LEVEL=warn", "NAVE_HUB_FEEDBACKEVERY="+compareFeedback.String())
	e := &env{data: dir, environ: func(string) string { return "" }}
	n := &naveChild{}
	var last error
	n.child, err = startChild(ctx, cmd, "nave", dir, func() bool {
		n.hub, last = e.loadHub(ctx, &reach{}, 512)
		return last == nil
	})
	if err != nil {
		os.RemoveAll(dir)
		if last != nil {
			err = fmt.Errorf("%w (%w)", err, last)
		}
		return nil, err
	}
	if n.hub.plain == "" || n.hub.plainAMQP == "" {
		n.stop()
		return nil, errors.New("the node has no plain listeners, although listen.mqttPlain and listen.amqpPlain were set")
	}
	return n, nil
}

// stop ends the node.
func (n *naveChild) stop() {
	if n.hub != nil {
		n.hub.Close()
	}
	n.child.stop()
}

// logins registers so many devices.
func (n *naveChild) logins(ctx context.Context, count int, step func(done, total int)) ([]load.Login, error) {
	devices := load.Devices("bench-", count)
	if _, err := n.hub.Create(ctx, devices, false, step); err != nil {
		return nil, err
	}
	return n.hub.Logins(devices)
}

// plainTarget is the node's listener without TLS.
func (n *naveChild) plainTarget() load.Target { return load.Target{Address: n.hub.plain} }
