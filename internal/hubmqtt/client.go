package hubmqtt

import (
	"context"
	"errors"
	"sync"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/mqtt"
)

// errOff tells the hub that the device does not listen for what it was given.
var errOff = errors.New("hubmqtt: the device has not subscribed to this")

// client is a device or module on one connection: handler of its packets and
// peer of its line.
//
// The connection's reader calls the methods of mqtt.Handler, the hub those of
// hub.Peer from any goroutine, and not before start has subscribed to something
// – except Close, which may come as soon as the line exists. mu is held while
// something is queued on the connection, where order matters; Conn.Publish
// neither blocks nor calls back.
type client struct {
	// Set by Serve before the line can call, then read only:
	server    *Server
	ctx       context.Context
	will      *nave.Message
	keepAlive uint16
	clean     bool

	// Set by Serve before the reader starts, then read only; conn under mu:
	line *hub.Line
	conn *mqtt.Conn

	// Guarded by mu:
	mu       sync.Mutex
	last     uint16            // packet id given last
	filters  []nave.Filter     // replaced as a whole
	unacked  map[uint16]string // locks of deliveries by packet id, "" for notifications; nil when empty
	shown    int64             // desired $version of the last twin that was sent
	verdicts []verdict         // not yet settled
	settling chan struct{}     // closed when the goroutine that settles ends; nil while there is none
	shut     *fault.Error      // Close came before conn
}

// start answers CONNECT, brings the subscriptions of a stored session back and
// lets the reader run. Methods and desired properties are watched before the
// CONNACK, so that whoever has it can rely on them; what the hub hands over
// meanwhile waits for mu.
func (c *client) start(session *mqtt.Session, stored *nave.Session) {
	c.mu.Lock()
	if stored != nil && !c.server.basic() {
		c.filters = stored.Filters
		c.watch(0, reached(c.line.ID(), stored.Filters))
	}
	c.conn = session.Serve(c.ctx, stored != nil, c)
	shut := c.shut
	c.mu.Unlock()
	if shut != nil {
		c.conn.Close(shut)
	} else {
		c.Subscribed(nil)
	}
	c.conn.Start()
}

// Publish implements mqtt.Handler.
func (c *client) Publish(p *mqtt.Publish, ack mqtt.Ack) error {
	r, err := parseTopic(c.line.ID(), p.Topic)
	if err != nil {
		return err
	}
	switch r.verb {
	case answerMethod:
		c.answer(&r, p)
	case readTwin:
		c.readTwin(&r)
	case reportTwin:
		c.reportTwin(&r, p)
	default:
		return c.send(r.bag, p, ack)
	}
	ack.Done()
	return nil
}

// send passes telemetry on. It is acknowledged when it is stored; a refusal
// ends the connection, as MQTT 3.1.1 has no other (device-protocols 2.6).
func (c *client) send(bag string, p *mqtt.Publish, ack mqtt.Ack) error {
	m := &nave.Message{Body: p.Payload}
	if err := parseBag(bag, m); err != nil {
		return err
	}
	if p.Retain {
		m.SetApp("mqtt-retain", "true", true)
	}
	if p.Dup {
		m.SetApp("mqtt-dup", "true", true)
	}
	c.line.Send(m, func(err error) {
		switch err {
		case nil:
			ack.Done()
		case hub.ErrSilent:
			ack.Never()
		default:
			c.conn.Close(fault.From(err))
		}
	})
	return nil
}

// Closed implements mqtt.Handler: the will, what is left to settle, and the end
// of the line.
func (c *client) Closed(cause error) {
	c.mu.Lock()
	settling := c.settling
	c.mu.Unlock()
	if settling != nil {
		<-settling // the device has these messages, they must not come again
	}
	if cause == nil {
		c.line.Close(nil)
		return
	}
	why := ended(cause, c.keepAlive, c.server.o.Engine)
	if c.ctx.Err() != nil {
		why = fault.From(fault.ServiceUnavailable.Wrap(cause, "the hub is shutting down"))
	}
	if c.will != nil {
		c.line.Send(c.will, c.willSent)
	}
	c.line.Close(why)
}

func (c *client) willSent(err error) {
	if err != nil && err != hub.ErrSilent {
		c.fail("telemetry.will", err)
	}
}

// fail records an error that the device cannot be told.
func (c *client) fail(op string, err error) {
	c.server.fail(failure{op: op, on: c.line.ID(), remote: c.conn.RemoteAddr().String(), err: err})
}

// Close implements hub.Peer. MQTT has no parts that could be closed alone.
func (c *client) Close(what hub.Part, why *fault.Error) {
	c.mu.Lock()
	conn := c.conn
	if conn == nil {
		c.shut = why
	}
	c.mu.Unlock()
	switch {
	case conn == nil:
	case what == hub.Socket:
		conn.Abort(why)
	default:
		conn.Close(why)
	}
}
