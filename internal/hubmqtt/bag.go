package hubmqtt

import (
	"strings"
	"unicode/utf8"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// parseBag reads the property bag of a topic into the message, tolerantly
// (device-protocols 2.5). It answers ArgumentInvalid for an expiry that is no
// time. The texts may be parts of the bag.
func parseBag(bag string, m *nave.Message) error {
	bag = strings.TrimSuffix(strings.TrimPrefix(bag, "?"), "/")
	var index map[string]int
	for bag != "" {
		var pair string
		pair, bag, _ = strings.Cut(bag, "&")
		key, value, has := strings.Cut(pair, "=")
		if key == "" {
			continue
		}
		key, value = unescape(key), unescape(value)
		if known, err := assign(&m.System, key, value); err != nil {
			return err
		} else if known {
			continue
		}
		index = setApp(m, index, nave.Property{Name: key, Value: value, HasValue: has})
	}
	return nil
}

// setApp is Message.SetApp for many properties: past a handful it keeps an
// index, as a topic has room for thousands.
func setApp(m *nave.Message, index map[string]int, p nave.Property) map[string]int {
	if index == nil && len(m.App) < 16 {
		m.SetApp(p.Name, p.Value, p.HasValue)
		return nil
	}
	if index == nil {
		index = make(map[string]int, 2*len(m.App))
		for n := range m.App {
			index[strings.ToLower(m.App[n].Name)] = n
		}
	}
	folded := strings.ToLower(p.Name)
	if n, twice := index[folded]; twice {
		m.App[n] = p
	} else {
		index[folded] = len(m.App)
		m.App = append(m.App, p)
	}
	return index
}

// assign sets the system property that a decoded key names; known is false for
// an application property.
func assign(s *nave.System, key, value string) (known bool, err error) {
	switch key {
	case "$.mid":
		s.MessageID = value
	case "$.cid":
		s.CorrelationID = value
	case "$.uid":
		s.UserID = value
	case "$.to": // telemetry goes to the hub, whatever is written here
	case "$.exp":
		if value == "" {
			return true, nil
		}
		if s.Expiry, err = nave.ParseTime(value); err != nil {
			return true, fault.ArgumentInvalid.New("the property $.exp: %s", fault.From(err).Text)
		}
	case "$.ct":
		s.ContentType = value
	case "$.ce":
		s.ContentEncoding = value
	case "iothub-ack":
		s.Ack = nave.Ack(value)
	case "iothub-operation":
		s.Operation = value
	case "$.on":
		s.Output = value
	case "$.ctime":
		s.Created = value
	case "$.sub":
		s.Subject = value
	case "$.ifid":
		s.Interface = value
	case "$.schema":
		s.Schema = value
	case "$.diagid":
		s.DiagID = value
	case "$.diagctx":
		s.DiagContext = value
	default:
		return false, nil
	}
	return true, nil
}

// unescape decodes percent escapes and nothing else. What is no escape stays,
// and so does a text that would not be UTF-8 afterwards.
func unescape(s string) string {
	at := strings.IndexByte(s, '%')
	if at < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:at]...)
	for n := at; n < len(s); n++ {
		if s[n] == '%' && n+2 < len(s) {
			high, low := nibble[s[n+1]], nibble[s[n+2]]
			if high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				n += 2
				continue
			}
		}
		b = append(b, s[n])
	}
	if !utf8.Valid(b) {
		return s
	}
	return string(b)
}

// nibble maps the hex digits to their values and everything else to -1.
var nibble = func() (t [256]int8) {
	for n := range t {
		t[n] = -1
	}
	for n := range 16 {
		t["0123456789ABCDEF"[n]], t["0123456789abcdef"[n]] = int8(n), int8(n)
	}
	return t
}()

// appendCommandTopic appends the topic of a cloud-to-device message: T4 or T6
// with its bag, strictly (device-protocols 2.5). $.to is always there, and
// nothing is there without a value, as clients cannot read that.
func appendCommandTopic(b []byte, c *nave.C2D) []byte {
	s := &c.System
	b = append(append(b, ownPrefix(c.On)...), "messages/devicebound/"...)
	start := len(b)
	to := s.To
	if to == "" {
		to = "/" + ownPrefix(c.On) + "messages/devicebound"
	}
	b = appendPair(b, start, "%24.mid", s.MessageID)
	b = appendPair(b, start, "%24.cid", s.CorrelationID)
	b = appendPair(b, start, "%24.uid", s.UserID)
	b = appendPair(b, start, "%24.to", to)
	if !s.Expiry.IsZero() {
		b = appendPair(b, start, "%24.exp", nave.Format(s.Expiry))
	}
	b = appendPair(b, start, "%24.ct", s.ContentType)
	b = appendPair(b, start, "%24.ce", s.ContentEncoding)
	if s.Ack != nave.AckNone {
		b = appendPair(b, start, "iothub-ack", string(s.Ack))
	}
	for n := range c.App {
		p := &c.App[n]
		if p.Name == "" || p.Name == "iothub-ack" || strings.HasPrefix(p.Name, "$.") {
			continue // clients would take it for a system property
		}
		b = appendPair(b, start, string(escape(nil, p.Name)), p.Value)
	}
	return b
}

// appendPair appends key=value, unless the value is empty; the key is escaped
// already, the bag begins at start.
func appendPair(b []byte, start int, key, value string) []byte {
	if value == "" {
		return b
	}
	if len(b) > start {
		b = append(b, '&')
	}
	return escape(append(append(b, key...), '='), value)
}

// escape appends s with every byte escaped that is not unreserved.
func escape(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for n := 0; n < len(s); n++ {
		if c := s[n]; unreserved[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

var unreserved = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~") {
		t[c] = true
	}
	return t
}()
