package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errLacking says that this machine can't play a fault.
var errLacking = errors.New("this machine can't do it")

const (
	faultTime = 5 * time.Minute        // for the hub to notice, or to recover
	calm      = 300 * time.Millisecond // of load between the steps
)

// fault is something that happens to the disk of a running hub.
type fault struct {
	name  string
	lasts bool // beyond the life of the process
	begin func(p *process) error
	end   func() error
}

// play tortures a hub with a fault: under load it begins, telemetry and writes
// must be refused with 5xx; it ends, and the hub works again, by itself or
// after a restart that it asks for. Nothing acknowledged may be missing, before
// and after a SIGKILL.
func (f *fault) play(s *site, devices int, out io.Writer) (*ledger, error) {
	r, err := newRig(s, devices, 4000)
	defer func() {
		if r != nil && r.p != nil {
			r.p.kill()
		}
	}()
	if err != nil {
		return nil, err
	}
	r.l.rough.Store(true)
	r.begin()
	time.Sleep(calm)
	err = f.refusals(r, out)
	whole := false
	if err == nil {
		whole, err = f.recovery(r, out)
	}
	time.Sleep(calm)
	if err == nil && whole {
		r.end()
		err = r.drain() // without a restart: no command may be stuck
		r.begin()
	}
	r.kill()
	if err != nil {
		return r.l, err
	}
	if err := r.restart(0); err != nil {
		return r.l, err
	}
	if err := r.check(true); err != nil {
		return r.l, err
	}
	if err := f.die(r, out); err != nil {
		return r.l, err
	}
	return r.l, r.finish(out)
}

// die lets the fault begin once more, kills the hub during it and tries a
// start; when the fault is over, everything acknowledged must be there.
func (f *fault) die(r *rig, out io.Writer) error {
	if !f.lasts {
		return nil
	}
	r.begin()
	time.Sleep(calm)
	err := f.begin(r.p)
	time.Sleep(calm)
	r.kill()
	if err != nil {
		return err
	}
	if r.p, err = r.s.start(); err != nil {
		fmt.Fprintf(out, "%s: a start during it fails: %s\n", f.name, complaint(err.Error()))
	} else {
		fmt.Fprintf(out, "%s: a start during it succeeds\n", f.name)
		r.p.kill()
	}
	if err := f.end(); err != nil {
		return err
	}
	if err := r.restart(0); err != nil {
		return err
	}
	return r.check(true)
}

// complaint returns what nave said last before its hint.
func complaint(text string) string {
	lines := strings.Split(text, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" && !strings.HasPrefix(line, "To do:") {
			return line
		}
	}
	return "nothing was said"
}

// refusals begins the fault and waits until everything is refused.
func (f *fault) refusals(r *rig, out io.Writer) error {
	if err := f.begin(r.p); err != nil {
		return err
	}
	event, err := r.until("an event by HTTPS is refused", r.postEvent, func(status int) bool { return status >= 500 })
	if err != nil {
		return errors.Join(err, f.end())
	}
	write, err := r.until("a registration is refused", r.putDevice, func(status int) bool { return status >= 500 })
	if err != nil {
		return errors.Join(err, f.end())
	}
	during := r.trailing()
	fmt.Fprintf(out, "%s: an event by HTTPS: %s\n", f.name, event)
	fmt.Fprintf(out, "%s: a registration: %s\n", f.name, write)
	fmt.Fprintf(out, "%s: %d events acknowledged by MQTT in a second of it\n", f.name, during)
	if during > 0 {
		r.l.violate("%s: %d events a second were acknowledged although the disk takes nothing", f.name, during)
	}
	for what, a := range map[string]answer{"event": event, "registration": write} {
		// 503001 has this name in the usual form of bodies.
		if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "ErrorCode:ServiceUnavailable;") {
			r.l.violate("%s: the %s was answered with %s, expected is 503 with ServiceUnavailable", f.name, what, a)
		}
	}
	return nil
}

// trailing returns how many events are acknowledged in a second, of up to ten the
// first without any: acknowledgements that are on their way when the first write is
// refused still arrive. What is acknowledged is checked later as everything else.
func (r *rig) trailing() (during int64) {
	for range 10 {
		before := r.l.events.Load()
		time.Sleep(time.Second)
		if during = r.l.events.Load() - before; during == 0 {
			break
		}
	}
	return during
}

