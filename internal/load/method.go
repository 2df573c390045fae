package load

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

const (
	methodTopic  = "$iothub/methods/POST/"
	replyTopic   = "$iothub/methods/res/"
	reportTopic  = "$iothub/twin/PATCH/properties/reported/?$rid="
	twinReplies  = "$iothub/twin/res/"
	desiredTopic = "$iothub/twin/PATCH/properties/desired/"
)

// requests describes a run of requests with answers.
type requests struct {
	kind             string
	workers          int
	warmup, duration time.Duration
	live             func(Live)
	one              func(ctx context.Context, worker int) error
}

// run lets each worker make one request after the other, and one at least. What
// the end of ctx cuts off counts as not sent.
func (q *requests) run(ctx context.Context) *Result {
	base := time.Now()
	from, until := base.Add(q.warmup), base.Add(q.warmup+q.duration)
	var sent, answered, done atomic.Int64
	var failed faults
	hists, all := make([]Histogram, q.workers), sync.WaitGroup{}
	stop := watch(answered.Load, q.live)
	for i := range q.workers {
		all.Go(func() {
			for begun, first := time.Now(), true; (first || begun.Before(until)) && ctx.Err() == nil; begun, first = time.Now(), false {
				sent.Add(1)
				if err := q.one(ctx, i); err != nil && ctx.Err() != nil {
					sent.Add(-1)
					return
				} else if err != nil {
					failed.add(err)
					wait(ctx, 10*time.Millisecond)
					continue
				}
				answered.Add(1)
				if now := time.Now(); now.After(from) && now.Before(until) {
					done.Add(1)
					hists[i].Record(now.Sub(begun))
				}
			}
		})
	}
	all.Wait()
	stop()
	r := &Result{Kind: q.kind, Sent: sent.Load(), Answered: answered.Load(), Done: done.Load()}
	var sum Histogram
	for i := range hists {
		sum.Merge(&hists[i])
	}
	r.finish(&sum, &failed, min(q.duration, max(0, time.Since(base)-q.warmup)))
	return r
}

// Requests says how to measure methods and twins: so many at a time on each device.
type Requests struct {
	Window   int // default 1
	Size     int // bytes of a payload; default 64
	Warmup   time.Duration
	Duration time.Duration // default 5 s
	Live     func(Live)
}

func (o Requests) withDefaults() Requests {
	if o.Window < 1 {
		o.Window = 1
	}
	if o.Size < 1 {
		o.Size = 64
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Second
	}
	return o
}

// RunMethod connects the devices, which answer each method with its own payload, and calls them by the service's REST API.
func RunMethod(ctx context.Context, s *Service, t Target, logins []Login, o Requests) (*Result, error) {
	o = o.withDefaults()
	clients, err := openClients(ctx, t, logins, methodTopic+"#", func(_ int, c *clientRef, p *mqtt.Publish) {
		if reply, ok := echo(p); ok {
			c.publish(reply)
		}
	})
	if err != nil {
		return nil, err
	}
	defer closeClients(clients)
	payload, err := json.Marshal(strings.Repeat("x", max(0, o.Size-2)))
	if err != nil {
		return nil, err
	}
	q := &requests{kind: "method", workers: len(logins) * o.Window, warmup: o.Warmup, duration: o.Duration, live: o.Live,
		one: func(ctx context.Context, i int) error {
			status, err := s.Invoke(ctx, logins[i%len(logins)].ClientID, "echo", payload)
			if err == nil && status != 200 {
				err = fmt.Errorf("the method's status is %d", status)
			}
			return err
		}}
	r := q.run(ctx)
	r.Connections, r.Window, r.Size = len(logins), o.Window, o.Size
	return r, nil
}

// echo makes the answer to a method call (device-protocols 2.6).
func echo(p *mqtt.Publish) (*mqtt.Publish, bool) {
	_, rid, ok := strings.Cut(p.Topic, "/?$rid=")
	if !ok || !strings.HasPrefix(p.Topic, methodTopic) {
		return nil, false
	}
	body := p.Payload
	if len(body) == 0 {
		body = []byte("null")
	}
	return &mqtt.Publish{Topic: replyTopic + "200/?$rid=" + rid, Payload: body}, true
}

// clientRef is a client that its own callbacks may use: they can come before Open has returned it.
type clientRef struct {
	ready chan struct{}
	c     *mqtt.Client
}

func (r *clientRef) publish(p *mqtt.Publish) error {
	<-r.ready
	return r.c.Publish(p)
}

// openClients connects all logins and subscribes each to the filter, in which {id} stands for the client id.
func openClients(ctx context.Context, t Target, logins []Login, filter string, message func(i int, c *clientRef, p *mqtt.Publish)) ([]*clientRef, error) {
	clients := make([]*clientRef, len(logins))
	err := each(ctx, len(logins), 32, nil, func(ctx context.Context, i int) error {
		nc, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		r := &clientRef{ready: make(chan struct{})}
		l := &logins[i]
		r.c, _, err = mqtt.Open(nc, mqtt.ClientOptions{ClientID: l.ClientID, Username: l.Username, Password: l.Password, Clean: true, KeepAlive: 60},
			mqtt.ClientHandler{Message: func(p *mqtt.Publish) { message(i, r, p) }})
		if err != nil {
			return fmt.Errorf("%s: %w", l.ClientID, err)
		}
		close(r.ready)
		clients[i] = r
		return subscribe(ctx, r.c, strings.ReplaceAll(filter, "{id}", l.ClientID))
	})
	if err != nil {
		closeClients(clients)
		return nil, err
	}
	return clients, nil
}

func subscribe(ctx context.Context, c *mqtt.Client, filters ...string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	subs := make([]mqtt.Subscription, len(filters))
	for i, f := range filters {
		subs[i] = mqtt.Subscription{Filter: f}
		if strings.HasSuffix(f, "/messages/devicebound/#") {
			subs[i].QoS = 1
		}
	}
	codes, err := c.Subscribe(ctx, subs...)
	if err != nil {
		return err
	}
	for i, code := range codes {
		if code > 1 {
			return fmt.Errorf("the subscription to %s was refused", filters[i])
		}
	}
	return nil
}

func closeClients(clients []*clientRef) {
	for _, r := range clients {
		if r != nil {
			r.c.Close()
		}
	}
	for _, r := range clients {
		if r != nil {
			<-r.c.Done()
		}
	}
}
