package nave

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nave-hub/nave/internal/fault"
)

// System properties that the sender sets; empty text and zero time mean
// absent (device-protocols 5.1).
type System struct {
	MessageID, CorrelationID, UserID, To string
	Expiry                               time.Time
	ContentType, ContentEncoding         string
	Ack                                  Ack
	Operation                            string
	Created                              string // iothub-creation-time-utc as sent
	Output                               string // iothub-outputname
	Subject                              string // dt-subject, the component
	Interface                            string // iothub-interface-id
	Schema                               string // iothub-message-schema
	DiagID, DiagContext                  string
}

// Property is one application property. HasValue is false for a name that was
// sent without a value.
type Property struct {
	Name, Value string
	HasValue    bool
}

// Message is what a device or a back end sends. Body and properties must not
// change once the message has been handed over.
type Message struct {
	Body   []byte
	System System
	App    []Property // in the order as sent, names unique
}

// SetApp sets the application property name, replacing an earlier one: the last
// of two names that are equal, or differ in case only, survives (hub-semantics
// 4.1).
func (m *Message) SetApp(name, value string, has bool) {
	for i := range m.App {
		if strings.EqualFold(m.App[i].Name, name) {
			m.App[i] = Property{name, value, has}
			return
		}
	}
	m.App = append(m.App, Property{name, value, has})
}

// stamps are the names that the hub gives values of its own on the way to the
// event log (device-protocols 5.2), in lower case.
var stamps = []string{"iothub-connection-device-id", "iothub-connection-module-id", "iothub-connection-auth-generation-id",
	"iothub-connection-auth-method", "iothub-enqueuedtime", "iothub-message-source", "dt-dataschema"}

// DropForged drops application properties with names that the hub stamps itself:
// a device has no say in them (device-protocols 5.2, hub-semantics 4.1). What
// was m.App is not written to.
func (m *Message) DropForged() {
	forged := func(p Property) bool {
		return len(p.Name) >= len("dt-dataschema") && slices.Contains(stamps, strings.ToLower(p.Name))
	}
	if slices.ContainsFunc(m.App, forged) {
		m.App = slices.DeleteFunc(slices.Clone(m.App), forged)
	}
}

// AppValue returns the value of the application property name.
func (m *Message) AppValue(name string) (string, bool) {
	for i := range m.App {
		if m.App[i].Name == name {
			return m.App[i].Value, true
		}
	}
	return "", false
}

// Size returns the bytes that count against a limit: body, values of system
// properties, names and values of application properties (hub-semantics 4.2).
func (m *Message) Size() int {
	s := &m.System
	n := len(m.Body) + len(s.MessageID) + len(s.CorrelationID) + len(s.UserID) + len(s.To) +
		len(s.ContentType) + len(s.ContentEncoding) + len(s.Ack) + len(s.Operation) + len(s.Created) +
		len(s.Output) + len(s.Subject) + len(s.Interface) + len(s.Schema) + len(s.DiagID) + len(s.DiagContext)
	if !s.Expiry.IsZero() {
		n += len(TimeFormat)
	}
	for i := range m.App {
		n += len(m.App[i].Name) + len(m.App[i].Value)
	}
	return n
}

// TimeFormat is the layout of times towards clients: UTC, seven fraction
// digits (device-protocols 2.5).
const TimeFormat = "2006-01-02T15:04:05.0000000Z"

// Format returns at in TimeFormat, and 0001-01-01T00:00:00Z for the zero time.
func Format(at time.Time) string {
	if at.IsZero() {
		return "0001-01-01T00:00:00Z"
	}
	return at.UTC().Format(TimeFormat)
}

// ParseTime reads an ISO 8601 time with any number of fraction digits, of
// which seven count, and Z or an offset; without either it is UTC. Other text
// is ArgumentInvalid.
func ParseTime(text string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC().Truncate(100 * time.Nanosecond), nil
		}
	}
	return time.Time{}, fault.ArgumentInvalid.New("%q is no time, expected is for example 2006-01-02T15:04:05.0000000Z", brief(text))
}

var timeLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
	"20060102T150405Z0700", "20060102T150405", "2006-01-02",
}

// MaxMessageID is the greatest length of a message or correlation id in
// characters (hub-semantics 4.1).
const MaxMessageID = 128

// CheckD2C answers MessageTooLarge, or ArgumentInvalid for a message or
// correlation id that breaks the grammar of hub-semantics 4.1.
func (m *Message) CheckD2C(l *Limits) error {
	if n := m.Size(); n > l.D2C {
		return fault.MessageTooLarge.Over("d2c.maxSize", l.D2C, n, "the message is too large")
	}
	return m.checkIDs()
}

// CheckC2D applies the checks of hub-semantics 5.1 that need no store, in its
// order: MessageTooLarge, ArgumentInvalid for ids and property characters,
// InvalidMessageExpiryTime.
func (m *Message) CheckC2D(now time.Time, l *Limits) error {
	if n := m.Size(); n > l.C2D {
		return fault.MessageTooLarge.Over("c2d.maxSize", l.C2D, n, "the message is too large")
	}
	if err := m.checkIDs(); err != nil {
		return err
	}
	for i := range m.App {
		if err := m.App[i].check(); err != nil {
			return err
		}
	}
	at := m.System.Expiry
	switch {
	case at.IsZero():
		return nil
	case !at.After(now):
		return fault.InvalidMessageExpiryTime.New("the message expires at %s, which is not after now, %s", Format(at), Format(now))
	case at.Sub(now) > l.C2DMaxTTL:
		return fault.InvalidMessageExpiryTime.Over("c2d.maxTtl", l.C2DMaxTTL, at.Sub(now), "the message expires too far ahead, at %s", Format(at))
	}
	return nil
}

func (m *Message) checkIDs() error {
	if err := checkMessageID("message-id", m.System.MessageID); err != nil {
		return err
	}
	return checkMessageID("correlation-id", m.System.CorrelationID)
}

func checkMessageID(name, id string) error {
	if len(id) > MaxMessageID {
		return fault.ArgumentInvalid.Over("message.maxId", MaxMessageID, len(id), "the %s is too long", name)
	}
	for n := 0; n < len(id); n++ {
		if !idByte[id[n]] {
			return fault.ArgumentInvalid.New("the %s has the character %s at position %d, allowed are ASCII letters, digits and - : . + %% _ # * ? ! ( ) , = @ $ ' and semicolon", name, naming(id[n:]), n+1)
		}
	}
	return nil
}

func (p *Property) check() error {
	if p.Name == "" {
		return fault.ArgumentInvalid.New("an application property has an empty name")
	}
	if n := badToken(p.Name); n >= 0 {
		return fault.ArgumentInvalid.New("the name of property %q has the character %s at position %d; %s", brief(p.Name), naming(p.Name[n:]), n+1, tokenRule)
	}
	if n := strings.IndexFunc(p.Value, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }); n >= 0 {
		return fault.ArgumentInvalid.New("the value of property %q has the character %s at position %d, control characters are not allowed", brief(p.Name), naming(p.Value[n:]), n+1)
	}
	return nil
}

const tokenRule = "allowed are ASCII letters, digits and ! # $ % & ' * + - . ^ _ ` | ~"

// badToken returns the position of the first byte that hub-semantics 4.1 does
// not allow in property names of cloud-to-device messages, or -1. Values are
// freer (device-protocols 5.1, service-api 3.3): existing back ends send blanks
// and UTF-8.
func badToken(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return i
	}
	return -1
}
