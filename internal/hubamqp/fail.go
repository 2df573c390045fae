package hubamqp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
)

// Keys of the info map of an error.
const (
	trackingKey amqp.Symbol = "com.microsoft:tracking-id"
	codeKey     amqp.Symbol = "com.microsoft:error-code"
)

// condition turns a fault into what services and readers see of it: the
// condition of service-api 7.3, the JSON text with the member info and the map
// of service-api 3.3. It reports and logs.
func (c *conn) condition(op string, on nave.ID, err error) *amqp.Error {
	e := c.record(op, on, err)
	out := encode(e, amqp.Symbol(e.Code.Condition()))
	out.Description = strings.TrimSuffix(string(errorBody(e)), "}") + `,"info":null}`
	out.Info = append(out.Info, amqp.Pair{Key: codeKey, Value: int32(e.Code.ID)})
	return out
}

// deviceCondition is condition for the links of devices, which name some
// conditions otherwise (device-protocols 3.11).
func (c *conn) deviceCondition(op string, on nave.ID, err error) *amqp.Error {
	e := c.record(op, on, err)
	switch e.Code {
	case fault.DeviceDisabled:
		return encode(e, amqp.UnauthorizedAccess)
	case fault.IotHubQuotaExceeded:
		return encode(e, amqp.ResourceLimitExceeded)
	case fault.LinkCreationConflict:
		return encode(e, "com.microsoft:link-creation-conflict")
	case fault.ConnectionForcefullyClosedOnFaultInjection:
		return encode(e, amqp.DetachForced)
	}
	return encode(e, amqp.Symbol(e.Code.Condition()))
}

// encode gives the error its wire form.
func encode(e *fault.Error, condition amqp.Symbol) *amqp.Error {
	text := string(errorBody(e))
	if e.Code == fault.MessageTooLarge && e.Setting == "d2c.maxSize" {
		// device-protocols 3.6 quotes this one in plain text.
		text = fmt.Sprintf("Message size is %v bytes which is greater than the max size %v bytes allowed.", e.Observed, e.Limit)
	}
	return &amqp.Error{Condition: condition, Description: text, Info: amqp.Map{{Key: trackingKey, Value: e.Tracking}}}
}

// errorBody returns the JSON text of an error (device-protocols 0.4).
func errorBody(e *fault.Error) []byte {
	b, err := json.Marshal(struct {
		Code     int    `json:"errorCode"`
		Tracking string `json:"trackingId"`
		Message  string `json:"message"`
		At       string `json:"timestampUtc"`
	}{e.Code.ID, e.Tracking, e.Text, nave.Format(e.At)})
	if err != nil { // strings and a number always encode
		return []byte(`{"errorCode":500001,"message":"the error could not be encoded"}`)
	}
	return b
}

// record completes an error, reports it and logs it.
func (c *conn) record(op string, on nave.ID, err error) *fault.Error {
	e := fault.From(err)
	level := slog.LevelInfo
	if e.Code.HTTP >= 500 {
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "refused", "hub", c.hub.Host(), "device", on.String(), "op", op,
		"code", e.Code.ID, "why", e.Text, "cause", e.Unwrap(), "tracking", e.Tracking, "peer", c.remote)
	c.hub.Report(op, on, e)
	return e
}

// refuse answers the attach of a service or a reader with a null terminus and a
// detach that says why.
func (c *conn) refuse(l *amqp.Link, op string, on nave.ID, err error) {
	l.Refuse(c.condition(op, on, err))
}

// brief shortens what a client sent for a text.
func brief(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}
