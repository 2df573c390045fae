package mqtt

import (
	"bytes"
	"math"
	"time"
)

// modernLink is what a connection of MQTT 5.0 keeps beside its link; 3.1.1 has none.
type modernLink struct {
	// Set by Accept or Open, then read only:
	server     bool
	maxPacket  int  // what the peer takes, header included
	receive    int  // QoS 1 publishes that the peer takes without having acknowledged them
	endless    bool // the client asked for a session that outlives the connection
	aliasLimit int

	// Owned by the reader:
	aliases map[uint16]string
	granted map[string]bool // filters, so that UNSUBACK can say what was there

	// Guarded by link.mu:
	flying int
	held   []heldPublish // wait for PUBACKs of earlier ones, in order
	parted bool          // the peer has said DISCONNECT
}

type heldPublish struct {
	packet []byte
	qos    byte
}

// newModern takes the limits that the peer's CONNECT or CONNACK announces.
func newModern(p *Properties, server bool) *modernLink {
	m := &modernLink{server: server, maxPacket: math.MaxInt, receive: math.MaxUint16}
	if p == nil {
		return m
	}
	if p.MaximumPacket > 0 {
		m.maxPacket = int(p.MaximumPacket)
	}
	if p.ReceiveMaximum > 0 {
		m.receive = int(p.ReceiveMaximum)
	}
	m.endless = p.SessionExpiry != nil && *p.SessionExpiry > 0
	return m
}

// sendModern queues a publish, or holds it back while the peer's receive maximum is reached (MQTT 5.0 section 4.9). What came after a
// publish that is held waits too, so that the order stays.
func (l *link) sendModern(p *Publish) error {
	if err := p.check(); err != nil {
		return err
	}
	m, b := l.modern, p.AppendV5(nil)
	if len(b) > m.maxPacket {
		return &TooLargeError{Limit: m.maxPacket, Size: len(b)}
	}
	l.mu.Lock()
	if err := l.accept(len(b)); err != nil {
		l.mu.Unlock()
		return err
	}
	if len(m.held) > 0 || p.QoS > 0 && m.flying >= m.receive {
		m.held = append(m.held, heldPublish{b, p.QoS})
		l.mu.Unlock()
		return nil
	}
	m.flying += int(p.QoS)
	l.enqueue(b)
	l.mu.Unlock()
	l.kick()
	return nil
}

// landed counts a PUBACK of the peer's and lets what was held go.
func (l *link) landed() {
	m := l.modern
	l.mu.Lock()
	m.flying = max(m.flying-1, 0)
	n := 0
	for ; n < len(m.held); n++ {
		h := m.held[n]
		if m.flying += int(h.qos); m.flying > m.receive {
			m.flying -= int(h.qos)
			break
		}
		l.enqueue(h.packet)
		m.held[n] = heldPublish{}
	}
	if m.held = m.held[n:]; len(m.held) == 0 {
		m.held = nil
	}
	l.mu.Unlock()
	if n > 0 {
		l.kick()
	}
}

// farewell is called with mu held, before anything is marked as stopped; it queues the DISCONNECT that says why.
func (l *link) farewell(cause error) {
	m := l.modern
	if m.parted || cause == nil {
		return
	}
	code, text := reasonOf(cause)
	d := Disconnect{Reason: code}
	if text != "" && m.server {
		d.Properties = &Properties{Reason: text[:min(len(text), 512)]}
	}
	b := d.AppendV5(nil)
	if len(b) > m.maxPacket {
		b = Disconnect{Reason: code}.AppendV5(nil)
	}
	l.out.queued += len(b)
	l.enqueue(b)
}

// disconnected is the peer's DISCONNECT.
func (l *link) disconnected(body []byte) error {
	d, err := parseDisconnect5(body)
	if err != nil {
		return err
	}
	m := l.modern
	l.mu.Lock()
	m.parted = true
	l.mu.Unlock()
	if p := d.Properties; m.server && !m.endless && p != nil && p.SessionExpiry != nil && *p.SessionExpiry > 0 {
		return violation5(ProtocolViolation, "DISCONNECT: a session expiry where CONNECT had none")
	}
	if d.Reason == Success {
		return errDisconnect
	}
	e := &ReasonError{Code: d.Reason}
	if d.Properties != nil {
		e.Text = d.Properties.Reason
	}
	return e
}

// resolve puts the topic of an alias into p, or learns it (MQTT 5.0 section 3.3.2.3.4).
func (m *modernLink) resolve(p *Publish) error {
	if p.Properties == nil || p.Properties.Alias == 0 {
		return nil
	}
	alias := p.Properties.Alias
	if int(alias) > m.aliasLimit {
		return violation5(TopicAliasInvalid, "PUBLISH: topic alias %d, the limit is %d", alias, m.aliasLimit)
	}
	if p.Topic != "" {
		if m.aliases == nil {
			m.aliases = make(map[uint16]string)
		}
		m.aliases[alias] = string([]byte(p.Topic)) // without the payload that lies behind it
		return nil
	}
	topic, ok := m.aliases[alias]
	if !ok {
		return violation5(ProtocolViolation, "PUBLISH: topic alias %d was never set", alias)
	}
	p.Topic = topic
	return nil
}

