package mqtt

// Disconnect is the DISCONNECT packet (section 3.14).
type Disconnect struct{}

// Append appends the encoded packet.
func (Disconnect) Append(b []byte) []byte { return append(b, typeDisconnect<<4, 0) }
