package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Calls says which requests are sent: each client has one under way, over a connection that is kept.
type Calls struct {
	Kind     string // of the result
	Method   string
	Type     string // content type of the bodies, "" for requests without one
	Host     string
	Token    string // bearer token
	Clients  int
	Next     func(client, n int) (path, body string) // of request n of a client
	Want     func(client, n int) string              // what the body of the answer must contain
	Warmup   time.Duration
	Duration time.Duration
	Live     func(Live)
}

// caller is a connection that sends requests.
type caller struct {
	o      *Calls
	client int
	nc     net.Conn
	in     *bufio.Reader
	hist   Histogram
	buf    []byte
	body   []byte
}

// RunCalls sends HTTP requests and counts the answers of status 200 that contain what is wanted.
func RunCalls(ctx context.Context, t Target, o Calls) (*Result, error) {
	callers := make([]*caller, o.Clients)
	err := each(ctx, len(callers), 32, nil, func(ctx context.Context, i int) error {
		nc, err := t.Dial(ctx)
		if err == nil {
			callers[i] = &caller{o: &o, client: i, nc: nc, in: bufio.NewReaderSize(nc, 64<<10)}
		}
		return err
	})
	defer func() {
		for _, c := range callers {
			if c != nil {
				c.nc.Close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	var answered, inTime atomic.Int64
	base := time.Now()
	stop := watch(answered.Load, o.Live)
	failed, work := new(faults), new(sync.WaitGroup)
	for _, c := range callers {
		work.Go(func() { failed.add(c.run(ctx, base, &answered, &inTime)) })
	}
	work.Wait()
	stop()
	r := &Result{Kind: o.Kind, Connections: o.Clients, Window: 1, Size: 1, Sent: answered.Load(), Answered: answered.Load(), Done: inTime.Load()}
	var all Histogram
	for _, c := range callers {
		all.Merge(&c.hist)
	}
	r.finish(&all, failed, o.Duration)
	r.BytesPerSecond = 0
	return r, nil
}

// run sends requests until the time is over.
func (c *caller) run(ctx context.Context, base time.Time, answered, inTime *atomic.Int64) error {
	defer context.AfterFunc(ctx, func() { c.nc.SetDeadline(time.Unix(1, 0)) })()
	for n := 0; ; n++ {
		begun := time.Now()
		if begun.Sub(base) >= c.o.Warmup+c.o.Duration || ctx.Err() != nil {
			return nil
		}
		if _, err := c.nc.Write(c.request(n)); err != nil {
			return err
		}
		status, err := c.answer()
		if err != nil {
			return err
		}
		if status != 200 || !bytes.Contains(c.body, []byte(c.o.Want(c.client, n))) {
			return fmt.Errorf("the answer is %d %s", status, c.body[:min(len(c.body), 300)])
		}
		end := time.Now()
		answered.Add(1)
		if since := end.Sub(base); since >= c.o.Warmup && since < c.o.Warmup+c.o.Duration {
			inTime.Add(1)
			c.hist.Record(end.Sub(begun))
		}
	}
}

func (c *caller) request(n int) []byte {
	path, body := c.o.Next(c.client, n)
	b := append(append(append(append(c.buf[:0], c.o.Method...), ' '), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, c.o.Host...), "\r\nAuthorization: Bearer "...)
	b = append(append(b, c.o.Token...), "\r\n"...)
	if c.o.Type != "" {
		b = append(append(b, "Content-Type: "...), c.o.Type...)
		b = append(strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	c.buf = append(append(b, "\r\n"...), body...)
	return c.buf
}

// answer reads a response with a Content-Length into body.
func (c *caller) answer() (status int, err error) {
	length := -1
	for {
		line, err := c.in.ReadSlice('\n')
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
			if cap(c.body) < length {
				c.body = make([]byte, length)
			}
			c.body = c.body[:length]
			_, err := io.ReadFull(c.in, c.body)
			return status, err
		case len(line) > len(lengthName) && bytes.EqualFold(line[:len(lengthName)], lengthName):
			length, _ = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthName):])))
		}
	}
}
