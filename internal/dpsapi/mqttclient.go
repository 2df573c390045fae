package dpsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/mqtt"
)

// Bounds of what a connection keeps.
const (
	maxHeld    = 16   // answers that wait for a subscription
	maxUnacked = 1000 // answers without PUBACK
)

var (
	errIdle    = errors.New("dpsapi: the connection has nothing to wait for")
	errHeld    = errors.New("dpsapi: too many requests without a subscription")
	errUnacked = errors.New("dpsapi: too many answers without PUBACK")
)

// mqttClient is a device on one connection: handler of its packets. Requests
// are served one after the other on the connection's reader, so that a client
// can keep only itself waiting.
type mqttClient struct {
	// Set by ServeSession before the reader starts, then read only:
	server  *MQTT
	ctx     context.Context
	service *dps.Service
	claim   dps.Claim
	conn    *mqtt.Conn

	// Owned by the reader:
	life       *lifetime
	begun      begun
	subscribed bool
	granted    byte // QoS of the subscription
	held       []held
	last       uint16 // packet id given last
	unacked    map[uint16]struct{}
}

// held is an answer that waits for the client to subscribe.
type held struct {
	topic string
	body  []byte
	until time.Time
}

// begun is the last register that was accepted, so that its resend is not taken
// for another (dps 2.4).
type begun struct {
	rid   string
	sum   [sha256.Size]byte
	topic string
	reply *reply
}

// Publish implements mqtt.Handler. The PUBACK precedes the answer: C# breaks
// otherwise (dps 0.1).
func (c *mqttClient) Publish(p *mqtt.Publish, ack mqtt.Ack) error {
	t, err := parseTopic(p.Topic)
	if err != nil {
		return err
	}
	ack.Ahead()
	if t.verb == register && t.wrong == nil {
		return c.register(&t, p)
	}
	return c.answer(&t, p.Payload)
}

func (c *mqttClient) register(t *deviceTopic, p *mqtt.Publish) error {
	sum := sha256.Sum256(p.Payload)
	if b := &c.begun; p.Dup && b.reply != nil && b.rid == t.rid && b.sum == sum {
		return c.send(b.topic, b.reply.body)
	}
	c.begun = begun{rid: t.rid, sum: sum}
	return c.answer(t, p.Payload)
}

// answer performs a request and sends what came of it.
func (c *mqttClient) answer(t *deviceTopic, payload []byte) error {
	r, err := c.ask(t, payload)
	if err != nil {
		e := refusal(err)
		c.server.o.note(c.service, t.verb.String(), c.claim.ID, c.claim.Remote, e)
		c.life.answered(nil, e)
		retry := 0
		if retryable(e.Code) {
			retry = retrySeconds(e.After)
		}
		return c.send(string(appendResponseTopic(nil, e.Code.HTTP, t.rid, retry)), refusalBody(e))
	}
	c.life.answered(r, nil)
	code := 200
	if r.running() {
		code = 202
	}
	topic := string(appendResponseTopic(nil, code, t.rid, r.retry))
	if t.verb == register {
		c.begun.topic, c.begun.reply = topic, r
	}
	return c.send(topic, r.body)
}

// send publishes an answer, or keeps it until the client subscribes.
func (c *mqttClient) send(topic string, body []byte) error {
	time.Sleep(c.server.o.Pause)
	if c.subscribed {
		return c.deliver(topic, body)
	}
	c.expire(time.Now())
	if len(c.held) >= maxHeld {
		return errHeld
	}
	c.held = append(c.held, held{topic, body, time.Now().Add(c.server.o.Hold)})
	return nil
}

// expire forgets answers that nobody has subscribed to in time.
func (c *mqttClient) expire(now time.Time) {
	n := 0
	for n < len(c.held) && now.After(c.held[n].until) {
		n++
	}
	c.held = append([]held(nil), c.held[n:]...)
}

func (c *mqttClient) deliver(topic string, body []byte) error {
	p := &mqtt.Publish{Topic: topic, Payload: body, QoS: c.granted}
	if p.QoS > 0 {
		if p.ID = c.nextID(); p.ID == 0 {
			return errUnacked
		}
	}
	err := c.conn.Publish(p)
	if errors.Is(err, mqtt.ErrClosed) || errors.Is(err, mqtt.ErrSlow) {
		return nil // closing already
	}
	return err
}

// nextID returns a free packet id, 0 when too many wait.
func (c *mqttClient) nextID() uint16 {
	if len(c.unacked) >= maxUnacked {
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

// Subscribe implements mqtt.Handler: there is one filter.
func (c *mqttClient) Subscribe(subs []mqtt.Subscription) ([]byte, error) {
	codes := make([]byte, len(subs))
	for n, sub := range subs {
		if sub.Filter != responseFilter {
			codes[n] = mqtt.SubFailure
			continue
		}
		codes[n] = min(sub.QoS, 1)
		c.subscribed, c.granted = true, codes[n]
	}
	return codes, nil
}

// Subscribed implements mqtt.Handler: what was held is sent.
func (c *mqttClient) Subscribed([]mqtt.Subscription) {
	if !c.subscribed {
		return
	}
	c.expire(time.Now())
	for _, h := range c.held {
		if err := c.deliver(h.topic, h.body); err != nil {
			c.conn.Close(err)
		}
	}
	c.held = nil
}

// Unsubscribe implements mqtt.Handler.
func (c *mqttClient) Unsubscribe(filters []string) error {
	for _, f := range filters {
		if f == responseFilter {
			c.subscribed = false
		}
	}
	return nil
}

// Acked implements mqtt.Handler.
func (c *mqttClient) Acked(id uint16) { delete(c.unacked, id) }

// Closed implements mqtt.Handler.
func (c *mqttClient) Closed(error) { c.life.stop() }

// trim takes a body of blanks for none (dps 2.1.1).
func trim(body []byte) []byte {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	return body
}

// namesTPM says whether a register body has the member tpm; whether the body is
// valid is for the service to judge.
func namesTPM(body []byte) bool {
	var v struct {
		TPM json.RawMessage `json:"tpm"`
	}
	return json.Unmarshal(body, &v) == nil && len(v.TPM) > 0 && string(v.TPM) != "null"
}
