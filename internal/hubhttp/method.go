package hubhttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

var methodRoutes = []route{
	{"POST", "/twins/{d}/methods", invokeMethod},
	{"POST", "/twins/{d}/modules/{m}/methods", invokeMethod},
}

// envelope is room for what a method's body holds besides the payload.
const envelope = 64 << 10

// invokeMethod waits for the device; a client that hangs up ends the call.
func invokeMethod(c *call) error {
	if err := c.checkType(); err != nil {
		return err
	}
	b, err := c.body(c.hub.Limits().Method+envelope, "method.maxPayload + 65536", fault.MessageTooLarge)
	if err != nil {
		return err
	}
	m, err := parseMethod(b)
	if err != nil {
		return err
	}
	reply, err := c.backend.Invoke(c.r.Context(), c.on, m)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, appendReply(nil, reply))
}

func appendReply(b []byte, r *nave.Reply) []byte {
	b = strconv.AppendInt(append(b, `{"status":`...), int64(r.Status), 10)
	b = append(b, `,"payload":`...)
	if r.Payload == nil {
		return append(b, "null}"...)
	}
	return append(append(b, r.Payload...), '}')
}

// parseMethod reads the body of a direct method (service-api 2.10). The
// payload stays as the client wrote it; null and absence are the same.
func parseMethod(b []byte) (m nave.Call, err error) {
	if len(b) == 0 {
		return m, fault.ArgumentNull.New("the request has no body, expected is an object with methodName")
	}
	var fields map[string]jsontext.Value
	if err := jsonv2.Unmarshal(b, &fields); err != nil {
		return m, badJSON(err, "an object with methodName")
	}
	if v := fields["methodName"]; len(v) > 0 && v.Kind() != 'n' {
		if v.Kind() != '"' {
			return m, fault.ArgumentInvalid.New("methodName is no string")
		}
		if err := jsonv2.Unmarshal(v, &m.Method); err != nil {
			return m, badJSON(err, "a string as methodName")
		}
	}
	if v := fields["payload"]; len(v) > 0 && v.Kind() != 'n' {
		m.Payload = json.RawMessage(v)
	}
	if m.Timeout, err = wholeSeconds(fields, "responseTimeoutInSeconds", 5, 300); err != nil {
		return m, err
	}
	m.Connect, err = wholeSeconds(fields, "connectTimeoutInSeconds", 0, 300)
	return m, err
}

// wholeSeconds reads a number of seconds, which may be written as 30.0; absent
// or null is 0.
func wholeSeconds(fields map[string]jsontext.Value, name string, least, most float64) (time.Duration, error) {
	v := fields[name]
	if len(v) == 0 || v.Kind() == 'n' {
		return 0, nil
	}
	n, err := strconv.ParseFloat(string(v), 64)
	if v.Kind() != '0' || err != nil || n < least || n > most {
		return 0, fault.ArgumentInvalid.New("%s is %s, allowed are the numbers %g to %g", name, brief(string(v)), least, most)
	}
	return time.Duration(n * float64(time.Second)), nil
}

// badJSON says where a body stops being what was expected.
func badJSON(err error, want string) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fault.ArgumentInvalid.Wrap(err, "the body is not valid JSON at offset %d", syntax.ByteOffset)
	}
	return fault.ArgumentInvalid.Wrap(err, "the body is JSON of a wrong kind, expected is %s", want)
}
