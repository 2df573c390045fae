package mqtt

import (
	"encoding/binary"
	"slices"
)

// UserProperty is a name and a value that the application gives meaning; a name may repeat (MQTT 5.0 section 2.2.2.2).
type UserProperty struct{ Name, Value string }

// Properties are what a packet of MQTT 5.0 carries beside its fields (section 2.2.2). A zero field is absent; pointers stand where 0 says
// something other than absence, No… fields where the absent flag means yes. Each packet allows its own, see the groups.
type Properties struct {
	User   []UserProperty // every packet but the pings
	Reason string         // CONNACK, PUBACK, SUBACK, UNSUBACK, DISCONNECT, AUTH: for people

	// PUBLISH and will:
	ContentType, ResponseTopic string
	Correlation                []byte
	UTF8                       bool    // the payload format indicator
	Expiry                     *uint32 // of the message, in seconds
	Alias                      uint16  // PUBLISH only, from 1
	SubscriptionIDs            []uint32
	WillDelay                  uint32 // will only, in seconds

	// CONNECT and CONNACK:
	SessionExpiry  *uint32 // in seconds; DISCONNECT too
	ReceiveMaximum uint16
	MaximumPacket  uint32 // bytes, header included
	AliasMaximum   uint16
	AuthMethod     string
	AuthData       []byte

	// CONNECT:
	NoProblemInformation       bool
	RequestResponseInformation bool

	// CONNACK:
	MaximumQoS                                        *byte
	NoRetain, NoWildcards, NoShared, NoSubscriptionID bool
	KeepAlive                                         *uint16 // seconds, in place of the client's
	AssignedID, ResponseInformation                   string
	ServerReference                                   string // DISCONNECT too
}

// Identifiers of properties.
const (
	propUTF8 = 1 + iota
	propExpiry
	propContentType
	propResponseTopic     = 8
	propCorrelation       = 9
	propSubscriptionID    = 11
	propSessionExpiry     = 17
	propAssignedID        = 18
	propKeepAlive         = 19
	propAuthMethod        = 21
	propAuthData          = 22
	propProblemInfo       = 23
	propWillDelay         = 24
	propRequestResponse   = 25
	propResponseInfo      = 26
	propServerReference   = 28
	propReason            = 31
	propReceiveMaximum    = 33
	propAliasMaximum      = 34
	propAlias             = 35
	propMaximumQoS        = 36
	propRetainAvailable   = 37
	propUser              = 38
	propMaximumPacket     = 39
	propWildcardAvailable = 40
	propIDAvailable       = 41
	propSharedAvailable   = 42
)

// typeWill stands for the properties of a will, which lie inside CONNECT.
const typeWill byte = 0

// propertyOf says in which packets a property may stand, one bit a packet type.
var propertyOf = [43]uint16{
	propUTF8: onPublish, propExpiry: onPublish, propContentType: onPublish, propResponseTopic: onPublish, propCorrelation: onPublish,
	propSubscriptionID: 1<<typePublish | 1<<typeSubscribe,
	propSessionExpiry:  1<<typeConnect | 1<<typeConnack | 1<<typeDisconnect,
	propAssignedID:     1 << typeConnack, propKeepAlive: 1 << typeConnack, propResponseInfo: 1 << typeConnack, propMaximumQoS: 1 << typeConnack,
	propRetainAvailable: 1 << typeConnack, propWildcardAvailable: 1 << typeConnack, propIDAvailable: 1 << typeConnack, propSharedAvailable: 1 << typeConnack,
	propAuthMethod: 1<<typeConnect | 1<<typeConnack, propAuthData: 1<<typeConnect | 1<<typeConnack,
	propProblemInfo: 1 << typeConnect, propRequestResponse: 1 << typeConnect, propWillDelay: 1 << typeWill,
	propServerReference: 1<<typeConnack | 1<<typeDisconnect,
	propReason:          1<<typeConnack | 1<<typePuback | 1<<typeSuback | 1<<typeUnsuback | 1<<typeDisconnect,
	propReceiveMaximum:  1<<typeConnect | 1<<typeConnack, propAliasMaximum: 1<<typeConnect | 1<<typeConnack, propMaximumPacket: 1<<typeConnect | 1<<typeConnack,
	propAlias: 1 << typePublish, propUser: ^uint16(0),
}

const onPublish = 1<<typePublish | 1<<typeWill

