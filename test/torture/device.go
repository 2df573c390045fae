package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/mqtt"
)

const (
	window    = 64 // messages without PUBACK
	dialTime  = 20 * time.Second
	pauseMost = 15 * time.Millisecond
)

// trip is one connection of a device: what was sent on it, in order, and how
// much of it was acknowledged, which is always a beginning.
type trip struct {
	sent  []int
	acked int
	seen  []bool // which of sent the log holds; set by the check
	last  int    // index of the latest of them, -1 none
}

// device is a device with all that it knows of its past.
type device struct {
	// Set by newDevice, then read only:
	id, key string
	l       *ledger
	size    int // of the longest body

	// Guarded by mu:
	mu       sync.Mutex
	trips    []*trip // by number of connection
	next     int     // number of the next message
	waiting  []int   // not acknowledged, in order of sending
	inFlight []int   // of this connection: numbers in order of their packet ids
	firstID  int     // packet id of inFlight[0], counted without wrapping
	room     chan struct{}
	inbox    inbox
	twin     twin
}

func newDevice(id, key string, l *ledger, size int) *device {
	d := &device{id: id, key: key, l: l, size: size, room: make(chan struct{}, 1)}
	d.inbox.init()
	d.twin.init()
	return d
}

// body is what message n of a device holds; every seventh is no text.
func (d *device) body(n int) []byte {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", d.id, n)
	r := rand.New(rand.NewPCG(h.Sum64(), uint64(n)))
	b := fmt.Appendf(nil, "%s %d ", d.id, n)
	if n%7 == 3 {
		b = append(b, 0xff, 0xfe)
	}
	const letters = "abcdefghijklmnopqrstuvwxyz \"\\\n0123456789"
	for range r.IntN(d.size) {
		b = append(b, letters[r.IntN(len(letters))])
	}
	return b
}

// live connects again and again until ctx ends or the hub is gone.
func (d *device) live(ctx context.Context, p *process) { stay(ctx, p, d.l, d.id, d.ride) }

