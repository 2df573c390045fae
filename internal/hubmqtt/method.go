package hubmqtt

import (
	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/mqtt"
)

// noPayload is what a call without payload carries: the device SDK for Node
// parses every body, an empty one too (device-protocols 2.8 allows both).
var noPayload = []byte("null")

// Invoke implements hub.Peer: T10, always QoS 0.
func (c *client) Invoke(call *nave.Call) error {
	topic := methodRequest + call.Method + "/" + ridQuery + call.ID
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := granted(c.filters, topic); !ok {
		return errOff
	}
	payload := []byte(call.Payload)
	if len(payload) == 0 {
		payload = noPayload
	}
	return c.conn.Publish(&mqtt.Publish{Topic: topic, Payload: payload})
}

// answer takes T11. Whether somebody waits for it is the hub's concern.
func (c *client) answer(r *request, p *mqtt.Publish) {
	reply := nave.Reply{Status: r.status}
	if len(p.Payload) > 0 {
		reply.Payload = p.Payload
	}
	c.line.Answer(r.rid, reply)
}