// length is a variable byte integer (MQTT 5.0 section 1.5.5).
func (f *fields) length(what string) int {
	v := 0
	for i := range 4 {
		c := f.byte(what)
		v |= int(c&0x7f) << (7 * i)
		switch {
		case f.err != nil:
			return 0
		case c >= 0x80:
		case c == 0 && i > 0:
			f.fail("MQTT5-1.5.5-1", what+" is encoded in too many bytes")
			return 0
		default:
			return v
		}
	}
	f.fail("", what+" has more than 4 bytes")
	return 0
}

func (f *fields) uint32(what string) uint32 {
	if len(f.b) < 4 {
		f.fail("", what+" is missing")
		return 0
	}
	v := binary.BigEndian.Uint32(f.b)
	f.b = f.b[4:]
	return v
}

func (f *fields) flag(what string) bool {
	v := f.byte(what)
	if v > 1 {
		f.protocol(what + " is neither 0 nor 1")
	}
	return v == 1
}

// positive reports a 0 where the specification forbids it.
func positive[T uint16 | uint32 | int](f *fields, v T, what string) T {
	if f.err == nil && v == 0 {
		f.protocol(what + " is 0")
	}
	return v
}

// properties reads the properties of a packet; nil when there are none.
func (f *fields) properties(packet byte) *Properties {
	size := f.length("the length of the properties")
	if f.err == nil && size > len(f.b) {
		f.fail("", "the properties are cut off")
	}
	if f.err != nil || size == 0 {
		return nil
	}
	in := &fields{b: f.b[:size:size], name: f.name}
	f.b = f.b[size:]
	p, seen := new(Properties), uint64(0)
	for in.err == nil && len(in.b) > 0 {
		id := in.length("a property identifier")
		switch {
		case in.err != nil:
		case id >= len(propertyOf) || propertyOf[id]&(1<<packet) == 0:
			in.protocol("a property that does not belong here")
		case id != propUser && id != propSubscriptionID && seen&(1<<id) != 0:
			in.protocol("a property stands twice")
		case id < propReceiveMaximum && id > propCorrelation:
			seen |= 1 << id
			p.connection(in, id)
		default:
			seen |= 1 << id
			p.read(in, id)
		}
	}
	if in.err != nil {
		f.err, f.b = in.err, nil
		return nil
	}
	if seen&(1<<propAuthData) != 0 && seen&(1<<propAuthMethod) == 0 {
		f.protocol("authentication data without method")
	}
	return p
}

// connection reads the properties whose identifiers lie in the middle.
func (p *Properties) connection(f *fields, id int) {
	switch id {
	case propSubscriptionID:
		p.SubscriptionIDs = append(p.SubscriptionIDs, uint32(positive(f, f.length("a subscription identifier"), "a subscription identifier")))
	case propSessionExpiry:
		p.SessionExpiry = new(f.uint32("the session expiry"))
	case propAssignedID:
		p.AssignedID = f.text("the assigned client identifier")
	case propKeepAlive:
		p.KeepAlive = new(f.uint16("the server keep-alive"))
	case propAuthMethod:
		if p.AuthMethod = f.text("the authentication method"); p.AuthMethod == "" {
			f.protocol("the authentication method is empty")
		}
	case propAuthData:
		p.AuthData = slices.Clone(f.bytes("the authentication data"))
	case propProblemInfo:
		p.NoProblemInformation = !f.flag("request problem information")
	case propWillDelay:
		p.WillDelay = f.uint32("the will delay")
	case propRequestResponse:
		p.RequestResponseInformation = f.flag("request response information")
	case propResponseInfo:
		p.ResponseInformation = f.text("the response information")
	case propServerReference:
		p.ServerReference = f.text("the server reference")
	case propReason:
		p.Reason = f.text("the reason string")
	}
}

func (p *Properties) read(f *fields, id int) {
	switch id {
	case propUTF8:
		p.UTF8 = f.flag("the payload format")
	case propExpiry:
		p.Expiry = new(f.uint32("the message expiry"))
	case propContentType:
		p.ContentType = f.text("the content type")
	case propResponseTopic:
		p.ResponseTopic = f.text("the response topic")
		if f.err == nil && (p.ResponseTopic == "" || hasWildcard([]byte(p.ResponseTopic))) {
			f.protocol("the response topic is empty or holds a wildcard")
		}
	case propCorrelation:
		p.Correlation = append([]byte{}, f.bytes("the correlation data")...)
	case propReceiveMaximum:
		p.ReceiveMaximum = positive(f, f.uint16("the receive maximum"), "the receive maximum")
	case propAliasMaximum:
		p.AliasMaximum = f.uint16("the topic alias maximum")
	case propAlias:
		if p.Alias = f.uint16("the topic alias"); f.err == nil && p.Alias == 0 {
			f.reason(TopicAliasInvalid, "topic alias 0")
		}
	case propMaximumQoS:
		if p.MaximumQoS = new(f.byte("the maximum QoS")); *p.MaximumQoS > 1 {
			f.protocol("maximum QoS above 1")
		}
	case propRetainAvailable:
		p.NoRetain = !f.flag("retain available")
	case propUser:
		p.User = append(p.User, UserProperty{f.text("a user property"), f.text("a user property")})
	case propMaximumPacket:
		p.MaximumPacket = positive(f, f.uint32("the maximum packet size"), "the maximum packet size")
	case propWildcardAvailable:
		p.NoWildcards = !f.flag("wildcard subscriptions available")
	case propIDAvailable:
		p.NoSubscriptionID = !f.flag("subscription identifiers available")
	case propSharedAvailable:
		p.NoShared = !f.flag("shared subscriptions available")
	}
}

