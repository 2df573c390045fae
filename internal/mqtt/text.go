package mqtt

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// fields cuts a packet body into its fields; after the first failure every field is empty and err stays.
type fields struct {
	b    []byte
	name string // of the packet, for errors
	err  error
}

func (f *fields) fail(rule, what string) {
	if f.err == nil {
		f.err = &ProtocolError{Rule: rule, Text: f.name + ": " + what, Reason: MalformedPacket}
	}
	f.b = nil
}

func (f *fields) protocol(what string) { f.reason(ProtocolViolation, what) }

// reason is a failure that MQTT 5.0 has a code of its own for; the others are malformed packets.
func (f *fields) reason(code byte, what string) {
	if f.err == nil {
		f.err = violation5(code, "%s: %s", f.name, what)
	}
	f.b = nil
}

func (f *fields) byte(what string) byte {
	if len(f.b) < 1 {
		f.fail("", what+" is missing")
		return 0
	}
	v := f.b[0]
	f.b = f.b[1:]
	return v
}

func (f *fields) uint16(what string) uint16 {
	if len(f.b) < 2 {
		f.fail("", what+" is missing")
		return 0
	}
	v := binary.BigEndian.Uint16(f.b)
	f.b = f.b[2:]
	return v
}

// bytes is a field with a two-byte length in front; it aliases the packet.
func (f *fields) bytes(what string) []byte {
	n := int(f.uint16("the length of " + what))
	if f.err != nil {
		return nil
	}
	if len(f.b) < n {
		f.fail("", what+" is cut off")
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) text(what string) string {
	v := f.bytes(what)
	if !validText(v) {
		f.fail("MQTT-1.5.3-1", what+" is not valid UTF-8 or holds U+0000")
		return ""
	}
	return string(v)
}

func (f *fields) id() uint16 {
	v := f.uint16("the packet identifier")
	if f.err == nil && v == 0 {
		f.fail("MQTT-2.3.1-1", "packet identifier 0")
	}
	return v
}

func (f *fields) end() error {
	if f.err == nil && len(f.b) > 0 {
		f.fail("", "more bytes than fields")
	}
	return f.err
}

// validText is the rule for every UTF-8 field: well formed, no surrogates, no U+0000 [MQTT-1.5.3-1, MQTT-1.5.3-2].
func validText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// hasWildcard finds what a topic name must not hold [MQTT-3.3.2-2].
func hasWildcard(b []byte) bool { return bytes.IndexByte(b, '+') >= 0 || bytes.IndexByte(b, '#') >= 0 }

// validFilter is section 4.7.1: '+' fills a whole level, '#' the whole last one.
func validFilter(s string) bool {
	for s != "" {
		level, rest, more := strings.Cut(s, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return false
		}
		s = rest
	}
	return true
}

func appendUint16(b []byte, v uint16) []byte { return append(b, byte(v>>8), byte(v)) }

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(appendUint16(b, uint16(len(s))), s...)
}
