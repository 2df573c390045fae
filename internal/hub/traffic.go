package hub

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// Traffic is what one device moves on one connection (connectivity-api RP-7):
// bytes of the application protocol, after TLS and WebSocket framing, from the
// first byte of the connection. A module counts for its device, and a
// connection that several devices share for the one that came first.
type Traffic struct {
	Device   string    // device id
	Protocol string    // MQTT or AMQP, whatever carries it
	Remote   string    // address of the peer
	Since    time.Time // begin of the connection

	Up   atomic.Int64 // bytes that the hub has read
	Down atomic.Int64 // bytes that the hub has written
}

// Meter hears of the traffic of devices (RP-4, RP-7, RP-10). The hub calls it
// from any goroutine, holds no lock and lets the connection wait meanwhile, and
// nothing else.
type Meter interface {
	// Opened tells that the device has connected and its line is seated. The
	// device does not know yet: what Opened does has happened for whoever sees
	// the connection accepted. The counters move until Closed.
	Opened(t *Traffic)
	// Closed tells that nothing is counted for t any more. why is nil when the
	// device has ended the connection in an orderly way; Stopped tells whether
	// the SIM was the cause. Every Opened has its Closed, unless the process
	// crashes.
	Closed(t *Traffic, why *fault.Error)
	// Request tells of one request over HTTP that has been answered, and of the
	// bytes on its connection since the one before.
	Request(device, protocol, remote string, up, down int64)
}

// SetMeter sets who hears of traffic, nil for nobody. It counts for connections
// that are accepted later.
func (h *Hub) SetMeter(m Meter) {
	if m == nil {
		h.meter.Store(nil)
		return
	}
	h.meter.Store(&m)
}

// Metered says whether somebody hears of traffic.
func (h *Hub) Metered() bool { return h.meter.Load() != nil }

// Wire counts the bytes of one network connection. The listener makes it, puts
// it into the context that it serves the connection with, and counts on it; the
// hub finds out whose traffic it is.
type Wire struct {
	// Set by Wires.New, then read only:
	protocol, remote string

	count   atomic.Pointer[Traffic] // what the bytes count for
	request atomic.Pointer[caller]

	// Guarded by mu:
	mu    sync.Mutex
	meter Meter // that count was opened with; nil while it belongs to nobody
	line  *Line // of the device that it was opened for; nil once that has ended
	why   *fault.Error

	// Parts of it, to be one piece of memory:
	first   Traffic
	carried carried
}

// Wires makes wires some at a time. A wire lives as long as its connection: one
// by one they would stand scattered among what handshakes leave behind, and keep
// that memory from being given back. The zero value is ready.
type Wires struct {
	mu    sync.Mutex
	spare []Wire
}

// wiresAtOnce is how many wires are made together.
const wiresAtOnce = 64

// New returns the counter of a connection that was accepted at a time.
func (s *Wires) New(protocol, remote string, at time.Time) *Wire {
	s.mu.Lock()
	if len(s.spare) == 0 {
		s.spare = make([]Wire, wiresAtOnce)
	}
	w := &s.spare[0]
	s.spare = s.spare[1:]
	s.mu.Unlock()
	w.protocol, w.remote = protocol, remote
	w.renew(at)
	return w
}

// caller is whose the present request is.
type caller struct {
	meter  Meter
	device string
}

// Protocols of traffic.
const (
	MQTTTraffic = "MQTT"
	AMQPTraffic = "AMQP"
	HTTPTraffic = "HTTP"
)

// NewWire returns the counter of one connection, see Wires.New.
func NewWire(protocol, remote string, at time.Time) *Wire {
	return new(Wires).New(protocol, remote, at)
}

func (w *Wire) renew(at time.Time) {
	t := &w.first
	if w.count.Load() != nil {
		t = &Traffic{}
	}
	t.Protocol, t.Remote, t.Since = w.protocol, w.remote, at
	w.count.Store(t)
}

