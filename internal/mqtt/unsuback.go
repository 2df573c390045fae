package mqtt

// Unsuback is the UNSUBACK packet (section 3.11). Codes, one per filter, and Properties are of MQTT 5.0.
type Unsuback struct {
	ID         uint16
	Codes      []byte
	Properties *Properties
}

func parseUnsuback(body []byte) (Unsuback, error) {
	f := &fields{b: body, name: "UNSUBACK"}
	return Unsuback{ID: f.id()}, f.end()
}

func parseUnsuback5(body []byte) (Unsuback, error) {
	f := &fields{b: body, name: "UNSUBACK"}
	u := Unsuback{ID: f.id(), Properties: f.properties(typeUnsuback)}
	u.Codes = f.codes()
	return u, f.end()
}

// AppendV5 appends the packet as MQTT 5.0 encodes it.
func (u Unsuback) AppendV5(b []byte) []byte {
	return appendCodes(b, typeUnsuback, u.ID, u.Properties, u.Codes)
}

// Append appends the encoded packet.
func (u Unsuback) Append(b []byte) []byte {
	return append(b, typeUnsuback<<4, 2, byte(u.ID>>8), byte(u.ID))
}
