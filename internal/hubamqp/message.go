package hubamqp

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
)

// batchFormat is the message-format of a batch (device-protocols 3.6).
const batchFormat = 0x80013700

// faultPrefix begins the properties that ask for a fault (device-protocols 6).
const faultPrefix = "aziothub_faultoperation"

// parseMessage reads a telemetry message. Body and texts may point into b.
// ArgumentInvalid: it cannot be read.
func parseMessage(b []byte) (*nave.Message, error) {
	m := &nave.Message{}
	w := amqp.NewSections(b)
	for {
		s, ok := w.Next()
		if !ok {
			break
		}
		if err := readSection(m, s); err != nil {
			return nil, malformed(err)
		}
	}
	if err := w.Err(); err != nil {
		return nil, malformed(err)
	}
	return m, nil
}

func malformed(err error) error {
	if e := fault.From(err); e.Code == fault.ArgumentInvalid {
		return e
	}
	return fault.ArgumentInvalid.Wrap(err, "the message cannot be read: %v", err)
}

func readSection(m *nave.Message, s amqp.Section) error {
	switch s.Kind {
	case amqp.SectionProperties:
		p, err := s.Properties()
		if err != nil {
			return err
		}
		return systemOf(&m.System, &p)
	case amqp.SectionMessageAnnotations:
		return eachText(s, func(name, value string, _ bool) { readAnnotation(&m.System, name, value) })
	case amqp.SectionApplicationProperties:
		return eachText(s, func(name, value string, has bool) { readApp(m, name, value, has) })
	case amqp.SectionData, amqp.SectionValue:
		return readBody(m, s)
	case amqp.SectionSequence:
		return fault.ArgumentInvalid.New("the body is an amqp-sequence, expected is data")
	}
	return nil
}

func readBody(m *nave.Message, s amqp.Section) error {
	p, ok := s.Value.Bytes()
	if !ok && s.Kind == amqp.SectionValue {
		if p, ok = s.Value.Text(); !ok {
			v, err := s.Value.Value()
			if err != nil {
				return err
			}
			if v != nil {
				return fault.ArgumentInvalid.New("the body is an amqp-value of the type %T, expected is data, a binary or a string", v)
			}
			return nil
		}
	}
	if !ok {
		return fault.ArgumentInvalid.New("the body is no binary")
	}
	if m.Body == nil {
		m.Body = p
		return nil
	}
	m.Body = append(m.Body[:len(m.Body):len(m.Body)], p...)
	return nil
}

func systemOf(s *nave.System, p *amqp.Properties) error {
	var ok, ok2 bool
	s.MessageID, ok = plainText(p.MessageID)
	s.CorrelationID, ok2 = plainText(p.CorrelationID)
	if !ok || !ok2 {
		return fault.ArgumentInvalid.New("message-id or correlation-id has a type that ids cannot have")
	}
	s.UserID = string(p.UserID)
	s.ContentType, s.ContentEncoding = string(p.ContentType), string(p.ContentEncoding)
	if p.AbsoluteExpiryTime != 0 {
		s.Expiry = p.AbsoluteExpiryTime.Time()
	}
	if p.CreationTime != 0 && s.Created == "" {
		s.Created = nave.Format(p.CreationTime.Time())
	}
	return nil
}

// creationTime returns when a message was made, 0 when its sender has not said
// so in a form that the property can carry.
func creationTime(s *nave.System) amqp.Timestamp {
	if s.Created == "" {
		return 0
	}
	t, err := nave.ParseTime(s.Created)
	if err != nil {
		return 0
	}
	return amqp.NewTimestamp(t)
}

// eachText calls f for the entries of a map section as texts.
func eachText(s amqp.Section, f func(name, value string, has bool)) (err error) {
	each := s.Each(func(key, value amqp.Raw) bool {
		name, ok := key.Text()
		if !ok {
			err = fault.ArgumentInvalid.New("a property has a name that is no text")
			return false
		}
		if text, ok := value.Text(); ok {
			f(string(name), string(text), true)
			return true
		}
		var v any
		if v, err = value.Value(); err != nil {
			return false
		}
		text, ok := plainText(v)
		if !ok {
			err = fault.ArgumentInvalid.New("the value of property %q has the type %T, expected is a text", brief(string(name)), v)
			return false
		}
		f(string(name), text, v != nil)
		return true
	})
	if err == nil {
		err = each
	}
	return err
}

// plainText returns a value of one of the simple types as text; null is "".
func plainText(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case amqp.Symbol:
		return string(v), true
	case amqp.UUID:
		return v.String(), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case bool:
		return strconv.FormatBool(v), true
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case amqp.Timestamp:
		return nave.Format(v.Time()), true
	case amqp.Char:
		return string(rune(v)), true
	case []byte:
		return base64.StdEncoding.EncodeToString(v), true
	}
	n, ok := amqp.Int(v)
	return strconv.FormatInt(n, 10), ok
}

