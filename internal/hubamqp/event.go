package hubamqp

import (
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
)

// metrics are what a reader may ask to learn with every event: how far its
// partition goes (service-api 4.4).
type metrics struct {
	seq       int64 // of the newest event, -1 when there is none
	enqueued  time.Time
	retrieved time.Time
}

// include takes note of an event, which may be newer than what was retrieved.
func (m *metrics) include(e *nave.Event) {
	if e.Seq > m.seq {
		m.seq, m.enqueued = e.Seq, e.Enqueued
	}
}

// appendEvent appends an event as Event Hubs clients read it (service-api 4.5);
// m is nil unless the reader wants metrics.
func appendEvent(b []byte, e *nave.Event, m *metrics) []byte {
	if m != nil {
		b = m.append(b)
	}
	b = appendAnnotations(b, e)
	p := propertiesOf(e)
	b = p.AppendSection(b)
	b = appendApplication(b, e)
	return amqp.AppendData(b, e.Body)
}

func (m *metrics) append(b []byte) []byte {
	w := amqp.OpenMap(b, amqp.SectionDeliveryAnnotations)
	w.Long("last_enqueued_sequence_number", m.seq)
	w.Digits("last_enqueued_offset", m.seq)
	w.Time("last_enqueued_time_utc", amqp.NewTimestamp(m.enqueued))
	w.Time("runtime_info_retrieval_time_utc", amqp.NewTimestamp(m.retrieved))
	return w.Close()
}

func appendAnnotations(b []byte, e *nave.Event) []byte {
	at := amqp.NewTimestamp(e.Enqueued)
	w := amqp.OpenMap(b, amqp.SectionMessageAnnotations)
	w.Long("x-opt-sequence-number", e.Seq)
	w.Digits("x-opt-offset", e.Seq)
	w.Time("x-opt-enqueued-time", at)
	w.Text("x-opt-partition-key", e.From.Device)
	w.Text("iothub-connection-device-id", e.From.Device)
	if e.From.Module != "" {
		w.Text("iothub-connection-module-id", e.From.Module)
	}
	if e.Auth != "" {
		w.Text("iothub-connection-auth-method", e.Auth)
	}
	if e.Generation != "" {
		w.Text("iothub-connection-auth-generation-id", e.Generation)
	}
	w.Time("iothub-enqueuedtime", at)
	w.Text("iothub-message-source", string(e.Source))
	if e.Model != "" {
		w.Text("dt-dataschema", e.Model)
	}
	s := &e.System
	if s.Subject != "" {
		w.Text("dt-subject", s.Subject)
	}
	if s.Interface != "" {
		w.Text("iothub-interface-id", s.Interface)
	}
	if s.Created != "" {
		w.Text("iothub-creation-time-utc", s.Created)
	}
	if s.Output != "" {
		w.Text("iothub-outputname", s.Output)
	}
	if s.Schema != "" && e.Source == nave.Telemetry {
		w.Text("iothub-message-schema", s.Schema)
	}
	return w.Close()
}

func propertiesOf(e *nave.Event) amqp.Properties {
	s := &e.System
	p := amqp.Properties{To: s.To, ContentType: amqp.Symbol(s.ContentType), ContentEncoding: amqp.Symbol(s.ContentEncoding), CreationTime: creationTime(s)}
	if p.To == "" && e.Source == nave.Telemetry {
		p.To = "/devices/" + e.From.Device
		if e.From.Module != "" {
			p.To += "/modules/" + e.From.Module
		}
		p.To += "/messages/events"
	}
	if s.MessageID != "" {
		p.MessageID = s.MessageID
	}
	if s.CorrelationID != "" {
		p.CorrelationID = s.CorrelationID
	}
	if s.UserID != "" {
		p.UserID = []byte(s.UserID)
	}
	if !s.Expiry.IsZero() {
		p.AbsoluteExpiryTime = amqp.NewTimestamp(s.Expiry)
	}
	return p
}

// appendApplication appends the application properties, which for events of the
// hub itself include their schema (hub-semantics 13).
func appendApplication(b []byte, e *nave.Event) []byte {
	schema := e.System.Schema != "" && e.Source != nave.Telemetry
	if len(e.App) == 0 && !schema {
		return b
	}
	w := amqp.OpenMap(b, amqp.SectionApplicationProperties)
	for i := range e.App {
		if a := &e.App[i]; a.HasValue {
			w.Property(a.Name, a.Value)
		} else {
			w.Null(a.Name)
		}
	}
	if schema {
		w.Property("iothub-message-schema", e.System.Schema)
	}
	return w.Close()
}