// recovery ends the fault and waits until everything is taken again; a hub that
// asks for a restart is not whole.
func (f *fault) recovery(r *rig, out io.Writer) (whole bool, err error) {
	if err := f.end(); err != nil {
		return false, err
	}
	begun := time.Now()
	if _, err := r.until("an event by HTTPS is taken again", r.postEvent, func(status int) bool { return status == http.StatusNoContent }); err != nil {
		return false, err
	}
	fmt.Fprintf(out, "%s: events are taken again %v after its end\n", f.name, time.Since(begun).Round(time.Millisecond))
	asked := ""
	a, err := r.until("a registration is taken again, or the hub asks for a restart", r.putDevice, func(status int) bool {
		asked = r.s.asksForRestart()
		return status == http.StatusOK || asked != ""
	})
	switch {
	case err != nil:
		return false, err
	case a.status == http.StatusOK:
		fmt.Fprintf(out, "%s: registrations are taken again %v after its end\n", f.name, time.Since(begun).Round(time.Millisecond))
	default:
		fmt.Fprintf(out, "%s: registrations are refused until a restart, which the hub asks for: %s\n", f.name, asked)
	}
	return a.status == http.StatusOK, nil
}

// asksForRestart returns the line of the log that tells the operator to restart
// the hub, "" when there is none.
func (s *site) asksForRestart() string {
	text, _ := os.ReadFile(s.log)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "restart the hub") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// answer is what an HTTP request got.
type answer struct {
	status int
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, strings.TrimSpace(a.body)) }

// until repeats a request until its status is wanted.
func (r *rig) until(what string, ask func(context.Context) (answer, error), wanted func(int) bool) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), faultTime)
	defer cancel()
	var last answer
	for {
		a, err := ask(ctx)
		switch {
		case err == nil && wanted(a.status):
			return a, nil
		case ctx.Err() != nil:
			return a, fmt.Errorf("within %v nothing like this happened: %s; the last answer is %s", faultTime, what, last)
		case err != nil:
			select {
			case <-r.p.exited:
				return a, fmt.Errorf("the hub ended: %w\n%s", r.p.err, r.s.tail())
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		last = a
	}
}

// postEvent sends an event by HTTPS, of a device whose events nobody compares.
func (r *rig) postEvent(ctx context.Context) (answer, error) {
	d := r.log.markers[0]
	status, body, err := d.post(ctx, r.p, "probe "+strings.Repeat("x", 16<<10))
	return answer{status: status, body: string(body)}, err
}

// putDevice registers a new device, which must exist from then on.
func (r *rig) putDevice(ctx context.Context) (answer, error) {
	c := r.prober()
	id := c.name + "-" + strconv.Itoa(len(c.ids))
	c.ids = append(c.ids, id)
	e := &entry{unsure: true, reason: strings.Repeat("r", 100)}
	c.entries[id] = e
	status, body, err := r.p.rest(ctx, http.MethodPut, "/devices/"+id, map[string]any{"deviceId": id, "statusReason": e.reason})
	if err == nil && status == http.StatusOK {
		have := &record{}
		if err := json.Unmarshal(body, have); err != nil {
			return answer{}, err
		}
		e.now, e.unsure = have, false
		r.l.registered.Add(1)
	}
	return answer{status: status, body: string(body)}, err
}

// prober is the clerk that only registers.
func (r *rig) prober() *clerk {
	const name = "probe"
	for _, c := range r.clerks {
		if c.name == name {
			return c
		}
	}
	c := newClerk(0, r.l)
	c.name = name
	r.clerks = append(r.clerks, c)
	return c
}

// fullDisk fills the file system of a data folder.
func fullDisk(data string) *fault {
	filler := filepath.Join(data, "..", "filler")
	return &fault{name: "full disk", lasts: true, begin: func(*process) error { return fill(filler) }, end: func() error { return os.Remove(filler) }}
}

// fill writes a file until the disk is full.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 16 {
		block := bytes.Repeat([]byte{'x'}, size)
		for err == nil {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		err = nil
	}
	return nil
}

// mount makes a small file system at dir, or says what this machine lacks.
func mount(dir string, megabytes int) (unmount func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", megabytes), "tmpfs", dir).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: mounting a tmpfs: %v %s", errLacking, err, bytes.TrimSpace(out))
	}
	return func() { exec.Command("umount", "-l", dir).Run() }, nil
}

// failingSync lets every sync of the hub fail, with strace.
func failingSync() (*fault, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return nil, fmt.Errorf("%w: strace is not installed (apt-get install strace)", errLacking)
	}
	var tracer *exec.Cmd
	var text bytes.Buffer
	begin := func(p *process) error {
		tracer = exec.Command(path, "-f", "-o", os.DevNull, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO", "-p", strconv.Itoa(p.cmd.Process.Pid))
		tracer.Stderr = &text
		return tracer.Start()
	}
	end := func() error {
		if err := tracer.Process.Signal(syscall.SIGINT); err != nil {
			return fmt.Errorf("%w: strace: %v %s", errLacking, err, text.String())
		}
		tracer.Wait()
		return nil
	}
	return &fault{name: "failing sync", begin: begin, end: end}, nil
}
