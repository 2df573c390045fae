package controlapi

import (
	"context"
	"encoding/json"
	"mime"
	"strings"
	"sync"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

// mqttClient is a control device on one connection: handler of its packets, and
// the one who hears what its session has for it.
//
// The connection's reader calls the methods of mqtt.Handler, the domain calls
// desired and ended from any goroutine, from Login on. mu is held while
// something is queued on the connection, where order matters; Conn.Publish
// neither blocks nor calls back.
type mqttClient struct {
	// Set by ServeSession before the reader starts, then read only; conn and line under mu:
	server *MQTTServer
	ctx    context.Context
	remote string
	device string
	level  byte
	line   *control.Session
	feeds  map[string]string // feed topics that are allowed, with their sources
	wishes map[string]string // desired topics that are allowed, with their commands
	acks   string            // the acknowledgement topic when it is allowed
	conn   *mqtt.Conn

	// Guarded by mu:
	mu      sync.Mutex
	shut    *mqtt.ReasonError // end came before conn
	last    uint16            // packet id given last
	unacked map[uint16]struct{}
	subs    map[string]byte  // QoS by topic
	told    map[string]int64 // sequence number of the newest desired state sent on a topic
}

// permit fixes what the connection may do (iot-v1 MQ-13).
func (c *mqttClient) permit(d *control.Device) {
	c.feeds, c.wishes = map[string]string{}, map[string]string{}
	c.subs, c.told, c.unacked = map[string]byte{}, map[string]int64{}, map[uint16]struct{}{}
	feed, desired := c.line.Has(control.ScopeMQTTFeed), c.line.Has(control.ScopeMQTTDesired)
	for _, r := range d.Routes() {
		if feed {
			c.feeds[d.FeedTopic(r)] = r.Source.ID
		}
		if desired && r.Source.IsCommand() {
			c.wishes[d.DesiredTopic(r)] = r.Source.ID
		}
	}
	if c.line.Has(control.ScopeMQTTAck) {
		c.acks = d.AckTopic()
	}
}

// start takes the device's seat, answers CONNECT and lets the reader run. The
// seat comes first: of two connections the one that was answered last has it.
func (c *mqttClient) start(session *mqtt.Session) {
	if old := c.server.seat(c); old != nil {
		old.end(&mqtt.ReasonError{Code: mqtt.TakenOver, Text: "the device has opened another connection"})
	}
	conn := session.Serve(c.ctx, false, c)
	c.mu.Lock()
	c.conn = conn
	shut := c.shut
	c.mu.Unlock()
	if shut != nil {
		conn.Close(shut)
	}
	conn.Start()
}

// end closes the connection, now or as soon as there is one.
func (c *mqttClient) end(why *mqtt.ReasonError) {
	c.mu.Lock()
	conn := c.conn
	if conn == nil {
		c.shut = why
	}
	c.mu.Unlock()
	if conn != nil {
		conn.Close(why)
	}
}

// Publish implements mqtt.Handler. Each publish on a topic that is allowed gets
// one acknowledgement, once the item is durable (iot-v1 MQ-19).
func (c *mqttClient) Publish(p *mqtt.Publish, ack mqtt.Ack) error {
	source, ok := c.feeds[p.Topic]
	if !ok {
		return c.deny(p, ack)
	}
	answer, err := c.feed(p, source)
	if err != nil {
		c.fail("control.feed", err)
		answer = rejected(p.Topic, control.PublishMessageID(p.Payload), err)
	}
	c.mu.Lock()
	c.send(c.acks, answer.encode())
	c.mu.Unlock()
	ack.Done()
	return nil
}

// deny refuses a publish without permission (iot-v1 MQ-14). With QoS 0, MQTT
// 5.0 has nobody to tell, so that nothing happens.
func (c *mqttClient) deny(p *mqtt.Publish, ack mqtt.Ack) error {
	e := c.fail("control.feed", control.Refuse(fault.ControlForbidden, "insufficient_scope", "publishing to this topic is not allowed"))
	if c.level < 5 {
		return e
	}
	ack.Refuse(mqtt.Denied)
	return nil
}

// feed takes the checks in the order of iot-v1 G-15 and stores the item.
func (c *mqttClient) feed(p *mqtt.Publish, source string) (acknowledgement, error) {
	d, err := c.line.Device(c.ctx)
	if err == nil {
		err = d.Admit(control.MQTT)
	}
	if err == nil {
		err = d.Take(nave.MQTTFeedClass)
	}
	if err == nil {
		err = checkPayload(p, d.Limits.PayloadBytes)
	}
	if err != nil {
		return acknowledgement{}, err
	}
	item, err := control.ParsePublish(p.Payload, c.server.o.Control.Now(), source)
	if err != nil {
		return acknowledgement{}, err
	}
	// A source that is gone is Feed's to tell.
	if _, _, ok := d.Route(p.Topic); !ok && d.RoutesOf(source) != nil {
		return acknowledgement{}, control.NoResource("route", "the route was removed")
	}
	item.Retained = p.Retain
	r, err := d.Feed(c.ctx, item, control.MQTT)
	if err != nil {
		return acknowledgement{}, err
	}
	return acknowledgement{Message: &r.Message, Topic: p.Topic, Status: r.Status, Feed: r.FeedID, Warnings: json.RawMessage(r.Warnings)}, nil
}

// checkPayload takes steps 11 to 13 of iot-v1 G-15: size, and what MQTT 5.0 says
// the payload is.
func checkPayload(p *mqtt.Publish, limit int) error {
	if len(p.Payload) > limit {
		e := control.Refuse(fault.ControlPayloadTooLarge, "body_too_large", "the payload has %d bytes, the plan allows %d", len(p.Payload), limit)
		e.Detail["max_bytes"] = limit
		return e
	}
	if p.Properties == nil || p.Properties.ContentType == "" {
		return nil
	}
	reason := ""
	kind, params, err := mime.ParseMediaType(p.Properties.ContentType)
	switch {
	case err != nil || kind != "application/json":
		reason = "content_type"
	case params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8"):
		reason = "charset"
	default:
		return nil
	}
	e := control.Refuse(fault.ControlUnsupportedMediaType, reason, "the content type is not application/json in UTF-8")
	e.Detail["accepted"] = "application/json"
	return e
}

// Subscribe implements mqtt.Handler: topics are literal (iot-v1 MQ-7), and what
// is not allowed fails by itself.
func (c *mqttClient) Subscribe(subs []mqtt.Subscription) ([]byte, error) {
	codes := make([]byte, len(subs))
	for n, sub := range subs {
		_, wish := c.wishes[sub.Filter]
		if !wish && (c.acks == "" || sub.Filter != c.acks) {
			c.fail("control.subscribe", control.Refuse(fault.ControlForbidden, "insufficient_scope", "subscribing to this topic is not allowed"))
			codes[n] = mqtt.Denied
			continue
		}
		codes[n] = min(sub.QoS, 1)
		c.mu.Lock()
		c.subs[sub.Filter] = codes[n]
		c.mu.Unlock()
	}
	return codes, nil
}

// Subscribed implements mqtt.Handler: what is pending is sent with each
// subscription (iot-v1 MQ-22).
func (c *mqttClient) Subscribed(subs []mqtt.Subscription) {
	topics := map[string][]string{} // by command
	for _, sub := range subs {
		if command := c.wishes[sub.Filter]; command != "" {
			topics[command] = append(topics[command], sub.Filter)
		}
	}
	if len(topics) == 0 {
		return
	}
	d, err := c.line.Device(c.ctx)
	var pending []*nave.DesiredState
	if err == nil {
		pending, err = d.Pending(c.ctx)
	}
	if err != nil {
		c.fail("control.desired", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range pending {
		for _, topic := range topics[s.Command] {
			c.wish(topic, s, true)
		}
	}
}

// desired hears of a new desired state.
func (c *mqttClient) desired(s nave.DesiredState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return // it is pending when the device subscribes
	}
	for topic, command := range c.wishes {
		if command == s.Command {
			c.wish(topic, &s, false)
		}
	}
}

// wish sends a desired state unless a newer one has gone out on the topic; mu is
// held. Sent twice it is only when the device has subscribed anew.
func (c *mqttClient) wish(topic string, s *nave.DesiredState, again bool) {
	if _, ok := c.subs[topic]; !ok || s.Sequence < c.told[topic] || s.Sequence == c.told[topic] && !again {
		return
	}
	c.told[topic] = s.Sequence
	c.send(topic, encodeDesired(s))
}

// encodeDesired writes a desired-state message (iot-v1 11.7).
func encodeDesired(s *nave.DesiredState) []byte {
	var expires *string
	if !s.Expires.IsZero() {
		expires = new(moment(s.Expires))
	}
	b, _ := json.Marshal(struct { // texts and a number always encode
		ID       string  `json:"desired_id"`
		Value    string  `json:"value"`
		Sequence int64   `json:"sequence_number"`
		Issued   string  `json:"issued_at"`
		Expires  *string `json:"expires_at"`
	}{s.ID, s.Value, s.Sequence, moment(s.Issued), expires})
	return b
}

// send publishes on a topic if the device has subscribed to it; mu is held.
func (c *mqttClient) send(topic string, payload []byte) {
	qos, ok := c.subs[topic]
	if !ok {
		return
	}
	p := mqtt.Publish{Topic: topic, Payload: payload, QoS: qos}
	if c.level == 5 {
		p.Properties = jsonProperties
	}
	if qos > 0 {
		if p.ID = c.nextID(); p.ID == 0 {
			c.conn.Close(&mqtt.ReasonError{Code: mqtt.QuotaExceeded, Text: "too many messages without PUBACK"})
			return
		}
	}
	c.conn.Publish(&p) // fails for a connection that is closing, or a client that takes no packets of this size
}

var jsonProperties = &mqtt.Properties{ContentType: "application/json", UTF8: true}

// maxUnackedOut is how many messages may wait for their PUBACK.
const maxUnackedOut = 10_000

// nextID returns a free packet id, 0 when there are too many that wait; mu is
// held.
func (c *mqttClient) nextID() uint16 {
	if len(c.unacked) >= maxUnackedOut {
		return 0
	}
	for {
		c.last++
		if _, taken := c.unacked[c.last]; !taken && c.last != 0 {
			c.unacked[c.last] = struct{}{}
			return c.last
		}
	}
}

// Acked implements mqtt.Handler.
func (c *mqttClient) Acked(id uint16) {
	c.mu.Lock()
	delete(c.unacked, id)
	c.mu.Unlock()
}

// Unsubscribe implements mqtt.Handler.
func (c *mqttClient) Unsubscribe(topics []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, topic := range topics {
		delete(c.subs, topic)
	}
	return nil
}

// ended hears why the session must end (iot-v1 MQ-6, MQ-10, AU-12, AU-18).
func (c *mqttClient) ended(e *fault.Error) {
	c.fail("control.session", e)
	c.mu.Lock()
	expired := c.line != nil && !c.server.o.Control.Now().Before(c.line.Expires)
	c.mu.Unlock()
	c.end(disconnectOf(e, expired))
}

// Closed implements mqtt.Handler.
func (c *mqttClient) Closed(error) {
	c.server.leave(c)
	c.line.Close()
}
