package load

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
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

// poster makes the requests of one client.
type poster struct {
	client *FeedClient
	o      *Feed
	run    string // begins each message id
	n      int
	body   []byte
}

// RunFeed posts feed data and counts the items that were answered as accepted.
func RunFeed(ctx context.Context, t Target, clients []FeedClient, o Feed) (*Result, error) {
	posters := make([]*poster, len(clients))
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	for i := range clients {
		posters[i] = &poster{client: &clients[i], o: &o, run: run + "-" + strconv.Itoa(i) + "-"}
	}
	l := turns{"feed", max(1, o.Batch), o.Warmup, o.Duration, o.Live}
	return l.run(ctx, t, len(clients), func(x *caller, client int) (int64, error) {
		p := posters[client]
		path := p.request(time.Now())
		status, err := x.ask("POST", path, p.client.Host, p.client.Token, "application/json", p.body)
		if err == nil {
			err = p.check(status, x.body)
		}
		return int64(max(1, o.Batch)), err
	})
}

// request fills body and returns the path.
func (p *poster) request(now time.Time) (path string) {
	p.body = p.body[:0]
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
	if p.o.Path != "" {
		return p.o.Path
	}
	path = "/iot/v1/devices/" + p.client.Device + "/feed-data"
	if p.o.Batch > 0 {
		path += "/batches"
	}
	return path
}

func (p *poster) item(now time.Time) {
	p.n++
	b := append(append(p.body, `{"message_id":"`...), p.run...)
	b = append(strconv.AppendInt(b, int64(p.n), 10), `","sensor_id":"`...)
	b = append(append(b, p.client.Sensor...), `","value":"21.5","value_received_at":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	p.body = append(b, `"}`...)
}

var allCreated = []byte(`"idempotent":0,"rejected":0`)

// check refuses what is no acceptance of all items.
func (p *poster) check(status int, body []byte) error {
	batch := p.o.Batch > 0 && p.o.Path == ""
	if status != 201 && !(status == 200 && (batch || p.o.Path != "")) || batch && !bytes.Contains(body, allCreated) {
		return fmt.Errorf("the answer is %d %s", status, body[:min(len(body), 300)])
	}
	return nil
}
