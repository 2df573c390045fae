package mqtt

import (
	"errors"
	"fmt"
)

var (
	// ErrProtocol is matched by every *ProtocolError.
	ErrProtocol = errors.New("mqtt: protocol error")
	// ErrTooLarge is matched by every *TooLargeError.
	ErrTooLarge = errors.New("mqtt: packet too large")
	// ErrShort says that Parse was given less than one whole packet.
	ErrShort = errors.New("mqtt: packet is not complete")
	// ErrVersion says that a CONNECT asked for a protocol other than those of Options.Versions; the client was told with CONNACK 1.
	ErrVersion = errors.New("mqtt: not MQTT 3.1.1")
	// ErrAuthMethod says that a CONNECT of MQTT 5.0 asked for extended authentication; the client was told with reason 0x8C.
	ErrAuthMethod = errors.New("mqtt: extended authentication is not supported")
	// ErrConnectTimeout says that no complete CONNECT came within Options.ConnectTimeout.
	ErrConnectTimeout = errors.New("mqtt: no CONNECT in time")
	// ErrKeepAlive says that the peer was silent for longer than its keep-alive allows [MQTT-3.1.2-24].
	ErrKeepAlive = errors.New("mqtt: keep-alive expired")
	// ErrSlow says that the peer does not read what is sent to it: the queue or the write timeout was exceeded.
	ErrSlow = errors.New("mqtt: peer reads too slowly")
	// ErrClosed says that the connection is closed, or is closing.
	ErrClosed = errors.New("mqtt: connection closed")
	// ErrRefused is matched by every *RefusedError.
	ErrRefused = errors.New("mqtt: connection refused")
)

// ProtocolError names what was wrong with what the peer sent, and the rule it broke; errors.Is finds ErrProtocol in it.
type ProtocolError struct {
	Rule string // such as "MQTT-2.2.2-2"; empty when no numbered rule exists
	Text string

	Reason byte // the MQTT 5.0 reason code; 0 stands for ProtocolViolation
}

// Error gives the text and the rule.
func (e *ProtocolError) Error() string {
	if e.Rule == "" {
		return "mqtt: protocol error: " + e.Text
	}
	return "mqtt: protocol error: " + e.Text + " [" + e.Rule + "]"
}

// Is reports whether target is ErrProtocol.
func (e *ProtocolError) Is(target error) bool { return target == ErrProtocol }

func violation(rule, format string, args ...any) error {
	return &ProtocolError{Rule: rule, Text: fmt.Sprintf(format, args...)}
}

func violation5(reason byte, format string, args ...any) error {
	return &ProtocolError{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// TooLargeError carries the limit and the observed remaining length, in bytes; errors.Is finds ErrTooLarge in it.
type TooLargeError struct{ Limit, Size int }

// Error gives both figures.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("mqtt: packet too large: remaining length %d, limit %d", e.Size, e.Limit)
}

// Is reports whether target is ErrTooLarge.
func (e *TooLargeError) Is(target error) bool { return target == ErrTooLarge }

// RefusedError carries the CONNACK return code with which a server refused a client, from 0x80 on a reason code of MQTT 5.0;
// errors.Is finds ErrRefused in it.
type RefusedError struct {
	Code byte
	Text string // the reason string of MQTT 5.0
}

// Error gives the code and its meaning (MQTT 3.1.1 section 3.2.2.3).
func (e *RefusedError) Error() string {
	meaning := "reserved"
	switch classic(e.Code) {
	case BadProtocol:
		meaning = "unacceptable protocol version"
	case BadIdentifier:
		meaning = "identifier rejected"
	case Unavailable:
		meaning = "server unavailable"
	case BadCredentials:
		meaning = "bad user name or password"
	case NotAuthorized:
		meaning = "not authorized"
	}
	if e.Code >= 0x80 {
		return fmt.Sprintf("mqtt: connection refused: reason code %#02x, %s (%s)", e.Code, meaning, e.Text)
	}
	return fmt.Sprintf("mqtt: connection refused: return code %d, %s", e.Code, meaning)
}

// Is reports whether target is ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }
