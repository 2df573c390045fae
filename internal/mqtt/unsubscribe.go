package mqtt

// Unsubscribe is the UNSUBSCRIBE packet (section 3.10).
type Unsubscribe struct {
	ID      uint16
	Filters []string
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
