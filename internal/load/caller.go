package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// caller is a connection of HTTP/1.1 that is kept, with one request under way.
type caller struct {
	nc   net.Conn
	in   *bufio.Reader
	hist Histogram
	buf  []byte // of the request
	body []byte // of the answer
}

// turns is a closed loop over callers; each does one turn at least.
type turns struct {
	kind             string
	size             int
	warmup, duration time.Duration
	live             func(Live)
}

// run opens n callers and has each do turn after turn until the time is over.
// A turn sends a request, judges the answer, and returns how many items it was.
func (l turns) run(ctx context.Context, t Target, n int, turn func(x *caller, client int) (items int64, err error)) (*Result, error) {
	all := make([]*caller, n)
	err := each(ctx, n, 32, nil, func(ctx context.Context, i int) error {
		nc, err := t.Dial(ctx)
		if err == nil {
			all[i] = &caller{nc: nc, in: bufio.NewReaderSize(nc, 16<<10)}
		}
		return err
	})
	defer func() {
		for _, x := range all {
			if x != nil {
				x.nc.Close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	var answered, inTime atomic.Int64
	base := time.Now()
	stop := watch(answered.Load, l.live)
	failed, work := new(faults), new(sync.WaitGroup)
	for i, x := range all {
		work.Go(func() {
			failed.add(l.loop(ctx, x, base, &answered, &inTime, func() (int64, error) { return turn(x, i) }))
		})
	}
	work.Wait()
	stop()
	r := &Result{Kind: l.kind, Connections: n, Window: 1, Size: l.size, Sent: answered.Load(), Answered: answered.Load(), Done: inTime.Load()}
	var times Histogram
	for _, x := range all {
		times.Merge(&x.hist)
	}
	r.finish(&times, failed, l.duration)
	r.BytesPerSecond = 0
	return r, nil
}

func (l turns) loop(ctx context.Context, x *caller, base time.Time, answered, inTime *atomic.Int64, turn func() (int64, error)) error {
	defer context.AfterFunc(ctx, func() { x.nc.SetDeadline(time.Unix(1, 0)) })()
	for first := true; ; first = false {
		begun := time.Now()
		if !first && begun.Sub(base) >= l.warmup+l.duration || ctx.Err() != nil {
			return nil
		}
		items, err := turn()
		if err != nil {
			return err
		}
		end := time.Now()
		answered.Add(items)
		if since := end.Sub(base); since >= l.warmup && since < l.warmup+l.duration {
			inTime.Add(items)
			x.hist.Record(end.Sub(begun))
		}
	}
}

// ask sends a request and reads the answer into body; kind is the content type,
// "" for a request without body.
func (x *caller) ask(method, path, host, token, kind string, body []byte) (status int, err error) {
	b := append(append(append(append(x.buf[:0], method...), ' '), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, host...), "\r\nAuthorization: Bearer "...)
	b = append(append(b, token...), "\r\n"...)
	if kind != "" {
		b = append(append(b, "Content-Type: "...), kind...)
		b = append(strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	x.buf = append(append(b, "\r\n"...), body...)
	if _, err := x.nc.Write(x.buf); err != nil {
		return 0, err
	}
	return x.answer()
}

var lengthName = []byte("content-length:")

// answer reads a response with a Content-Length into body.
func (x *caller) answer() (status int, err error) {
	length := -1
	for {
		line, err := x.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case status == 0:
			if len(line) < 12 {
				return 0, errors.New("the answer is no HTTP")
			}
			status, _ = strconv.Atoi(string(line[9:12]))
		case len(line) == 0:
			if length < 0 {
				return 0, errors.New("the answer has no length")
			}
			if cap(x.body) < length {
				x.body = make([]byte, length)
			}
			x.body = x.body[:length]
			_, err := io.ReadFull(x.in, x.body)
			return status, err
		case len(line) > len(lengthName) && bytes.EqualFold(line[:len(lengthName)], lengthName):
			length, _ = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthName):])))
		}
	}
}
