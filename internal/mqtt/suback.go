package mqtt

import (
	"bytes"
	"fmt"
)

// SubFailure is the return code of a SUBACK for a filter that was refused (section 3.9.3).
const SubFailure byte = 0x80

// Suback is the SUBACK packet (section 3.9): one code per filter, in order. Properties are of MQTT 5.0.
type Suback struct {
	ID         uint16
	Codes      []byte
	Properties *Properties
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

func parseSuback5(body []byte) (Suback, error) {
	f := &fields{b: body, name: "SUBACK"}
	s := Suback{ID: f.id(), Properties: f.properties(typeSuback)}
	s.Codes = f.codes()
	return s, f.end()
}

// codes are the reason codes at the end of SUBACK and UNSUBACK.
func (f *fields) codes() []byte {
	if f.err == nil && len(f.b) == 0 {
		f.fail("", "no reason code")
	}
	codes := bytes.Clone(f.b)
	f.b = nil
	return codes
}

// AppendV5 appends the packet as MQTT 5.0 encodes it.
func (s Suback) AppendV5(b []byte) []byte {
	return appendCodes(b, typeSuback, s.ID, s.Properties, s.Codes)
}

func appendCodes(b []byte, packet byte, id uint16, p *Properties, codes []byte) []byte {
	properties := appendProperties(nil, p)
	b = appendUint16(appendHeader(b, packet<<4, 2+len(properties)+len(codes)), id)
	return append(append(b, properties...), codes...)
}

func validCode(code byte) bool { return code <= 2 || code == SubFailure }

// Append appends the encoded packet.
func (s Suback) Append(b []byte) []byte {
	b = appendUint16(appendHeader(b, typeSuback<<4, 2+len(s.Codes)), s.ID)
	return append(b, s.Codes...)
}

// checkCodes holds the application to one code per filter, of which none grants QoS 2. MQTT 3.1.1 knows one failure only.
func checkCodes(codes []byte, filters int, modern bool) error {
	if len(codes) != filters {
		return fmt.Errorf("mqtt: %d codes for a SUBSCRIBE of %d filters", len(codes), filters)
	}
	for i, code := range codes {
		switch {
		case code <= 1 || code == SubFailure:
		case code > SubFailure && !modern:
			codes[i] = SubFailure
		case code < SubFailure:
			return fmt.Errorf("mqtt: code %#x for a SUBSCRIBE", code)
		}
	}
	return nil
}
