package mqtt

// Unsubscribe is the UNSUBSCRIBE packet (section 3.10). Properties are of MQTT 5.0.
type Unsubscribe struct {
	ID         uint16
	Filters    []string
	Properties *Properties
}

func parseUnsubscribe5(body []byte, loose bool) (Unsubscribe, error) {
	f := &fields{b: body, name: "UNSUBSCRIBE"}
	u := Unsubscribe{ID: f.id(), Properties: f.properties(typeUnsubscribe)}
	if f.err == nil && len(f.b) == 0 {
		f.protocol("no topic filter")
	}
	for f.err == nil && len(f.b) > 0 {
		u.Filters = append(u.Filters, f.filter(loose))
	}
	return u, f.end()
}

// AppendV5 appends the packet as MQTT 5.0 encodes it.
func (u Unsubscribe) AppendV5(b []byte) []byte {
	body := appendProperties(appendUint16(nil, u.ID), u.Properties)
	for _, filter := range u.Filters {
		body = appendText(body, filter)
	}
	return append(appendHeader(b, typeUnsubscribe<<4|2, len(body)), body...)
}

func parseUnsubscribe(body []byte, loose bool) (Unsubscribe, error) {
	f := &fields{b: body, name: "UNSUBSCRIBE"}
	u := Unsubscribe{ID: f.id()}
	if f.err == nil && len(f.b) == 0 {
		f.fail("MQTT-3.10.3-2", "no topic filter")
	}
	for f.err == nil && len(f.b) > 0 {
		u.Filters = append(u.Filters, f.filter(loose))
	}
	return u, f.end()
}

// Append appends the encoded packet.
func (u Unsubscribe) Append(b []byte) []byte {
	size := 2
	for _, filter := range u.Filters {
		size += 2 + len(filter)
	}
	b = appendUint16(appendHeader(b, typeUnsubscribe<<4|2, size), u.ID)
	for _, filter := range u.Filters {
		b = appendText(b, filter)
	}
	return b
}
