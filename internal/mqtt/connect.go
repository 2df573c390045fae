package mqtt

// Will is the message that the server publishes when a client goes without DISCONNECT.
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool

	Properties *Properties // of MQTT 5.0
}

// Connect is the CONNECT packet (section 3.1). Level is 4 for MQTT 3.1.1 and 5 for MQTT 5.0, whose Clean means Clean Start. KeepAlive
// is in seconds; Will is nil when there is none.
type Connect struct {
	Protocol                        string
	Level                           byte
	ClientID, Username              string
	Password                        []byte
	HasUsername, HasPassword, Clean bool
	KeepAlive                       uint16
	Will                            *Will
	Properties                      *Properties // of MQTT 5.0; nil when there are none
}

// Flags of CONNECT (section 3.1.2.3).
const (
	flagReserved   = 0x01
	flagClean      = 0x02
	flagWill       = 0x04
	flagWillRetain = 0x20
	flagPassword   = 0x40
	flagUsername   = 0x80
)

// parseConnect returns ErrVersion before it looks at anything behind the protocol level, as only that much is known of other versions.
// A CONNECT of MQTT 5.0 that is refused comes with its error, so that the answer can have the right form.
func parseConnect(body []byte, versions Version) (*Connect, error) {
	f := &fields{b: body, name: "CONNECT"}
	c := &Connect{Protocol: f.text("the protocol name"), Level: f.byte("the protocol level")}
	if f.err != nil {
		return nil, f.err
	}
	if !versions.speaks(c) {
		return c, ErrVersion
	}
	err := c.parseRest(f)
	switch {
	case err == nil && c.Properties != nil && c.Properties.AuthMethod != "":
		return c, ErrAuthMethod
	case err == nil:
		return c, nil
	case c.Level == 5 && isOld(body):
		return &Connect{Protocol: c.Protocol, Level: c.Level}, ErrVersion
	case c.Level == 5:
		return c, err
	}
	return nil, err
}

// isOld says whether a CONNECT that claims MQTT 5.0 has the form of 3.1.1: its client cannot read an answer of MQTT 5.0.
func isOld(body []byte) bool {
	f := &fields{b: body, name: "CONNECT"}
	c := &Connect{Protocol: f.text("the protocol name")}
	f.byte("the protocol level")
	c.Level = 4
	return c.parseRest(f) == nil && c.ClientID != "" // without one it is more likely a packet of MQTT 5.0 that is cut off
}

// parseRest reads what follows the protocol level.
func (c *Connect) parseRest(f *fields) error {
	flags := f.byte("the flags")
	if f.err == nil {
		checkConnectFlags(f, flags, c.Level)
	}
	c.Clean = flags&flagClean != 0
	c.KeepAlive = f.uint16("the keep-alive")
	if c.Level == 5 {
		c.Properties = f.properties(typeConnect)
	}
	c.ClientID = f.text("the client identifier")
	if flags&flagWill != 0 {
		c.Will = &Will{QoS: flags >> 3 & 3, Retain: flags&flagWillRetain != 0}
		if c.Level == 5 {
			c.Will.Properties = f.properties(typeWill)
		}
		c.Will.Topic, c.Will.Payload = f.text("the will topic"), f.bytes("the will message")
		if f.err == nil && c.Will.Topic == "" {
			f.fail("MQTT-4.7.3-1", "empty will topic")
		}
	}
	if c.HasUsername = flags&flagUsername != 0; c.HasUsername {
		c.Username = f.text("the user name")
	}
	if c.HasPassword = flags&flagPassword != 0; c.HasPassword {
		c.Password = f.bytes("the password")
	}
	return f.end()
}

func checkConnectFlags(f *fields, flags, level byte) {
	qos := flags >> 3 & 3
	switch {
	case flags&flagReserved != 0:
		f.fail("MQTT-3.1.2-3", "reserved flag set")
	case flags&flagWill == 0 && (qos != 0 || flags&flagWillRetain != 0):
		f.fail("MQTT-3.1.2-11", "will QoS or will retain without will")
	case qos == 3:
		f.fail("MQTT-3.1.2-14", "will QoS 3")
	case flags&flagPassword != 0 && flags&flagUsername == 0 && level < 5:
		f.fail("MQTT-3.1.2-22", "password without user name")
	}
}

// Append appends the encoded packet in the form of its Level; Protocol and Level default to MQTT and 4.
func (c *Connect) Append(b []byte) []byte {
	protocol, level := c.Protocol, c.Level
	if protocol == "" {
		protocol, level = "MQTT", max(level, 4)
	}
	var own, will []byte
	if level == 5 {
		own = appendProperties(nil, c.Properties)
		if c.Will != nil {
			will = appendProperties(nil, c.Will.Properties)
		}
	}
	flags, size := byte(0), 2+len(protocol)+1+1+2+len(own)+2+len(c.ClientID)+len(will)
	if c.Clean {
		flags |= flagClean
	}
	if w := c.Will; w != nil {
		flags |= flagWill | w.QoS<<3
		if w.Retain {
			flags |= flagWillRetain
		}
		size += 2 + len(w.Topic) + 2 + len(w.Payload)
	}
	if c.HasUsername {
		flags, size = flags|flagUsername, size+2+len(c.Username)
	}
	if c.HasPassword {
		flags, size = flags|flagPassword, size+2+len(c.Password)
	}
	b = appendText(appendHeader(b, typeConnect<<4, size), protocol)
	b = appendUint16(append(b, level, flags), c.KeepAlive)
	b = appendText(append(b, own...), c.ClientID)
	if c.Will != nil {
		b = append(b, will...)
		b = appendText(appendText(b, c.Will.Topic), c.Will.Payload)
	}
	if c.HasUsername {
		b = appendText(b, c.Username)
	}
	if c.HasPassword {
		b = appendText(b, c.Password)
	}
	return b
}
