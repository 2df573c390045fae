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

// FeedClient is one control device that posts feed data (iot/v1).
type FeedClient struct{ Host, Device, Token, Sensor string }

// Feed says how feed data is posted: one request under way for each client, over a connection that is kept.
type Feed struct {
	Batch    int    // items of a request; 0: single items, without a batch around them
	Path     string // in place of the endpoint of feed data, for a server to compare with
	Warmup   time.Duration
	Duration time.Duration
	Live     func(Live)
}

// poster is a connection that posts.
type poster struct {
	client *FeedClient
	o      *Feed
	nc     net.Conn
	in     *bufio.Reader
	run    string // begins each message id
	n      int
	hist   Histogram
	buf    []byte
	body   []byte
}

// RunFeed posts feed data and counts the items that were answered as accepted.
func RunFeed(ctx context.Context, t Target, clients []FeedClient, o Feed) (*Result, error) {
	posters := make([]*poster, len(clients))
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	err := each(ctx, len(clients), 32, nil, func(ctx context.Context, i int) error {
		nc, err := t.Dial(ctx)
		if err == nil {
			posters[i] = &poster{client: &clients[i], o: &o, nc: nc, in: bufio.NewReaderSize(nc, 16<<10), run: run + "-" + strconv.Itoa(i) + "-"}
		}
		return err
	})
	defer func() {
		for _, p := range posters {
			if p != nil {
				p.nc.Close()
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
	for _, p := range posters {
		work.Go(func() { failed.add(p.post(ctx, base, &answered, &inTime)) })
	}
	work.Wait()
	stop()
	r := &Result{Kind: "feed", Connections: len(clients), Window: 1, Size: max(1, o.Batch), Sent: answered.Load(), Answered: answered.Load(), Done: inTime.Load()}
	var all Histogram
	for _, p := range posters {
		all.Merge(&p.hist)
	}
	r.finish(&all, failed, o.Duration)
	r.BytesPerSecond = 0
	return r, nil
}

// post sends requests until the time is over.
func (p *poster) post(ctx context.Context, base time.Time, answered, inTime *atomic.Int64) error {
	defer context.AfterFunc(ctx, func() { p.nc.SetDeadline(time.Unix(1, 0)) })()
	items := int64(max(1, p.o.Batch))
	for {
		begun := time.Now()
		if begun.Sub(base) >= p.o.Warmup+p.o.Duration || ctx.Err() != nil {
			return nil
		}
		if _, err := p.nc.Write(p.request(begun)); err != nil {
			return err
		}
		if err := p.answer(); err != nil {
			return err
		}
		end := time.Now()
		answered.Add(items)
		if since := end.Sub(base); since >= p.o.Warmup && since < p.o.Warmup+p.o.Duration {
			inTime.Add(items)
			p.hist.Record(end.Sub(begun))
		}
	}
}

func (p *poster) request(now time.Time) []byte {
	p.body = p.body[:0]
	path := p.o.Path
	if p.o.Batch > 0 {
		p.body = append(p.body, `{"items":[`...)
		for n := range p.o.Batch {
			if n > 0 {
				p.body = append(p.body, ',')
			}
			p.item(now)
		}
		p.body = append(p.body, `]}`...)
	} else {
		p.item(now)
	}
	if path == "" {
		path = "/iot/v1/devices/" + p.client.Device + "/feed-data"
		if p.o.Batch > 0 {
			path += "/batches"
		}
	}
	b := append(append(append(p.buf[:0], "POST "...), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, p.client.Host...), "\r\nAuthorization: Bearer "...)
	b = append(append(b, p.client.Token...), "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(p.body)), 10), "\r\n\r\n"...)
	p.buf = append(b, p.body...)
	return p.buf
}

func (p *poster) item(now time.Time) {
	p.n++
	b := append(append(p.body, `{"message_id":"`...), p.run...)
	b = append(strconv.AppendInt(b, int64(p.n), 10), `","sensor_id":"`...)
	b = append(append(b, p.client.Sensor...), `","value":"21.5","value_received_at":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	p.body = append(b, `"}`...)
}

var (
	lengthName = []byte("content-length:")
	allCreated = []byte(`"idempotent":0,"rejected":0`)
)

// answer reads one response and refuses what is no acceptance of all items.
func (p *poster) answer() error {
	status, length := 0, -1
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case status == 0:
			if len(line) < 12 {
				return errors.New("the answer is no HTTP")
			}
			status, _ = strconv.Atoi(string(line[9:12]))
		case len(line) == 0:
			return p.checkBody(status, length)
		case len(line) > len(lengthName) && bytes.EqualFold(line[:len(lengthName)], lengthName):
			length, _ = strconv.Atoi(string(bytes.TrimSpace(line[len(lengthName):])))
		}
	}
}

func (p *poster) checkBody(status, length int) error {
	if length < 0 {
		return errors.New("the answer has no length")
	}
	if cap(p.body) < length {
		p.body = make([]byte, length)
	}
	body := p.body[:length]
	if _, err := io.ReadFull(p.in, body); err != nil {
		return err
	}
	batch := p.o.Batch > 0 && p.o.Path == ""
	if status != 201 && !(status == 200 && (batch || p.o.Path != "")) || batch && !bytes.Contains(body, allCreated) {
		return fmt.Errorf("the answer is %d %s", status, body[:min(len(body), 300)])
	}
	return nil
}
