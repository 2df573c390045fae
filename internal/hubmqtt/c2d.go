package hubmqtt

import (
	"errors"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

// verdict is what has become of a delivery.
type verdict struct {
	lock string
	made nave.Verdict
}

// Deliver implements hub.Peer. With QoS 1 the message is completed by its
// PUBACK, with QoS 0 by being written (device-protocols 2.7).
func (c *client) Deliver(m *nave.C2D) error {
	topic := string(appendCommandTopic(nil, m))
	if len(topic) > maxTopic {
		c.fail("c2d.deliver", fault.MessageTooLarge.Over("MQTT topic", maxTopic, len(topic), "message %d cannot be delivered by MQTT, its properties do not fit into the topic, it is rejected", m.Seq))
		c.mu.Lock()
		c.settle(m.Lock, nave.Reject)
		c.mu.Unlock()
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	qos, ok := granted(c.filters, topic)
	if !ok {
		return errOff
	}
	p := mqtt.Publish{Topic: topic, Payload: m.Body, QoS: qos, Dup: qos == 1 && m.Deliveries > 1}
	err := c.publish(&p, m.Lock)
	if err == nil && qos == 0 {
		c.settle(m.Lock, nave.Complete)
	}
	return err
}

const maxTopic = 65535 // [MQTT-1.5.3]

// publish queues a packet, with QoS 1 under a free packet id that stands for
// the lock until its PUBACK. The caller holds mu.
func (c *client) publish(p *mqtt.Publish, lock string) error {
	if p.QoS == 0 {
		return c.conn.Publish(p)
	}
	id, ok := freeID(c.unacked, c.last)
	if !ok {
		return errors.New("hubmqtt: 65535 packets are not acknowledged")
	}
	if c.unacked == nil {
		c.unacked = make(map[uint16]string, 1)
	}
	p.ID, c.last, c.unacked[id] = id, id, lock
	if err := c.conn.Publish(p); err != nil {
		c.forget(id)
		return err
	}
	return nil
}

// freeID returns the next packet id behind last that is neither 0 nor in use.
func freeID(used map[uint16]string, last uint16) (id uint16, ok bool) {
	if len(used) >= 65535 {
		return 0, false
	}
	for id = last + 1; ; id++ {
		if _, taken := used[id]; id != 0 && !taken {
			return id, true
		}
	}
}

// forget frees a packet id, and the map when it was the last. The caller holds
// mu.
func (c *client) forget(id uint16) {
	if delete(c.unacked, id); len(c.unacked) == 0 {
		c.unacked = nil
	}
}

// Acked implements mqtt.Handler. An id that nothing was sent under is ignored.
func (c *client) Acked(id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lock := c.unacked[id]
	c.forget(id)
	if lock != "" {
		c.settle(lock, nave.Complete)
	}
}

// settle has a delivery settled, in the order of the calls, on a goroutine that
// exists only while there is something to settle. The caller holds mu.
func (c *client) settle(lock string, v nave.Verdict) {
	c.verdicts = append(c.verdicts, verdict{lock, v})
	if c.settling == nil {
		c.settling = make(chan struct{})
		go c.settleAll()
	}
}

func (c *client) settleAll() {
	for {
		c.mu.Lock()
		list := c.verdicts
		c.verdicts = nil
		if len(list) == 0 {
			close(c.settling)
			c.settling = nil
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		for _, v := range list {
			if err := c.line.Settle(c.ctx, v.lock, v.made); err != nil {
				c.fail("c2d.settle", err)
			}
		}
	}
}