// Received counts bytes that were read from the peer.
func (w *Wire) Received(n int) { w.count.Load().Up.Add(int64(n)) }

// Sent counts bytes that were written to the peer.
func (w *Wire) Sent(n int) { w.count.Load().Down.Add(int64(n)) }

type wireKey struct{}

// carried is a context that holds a wire.
type carried struct {
	context.Context
	wire *Wire
}

// Value implements context.Context.
func (c *carried) Value(key any) any {
	if key == (wireKey{}) {
		return c.wire
	}
	return c.Context.Value(key)
}

// Context returns the context to serve the connection with; it is called once.
func (w *Wire) Context(ctx context.Context) context.Context {
	w.carried = carried{ctx, w}
	return &w.carried
}

func wireOf(ctx context.Context) *Wire {
	w, _ := ctx.Value(wireKey{}).(*Wire)
	return w
}

// EndTraffic tells that the connection which ctx was made for has ended; for
// surfaces whose lines may end before.
func EndTraffic(ctx context.Context) {
	if w := wireOf(ctx); w != nil {
		w.end(time.Time{})
	}
}

// EndRequest tells that the answer to an HTTP request has been written. What was
// counted since the last call is the request's, or nobody's.
func (w *Wire) EndRequest() {
	t, r := w.count.Load(), w.request.Swap(nil)
	up, down := t.Up.Swap(0), t.Down.Swap(0)
	if r != nil {
		r.meter.Request(r.device, w.protocol, w.remote, up, down)
	}
}

// metered gives the line's connection to its device, if somebody listens.
func (h *Hub) metered(ctx context.Context, l *Line) {
	m := h.meter.Load()
	if m == nil {
		return
	}
	w := wireOf(ctx)
	switch {
	case w == nil:
	case l.peer == nil:
		w.request.Store(&caller{*m, l.id.Device})
	default:
		l.wire = w
		if t := w.open(l, *m); t != nil {
			(*m).Opened(t)
		}
	}
}

// open makes the line's device the owner of what is counted; nil when it has one.
func (w *Wire) open(l *Line, m Meter) *Traffic {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.count.Load()
	if w.meter != nil {
		if w.line == nil && t.Device == l.id.Device {
			w.line, w.why = l, nil
		}
		return nil
	}
	t.Device = l.id.Device
	w.meter, w.line = m, l
	return t
}

// leave tells that the line has ended. Its traffic ends with it when the whole
// connection does or when the hub has cut the device off, otherwise with the
// connection.
func (w *Wire) leave(l *Line, why *fault.Error, whole bool) {
	w.mu.Lock()
	own := w.line == l
	if own {
		w.line, w.why = nil, why
	}
	w.mu.Unlock()
	if own && whole {
		w.end(l.hub.now())
	}
}

// end tells the meter; what is counted from now on is nobody's yet.
func (w *Wire) end(at time.Time) {
	w.mu.Lock()
	t, m, why := w.count.Load(), w.meter, w.why
	if m != nil {
		w.meter, w.line, w.why = nil, nil, nil
		w.renew(at)
	}
	w.mu.Unlock()
	if m != nil {
		m.Closed(t, why)
	}
}

// Stopped returns the sentence that names the SIM when a connection has ended
// because its SIM carries no traffic (RP-6), "" when something else was the
// cause.
func Stopped(why *fault.Error) string {
	if why == nil {
		return ""
	}
	text, _ := why.Detail[simDetail].(string)
	return text
}

// simDetail is where a fault that a SIM has caused holds the sentence about it.
const simDetail = "sim"

// barred returns the fault of a device whose SIM carries no traffic.
func barred(device string, c *nave.Connectivity) *fault.Error {
	e := fault.DeviceDisabled.New("device %s is cut off: %s", device, c.Reason())
	e.Detail = map[string]any{simDetail: c.Reason()}
	return e
}
