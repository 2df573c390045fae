package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

// answers matches replies with what waits for them, by request id.
type answers struct {
	mu      sync.Mutex
	waiting map[string]chan int
}

func (a *answers) add(rid string) chan int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[string]chan int{}
	}
	c := make(chan int, 1)
	a.waiting[rid] = c
	return c
}

func (a *answers) remove(rid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, rid)
}

// settle takes a message on $iothub/twin/res/{status}/?$rid={rid}…; others are not its business.
func (a *answers) settle(topic string) bool {
	rest, ok := strings.CutPrefix(topic, twinReplies)
	if !ok {
		return false
	}
	code, query, _ := strings.Cut(rest, "/?$rid=")
	rid, _, _ := strings.Cut(query, "&")
	status, err := strconv.Atoi(code)
	if err != nil {
		return false
	}
	a.mu.Lock()
	c := a.waiting[rid]
	delete(a.waiting, rid)
	a.mu.Unlock()
	if c != nil {
		c <- status
	}
	return c != nil
}

// report sends one patch of reported properties and waits for the answer.
func (a *answers) report(ctx context.Context, publish func(*mqtt.Publish) error, rid string, patch []byte) error {
	answer := a.add(rid)
	defer a.remove(rid)
	if err := publish(&mqtt.Publish{Topic: reportTopic + rid, Payload: patch}); err != nil {
		return err
	}
	timer := time.NewTimer(dialTimeout)
	defer timer.Stop()
	select {
	case status := <-answer:
		if status/100 != 2 {
			return fmt.Errorf("the twin patch was answered with status %d", status)
		}
		return nil
	case <-timer.C:
		return errors.New("the twin patch was not answered")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RunTwin connects the devices, and each patches its reported properties over MQTT, with so many patches in flight.
func RunTwin(ctx context.Context, t Target, logins []Login, o Requests) (*Result, error) {
	o = o.withDefaults()
	waiting := make([]answers, len(logins))
	clients, err := openClients(ctx, t, logins, twinReplies+"#", func(i int, _ *clientRef, p *mqtt.Publish) { waiting[i].settle(p.Topic) })
	if err != nil {
		return nil, err
	}
	defer closeClients(clients)
	var number atomic.Int64
	pad := strings.Repeat("x", max(0, o.Size-24))
	q := &requests{kind: "twin", workers: len(logins) * o.Window, warmup: o.Warmup, duration: o.Duration, live: o.Live,
		one: func(ctx context.Context, worker int) error {
			n, i := strconv.FormatInt(number.Add(1), 10), worker%len(logins)
			return waiting[i].report(ctx, clients[i].publish, n, []byte(`{"count":`+n+`,"pad":"`+pad+`"}`))
		}}
	r := q.run(ctx)
	r.Connections, r.Window, r.Size = len(logins), o.Window, o.Size
	return r, nil
}