// readAnnotation takes the annotations that mean something (device-protocols
// 3.6).
func readAnnotation(s *nave.System, name, value string) {
	switch name {
	case "dt-subject":
		s.Subject = value
	case "iothub-interface-id":
		s.Interface = value
	case "Diagnostic-Id":
		s.DiagID = value
	case "Correlation-Context":
		s.DiagContext = value
	case "iothub-creation-time-utc":
		s.Created = value
	}
}

// readApp takes an application property: system properties by their names, what
// only the hub may say not at all, the rest as the sender's own.
func readApp(m *nave.Message, name, value string, has bool) {
	s := &m.System
	switch name {
	case "iothub-creation-time-utc":
		s.Created = value
	case "iothub-outputname":
		s.Output = value
	case "iothub-operation":
		s.Operation = value
	case "iothub-ack":
		s.Ack = nave.Ack(value)
	case "iothub-message-schema":
		s.Schema = value
	case "iothub-interface-id":
		s.Interface = value
	case "iothub-connection-device-id", "iothub-connection-module-id", "iothub-connection-auth-method",
		"iothub-connection-auth-generation-id", "iothub-enqueuedtime", "iothub-message-source", "dt-dataschema":
		// stamped by the hub (device-protocols 5.2)
	default:
		m.SetApp(name, value, has)
	}
}

// parseBatch reads the messages of a batch. Nothing of the envelope is
// inherited, except that a request for a fault may stand there (device-protocols
// 3.6).
func parseBatch(b []byte) (batch []*nave.Message, err error) {
	var asked []nave.Property
	w := amqp.NewSections(b)
	for {
		s, ok := w.Next()
		if !ok {
			break
		}
		switch s.Kind {
		case amqp.SectionApplicationProperties:
			err = eachText(s, func(name, value string, has bool) {
				if len(name) >= len(faultPrefix) && strings.EqualFold(name[:len(faultPrefix)], faultPrefix) {
					asked = append(asked, nave.Property{Name: name, Value: value, HasValue: has})
				}
			})
		case amqp.SectionData:
			p, ok := s.Data()
			if !ok {
				return nil, fault.ArgumentInvalid.New("message %d of the batch is no binary", len(batch)+1)
			}
			var m *nave.Message
			if m, err = parseMessage(p); err == nil {
				batch = append(batch, m)
			}
		case amqp.SectionSequence, amqp.SectionValue:
			err = fault.ArgumentInvalid.New("a batch holds data sections")
		}
		if err != nil {
			return nil, malformed(fmt.Errorf("message %d of the batch: %w", len(batch)+1, err))
		}
	}
	if err := w.Err(); err != nil {
		return nil, malformed(err)
	}
	if len(batch) > 0 {
		for _, p := range asked {
			batch[0].SetApp(p.Name, p.Value, p.HasValue)
		}
	}
	return batch, nil
}

// appendCommand appends a cloud-to-device message as devices read it
// (device-protocols 3.7).
func appendCommand(b []byte, c *nave.C2D, lock amqp.UUID) ([]byte, error) {
	s := &c.System
	p := &amqp.Properties{To: s.To, ContentType: amqp.Symbol(s.ContentType), ContentEncoding: amqp.Symbol(s.ContentEncoding), CreationTime: creationTime(s)}
	if p.To == "" {
		p.To = "/devices/" + c.On.Device + "/messages/devicebound"
		if c.On.IsModule() {
			p.To = "/devices/" + c.On.Device + "/modules/" + c.On.Module + "/messages/devicebound"
		}
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
	m := amqp.Message{Properties: p, Data: [][]byte{c.Body}, MessageAnnotations: amqp.Map{
		{Key: amqp.Symbol("x-opt-lock-token"), Value: lock},
		{Key: amqp.Symbol("x-opt-sequence-number"), Value: uint64(c.Seq)},
		{Key: amqp.Symbol("iothub-enqueuedtime"), Value: amqp.NewTimestamp(c.Enqueued)},
		{Key: amqp.Symbol("iothub-deliverycount"), Value: uint8(min(c.Deliveries, 255))},
	}}
	for _, a := range c.App {
		if a.Name != "iothub-ack" {
			m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: a.Name, Value: a.Value})
		}
	}
	if s.Ack != "" && s.Ack != nave.AckNone {
		m.ApplicationProperties = append(m.ApplicationProperties, amqp.Pair{Key: "iothub-ack", Value: string(s.Ack)})
	}
	return m.Append(b)
}

// littleEndian returns a GUID's bytes in the order in which .NET writes them:
// the first three groups reversed.
func littleEndian(u amqp.UUID) []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}