// appendProperties appends the length and the properties; nil is a length of 0.
func appendProperties(b []byte, p *Properties) []byte {
	if p == nil {
		return append(b, 0)
	}
	start := len(b)
	b = p.append(b)
	size := len(b) - start
	n := headerSize(size) - 1
	b = append(b, 0, 0, 0, 0)[:len(b)+n]
	copy(b[start+n:], b[start:start+size])
	appendLength(b[start:start], size)
	return b
}

func appendLength(b []byte, size int) []byte {
	for size >= 0x80 {
		b = append(b, byte(size)|0x80)
		size >>= 7
	}
	return append(b, byte(size))
}

func (p *Properties) append(b []byte) []byte {
	b = appendFlag(b, propUTF8, 1, p.UTF8)
	b = appendPointer(b, propExpiry, p.Expiry)
	b = appendString(b, propContentType, p.ContentType)
	b = appendString(b, propResponseTopic, p.ResponseTopic)
	if p.Correlation != nil {
		b = appendText(append(b, propCorrelation), p.Correlation)
	}
	for _, id := range p.SubscriptionIDs {
		b = appendLength(append(b, propSubscriptionID), int(id))
	}
	b = appendPointer(b, propSessionExpiry, p.SessionExpiry)
	b = appendString(b, propAssignedID, p.AssignedID)
	if p.KeepAlive != nil {
		b = appendUint16(append(b, propKeepAlive), *p.KeepAlive)
	}
	b = appendString(b, propAuthMethod, p.AuthMethod)
	if p.AuthData != nil {
		b = appendText(append(b, propAuthData), p.AuthData)
	}
	b = appendFlag(b, propProblemInfo, 0, p.NoProblemInformation)
	if p.WillDelay > 0 {
		b = binary.BigEndian.AppendUint32(append(b, propWillDelay), p.WillDelay)
	}
	b = appendFlag(b, propRequestResponse, 1, p.RequestResponseInformation)
	b = appendString(b, propResponseInfo, p.ResponseInformation)
	b = appendString(b, propServerReference, p.ServerReference)
	b = appendString(b, propReason, p.Reason)
	return p.appendLimits(b)
}

func (p *Properties) appendLimits(b []byte) []byte {
	b = appendNumber(b, propReceiveMaximum, p.ReceiveMaximum)
	b = appendNumber(b, propAliasMaximum, p.AliasMaximum)
	b = appendNumber(b, propAlias, p.Alias)
	if p.MaximumQoS != nil {
		b = append(b, propMaximumQoS, *p.MaximumQoS)
	}
	b = appendFlag(b, propRetainAvailable, 0, p.NoRetain)
	for _, u := range p.User {
		b = appendText(appendText(append(b, propUser), u.Name), u.Value)
	}
	if p.MaximumPacket > 0 {
		b = binary.BigEndian.AppendUint32(append(b, propMaximumPacket), p.MaximumPacket)
	}
	b = appendFlag(b, propWildcardAvailable, 0, p.NoWildcards)
	b = appendFlag(b, propIDAvailable, 0, p.NoSubscriptionID)
	return appendFlag(b, propSharedAvailable, 0, p.NoShared)
}

func appendFlag(b []byte, id, value byte, given bool) []byte {
	if !given {
		return b
	}
	return append(b, id, value)
}

func appendString(b []byte, id byte, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(append(b, id), s)
}

func appendNumber(b []byte, id byte, v uint16) []byte {
	if v == 0 {
		return b
	}
	return appendUint16(append(b, id), v)
}

func appendPointer(b []byte, id byte, v *uint32) []byte {
	if v == nil {
		return b
	}
	return binary.BigEndian.AppendUint32(append(b, id), *v)
}
