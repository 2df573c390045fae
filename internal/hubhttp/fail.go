package hubhttp

import (
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// bodyDetail is the Detail under which a partly failed bulk call carries the
// body that takes the place of an error body (service-api 2.5, 2.6).
const bodyDetail = "body"

// pause is what 429 and 503 advise when the fault itself knows no time.
const pause = time.Second

// fail answers an error: status, headers and body as service-api 2.2 and
// device-protocols 0.4 say. It is the only place that does, and the only one
// that reports and logs.
func (s *Server) fail(c *call, err error) {
	e := fault.From(err)
	status := e.Code.HTTP
	c.set("iothub-errorcode", e.Code.Name)
	c.set("x-nave-retry", e.Code.Retry.String())
	if after := e.After; after > 0 || status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		if after <= 0 {
			after = pause
		}
		c.set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	body, bulk := e.Detail[bodyDetail].([]byte)
	if bulk {
		// One SDK takes the body for a result only when it finds this name.
		c.set("IotHubErrorCode", e.Code.Name)
	} else {
		body = s.errorBody(c, e)
	}
	c.reply(status, body)
	s.note(c, e)
}

// note reports and logs a failure. A client that went away is no failure of
// the hub, and the hub has told of it where it matters.
func (s *Server) note(c *call, e *fault.Error) {
	level := slog.LevelInfo
	switch {
	case c.r.Context().Err() != nil:
		level = slog.LevelDebug
	case e.Code.HTTP >= 500:
		level = slog.LevelWarn
	}
	ctx := c.r.Context()
	s.log.Log(ctx, level, "request refused", "device", c.on.String(), "op", c.op(), "code", e.Code.ID,
		"tracking", e.Tracking, "peer", c.r.RemoteAddr, "fault", e)
	if level != slog.LevelDebug {
		s.hub.Report(c.op(), c.on, e)
	}
}

// errorBody picks the form of the body: A unless the route or the option says
// otherwise.
func (s *Server) errorBody(c *call, e *fault.Error) []byte {
	own := serviceSide
	if c.route != nil {
		own = c.route.side
	}
	form := s.form
	switch {
	case own == deviceSide:
		form = "legacy"
	case form != "legacy" && form != "json" && form != "hybrid" && (own == messageSide || own == uploadSide):
		form = "json"
	}
	switch form {
	case "json":
		return appendMembers(nil, appendInner(nil, e), "")
	case "hybrid":
		inner := appendMembers(nil, appendInner(nil, e), "")
		return appendMembers(nil, append(appendLegacy(nil, e), ";"+string(inner)...), "")
	}
	return appendMembers(nil, appendLegacy(nil, e), "Tracking ID:"+e.Tracking)
}

// appendLegacy appends the message of form A. Its text is never empty and has
// neither semicolon nor brace, which fault sees to.
func appendLegacy(b []byte, e *fault.Error) []byte {
	b = append(b, "ErrorCode:"+e.Code.Name+";"...)
	return append(b, e.Text...)
}

// appendInner appends the object that form B hides in a string. info is null:
// one SDK reads a map of texts and fails on an object.
func appendInner(b []byte, e *fault.Error) []byte {
	b = strconv.AppendInt(append(b, `{"errorCode":`...), int64(e.Code.ID), 10)
	b = appendText(append(b, `,"trackingId":`...), e.Tracking)
	b = appendText(append(b, `,"message":`...), e.Text)
	b = appendText(append(b, `,"timestampUtc":`...), nave.Format(e.At))
	return append(b, `,"info":null}`...)
}

func appendMembers(b, message []byte, exception string) []byte {
	b = appendText(append(b, `{"Message":`...), string(message))
	b = appendText(append(b, `,"ExceptionMessage":`...), exception)
	return append(b, '}')
}

// appendText appends text as a JSON string.
func appendText(b []byte, text string) []byte {
	b, _ = jsontext.AppendQuote(b, text) // fails for broken UTF-8 only, which it replaces
	return b
}

// appendTextOrNull appends null for the empty text.
func appendTextOrNull(b []byte, text string) []byte {
	if text == "" {
		return append(b, "null"...)
	}
	return appendText(b, text)
}
