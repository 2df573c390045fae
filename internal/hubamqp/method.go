package hubamqp

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// noPayload is what a call without payload carries: the device SDK for Node
// parses every body, an empty one too (device-protocols 3.8 allows both).
var noPayload = []byte("null")

// callID is the correlation id of a call: half of it marks the seat, the other
// half is the hub's number of the call.
func (s *seat) callID(id string) (amqp.UUID, error) {
	number, err := strconv.ParseUint(id, 10, 64)
	var u amqp.UUID
	copy(u[:], s.nonce[:])
	binary.BigEndian.PutUint64(u[8:], number)
	return u, err
}

// call returns the hub's id of the call that a reply is for.
func (s *seat) call(correlation any) (string, bool) {
	u, ok := correlation.(amqp.UUID)
	if text, isText := amqp.Text(correlation); isText {
		u, ok = amqp.ParseUUID(text)
	}
	if !ok || !bytes.Equal(u[:8], s.nonce[:]) {
		return "", false
	}
	return strconv.FormatUint(binary.BigEndian.Uint64(u[8:]), 10), true
}

// Invoke implements hub.Peer.
func (s *seat) Invoke(c *nave.Call) error {
	id, err := s.callID(c.ID)
	if err != nil {
		return err
	}
	payload := []byte(c.Payload)
	if len(payload) == 0 {
		payload = noPayload
	}
	m := amqp.Message{Properties: &amqp.Properties{CorrelationID: id}, Data: [][]byte{payload},
		ApplicationProperties: amqp.Map{{Key: "IoThub-methodname", Value: c.Method}}}
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.links) - 1; i >= 0; i-- {
		if n := s.links[i]; n.part == hub.MethodRequestLink {
			return s.send(n, outgoing{payload: b, tag: s.tag(), settled: true})
		}
	}
	return errOff
}

// takeMethodReply passes a reply on; whether somebody waits for it is the hub's
// concern.
func (s *seat) takeMethodReply(d *amqp.Delivery) {
	r, correlation, err := parseMethodReply(d)
	if err != nil {
		d.Reject(s.c.deviceCondition("method.reply", s.id, err))
		return
	}
	d.Accept()
	if id, ok := s.call(correlation); ok {
		s.line.Answer(id, r)
	}
}

func parseMethodReply(d *amqp.Delivery) (r nave.Reply, correlation any, err error) {
	if d.TooLarge {
		return r, nil, fault.MessageTooLarge.New("the reply has %d bytes", d.Size)
	}
	m, err := amqp.ParseMessage(d.Payload)
	if err != nil {
		return r, nil, malformed(err)
	}
	status, ok := amqp.Int(m.ApplicationProperties.Get("IoThub-status"))
	if !ok || int64(int32(status)) != status || m.Properties == nil {
		return r, nil, fault.ArgumentInvalid.New("a method reply needs a correlation-id and IoThub-status, an int")
	}
	r.Status = int(status)
	r.Payload = bytes.Join(m.Data, nil)
	if text, ok := amqp.Text(m.Value); ok && m.Data == nil {
		r.Payload = []byte(text)
	}
	if len(r.Payload) == 0 {
		r.Payload = nil
	}
	return r, m.Properties.CorrelationID, nil
}
