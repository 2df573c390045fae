package mqtt

// Puback is the PUBACK packet (section 3.4). Reason and Properties are of MQTT 5.0.
type Puback struct {
	ID         uint16
	Reason     byte
	Properties *Properties
}

func parsePuback(body []byte) (Puback, error) {
	f := &fields{b: body, name: "PUBACK"}
	return Puback{ID: f.id()}, f.end()
}

// parsePuback5 knows that the reason, and the properties behind it, may be left out.
func parsePuback5(body []byte) (Puback, error) {
	f := &fields{b: body, name: "PUBACK"}
	p := Puback{ID: f.id()}
	if len(f.b) > 0 {
		p.Reason = f.byte("the reason code")
	}
	if len(f.b) > 0 {
		p.Properties = f.properties(typePuback)
	}
	return p, f.end()
}

// AppendV5 appends the packet as MQTT 5.0 encodes it, in its shortest form.
func (p Puback) AppendV5(b []byte) []byte {
	switch {
	case p.Properties != nil:
		properties := appendProperties(nil, p.Properties)
		b = append(appendUint16(appendHeader(b, typePuback<<4, 3+len(properties)), p.ID), p.Reason)
		return append(b, properties...)
	case p.Reason != Success:
		return append(b, typePuback<<4, 3, byte(p.ID>>8), byte(p.ID), p.Reason)
	}
	return p.Append(b)
}

// Append appends the encoded packet.
func (p Puback) Append(b []byte) []byte {
	return append(b, typePuback<<4, 2, byte(p.ID>>8), byte(p.ID))
}
