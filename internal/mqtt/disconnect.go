package mqtt

// Disconnect is the DISCONNECT packet (section 3.14). Its fields are of MQTT 5.0.
type Disconnect struct {
	Reason     byte
	Properties *Properties
}

func parseDisconnect5(body []byte) (d Disconnect, err error) {
	f := &fields{b: body, name: "DISCONNECT"}
	if len(f.b) > 0 {
		d.Reason = f.byte("the reason code")
	}
	if len(f.b) > 0 {
		d.Properties = f.properties(typeDisconnect)
	}
	return d, f.end()
}

// AppendV5 appends the packet as MQTT 5.0 encodes it, in its shortest form.
func (d Disconnect) AppendV5(b []byte) []byte {
	switch {
	case d.Properties != nil:
		properties := appendProperties(nil, d.Properties)
		return append(append(appendHeader(b, typeDisconnect<<4, 1+len(properties)), d.Reason), properties...)
	case d.Reason != Success:
		return append(b, typeDisconnect<<4, 1, d.Reason)
	}
	return d.Append(b)
}

// Append appends the encoded packet.
func (Disconnect) Append(b []byte) []byte { return append(b, typeDisconnect<<4, 0) }
