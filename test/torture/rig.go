package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// rig is one hub with everything that plays against it.
type rig struct {
	l        *ledger
	s        *site
	p        *process
	devices  []*device
	clerks   []*clerk
	feeders  []*feeder
	carriers []*carrier
	log      *eventLog
	stop     context.CancelFunc // of the load; nil when there is none
	load     sync.WaitGroup
}

const clerks, feeders, carriers = 3, 6, 2

// newRig starts the hub for the first time and registers n devices.
func newRig(s *site, n, size int) (r *rig, err error) {
	r = &rig{l: &ledger{}, s: s}
	if r.p, err = s.start(); err != nil {
		return nil, err
	}
	for i := range n {
		d, err := r.register("sender"+strconv.Itoa(i), size)
		if err != nil {
			return r, err
		}
		r.devices = append(r.devices, d)
	}
	for i := range clerks {
		r.clerks = append(r.clerks, newClerk(i, r.l))
	}
	ids := &owners{of: map[int64]string{}}
	for i := range feeders {
		f, err := newFeeder(r.p, i%ways, r.l, ids)
		if err != nil {
			return r, err
		}
		r.feeders = append(r.feeders, f)
	}
	for i := range carriers {
		c, err := newCarrier(r.p, i, r.l)
		if err != nil {
			return r, err
		}
		r.carriers = append(r.carriers, c)
	}
	r.log, err = newEventLog(r.l, r.devices, r.feeders, r.carriers, func(id string) (*device, error) { return r.register(id, 1) })
	return r, err
}

func (r *rig) register(id string, size int) (*device, error) {
	status, body, err := r.p.rest(context.Background(), http.MethodPut, "/devices/"+id, map[string]any{"deviceId": id})
	if err != nil || status != http.StatusOK {
		return nil, unexpected("registering "+id, status, body, err)
	}
	var a record
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	return newDevice(id, a.Auth.Key.Primary, r.l, size), nil
}

// begin starts the load; end ends it.
func (r *rig) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	p := r.p
	for _, d := range r.devices {
		r.load.Go(func() { d.live(ctx, p) })
	}
	for _, c := range r.clerks {
		r.load.Go(func() { r.repeat(ctx, p, func() bool { return c.step(ctx, p) }) })
	}
	for _, c := range r.carriers {
		r.load.Go(func() { r.repeat(ctx, p, func() bool { return c.step(ctx, p) }) })
	}
	for _, f := range r.feeders {
		if f.way == byMQTT {
			r.load.Go(func() { stay(ctx, p, r.l, f.id, f.ride) })
			continue
		}
		r.load.Go(func() { r.repeat(ctx, p, func() bool { return f.step(ctx, p) }) })
		if f.way == single {
			r.load.Go(func() { r.repeat(ctx, p, func() bool { return f.wishStep(ctx, p) }) })
		}
	}
	for i, d := range r.devices {
		if i%2 == 0 {
			r.load.Go(func() { r.repeat(ctx, p, func() bool { return d.sendCommand(ctx, p) }) })
		} else {
			r.load.Go(func() { r.repeat(ctx, p, func() bool { return d.desire(ctx, p) }) })
		}
	}
}

// repeat does one operation after the other until the load ends or the hub is
// gone; that an answer is cut off for another reason breaks a promise.
func (r *rig) repeat(ctx context.Context, p *process, op func() bool) {
	for ctx.Err() == nil {
		if !op() {
			if ctx.Err() == nil && !r.l.excused() {
				r.l.violate("a request had no answer while the hub was alive")
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(20 * time.Millisecond)):
		}
	}
}

// kill ends the hub under load.
func (r *rig) kill() {
	r.l.dying.Store(true)
	r.p.kill()
	r.end()
	r.l.dying.Store(false)
}

// end ends the load and waits for it.
func (r *rig) end() {
	r.stop()
	r.load.Wait()
}

// restart starts the hub; before, when early is set, it is killed some times
// while it starts.
func (r *rig) restart(early int) (err error) {
	for range early {
		p, err := r.s.launch()
		if err != nil {
			return err
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the hub ended while it started: %w\n%s", p.err, r.s.tail())
		case <-time.After(rand.N(400 * time.Millisecond)):
		}
		p.kill()
	}
	r.p, err = r.s.start()
	return err
}

// check compares everything with the hub.
func (r *rig) check(all bool) error {
	var work sync.WaitGroup
	var mu sync.Mutex
	var first error
	run := func(f func() error) {
		work.Go(func() {
			if err := f(); err != nil {
				mu.Lock()
				first = err
				mu.Unlock()
			}
		})
	}
	for _, d := range r.devices {
		run(func() error { return d.checkTwin(r.p) })
		run(func() error { return d.checkQueue(r.p) })
	}
	for _, c := range r.clerks {
		run(func() error { return c.check(r.p, all) })
	}
	for _, c := range r.carriers {
		run(func() error { return c.check(r.p, all) })
	}
	for _, f := range r.feeders {
		f.forget()
		run(func() error { return f.check(r.p, all) })
	}
	run(func() error { return r.log.check(r.p) })
	work.Wait()
	if first != nil {
		return first
	}
	copies := 0
	for _, f := range r.feeders {
		copies += f.checkLogged()
	}
	r.l.copies.Store(int64(copies))
	for _, c := range r.carriers {
		c.checkLogged(false)
	}
	return nil
}

// drainTime is what the devices get to empty their queues.
const drainTime = 5 * time.Minute

// drain lets the devices take every command, and everything they still have to
// send be acknowledged.
func (r *rig) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	r.keen(true)
	for _, d := range r.devices {
		r.load.Go(func() { d.live(ctx, r.p) })
	}
	r.stop = cancel
	defer r.keen(false)
	defer r.end()
	for _, d := range r.devices {
		for {
			n, err := d.queued(r.p)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			select {
			case <-ctx.Done():
				r.l.violate("%s: %d commands are still queued after %s", d.id, n, drainTime)
				return nil
			case <-time.After(20 * time.Millisecond):
			}
		}
		d.checkReceived()
	}
	return nil
}

// keen says whether the devices acknowledge every command.
func (r *rig) keen(all bool) {
	for _, d := range r.devices {
		d.mu.Lock()
		d.inbox.keen = all
		d.mu.Unlock()
	}
}
