package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/nave-hub/nave"
)

// The head of a stored message is its properties, of the expiry only that the
// sender set one: a run of
// fields, each a tag byte, the length as uvarint, the bytes. Text may hold any
// byte. Readers skip tags they do not know, so fields can be added.
const (
	tagMessageID byte = iota + 1
	tagCorrelationID
	tagUserID
	tagTo
	tagContentType
	tagContentEncoding
	tagAck
	tagOperation
	tagCreated
	tagOutput
	tagSubject
	tagInterface
	tagSchema
	tagDiagID
	tagDiagContext
	tagExpiry // without text: the sender set the expiry

	// An application property is a name, then a value if it has one.
	tagName  byte = 0x40
	tagValue byte = 0x41
)

func appendHead(b []byte, m *nave.Message) []byte {
	for tag, text := range systemFields(&m.System) {
		if *text != "" {
			b = appendField(b, tag, *text)
		}
	}
	if m.System.Ack != "" {
		b = appendField(b, tagAck, string(m.System.Ack))
	}
	if !m.System.Expiry.IsZero() {
		b = appendField(b, tagExpiry, "")
	}
	for i := range m.App {
		p := &m.App[i]
		b = appendField(b, tagName, p.Name)
		if p.HasValue || p.Value != "" {
			b = appendField(b, tagValue, p.Value)
		}
	}
	if b == nil {
		return []byte{}
	}
	return b
}

func appendField(b []byte, tag byte, text string) []byte {
	b = binary.AppendUvarint(append(b, tag), uint64(len(text)))
	return append(b, text...)
}

// systemFields yields the text properties with their tags, Ack excepted.
func systemFields(s *nave.System) func(func(byte, *string) bool) {
	return func(yield func(byte, *string) bool) {
		for _, f := range [...]struct {
			tag  byte
			text *string
		}{
			{tagMessageID, &s.MessageID}, {tagCorrelationID, &s.CorrelationID}, {tagUserID, &s.UserID}, {tagTo, &s.To},
			{tagContentType, &s.ContentType}, {tagContentEncoding, &s.ContentEncoding}, {tagOperation, &s.Operation},
			{tagCreated, &s.Created}, {tagOutput, &s.Output}, {tagSubject, &s.Subject}, {tagInterface, &s.Interface},
			{tagSchema, &s.Schema}, {tagDiagID, &s.DiagID}, {tagDiagContext, &s.DiagContext},
		} {
			if !yield(f.tag, f.text) {
				return
			}
		}
	}
}

var errHead = errors.New("the stored properties are damaged")

// parseHead reads what appendHead wrote into a message that expires at expires.
func parseHead(b []byte, m *nave.Message, expires time.Time) error {
	for len(b) > 0 {
		tag := b[0]
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || size > uint64(len(b)-1-n) {
			return errHead
		}
		text := string(b[1+n : 1+n+int(size)])
		b = b[1+n+int(size):]
		switch tag {
		case tagAck:
			m.System.Ack = nave.Ack(text)
		case tagExpiry:
			m.System.Expiry = expires
		case tagName:
			m.App = append(m.App, nave.Property{Name: text})
		case tagValue:
			if len(m.App) == 0 {
				return errHead
			}
			p := &m.App[len(m.App)-1]
			p.Value, p.HasValue = text, true
		default:
			for t, field := range systemFields(&m.System) {
				if t == tag {
					*field = text
				}
			}
		}
	}
	return nil
}