// stay repeats connections of a device until ctx ends or the hub is gone; that
// one is lost while the hub is alive breaks a promise.
func stay(ctx context.Context, p *process, l *ledger, id string, ride func(context.Context, *process) error) {
	for ctx.Err() == nil && !l.dying.Load() {
		err := ride(ctx, p)
		if err == nil || ctx.Err() != nil || l.dying.Load() {
			continue
		}
		if !l.rough.Load() {
			select { // the hub died of its own when it is gone
			case <-p.exited:
				l.violate("%s: the hub ended by itself: %v", id, p.err)
				return
			default:
			}
			l.violate("%s: the connection was lost while the hub was alive: %v", id, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ride is one connection; nil when the device ended it by itself.
func (d *device) ride(ctx context.Context, p *process) error {
	r := &rider{d: d, ready: make(chan struct{}), lost: make(chan error, 1), replies: make(chan reply, 4)}
	if err := r.open(ctx, p); err != nil {
		return err
	}
	defer func() { <-r.c.Done() }()
	defer r.c.Kill()
	if err := r.resend(); err != nil {
		return r.why(err)
	}
	subs, cancel := context.WithTimeout(ctx, dialTime)
	_, err := r.c.Subscribe(subs, mqtt.Subscription{Filter: "devices/" + d.id + "/messages/devicebound/#", QoS: 1},
		mqtt.Subscription{Filter: twinReply + "#"})
	cancel()
	if err != nil {
		return r.why(err)
	}
	reporting, enough := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.report(reporting)
	}()
	err = r.send(ctx)
	enough()
	<-ended // after its last answer, or with the connection
	return err
}

// rider is the state of one connection.
type rider struct {
	d       *device
	c       *mqtt.Client
	t       *trip
	number  int
	ready   chan struct{}
	lost    chan error
	replies chan reply
	nextID  int // owned by the sender, counted without wrapping
	seen    map[string]bool
}

func (r *rider) open(ctx context.Context, p *process) error {
	d := r.d
	token, err := cred.Sign(host+"/devices/"+d.id, d.key, "", time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	nc, err := (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", p.addresses["mqtt"])
	if err != nil {
		return err
	}
	d.mu.Lock()
	r.t = &trip{last: -1}
	r.number = len(d.trips)
	r.seen = map[string]bool{}
	d.trips = append(d.trips, r.t)
	d.inFlight, d.firstID = nil, 1
	d.mu.Unlock()
	r.c, _, err = mqtt.Open(nc, mqtt.ClientOptions{ClientID: d.id, Username: host + "/" + d.id + "/?api-version=2021-04-12",
		Password: []byte(token), KeepAlive: 30, Clean: r.number%3 == 0, ManualAck: true},
		mqtt.ClientHandler{Message: r.message, Acked: r.acked, Closed: func(err error) { r.lost <- err }})
	if err != nil {
		return err
	}
	r.nextID = 1
	close(r.ready)
	return nil
}

func (r *rider) why(err error) error {
	r.c.Kill()
	<-r.c.Done()
	return fmt.Errorf("%w (%v)", err, <-r.lost)
}

// resend sends what earlier connections left unacknowledged [MQTT-4.4.0-1].
func (r *rider) resend() error {
	r.d.mu.Lock()
	left := append([]int(nil), r.d.waiting...)
	r.d.mu.Unlock()
	for _, n := range left {
		r.d.l.resent.Add(1)
		if err := r.publish(n, true); err != nil {
			return err
		}
	}
	return nil
}

func packetID(counted int) uint16 { return uint16((counted-1)%65535 + 1) }

func (r *rider) publish(n int, dup bool) error {
	d := r.d
	body := d.body(n)
	d.mu.Lock()
	r.t.sent = append(r.t.sent, n)
	d.inFlight = append(d.inFlight, n)
	if !dup {
		d.waiting = append(d.waiting, n)
	}
	id := packetID(r.nextID)
	r.nextID++
	d.mu.Unlock()
	topic := "devices/" + d.id + "/messages/events/%24.mid=" + strconv.Itoa(n) + "&trip=" + strconv.Itoa(r.number)
	return r.c.Publish(&mqtt.Publish{Topic: topic, Payload: body, QoS: 1, Dup: dup, ID: id})
}

// send sends bursts of messages until the connection is lost, or the device
// gives it up.
func (r *rider) send(ctx context.Context) error {
	d := r.d
	for range 20 + rand.IntN(200) {
		for range 1 + rand.IntN(20) {
			if ok, err := r.hasRoom(ctx); !ok {
				return err
			}
			d.mu.Lock()
			n := d.next
			d.next++
			d.mu.Unlock()
			if err := r.publish(n, false); err != nil {
				return r.why(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.lost:
			return fmt.Errorf("lost: %v", err)
		case <-time.After(rand.N(pauseMost)):
		}
	}
	return nil
}

// hasRoom waits for room in the window; false when the connection is over.
func (r *rider) hasRoom(ctx context.Context) (bool, error) {
	for {
		r.d.mu.Lock()
		full := len(r.d.waiting) >= window
		r.d.mu.Unlock()
		if !full {
			return true, nil
		}
		select {
		case <-r.d.room:
		case <-ctx.Done():
			return false, nil
		case err := <-r.lost:
			return false, fmt.Errorf("lost: %v", err)
		}
	}
}

// acked takes a PUBACK, which must be that of the oldest message in flight.
func (r *rider) acked(id uint16) {
	d := r.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.inFlight) == 0 || packetID(d.firstID) != id {
		d.l.violate("%s, connection %d: PUBACK %d, the oldest unacknowledged is %d of %d", d.id, r.number, id, packetID(d.firstID), len(d.inFlight))
		return
	}
	n := d.inFlight[0]
	d.inFlight = d.inFlight[1:]
	d.firstID++
	r.t.acked++
	d.l.events.Add(1)
	if len(d.waiting) == 0 || d.waiting[0] != n {
		d.l.violate("%s, connection %d: message %d was acknowledged out of turn", d.id, r.number, n)
		return
	}
	d.waiting = d.waiting[1:]
	select {
	case d.room <- struct{}{}:
	default:
	}
}

func (r *rider) message(p *mqtt.Publish) {
	<-r.ready
	if bytes.HasPrefix([]byte(p.Topic), []byte(twinReply)) {
		r.twinReply(p)
		return
	}
	r.command(p)
}
