package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/mqtt"
)

const (
	maxUnacked   = 200             // messages of one device that wait for their PUBACK
	partingTime  = 5 * time.Second // for what is due from a server before a connection is closed
	fleetKeep    = 120             // keep-alive in seconds
	shortestWalk = 64              // bytes that a measurement may take
	renewBegins  = 0.80            // of a token's life
	renewSpread  = 0.10            // of it, at random
)

// sending is a message without PUBACK.
type sending struct {
	body  []byte
	first time.Time
	order int64
}

// member is one simulated device.
type member struct {
	// Set by Run, then read only:
	f    *Fleet
	d    Device
	pace pace

	// Owned by run:
	walk  walk
	at    int64 // the next event of pace
	rid   int64
	order int64
	id    uint16

	// Guarded by mu, as the reader of the connection takes away what run puts in:
	mu      sync.Mutex
	unacked map[uint16]*sending
	why     error         // what ended the last connection
	empty   chan struct{} // closed when the last is acknowledged; nil when nobody waits
}

var errRenew = errors.New("the token ends soon")

// run connects, lives and comes back until ctx ends.
func (m *member) run(ctx context.Context) {
	var pauses backoff
	for ctx.Err() == nil {
		c, until, err := m.connect(ctx)
		begun := time.Now()
		if err == nil {
			m.f.stats.connected.Add(1)
			err = m.live(ctx, c, until)
			m.f.stats.connected.Add(-1)
			pauses.lasted(time.Since(begun))
		}
		switch {
		case ctx.Err() != nil || err == nil:
			return
		case errors.Is(err, errRenew):
			m.f.stats.renewals.Add(1)
			continue
		}
		m.f.failed.add(fmt.Errorf("%s: %w", m.d.ID, err))
		wait(ctx, pauses.pause())
	}
}

// connect returns a client that has subscribed, and when its token should be renewed.
func (m *member) connect(ctx context.Context) (*mqtt.Client, time.Time, error) {
	select {
	case m.f.door <- struct{}{}:
		defer func() { <-m.f.door }()
	case <-ctx.Done():
		return nil, time.Time{}, context.Cause(ctx)
	}
	life := m.f.o.TokenLife
	renew := time.Now().Add(time.Duration(float64(life) * (renewBegins + renewSpread*rand.Float64())))
	l, err := m.f.s.Login(m.d, life)
	if err != nil {
		return nil, renew, err
	}
	nc, err := m.f.targetOf(m.d).Dial(ctx)
	if err != nil {
		return nil, renew, err
	}
	r := &clientRef{ready: make(chan struct{})}
	r.c, _, err = mqtt.Open(nc, mqtt.ClientOptions{ClientID: l.ClientID, Username: l.Username, Password: l.Password, KeepAlive: fleetKeep},
		mqtt.ClientHandler{Message: func(p *mqtt.Publish) { m.message(r, p) }, Acked: m.acked, Closed: m.closed})
	if err != nil {
		return nil, renew, err
	}
	close(r.ready)
	m.f.stats.connects.Add(1)
	if err := subscribe(ctx, r.c, m.filters()...); err != nil {
		r.c.Kill()
		<-r.c.Done()
		return nil, renew, err
	}
	return r.c, renew, nil
}

func (m *member) filters() []string {
	all := []string{"devices/" + m.d.ID + "/messages/devicebound/#", desiredTopic + "#", twinReplies + "#"}
	if m.f.o.Methods {
		all = append(all, methodTopic+"#")
	}
	return all
}

// live sends until the connection is lost, the token has to be renewed, or ctx ends, which is no error.
func (m *member) live(ctx context.Context, c *mqtt.Client, until time.Time) error {
	if err := m.again(c); err != nil {
		return m.lost(c, err)
	}
	renew := time.NewTimer(time.Until(until))
	defer renew.Stop()
	var next <-chan time.Time
	var timer *time.Timer
	if m.pace.gap > 0 {
		if due := m.pace.due(time.Now()); due > m.at {
			m.f.stats.skipped.Add(due - m.at)
			m.at = due
		}
		timer = time.NewTimer(time.Until(m.pace.at(m.at)))
		defer timer.Stop()
		next = timer.C
	}
	var report <-chan time.Time
	if m.f.o.Twin > 0 {
		t := time.NewTicker(m.f.o.Twin)
		defer t.Stop()
		report = t.C
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			m.part(c)
			return nil
		case <-c.Done():
			return m.lost(c, nil)
		case <-renew.C:
			m.part(c)
			return errRenew
		case <-next:
			if err = m.measure(c); err == nil {
				timer.Reset(time.Until(m.pace.at(m.at)))
			}
		case <-report:
			m.rid++
			rid := strconv.FormatInt(m.rid, 10)
			err = c.Publish(&mqtt.Publish{Topic: reportTopic + rid, Payload: []byte(`{"uptime":` + rid + `}`)})
		}
		if err != nil {
			return m.lost(c, err)
		}
	}
}

