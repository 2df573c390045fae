package mqtt

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// Publish is the PUBLISH packet (section 3.3). ID is 0 with QoS 0.
type Publish struct {
	Topic       string
	Payload     []byte
	QoS         byte
	Dup, Retain bool
	ID          uint16

	Properties *Properties // of MQTT 5.0; nil when there are none
}

// decode sets p from a body; Payload and Topic alias it, but a topic equal to known, which was valid before, is known itself.
func (p *Publish) decode(head byte, body []byte, known string, loose bool) error {
	p.Dup, p.QoS, p.Retain, p.ID = head&0x08 != 0, head>>1&3, head&0x01 != 0, 0
	if len(body) < 2 {
		return violation("", "PUBLISH: the length of the topic is missing")
	}
	n := 2 + int(binary.BigEndian.Uint16(body))
	if len(body) < n {
		return violation("", "PUBLISH: the topic is cut off")
	}
	topic, rest := body[2:n], body[n:]
	if known != "" && known == string(topic) {
		p.Topic = known
	} else if err := p.adopt(topic, loose); err != nil {
		return err
	}
	if p.QoS > 0 {
		if len(rest) < 2 {
			return violation("", "PUBLISH: the packet identifier is missing")
		}
		if p.ID = binary.BigEndian.Uint16(rest); p.ID == 0 {
			return violation("MQTT-2.3.1-1", "PUBLISH: packet identifier 0")
		}
		rest = rest[2:]
	}
	p.Payload = rest
	return nil
}

func (p *Publish) adopt(topic []byte, loose bool) error {
	switch {
	case len(topic) == 0:
		return violation("MQTT-4.7.3-1", "PUBLISH: empty topic")
	case !validText(topic):
		return violation("MQTT-3.3.2-1", "PUBLISH: the topic is not valid UTF-8 or holds U+0000")
	case !loose && hasWildcard(topic):
		return violation("MQTT-3.3.2-2", "PUBLISH: the topic holds a wildcard")
	}
	p.Topic = unsafe.String(&topic[0], len(topic))
	return nil
}

// decode5 sets p from a body of MQTT 5.0, which it may keep. A topic that an alias stands for is for the caller to fill in.
func (p *Publish) decode5(head byte, body []byte, loose bool) error {
	p.Dup, p.QoS, p.Retain, p.ID, p.Topic = head&0x08 != 0, head>>1&3, head&0x01 != 0, 0, ""
	f := &fields{b: body, name: "PUBLISH"}
	topic := f.bytes("the topic")
	if p.QoS > 0 {
		p.ID = f.id()
	}
	p.Properties = f.properties(typePublish)
	if f.err != nil {
		return f.err
	}
	p.Payload = f.b
	if len(topic) == 0 {
		if p.Properties == nil || p.Properties.Alias == 0 {
			return violation5(ProtocolViolation, "PUBLISH: neither topic nor topic alias")
		}
		return nil
	}
	return p.adopt(topic, loose)
}

// AppendV5 appends the packet as MQTT 5.0 encodes it.
func (p *Publish) AppendV5(b []byte) []byte {
	properties := appendProperties(nil, p.Properties)
	b = appendText(appendHeader(b, p.head(), p.size()+len(properties)), p.Topic)
	if p.QoS > 0 {
		b = appendUint16(b, p.ID)
	}
	return append(append(b, properties...), p.Payload...)
}

func (p *Publish) head() byte {
	head := typePublish<<4 | p.QoS<<1
	if p.Dup {
		head |= 0x08
	}
	if p.Retain {
		head |= 0x01
	}
	return head
}

// detach moves what p aliases in body into memory of its own, with one allocation.
func (p *Publish) detach(body []byte, known string) {
	if known != "" && unsafe.StringData(p.Topic) == unsafe.StringData(known) {
		own := make([]byte, len(p.Payload))
		copy(own, p.Payload)
		p.Payload = own
		return
	}
	own := make([]byte, len(body))
	copy(own, body)
	p.Topic = unsafe.String(&own[2], len(p.Topic))
	p.Payload = own[len(own)-len(p.Payload):]
}

func (p *Publish) size() int {
	n := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		n += 2
	}
	return n
}

// check refuses what cannot be encoded; it is for outbound packets.
func (p *Publish) check() error {
	switch {
	case p.QoS > 1:
		return errors.New("mqtt: publish with a QoS above 1")
	case p.QoS == 1 && p.ID == 0:
		return errors.New("mqtt: publish with QoS 1 and packet identifier 0")
	case p.QoS == 0 && p.Dup:
		return errors.New("mqtt: publish with QoS 0 and DUP")
	case p.Topic == "" || len(p.Topic) > 65535:
		return errors.New("mqtt: publish with a topic of 0 or more than 65535 bytes")
	case p.size() > MaxRemaining:
		return &TooLargeError{Limit: MaxRemaining, Size: p.size()}
	}
	return nil
}

func (p *Publish) appendHead(b []byte) []byte {
	b = appendText(appendHeader(b, p.head(), p.size()), p.Topic)
	if p.QoS > 0 {
		b = appendUint16(b, p.ID)
	}
	return b
}

// Append appends the encoded packet.
func (p *Publish) Append(b []byte) []byte { return append(p.appendHead(b), p.Payload...) }