// grant notes which filters the application has granted.
func (m *modernLink) grant(subs []Subscription, codes []byte) {
	if m.granted == nil {
		m.granted = make(map[string]bool)
	}
	for i, s := range subs {
		if codes[i] < Unspecified {
			m.granted[s.Filter] = true
		}
	}
}

// withdraw returns the codes of an UNSUBACK.
func (m *modernLink) withdraw(filters []string) []byte {
	codes := make([]byte, len(filters))
	for i, f := range filters {
		if !m.granted[f] {
			codes[i] = NoSubscription
		}
		delete(m.granted, f)
	}
	return codes
}

// decodeModern reads a publish of either direction into p, in memory of its own.
func (l *link) decodeModern(p *Publish, head byte, body []byte, own bool) error {
	if !own {
		body = bytes.Clone(body)
	}
	if err := p.decode5(head, body, l.o.LooseTopics || !l.modern.server); err != nil {
		return err
	}
	if p.QoS > 1 {
		return violation5(QoSUnsupported, "PUBLISH with QoS 2, which is not supported")
	}
	return l.modern.resolve(p)
}

// checkHeaderModern is checkHeader for MQTT 5.0, where acknowledgements may be longer and AUTH exists.
func checkHeaderModern(head byte, size int) error {
	kind, flags := head>>4, head&0x0f
	least, most := 0, MaxRemaining
	switch kind {
	case typePublish, typeSubscribe, typeUnsubscribe, typeConnect, typePubrel:
		return checkHeader(head, size)
	case typeConnack:
		least = 2 // from a server that does not speak 5.0
	case typePuback, typePubrec, typePubcomp:
		least = 2
	case typeSuback, typeUnsuback:
		least = 4
	case typePingreq, typePingresp:
		most = 0
	case typeDisconnect, typeAuth:
	default:
		return violation5(MalformedPacket, "%s", typeNames[kind])
	}
	if flags != 0 {
		return violation5(MalformedPacket, "%s with flags %#x", typeNames[kind], flags)
	}
	if size < least || size > most {
		return violation5(MalformedPacket, "%s with remaining length %d", typeNames[kind], size)
	}
	return nil
}

// ParseV5 is Parse for MQTT 5.0.
func ParseV5(b []byte) (packet any, n int, err error) {
	return parse(b, checkHeaderModern, parseBodyModern)
}

func parseBodyModern(head byte, body []byte) (any, error) {
	switch head >> 4 {
	case typeConnect:
		return parseConnect(body, V5)
	case typeConnack:
		return parseConnack5(body)
	case typePublish:
		p := new(Publish)
		err := p.decode5(head, body, false)
		return p, err
	case typePuback:
		return parsePuback5(body)
	case typeSubscribe:
		return parseSubscribe5(body, false)
	case typeSuback:
		return parseSuback5(body)
	case typeUnsubscribe:
		return parseUnsubscribe5(body, false)
	case typeUnsuback:
		return parseUnsuback5(body)
	case typePingreq:
		return Pingreq{}, nil
	case typePingresp:
		return Pingresp{}, nil
	case typeDisconnect:
		return parseDisconnect5(body)
	case typeAuth:
		return nil, violation5(BadAuthMethod, "AUTH: extended authentication is not supported")
	}
	return nil, violation("", "%s: QoS 2 is not supported", typeNames[head>>4])
}

// greeting are the properties of a CONNACK that accepts: what this engine has not, and its limits. A client that publishes with retain all
// the same is for the application, which sees the flag.
func (s *Session) greeting() *Properties {
	o := s.c.o
	p := &Properties{MaximumQoS: new(byte(1)), NoRetain: true, NoShared: true, NoSubscriptionID: true, NoWildcards: !o.Wildcards,
		ReceiveMaximum: uint16(min(o.MaxUnacked, math.MaxUint16)), AliasMaximum: o.TopicAliases,
		MaximumPacket: uint32(o.MaxPacket + headerSize(o.MaxPacket))}
	most := o.KeepAliveCap * 2 / 3 / time.Second
	if s.keepAlive == 0 || time.Duration(s.keepAlive) > most {
		s.keepAlive = uint16(min(most, math.MaxUint16))
		p.KeepAlive = new(s.keepAlive)
	}
	if s.c.modern.endless {
		p.SessionExpiry = new(uint32(0)) // no state outlives a connection
		s.c.modern.endless = false
	}
	return p
}
