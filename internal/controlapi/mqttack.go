package controlapi

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
)

// acknowledgement answers a publish (iot-v1 11.6). It has no code.
type acknowledgement struct {
	Message   *string         `json:"message_id"`
	Topic     string          `json:"feed_data_topic"`
	Status    string          `json:"status"`
	Retryable bool            `json:"retryable"`
	Feed      int64           `json:"feed_data_id,omitempty"`
	Warnings  json.RawMessage `json:"warnings"`
	Error     json.RawMessage `json:"error,omitempty"`
}

var noWarnings = json.RawMessage("[]")

// retryable says whether the same payload can succeed later (iot-v1 11.6).
func retryable(c *fault.Code) bool {
	return c == fault.ControlUnauthorized || c == fault.ControlRateLimited || c == fault.ControlServiceUnavailable
}

// rejected is the acknowledgement of a publish that was refused; message is nil
// when the payload's message id could not be read (iot-v1 MQ-18).
func rejected(topic string, message *string, err error) acknowledgement {
	e, status := known(err)
	if status == http.StatusTooManyRequests || status >= 500 {
		e.Detail["retry_after"] = control.Seconds(cmp.Or(e.After, pause))
	}
	return acknowledgement{Message: message, Topic: topic, Status: "rejected", Retryable: retryable(e.Code), Warnings: noWarnings,
		Error: appendError(nil, e)}
}

func (a acknowledgement) encode() []byte {
	b, err := json.Marshal(a)
	if err != nil { // texts, numbers and what this package has put into details always encode
		return []byte(`{"message_id":null,"feed_data_topic":"","status":"rejected","retryable":true,"warnings":[],` +
			`"error":{"type":"service_unavailable","message":"the answer could not be encoded","details":{"reason":"internal_error"}}}`)
	}
	return b
}
