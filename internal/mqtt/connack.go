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
	Present    bool // the server held a session for the client
	Code       byte
	Properties *Properties // of MQTT 5.0
}

func parseConnack(body []byte) (Connack, error) { // of two bytes, see checkHeader
	switch {
	case body[0] > 1:
		return Connack{}, violation("", "CONNACK: reserved flags set")
	case body[0] == 1 && body[1] != Accepted:
		return Connack{}, violation("MQTT-3.2.2-4", "CONNACK: session present with return code %d", body[1])
	}
	return Connack{Present: body[0] == 1, Code: body[1]}, nil
}

func parseConnack5(body []byte) (Connack, error) {
	f := &fields{b: body, name: "CONNACK"}
	c := Connack{Present: f.flag("session present"), Code: f.byte("the reason code"), Properties: f.properties(typeConnack)}
	if f.err == nil && c.Present && c.Code != Success {
		f.protocol("session present with a failure")
	}
	return c, f.end()
}

// Append appends the encoded packet.
func (c Connack) Append(b []byte) []byte {
	return append(b, typeConnack<<4, 2, c.present(), c.Code)
}

// AppendV5 appends the packet as MQTT 5.0 encodes it.
func (c Connack) AppendV5(b []byte) []byte {
	properties := appendProperties(nil, c.Properties)
	b = append(appendHeader(b, typeConnack<<4, 2+len(properties)), c.present(), c.Code)
	return append(b, properties...)
}

func (c Connack) present() byte {
	if c.Present {
		return 1
	}
	return 0
}
