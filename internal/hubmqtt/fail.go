package hubmqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/mqtt"
)

// failure is an error on its way to a client. At most one of session and client
// is set: the CONNECT to refuse, or the twin request (rid) to answer. With
// neither, MQTT has no way to tell the client.
type failure struct {
	op      string
	on      nave.ID
	remote  string
	err     error
	session *mqtt.Session
	client  *client
	rid     string
}

// fail records an error, and turns it into what the client sees: CONNACK 3 or 5,
// or a twin response. An error that ends a live connection goes through ended,
// and is recorded by Line.Close.
func (s *Server) fail(f failure) {
	e := fault.From(f.err)
	level := slog.LevelInfo
	if e.Code.HTTP >= 500 {
		level = slog.LevelWarn
	}
	s.o.Log.Log(context.Background(), level, "refused", "hub", s.o.Hub.Host(), "device", f.on.String(), "op", f.op,
		"code", e.Code.ID, "why", e.Text, "cause", e.Unwrap(), "tracking", e.Tracking, "peer", f.remote)
	s.o.Hub.Report(f.op, f.on, e)
	switch {
	case f.session != nil:
		f.session.Refuse(connack(e.Code))
	case f.client != nil:
		f.client.reply(fmt.Sprintf("%s%03d/%s%s", twinReply, e.Code.HTTP, ridQuery, f.rid), twinError(e))
	}
}

// connack returns 3 for what passes by itself and 5 for everything else;
// clients take 2 and 4 as permanent (device-protocols 1.5).
func connack(c *fault.Code) byte {
	if c.HTTP == 429 || c.HTTP >= 500 || c.MQTT == fault.Connack3 {
		return mqtt.Unavailable
	}
	return mqtt.NotAuthorized
}

// twinError returns the body of a failed twin request (device-protocols 0.4).
func twinError(e *fault.Error) []byte {
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

// ended says why a connection ended that did not say DISCONNECT. keepAlive is
// that of its CONNECT, in seconds.
func ended(cause error, keepAlive uint16, o mqtt.Options) *fault.Error {
	var e *fault.Error
	var large *mqtt.TooLargeError
	closed := fault.DeviceConnectionClosedRemotely
	switch {
	case errors.As(cause, &e):
		return fault.From(e)
	case errors.As(cause, &large):
		e = fault.MessageTooLarge.Over("mqtt.maxPacket", large.Limit, large.Size, "an MQTT packet is too large")
	case errors.Is(cause, mqtt.ErrKeepAlive):
		e = silence(keepAlive, o)
	case errors.Is(cause, mqtt.ErrSlow):
		e = closed.Wrap(cause, "the device reads too slowly what the hub sends (setting mqtt.maxQueue or mqtt.writeTimeout)")
	case errors.Is(cause, mqtt.ErrProtocol):
		e = closed.Wrap(cause, "the device broke the protocol: %v", cause)
	case errors.Is(cause, mqtt.ErrConnectTimeout):
		e = closed.Over("mqtt.connectTimeout", or(o.ConnectTimeout, time.Minute), "none", "no complete CONNECT came in time")
	case errors.Is(cause, io.EOF):
		e = closed.Wrap(cause, "the device closed the connection without DISCONNECT")
	case errors.Is(cause, context.Canceled):
		e = fault.ServiceUnavailable.Wrap(cause, "the hub is shutting down")
	default:
		e = closed.Wrap(cause, "the network connection broke: %v", cause)
	}
	return fault.From(e)
}

// silence tells which limit a silent device has passed (device-protocols 2.1).
func silence(keepAlive uint16, o mqtt.Options) *fault.Error {
	limit, most := time.Duration(keepAlive)*1500*time.Millisecond, or(o.KeepAliveCap, 1767*time.Second)
	if keepAlive == 0 || limit > most {
		return fault.DeviceConnectionClosedRemotely.Over("mqtt.keepAliveCap", most, "longer",
			"keep-alive: the device was silent for too long, it announced %d s", keepAlive)
	}
	return fault.DeviceConnectionClosedRemotely.Over("keep-alive of CONNECT", limit, "longer",
		"keep-alive: the device was silent for more than 1.5 times the %d s it announced", keepAlive)
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
