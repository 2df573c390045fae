package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/mqtt"
)

// commands sends cloud-to-device messages over AMQP and matches the feedback with them.
type commands struct {
	// Set before the links attach, then read only:
	p    *peer
	send *amqp.Link
	body []byte

	// Guarded by mu:
	mu      sync.Mutex
	waiting map[string]chan error // by message id
	over    error
	credit  chan struct{} // closed and made anew when credit comes
}

// RunC2D measures round trips: the service sends a message with ack=full over AMQP, the device, on MQTT, acknowledges it, and the record of
// that arrives at an AMQP feedback receiver. at is an AMQP listener, t one for MQTT. A hub pauses between two feedback messages (15 s by the
// specification, hub.feedbackEvery), and that pause is in the latency. Feedback for others' messages is taken too, and lost to them.
func RunC2D(ctx context.Context, s *Service, at, t Target, logins []Login, o Requests) (*Result, error) {
	o = o.withDefaults()
	clients, err := openClients(ctx, t, logins, "devices/{id}/messages/devicebound/#", func(int, *clientRef, *mqtt.Publish) {})
	if err != nil {
		return nil, err
	}
	defer closeClients(clients)
	c := &commands{body: body(o.Size), waiting: map[string]chan error{}, credit: make(chan struct{})}
	if c.p, err = s.openBackEnd(ctx, at, "commands"); err != nil {
		return nil, err
	}
	defer c.p.close()
	if err := c.attach(ctx); err != nil {
		return nil, err
	}
	var number atomic.Int64
	begun := strconv.FormatInt(time.Now().UnixNano(), 36) + "-" // no message of an earlier run has such an id
	q := &requests{kind: "c2d", workers: len(logins) * o.Window, warmup: o.Warmup, duration: o.Duration, live: o.Live,
		one: func(ctx context.Context, i int) error {
			return c.one(ctx, logins[i%len(logins)].ClientID, begun+strconv.FormatInt(number.Add(1), 10))
		}}
	r := q.run(ctx)
	r.Connections, r.Window, r.Size = len(logins), o.Window, o.Size
	return r, nil
}

// attach opens the feedback receiver and the sender.
func (c *commands) attach(ctx context.Context) error {
	feedback := &amqp.Link{Name: "feedback", Role: amqp.RoleReceiver, SndMode: amqp.SettleUnsettled, Source: &amqp.Terminus{Address: "/messages/servicebound/feedback"},
		OnDelivery: c.feedback, OnDetach: c.lost}
	c.send = &amqp.Link{Name: "commands", Role: amqp.RoleSender, SndMode: amqp.SettleUnsettled, Target: &amqp.Terminus{Address: "/messages/devicebound"},
		OnCredit: c.credited, OnDisposition: c.sent, OnDetach: c.lost}
	for _, l := range []*amqp.Link{feedback, c.send} {
		if err := c.p.s.Attach(ctx, l); err != nil {
			return fmt.Errorf("the link %s: %w", l.Name, err)
		}
	}
	return nil
}

// one makes one round trip.
func (c *commands) one(ctx context.Context, device, id string) error {
	m := amqp.Message{Properties: &amqp.Properties{MessageID: id, To: "/devices/" + device + "/messages/devicebound"},
		ApplicationProperties: amqp.Map{{Key: "iothub-ack", Value: "full"}}, Data: [][]byte{c.body}}
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	timer := time.NewTimer(dialTimeout)
	defer timer.Stop()
	answer := make(chan error, 1)
	c.mu.Lock()
	c.waiting[id] = answer
	over := c.over
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	for err = over; err == nil; {
		c.mu.Lock()
		credit := c.credit
		c.mu.Unlock()
		if _, err = c.send.Send(b, nil, 0, false, id); err == nil {
			credit = nil
		} else if !errors.Is(err, amqp.ErrNoCredit) {
			break
		}
		select {
		case err := <-answer:
			return err
		case <-credit:
			err = nil
			continue
		case <-timer.C:
			return fmt.Errorf("no feedback came for a message in %s", dialTimeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

// settle ends a wait.
func (c *commands) settle(id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer := c.waiting[id]; answer != nil {
		delete(c.waiting, id)
		answer <- err
	}
}

func (c *commands) credited(uint32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.credit)
	c.credit = make(chan struct{})
}

// sent takes the hub's word on a message; an accepted one waits for its feedback.
func (c *commands) sent(out *amqp.Out, state amqp.State, settled bool) {
	if !settled {
		out.Settle(state)
	}
	if _, ok := state.(amqp.Accepted); !ok {
		c.settle(out.App.(string), fmt.Errorf("the message was not taken: %s", outcome(state)))
	}
}

// feedback reads a feedback message (service-api 3.4).
func (c *commands) feedback(d *amqp.Delivery) {
	defer d.Accept()
	m, err := amqp.ParseMessage(d.Payload)
	if err != nil || len(m.Data) == 0 {
		return
	}
	var records []struct {
		ID     string `json:"originalMessageId"`
		Status string `json:"statusCode"`
	}
	if json.Unmarshal(m.Data[0], &records) != nil {
		return
	}
	for _, r := range records {
		var err error
		if r.Status != "Success" {
			err = fmt.Errorf("the feedback is %s", r.Status)
		}
		c.settle(r.ID, err)
	}
}

// lost ends all waits with a link.
func (c *commands) lost(cause error, _ []*amqp.Out) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = fmt.Errorf("a link of the back end ended: %w", orClosed(cause))
	for id, answer := range c.waiting {
		delete(c.waiting, id)
		answer <- c.over
	}
}
