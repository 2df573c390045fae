package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// holdKeepAlive is announced by held connections, in seconds: they are shorter held than that, so that nobody has to ping.
const holdKeepAlive = 1700

// HoldResult is what idle connections cost a server process. Kernel figures are of the whole machine, both ends on one.
type HoldResult struct {
	Connections int     `json:"connections"`
	TLS         bool    `json:"tls"`
	Seconds     float64 `json:"seconds"` // to open all of them
	PerSecond   float64 `json:"perSecond"`
	Alive       int     `json:"alive"` // still open when the memory was read

	PID      int     `json:"pid,omitempty"`
	Before   int64   `json:"rssBefore,omitempty"` // bytes resident
	After    int64   `json:"rssAfter,omitempty"`
	BytesPer float64 `json:"bytesPerConnection,omitempty"`
	Kernel   int64   `json:"kernelTCPBytes,omitempty"` // growth of what the kernel holds for TCP buffers
}

// HoldOptions say how to hold. Settle is the longest wait for the process to give memory back.
type HoldOptions struct {
	PID    int // of the server; 0: memory is not read
	Settle time.Duration
	Step   func(done, total int)
	Note   func(text string)
}

// RunHold opens a connection for each login, lets them lie idle, reads the memory of the process and closes them.
func RunHold(ctx context.Context, t Target, logins []Login, o HoldOptions) (*HoldResult, error) {
	r := &HoldResult{Connections: len(logins), TLS: t.TLS != nil, PID: o.PID}
	var err error
	if o.PID != 0 {
		if r.Before, err = settle(ctx, &o); err != nil {
			return nil, err
		}
	}
	kernel, begun := kernelTCP(), time.Now()
	conns, err := openAll(ctx, t, logins, holdKeepAlive, o.Step)
	if err != nil {
		return nil, err
	}
	defer func() {
		each(context.WithoutCancel(ctx), len(conns), 64, nil, func(_ context.Context, i int) error {
			leave(conns[i])
			return nil
		})
	}()
	r.Seconds = time.Since(begun).Seconds()
	r.PerSecond = float64(len(conns)) / r.Seconds
	if o.PID != 0 {
		if r.After, err = settle(ctx, &o); err != nil {
			return nil, err
		}
		r.BytesPer = float64(r.After-r.Before) / float64(len(conns))
		r.Kernel = max(0, kernelTCP()-kernel) // others may have closed theirs
	}
	r.Alive = alive(conns)
	return r, ctx.Err()
}

// settle reads the memory until it has not moved by a percent for five seconds, or the time is over.
func settle(ctx context.Context, o *HoldOptions) (int64, error) {
	end := time.Now().Add(o.Settle)
	last, err := Resident(o.PID)
	since := time.Now()
	for err == nil && time.Now().Before(end) && time.Since(since) < 5*time.Second {
		if o.Note != nil {
			o.Note(fmt.Sprintf("idle; the server holds %.1f MB", float64(last)/1e6))
		}
		if !wait(ctx, 250*time.Millisecond) {
			return last, context.Cause(ctx)
		}
		var now int64
		if now, err = Resident(o.PID); now < last-last/100 || now > last+last/100 {
			last, since = now, time.Now()
		}
	}
	if err != nil {
		return 0, err
	}
	return Resident(o.PID)
}

// alive counts the connections that the server has not closed.
func alive(conns []net.Conn) (n int) {
	var b [1]byte
	for _, nc := range conns {
		nc.SetReadDeadline(time.Now().Add(time.Microsecond))
		if _, err := nc.Read(b[:]); errors.Is(err, os.ErrDeadlineExceeded) {
			n++
		}
	}
	return n
}

// Resident returns the resident memory of a process, in bytes.
func Resident(pid int) (int64, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("the memory of process %d cannot be read, which needs Linux and a process that lives: %w", pid, err)
	}
	defer f.Close()
	n, err := field(f, "VmRSS:", 1)
	return n << 10, err
}

// kernelTCP returns the bytes that the kernel holds for TCP, 0 where that is not to be known.
func kernelTCP() int64 {
	f, err := os.Open("/proc/net/sockstat")
	if err != nil {
		return 0
	}
	defer f.Close()
	n, _ := field(f, "TCP:", 10)
	return n * int64(os.Getpagesize())
}

// field returns the number that stands as word at of the line that begins with name.
func field(r io.Reader, name string, at int) (int64, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) > at && words[0] == name {
			return strconv.ParseInt(words[at], 10, 64)
		}
	}
	return 0, fmt.Errorf("no field %s", name)
}
