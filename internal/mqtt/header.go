package mqtt

// Packet types, the high half of the first byte (section 2.2.1).
const (
	typeConnect     byte = 1
	typeConnack     byte = 2
	typePublish     byte = 3
	typePuback      byte = 4
	typePubrec      byte = 5
	typePubrel      byte = 6
	typePubcomp     byte = 7
	typeSubscribe   byte = 8
	typeSuback      byte = 9
	typeUnsubscribe byte = 10
	typeUnsuback    byte = 11
	typePingreq     byte = 12
	typePingresp    byte = 13
	typeDisconnect  byte = 14
	typeAuth        byte = 15 // of MQTT 5.0
)

// MaxRemaining is the largest remaining length that four bytes can express (section 2.2.3).
const MaxRemaining = 268_435_455

var typeNames = [16]string{"reserved packet 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
	"SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "packet 15 (AUTH)"}

// parseLength reads the remaining length that follows the first byte of b; n is the length of the whole fixed header, 0 while incomplete.
func parseLength(b []byte) (size, n int, err error) {
	for i := 1; i < len(b); i++ {
		size |= int(b[i]&0x7f) << (7 * (i - 1))
		switch {
		case b[i] >= 0x80 && i == 4:
			return 0, 0, violation("", "remaining length of more than 4 bytes")
		case b[i] >= 0x80:
		case b[i] == 0 && i > 1:
			return 0, 0, violation("", "remaining length %d encoded in %d bytes", size, i)
		default:
			return size, i + 1, nil
		}
	}
	return 0, 0, nil
}

// checkHeader refuses what the fixed header alone shows to be wrong, so that no body is read or allocated for it.
func checkHeader(head byte, size int) error {
	kind, flags := head>>4, head&0x0f
	want := byte(0)
	switch kind {
	case typePublish:
		if flags>>1&3 == 3 {
			return violation("MQTT-3.3.1-4", "PUBLISH with QoS 3")
		}
		if flags&0x08 != 0 && flags>>1&3 == 0 {
			return violation("MQTT-3.3.1-2", "PUBLISH with QoS 0 and DUP")
		}
		return nil
	case typeSubscribe, typeUnsubscribe, typePubrel:
		want = 2
	case 0, 15:
		return violation("", "%s", typeNames[kind])
	}
	if flags != want {
		return violation("MQTT-2.2.2-2", "%s with flags %#x", typeNames[kind], flags)
	}
	switch kind {
	case typeConnack, typePuback, typePubrec, typePubrel, typePubcomp, typeUnsuback:
		want = 2
	case typePingreq, typePingresp, typeDisconnect:
		want = 0
	default:
		return nil
	}
	if size != int(want) {
		return violation("", "%s with remaining length %d", typeNames[kind], size)
	}
	return nil
}

// appendHeader appends the first byte and the remaining length.
func appendHeader(b []byte, head byte, size int) []byte {
	b = append(b, head)
	for size >= 0x80 {
		b = append(b, byte(size)|0x80)
		size >>= 7
	}
	return append(b, byte(size))
}

func headerSize(size int) int {
	n := 2
	for size >>= 7; size > 0; size >>= 7 {
		n++
	}
	return n
}

// Parse decodes the first packet of b and returns it with its length n: a *Connect, Connack, *Publish, Puback, Subscribe, Suback,
// Unsubscribe, Unsuback, Pingreq, Pingresp or Disconnect. Payload and Password alias b. The error is ErrShort when b holds
// less than a packet, otherwise it is an ErrProtocol. PUBREC, PUBREL and PUBCOMP are refused: QoS 2 is not spoken.
func Parse(b []byte) (packet any, n int, err error) { return parse(b, checkHeader, parseBody) }

func parse(b []byte, check func(byte, int) error, body func(byte, []byte) (any, error)) (packet any, n int, err error) {
	if len(b) < 2 {
		return nil, 0, ErrShort
	}
	size, n, err := parseLength(b)
	if err != nil {
		return nil, 0, err
	}
	if n == 0 {
		return nil, 0, ErrShort
	}
	if err := check(b[0], size); err != nil {
		return nil, 0, err
	}
	if len(b) < n+size {
		return nil, 0, ErrShort
	}
	if packet, err = body(b[0], b[n:n+size:n+size]); err != nil {
		return nil, 0, err
	}
	return packet, n + size, nil
}

func parseBody(head byte, body []byte) (any, error) {
	switch head >> 4 {
	case typeConnect:
		return parseConnect(body, V311)
	case typeConnack:
		return parseConnack(body)
	case typePublish:
		p := new(Publish)
		err := p.decode(head, body, "", false)
		return p, err
	case typePuback:
		return parsePuback(body)
	case typeSubscribe:
		return parseSubscribe(body, false)
	case typeSuback:
		return parseSuback(body)
	case typeUnsubscribe:
		return parseUnsubscribe(body, false)
	case typeUnsuback:
		return parseUnsuback(body)
	case typePingreq:
		return Pingreq{}, nil
	case typePingresp:
		return Pingresp{}, nil
	case typeDisconnect:
		return Disconnect{}, nil
	}
	return nil, violation("", "%s: QoS 2 is not supported", typeNames[head>>4])
}
