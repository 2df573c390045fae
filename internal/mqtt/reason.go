package mqtt

import (
	"context"
	"errors"
	"fmt"
)

// Reason codes of MQTT 5.0 (section 2.4), those that this engine or its users send.
const (
	Success              byte = 0x00
	WithWill             byte = 0x04 // DISCONNECT of a client that wants its will published
	NoSubscription       byte = 0x11
	Unspecified          byte = 0x80
	MalformedPacket      byte = 0x81
	ProtocolViolation    byte = 0x82
	Implementation       byte = 0x83
	UnsupportedVersion   byte = 0x84
	InvalidIdentifier    byte = 0x85
	BadUserOrPassword    byte = 0x86
	Denied               byte = 0x87 // not authorized
	ServerUnavailable    byte = 0x88
	BadAuthMethod        byte = 0x8C
	ShuttingDown         byte = 0x8B
	KeepAliveTimeout     byte = 0x8D
	TakenOver            byte = 0x8E
	FilterInvalid        byte = 0x8F
	TopicInvalid         byte = 0x90
	ReceiveExceeded      byte = 0x93
	TopicAliasInvalid    byte = 0x94
	PacketTooLarge       byte = 0x95
	RateTooHigh          byte = 0x96
	QuotaExceeded        byte = 0x97
	AdministrativeAction byte = 0x98
	RetainUnsupported    byte = 0x9A
	QoSUnsupported       byte = 0x9B
	NoSharedSubs         byte = 0x9E
	MaximumConnectTime   byte = 0xA0
	NoSubscriptionIDs    byte = 0xA1
	NoWildcardSubs       byte = 0xA2
)

// ReasonError is an end with an MQTT 5.0 reason code. Given to Conn.Close it becomes the DISCONNECT; a peer's DISCONNECT with a code
// other than 0 becomes the cause of Closed.
type ReasonError struct {
	Code byte
	Text string // the reason string, may be empty
}

// Error gives code and text.
func (e *ReasonError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("mqtt: reason code %#02x", e.Code)
	}
	return fmt.Sprintf("mqtt: reason code %#02x: %s", e.Code, e.Text)
}

// reasonOf maps what ended a connection to the reason of a DISCONNECT.
func reasonOf(cause error) (code byte, text string) {
	var named *ReasonError
	var broken *ProtocolError
	switch {
	case errors.As(cause, &named):
		return named.Code, named.Text
	case errors.As(cause, &broken):
		if broken.Reason == 0 {
			return ProtocolViolation, broken.Text
		}
		return broken.Reason, broken.Text
	case errors.Is(cause, ErrTooLarge):
		return PacketTooLarge, cause.Error()
	case errors.Is(cause, ErrKeepAlive):
		return KeepAliveTimeout, ""
	case errors.Is(cause, context.Canceled):
		return ShuttingDown, ""
	case cause == ErrClosed:
		return AdministrativeAction, ""
	}
	return Unspecified, ""
}

// modern and classic map the return codes of CONNACK between the versions; a code from 0x80 on is MQTT 5.0's already.
func modern(code byte) byte {
	switch {
	case code == Accepted || code >= 0x80:
		return code
	case code >= BadIdentifier && code <= NotAuthorized:
		return [...]byte{InvalidIdentifier, ServerUnavailable, BadUserOrPassword, Denied}[code-BadIdentifier]
	}
	return Unspecified
}

func classic(code byte) byte {
	switch code {
	case UnsupportedVersion:
		return BadProtocol
	case InvalidIdentifier:
		return BadIdentifier
	case BadUserOrPassword:
		return BadCredentials
	case ServerUnavailable, 0x89, ShuttingDown, QuotaExceeded, 0x9F:
		return Unavailable
	}
	if code >= 0x80 {
		return NotAuthorized
	}
	return code
}
