package hubamqp

import (
	"errors"

	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

const (
	telemetryCredit = 100      // device-protocols 3.1
	encodingRoom    = 64 << 10 // what a message of the greatest size may be longer when encoded (device-protocols 5.3)
)

// prepareTelemetry sets up the link that a device sends telemetry on.
func (s *seat) prepareTelemetry(n *strand) {
	limit := s.c.hub.Limits().D2C
	n.SetMaxMessageSize(uint64(limit))
	n.BufferLimit = limit + encodingRoom
	n.Window = telemetryCredit
	n.OnDelivery = s.takeTelemetry
}

// takeTelemetry stores a message or a batch; the answer follows the store. It
// runs on the reader and blocks only while the hub holds all senders back.
func (s *seat) takeTelemetry(d *amqp.Delivery) {
	if d.TooLarge {
		limit := s.c.hub.Limits().D2C
		s.reject(d, fault.MessageTooLarge.Over("d2c.maxSize", limit, d.Size, "the message is too large"))
		return
	}
	if d.Format == batchFormat {
		s.takeBatch(d)
		return
	}
	m, err := parseMessage(d.Payload)
	if err != nil {
		s.reject(d, err)
		return
	}
	s.line.Send(m, func(err error) { s.answer(d, err) })
}

func (s *seat) takeBatch(d *amqp.Delivery) {
	batch, err := parseBatch(d.Payload)
	switch {
	case err != nil:
		s.reject(d, err)
	case len(batch) == 0:
		d.Accept()
	default:
		s.line.SendBatch(batch, func(err error) { s.answer(d, err) })
	}
}

func (s *seat) answer(d *amqp.Delivery, err error) {
	if err == nil || errors.Is(err, hub.ErrSilent) {
		d.Accept()
		return
	}
	s.reject(d, err)
}

// reject refuses a message: always by an outcome, never by a detach
// (device-protocols 3.6).
func (s *seat) reject(d *amqp.Delivery, err error) {
	e := s.c.deviceCondition("telemetry.send", s.id, err)
	if e.Condition == amqp.DetachForced {
		e.Condition = amqp.InternalError // a link's condition says nothing in an outcome
	}
	d.Reject(e)
}
