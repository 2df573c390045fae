package amqp

import (
	"errors"
	"fmt"
)

// Error conditions of the protocol (2.8.15 to 2.8.18). Applications add their own.
const (
	InternalError         Symbol = "amqp:internal-error"
	NotFound              Symbol = "amqp:not-found"
	UnauthorizedAccess    Symbol = "amqp:unauthorized-access"
	DecodeError           Symbol = "amqp:decode-error"
	ResourceLimitExceeded Symbol = "amqp:resource-limit-exceeded"
	NotAllowed            Symbol = "amqp:not-allowed"
	InvalidField          Symbol = "amqp:invalid-field"
	NotImplemented        Symbol = "amqp:not-implemented"
	ResourceLocked        Symbol = "amqp:resource-locked"
	PreconditionFailed    Symbol = "amqp:precondition-failed"
	ResourceDeleted       Symbol = "amqp:resource-deleted"
	IllegalState          Symbol = "amqp:illegal-state"
	FrameSizeTooSmall     Symbol = "amqp:frame-size-too-small"

	ConnectionForced Symbol = "amqp:connection:forced"
	FramingError     Symbol = "amqp:connection:framing-error"

	WindowViolation  Symbol = "amqp:session:window-violation"
	ErrantLink       Symbol = "amqp:session:errant-link"
	HandleInUse      Symbol = "amqp:session:handle-in-use"
	UnattachedHandle Symbol = "amqp:session:unattached-handle"

	DetachForced          Symbol = "amqp:link:detach-forced"
	TransferLimitExceeded Symbol = "amqp:link:transfer-limit-exceeded"
	MessageSizeExceeded   Symbol = "amqp:link:message-size-exceeded"
	LinkRedirect          Symbol = "amqp:link:redirect"
	LinkStolen            Symbol = "amqp:link:stolen"
)

// Error is the error of a DETACH, END, CLOSE or rejected outcome (2.8.14). As a
// Go error it may come from the peer or from this side.
type Error struct {
	Condition   Symbol
	Description string
	Info        Map
}

// Errorf makes an Error without info.
func Errorf(condition Symbol, format string, args ...any) *Error {
	return &Error{Condition: condition, Description: fmt.Sprintf(format, args...)}
}

// Error returns condition and description.
func (e *Error) Error() string {
	if e.Description == "" {
		return string(e.Condition)
	}
	return string(e.Condition) + ": " + e.Description
}

var (
	// ErrNoCredit means that nothing may be sent on the link now; OnCredit tells when to try again.
	ErrNoCredit = errors.New("amqp: no credit")
	// ErrDetached means that the link, or what carries it, has ended.
	ErrDetached = errors.New("amqp: link is detached")
	// ErrClosed means that Close was called before OPEN was exchanged.
	ErrClosed = errors.New("amqp: connection closed")
	// ErrIdle means that the peer was silent for twice the advertised idle time-out.
	ErrIdle = errors.New("amqp: peer is silent")
	// ErrStalled means that the peer does not read what is sent to it.
	ErrStalled = errors.New("amqp: peer does not read")
	// ErrAborted means that Abort was called.
	ErrAborted = errors.New("amqp: connection aborted")
	// ErrHandshake means that the connection ended before OPEN was exchanged.
	ErrHandshake = errors.New("amqp: handshake failed")
	// ErrTooLarge means that the message exceeds the peer's max-message-size.
	ErrTooLarge = errors.New("amqp: message larger than the peer accepts")
)

// asError finds the protocol error in err, or makes one of the condition.
func asError(err error, condition Symbol) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Condition: condition, Description: err.Error()}
}

// brief is what remains of an error when its frame exceeds the peer's frame
// size, which is at least 512 bytes.
func (e *Error) brief() *Error {
	if e == nil {
		return nil
	}
	b := &Error{Condition: e.Condition, Description: e.Description}
	if len(b.Condition) > 100 {
		b.Condition = InternalError
	}
	b.Description = clip(b.Description, 250)
	return b
}

// clip cuts s to at most n bytes at the start of a rune.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

func (e *Error) append(b []byte) []byte {
	c := compose(b, descError)
	c.symbol(e.Condition)
	c.str(e.Description)
	c.mapping(e.Info)
	return c.done()
}

func (c *composer) error(e *Error) {
	if e == nil {
		c.null()
		return
	}
	c.set(e.append(c.b))
}

// error reads an error field; nil when absent.
func (f *fields) error() *Error {
	if f.n == 0 || f.err != nil {
		return nil
	}
	f.n--
	if len(f.b) > 0 && f.b[0] == codeNull {
		f.b = f.b[1:]
		return nil
	}
	if desc := f.descriptor(); desc != descError && f.err == nil {
		f.fail(fmt.Errorf("%w: error expected, found descriptor 0x%x", ErrDecode, desc))
	}
	in := f.composite()
	e := &Error{Condition: in.symbol(), Description: in.str(), Info: in.mapping()}
	if f.end(&in) != nil {
		return nil
	}
	return e
}
