package mqtt

// Return codes of CONNACK (section 3.2.2.3).
const (
	Accepted       byte = 0
	BadProtocol    byte = 1
	BadIdentifier  byte = 2
	Unavailable    byte = 3
	BadCredentials byte = 4
	NotAuthorized  byte = 5
)

// Connack is the CONNACK packet (section 3.2).
type Connack struct {
	Present bool // the server held a session for the client
	Code    byte
}

func parseConnack(body []byte) (Connack, error) {
	switch {
	case body[0] > 1:
		return Connack{}, violation("", "CONNACK: reserved flags set")
	case body[0] == 1 && body[1] != Accepted:
		return Connack{}, violation("MQTT-3.2.2-4", "CONNACK: session present with return code %d", body[1])
	}
	return Connack{Present: body[0] == 1, Code: body[1]}, nil
}

// Append appends the encoded packet.
func (c Connack) Append(b []byte) []byte {
	present := byte(0)
	if c.Present {
		present = 1
	}
	return append(b, typeConnack<<4, 2, present, c.Code)
}
