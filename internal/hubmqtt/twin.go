package hubmqtt

import (
	"strconv"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/mqtt"
)

// readTwin answers T13. Its payload means nothing: some clients send a blank.
func (c *client) readTwin(r *request) {
	t, err := c.line.Twin(c.ctx)
	if err != nil {
		c.refuse("twin.get", r, err)
		return
	}
	topic, body := twinReply+"200/"+ridQuery+r.rid, t.AppendDevice(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	// device-protocols 2.9: no notification of this version may follow.
	c.shown = max(c.shown, t.Desired.Version)
	c.replyLocked(topic, body)
}

// reportTwin answers T14.
func (c *client) reportTwin(r *request, p *mqtt.Publish) {
	doc, err := nave.ParseDoc(p.Payload)
	var version int64
	if err == nil {
		patch := nave.Patch{Reported: doc, Expect: r.version, HasExpect: r.hasVersion}
		version, err = c.line.Report(c.ctx, patch, len(p.Payload))
	}
	if err != nil {
		c.refuse("twin.report", r, err)
		return
	}
	c.reply(twinReply+"204/"+ridQuery+r.rid+"&$version="+strconv.FormatInt(version, 10), nil)
}

func (c *client) refuse(op string, r *request, err error) {
	c.server.fail(failure{op: op, on: c.line.ID(), remote: c.conn.RemoteAddr().String(), err: err, client: c, rid: r.rid})
}

// reply publishes a response, unless the device does not listen for it.
func (c *client) reply(topic string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replyLocked(topic, body)
}

func (c *client) replyLocked(topic string, body []byte) {
	if _, ok := granted(c.filters, topic); !ok {
		return
	}
	if err := c.conn.Publish(&mqtt.Publish{Topic: topic, Payload: body}); err != nil {
		c.server.o.Log.Debug("a twin response was not sent", "hub", c.server.o.Hub.Host(), "device", c.line.ID().String(), "err", err)
	}
}

// Desired implements hub.Peer: T17 with the granted QoS. The hub may be about
// to tell of a version just while the twin that shows it is read and sent; such
// a notification comes too late.
func (c *client) Desired(change *nave.Change) error {
	topic := twinDesired + "?$version=" + strconv.FormatInt(change.Version, 10)
	p := mqtt.Publish{Topic: topic, Payload: change.AppendNotification(nil)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if change.Version <= c.shown {
		return nil
	}
	var ok bool
	if p.QoS, ok = granted(c.filters, topic); !ok {
		return errOff
	}
	return c.publish(&p, "")
}