// measure sends what is due.
func (m *member) measure(c *mqtt.Client) error {
	for due := m.pace.due(time.Now()); m.at < due; m.at++ {
		p := &mqtt.Publish{Topic: "devices/" + m.d.ID + "/messages/events/", Payload: m.walk.step(m.f.o.Size), QoS: m.f.o.QoS}
		if p.QoS == 1 && !m.hold(p) {
			m.f.stats.skipped.Add(1)
			continue
		}
		if err := c.Publish(p); err != nil {
			return err
		}
		if p.QoS == 0 {
			m.f.stats.sent.Add(1)
		}
	}
	return nil
}

// hold gives the message an identifier and keeps it; false says that too many wait.
func (m *member) hold(p *mqtt.Publish) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.unacked) >= maxUnacked {
		return false
	}
	for m.id++; m.id == 0 || m.unacked[m.id] != nil; m.id++ {
	}
	m.order++
	p.ID = m.id
	m.unacked[m.id] = &sending{body: p.Payload, first: time.Now(), order: m.order}
	m.f.stats.sent.Add(1)
	return true
}

// again sends what an earlier connection left unacknowledged, in its order [MQTT-4.4.0-1].
func (m *member) again(c *mqtt.Client) error {
	m.mu.Lock()
	ids := make([]uint16, 0, len(m.unacked))
	for id := range m.unacked {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b uint16) int { return int(m.unacked[a].order - m.unacked[b].order) })
	left := make([]*mqtt.Publish, len(ids))
	for i, id := range ids {
		left[i] = &mqtt.Publish{Topic: "devices/" + m.d.ID + "/messages/events/", Payload: m.unacked[id].body, QoS: 1, Dup: true, ID: id}
	}
	m.mu.Unlock()
	for _, p := range left {
		m.f.stats.resent.Add(1)
		if err := c.Publish(p); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) acked(id uint16) {
	m.mu.Lock()
	s := m.unacked[id]
	delete(m.unacked, id)
	if len(m.unacked) == 0 && m.empty != nil {
		close(m.empty)
		m.empty = nil
	}
	m.mu.Unlock()
	if s != nil {
		m.f.stats.record(time.Since(s.first))
	}
}

func (m *member) closed(why error) {
	m.mu.Lock()
	m.why = why
	m.mu.Unlock()
}

// message counts what the hub sends, and answers methods.
func (m *member) message(r *clientRef, p *mqtt.Publish) {
	t := &m.f.stats
	switch {
	case strings.HasPrefix(p.Topic, methodTopic):
		if reply, ok := echo(p); ok && r.publish(reply) == nil {
			t.methods.Add(1)
		}
	case strings.HasPrefix(p.Topic, desiredTopic):
		t.desired.Add(1)
	case strings.HasPrefix(p.Topic, twinReplies+"2"):
		t.reported.Add(1)
	case strings.HasPrefix(p.Topic, twinReplies):
		m.f.failed.add(fmt.Errorf("%s: a twin request was answered on %s: %s", m.d.ID, p.Topic, p.Payload[:min(len(p.Payload), 200)]))
	default:
		t.c2d.Add(1)
	}
}

// part waits a little for PUBACKs and disconnects.
func (m *member) part(c *mqtt.Client) {
	m.mu.Lock()
	empty := make(chan struct{})
	if len(m.unacked) == 0 {
		close(empty)
	} else {
		m.empty = empty
	}
	m.mu.Unlock()
	timer := time.NewTimer(partingTime)
	defer timer.Stop()
	select {
	case <-empty:
	case <-timer.C:
	case <-c.Done():
	}
	c.Close()
	<-c.Done()
}

// lost ends a connection that is of no more use; cause nil: it ended by itself.
func (m *member) lost(c *mqtt.Client, cause error) error {
	m.f.stats.losses.Add(1)
	c.Kill()
	<-c.Done()
	m.mu.Lock()
	why := m.why
	m.mu.Unlock()
	switch {
	case errors.Is(why, io.EOF):
		return errors.New("the server closed the connection")
	case why != nil && !errors.Is(why, mqtt.ErrClosed):
		return fmt.Errorf("the connection was lost: %w", why)
	case cause != nil:
		return cause
	}
	return errors.New("the connection was lost")
}

// walk is a measurement that moves at random.
type walk struct{ temperature, humidity float64 }

func newWalk() walk { return walk{15 + 10*rand.Float64(), 40 + 20*rand.Float64()} }

// step returns the next measurement as JSON of at least size bytes.
func (w *walk) step(size int) []byte {
	w.temperature = min(max(w.temperature+0.4*(rand.Float64()-0.5), -20), 45)
	w.humidity = min(max(w.humidity+rand.Float64()-0.5, 0), 100)
	b := append(make([]byte, 0, max(size, shortestWalk)), `{"temperature":`...)
	b = strconv.AppendFloat(b, w.temperature, 'f', 2, 64)
	b = append(b, `,"humidity":`...)
	b = strconv.AppendFloat(b, w.humidity, 'f', 2, 64)
	const pad = `,"pad":"`
	if missing := size - len(b) - len(pad) - len(`"}`); missing >= 0 {
		b = append(append(append(b, pad...), strings.Repeat("x", missing)...), '"')
	}
	return append(b, '}')
}
