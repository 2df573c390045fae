package mqtt

// Puback is the PUBACK packet (section 3.4).
type Puback struct{ ID uint16 }

func parsePuback(body []byte) (Puback, error) {
	f := &fields{b: body, name: "PUBACK"}
	return Puback{ID: f.id()}, f.end()
}

// Append appends the encoded packet.
func (p Puback) Append(b []byte) []byte {
	return append(b, typePuback<<4, 2, byte(p.ID>>8), byte(p.ID))
}
