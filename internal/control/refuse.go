package control

import (
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Members of fault.Error.Detail, which become error.details (iot-v1 RC-5).
const (
	ReasonKey = "reason"
	ErrorsKey = "errors"
)

// Reasons that surfaces need, too (iot-v1 9).
const (
	StorageUnavailable = "storage_unavailable"
	BrokerUnavailable  = "broker_unavailable"
	ShuttingDown       = "shutting_down"
	InternalError      = "internal_error"
	CadenceExceeded    = "cadence_exceeded"
)

// Refuse makes a refusal of iot/v1 with its details.reason.
func Refuse(c *fault.Code, reason, format string, args ...any) *fault.Error {
	e := c.New(format, args...)
	e.Detail = map[string]any{ReasonKey: reason}
	return e
}

func refuse(c *fault.Code, reason, format string, args ...any) *fault.Error {
	return Refuse(c, reason, format, args...)
}

// FieldError is one entry of details.errors: a JSON pointer and a reason of
// iot-v1 5.4.
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// maxFieldErrors bounds details.errors (iot-v1 5.4).
const maxFieldErrors = 20

// Invalid makes a 4022 of these entries, of which the first twenty count.
func Invalid(all []FieldError) *fault.Error {
	text := "the request body is not valid"
	if len(all) > maxFieldErrors {
		all = all[:maxFieldErrors]
	}
	e := refuse(fault.ControlValidationFailed, "validation", "%s", text)
	e.Detail[ErrorsKey] = all
	return e
}

// NoResource is the answer to what does not exist: device, command, sensor,
// route, endpoint or schema.
func NoResource(resource, format string, args ...any) *fault.Error {
	e := refuse(fault.ControlNotFound, "resource_not_found", format, args...)
	e.Detail["resource"] = resource
	return e
}

// storePause is what a device is asked to wait when the store is away.
const storePause = 2 * time.Second

// away turns a failure of the store into a refusal; refusals pass.
func (c *Control) away(err error) error {
	var e *fault.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, store.ErrClosed) || c.stopping():
		return c.shutting()
	}
	out := fault.ControlServiceUnavailable.Wrap(err, "the store cannot be reached now, nothing was stored").RetryAfter(storePause)
	out.Detail = map[string]any{ReasonKey: StorageUnavailable}
	return out
}

func (c *Control) shutting() error {
	return refuse(fault.ControlServiceUnavailable, ShuttingDown, "the hub is stopping").RetryAfter(storePause)
}
