package mqtt

// Pingreq is the PINGREQ packet (section 3.12).
type Pingreq struct{}

// Append appends the encoded packet.
func (Pingreq) Append(b []byte) []byte { return append(b, typePingreq<<4, 0) }

// Pingresp is the PINGRESP packet (section 3.13).
type Pingresp struct{}

// Append appends the encoded packet.
func (Pingresp) Append(b []byte) []byte { return append(b, typePingresp<<4, 0) }
