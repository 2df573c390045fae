package mqtt

// Unsuback is the UNSUBACK packet (section 3.11).
type Unsuback struct{ ID uint16 }

func parseUnsuback(body []byte) (Unsuback, error) {
	f := &fields{b: body, name: "UNSUBACK"}
	return Unsuback{ID: f.id()}, f.end()
}

// Append appends the encoded packet.
func (u Unsuback) Append(b []byte) []byte {
	return append(b, typeUnsuback<<4, 2, byte(u.ID>>8), byte(u.ID))
}
