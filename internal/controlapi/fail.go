package controlapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/oauth"
)

// statusKey is the Detail under which a refusal carries an HTTP status of its
// own (iot-v1 RC-7, RC-8); it is not shown.
const statusKey = "\x00status"

// fail answers an error: an envelope with one of the twelve codes, or on the
// OAuth endpoints the form of RFC 6749. It is the only place that does, and the
// only one that reports and logs.
func (s *Server) fail(c *call, err error) {
	if c.oauth() {
		s.note(c, c.refuseOAuth(err), err)
		return
	}
	e, status := known(err)
	c.retryAfter(e, status)
	b := append([]byte(`{"code":`), strconv.Itoa(e.Code.ID)...)
	b = appendError(append(b, `,"error":`...), e)
	b = append(append(append(b, `,"request_id":"`...), c.id...), `"}`...)
	c.reply(status, b)
	s.note(c, status, e)
}

// reasons are what details.reason says when the refusal itself does not: that
// of an injected fault.
var reasons = map[*fault.Code]string{
	fault.ControlBadRequest: "malformed_json", fault.ControlUnauthorized: "invalid_token", fault.ControlPaymentRequired: "subscription_inactive",
	fault.ControlForbidden: "device_disabled", fault.ControlNotFound: "resource_not_found", fault.ControlConflict: "message_conflict",
	fault.ControlPayloadTooLarge: "body_too_large", fault.ControlUnsupportedMediaType: "content_type", fault.ControlValidationFailed: "validation",
	fault.ControlRateLimited: control.CadenceExceeded, fault.ControlServiceUnavailable: control.StorageUnavailable,
}

// known returns the error as one of the twelve codes with its details complete,
// and the HTTP status. Codes of other families are those of the gate, of store
// and log, or mistakes of ours.
func known(err error) (*fault.Error, int) {
	from := fault.From(err)
	e := *from
	e.Detail = maps.Clone(from.Detail)
	if e.Detail == nil {
		e.Detail = map[string]any{}
	}
	switch {
	case e.Code.Family == fault.Control && e.Code != fault.ControlOK:
	case e.Code.HTTP == http.StatusTooManyRequests:
		e.Code, e.Detail["limit"] = fault.ControlRateLimited, "hub"
	case e.Code.HTTP == http.StatusServiceUnavailable || e.Code == fault.IotHubSuspended:
		e.Code = fault.ControlServiceUnavailable
	default:
		e.Code, e.Text = fault.ControlServiceUnavailable, "an unexpected error occurred, its cause is in the hub's log under the request id"
		e.Detail[control.ReasonKey], e.Detail[statusKey] = control.InternalError, http.StatusInternalServerError
	}
	if e.Detail[control.ReasonKey] == nil {
		e.Detail[control.ReasonKey] = reasons[e.Code]
	}
	if _, ok := e.Detail[control.ErrorsKey]; !ok && e.Code == fault.ControlValidationFailed {
		e.Detail[control.ErrorsKey] = []control.FieldError{}
	}
	status, ok := e.Detail[statusKey].(int)
	if !ok {
		status = e.Code.HTTP
	}
	delete(e.Detail, statusKey)
	return &e, status
}

// pause is what 429 and 503 advise when the refusal itself knows no time.
const pause = 2 * time.Second

// retryAfter sets header and detail of 429 and 5xx (iot-v1 RC-9).
func (c *call) retryAfter(e *fault.Error, status int) {
	if status != http.StatusTooManyRequests && status < 500 {
		return
	}
	if e.After <= 0 {
		e.After = pause
	}
	n := control.Seconds(e.After)
	e.Detail["retry_after"] = n
	c.w.Header()["Retry-After"] = []string{strconv.Itoa(n)}
}

// appendError appends the error object of the envelope and of batch results.
func appendError(b []byte, e *fault.Error) []byte {
	b = append(append(append(b, `{"type":"`...), e.Code.Name...), `","message":`...)
	b = append(appendText(b, e.Text), `,"details":`...)
	return append(appendDetails(b, e.Detail), '}')
}

// appendDetails appends details with reason first, the rest by name.
func appendDetails(b []byte, details map[string]any) []byte {
	b = append(b, '{')
	names := slices.Sorted(maps.Keys(details))
	if n := slices.Index(names, control.ReasonKey); n > 0 {
		names = slices.Insert(slices.Delete(names, n, n+1), 0, control.ReasonKey)
	}
	for n, name := range names {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, name), ':')
		text, _ := json.Marshal(details[name]) // plain values of ours
		b = append(b, text...)
	}
	return append(b, '}')
}

// appendText appends text as a JSON string.
func appendText(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text) // fails for broken UTF-8 only, which it replaces
	return b
}

// refusal is an answer of the OAuth endpoints (iot-v1 3.2).
type refusal struct {
	kind, text string
	status     int
}

func (r *refusal) Error() string { return r.kind + ": " + r.text }

func badRequest(text string) error {
	return &refusal{"invalid_request", text, http.StatusBadRequest}
}

var wrongClient = &refusal{"invalid_client", "client authentication failed", http.StatusUnauthorized}

// refuseOAuth answers in the form of RFC 6749 5.2 and returns the status.
func (c *call) refuseOAuth(err error) int {
	var r *refusal
	var slow *oauth.Throttled
	h := c.w.Header()
	switch {
	case errors.As(err, &r):
	case errors.Is(err, oauth.ErrClient):
		r = wrongClient
	case errors.As(err, &slow):
		r = &refusal{"rate_limited", "too many failed attempts", http.StatusTooManyRequests}
		h["Retry-After"] = []string{strconv.Itoa(control.Seconds(slow.After))}
	default:
		e, status := known(err)
		switch {
		case e.Detail[control.ReasonKey] == "method_not_allowed", status == http.StatusNotFound:
			h["Content-Length"] = []string{"0"}
			c.w.WriteHeader(status)
			return status
		case status == http.StatusTooManyRequests:
			r = &refusal{"rate_limited", "the plan's cadence for tokens is exceeded", status}
		default:
			r = &refusal{"temporarily_unavailable", "the hub cannot issue tokens now", http.StatusServiceUnavailable}
		}
		c.retryAfter(e, r.status)
	}
	if r.kind == "invalid_client" {
		h["Www-Authenticate"] = []string{`Basic realm="iot"`}
	}
	b := appendText([]byte(`{"error":`), r.kind)
	c.reply(r.status, append(appendText(append(b, `,"error_description":`...), r.text), '}'))
	return r.status
}

// note reports and logs a failure. A client that went away is no failure of the
// hub.
func (s *Server) note(c *call, status int, err error) {
	level := slog.LevelDebug
	if status >= 500 && c.r.Context().Err() == nil {
		level = slog.LevelWarn
	}
	id := c.args[0]
	if c.device != nil {
		id = c.device.ID
	}
	s.log.Log(c.r.Context(), level, "request refused", "device", id, "op", c.op(), "status", status, "tracking", c.id, "peer", c.r.RemoteAddr, "fault", err)
	var e *fault.Error
	if errors.As(err, &e) && c.device != nil && c.r.Context().Err() == nil {
		s.control.Hub().Report(c.op(), nave.ID{Device: id}, e)
	}
}

// reply writes an answer with a JSON body.
func (c *call) reply(status int, body []byte) {
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(status)
	c.w.Write(body)
}

var jsonType = []string{"application/json"}
