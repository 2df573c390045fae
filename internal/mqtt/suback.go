package mqtt

import (
	"bytes"
	"fmt"
)

// SubFailure is the return code of a SUBACK for a filter that was refused (section 3.9.3).
const SubFailure byte = 0x80

// Suback is the SUBACK packet (section 3.9): one code per filter, in order.
type Suback struct {
	ID    uint16
	Codes []byte
}

func parseSuback(body []byte) (Suback, error) {
	f := &fields{b: body, name: "SUBACK"}
	s := Suback{ID: f.id()}
	if f.err == nil && len(f.b) == 0 {
		f.fail("", "no return code")
	}
	for _, code := range f.b {
		if !validCode(code) {
			f.fail("MQTT-3.9.3-2", "reserved return code")
			return s, f.err
		}
	}
	s.Codes, f.b = bytes.Clone(f.b), nil
	return s, f.end()
}

func validCode(code byte) bool { return code <= 2 || code == SubFailure }

// Append appends the encoded packet.
func (s Suback) Append(b []byte) []byte {
	b = appendUint16(appendHeader(b, typeSuback<<4, 2+len(s.Codes)), s.ID)
	return append(b, s.Codes...)
}

// checkCodes holds the application to one code per filter, of which none grants QoS 2.
func checkCodes(codes []byte, filters int) error {
	if len(codes) != filters {
		return fmt.Errorf("mqtt: %d codes for a SUBSCRIBE of %d filters", len(codes), filters)
	}
	for _, code := range codes {
		if code > 1 && code != SubFailure {
			return fmt.Errorf("mqtt: code %#x for a SUBSCRIBE", code)
		}
	}
	return nil
}
