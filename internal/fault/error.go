package fault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
)

// Error is one occurrence of a Code. Text, Setting, Limit, Observed and Detail may go to the client; the cause may not.
type Error struct {
	Code     *Code
	Text     string         // what happened, for people; valid UTF-8 without ';', '{' and control characters
	Tracking string         // see Tracking; "" until From
	At       time.Time      // UTC; zero until From
	After    time.Duration  // how long to wait before a retry; 0 when unknown
	Setting  string         // setting that holds the exceeded limit, "" when there is none
	Limit    any            // its value
	Observed any            // the value that exceeded it
	Detail   map[string]any // further members for surfaces that have a place for them

	cause error
}

// New makes an occurrence of c. Arguments are formatted as by fmt.Sprintf; an empty format gives c.Why.
func (c *Code) New(format string, args ...any) *Error {
	return c.Wrap(nil, format, args...)
}

// Wrap makes an occurrence of c that remembers its cause for errors.Is and the log, never for the wire.
func (c *Code) Wrap(cause error, format string, args ...any) *Error {
	text := fmt.Sprintf(format, args...)
	if text == "" {
		text = c.Why
	}
	return &Error{Code: c, Text: clean(text), cause: cause}
}

// Over makes an occurrence of c for a limit that was exceeded, and appends to the text
// "(limit 50, setting c2d.maxPending, observed 51)".
func (c *Code) Over(setting string, limit, observed any, format string, args ...any) *Error {
	e := c.New(format, args...)
	e.Setting, e.Limit, e.Observed = setting, limit, observed
	e.Text += clean(fmt.Sprintf(" (limit %v, setting %s, observed %v)", limit, setting, observed))
	return e
}

// clean keeps texts safe for every surface: the older HTTP body is cut at ';' and '{', headers and AMQP
// descriptions take neither control characters nor broken UTF-8.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ';':
			return ','
		case r == '{':
			return '('
		case r == '}':
			return ')'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Error makes the code a sentinel for errors.Is; it returns number and name.
func (c *Code) Error() string {
	return fmt.Sprintf("%d %s", c.ID, c.Name)
}

// Error returns number, name and text. The cause is not in it, so that no surface leaks it by printing the error.
func (e *Error) Error() string {
	return e.Code.Error() + ": " + e.Text
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error {
	if e == nil { // a nil *Error returned as error must not bring a surface down
		return nil
	}
	return e.cause
}

// Is reports whether target is the code of e.
func (e *Error) Is(target error) bool {
	c, ok := target.(*Code)
	return ok && e != nil && c == e.Code
}

// RetryAfter sets After on e and returns e. Call it on an error that nobody else holds yet.
func (e *Error) RetryAfter(d time.Duration) *Error {
	e.After = d
	return e
}

// LogValue gives the log what the wire does not get: besides code, name, text and tracking id also the cause.
func (e *Error) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.Int("code", e.Code.ID), slog.String("name", e.Code.Name), slog.String("text", e.Text)}
	if e.Tracking != "" {
		attrs = append(attrs, slog.String("tracking", e.Tracking))
	}
	if e.cause != nil {
		attrs = append(attrs, slog.Any("cause", e.cause))
	}
	return slog.GroupValue(attrs...)
}

// From returns err as an occurrence with Tracking and At filled: the outermost *Error in its chain (a copy when
// something had to be filled), a bare *Code with the code's Why as text, 504000 for an expired and 400021 for a
// cancelled context, and 500001 with a neutral text for everything else. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	e := recognise(err)
	if e.Tracking != "" && !e.At.IsZero() {
		return e
	}
	filled := *e
	if filled.At.IsZero() {
		filled.At = time.Now().UTC()
	}
	if filled.Tracking == "" {
		filled.Tracking = Tracking(filled.At)
	}
	return &filled
}

// recognise finds the occurrence in err's chain or makes one. A nil *Error or *Code, or one without a code, is
// a mistake of ours and becomes 500001 instead of a panic in a surface.
func recognise(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e != nil && e.Code != nil {
		return e
	}
	var c *Code
	switch {
	case errors.As(err, &c) && c != nil:
		return c.Wrap(err, "")
	case errors.Is(err, context.DeadlineExceeded):
		return GenericGatewayTimeout.Wrap(err, "the operation did not end in time")
	case errors.Is(err, context.Canceled):
		return RequestCanceled.Wrap(err, "the operation was cancelled before it ended")
	}
	return ServerError.Wrap(err, "an unexpected error occurred, its cause is in the hub's log under the tracking id")
}

// Tracking returns a new tracking id, "<32 hex digits>-G:0-TimeStamp:MM/dd/yyyy HH:mm:ss" in UTC (device-protocols 0.4).
func Tracking(at time.Time) string {
	var id [16]byte
	rand.Read(id[:]) // never fails since Go 1.24
	return hex.EncodeToString(id[:]) + "-G:0-TimeStamp:" + at.UTC().Format("01/02/2006 15:04:05")
}
