package hubhttp

import (
	"encoding/base64"
	"errors"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

var eventRoutes = []route{
	{"POST", "/devices/{d}/messages/events", sendEvents},
	{"POST", "/devices/{d}/modules/{m}/messages/events", sendEvents},
}

// batchType marks a body that holds several messages (device-protocols 4.3).
const batchType = "application/vnd.microsoft.iothub.json"

// sendEvents takes one telemetry message, or several; it answers when they are
// on disk. The content type is the request's own, never the message's.
func sendEvents(c *call) error {
	body, err := c.body(c.hub.Limits().D2C, "d2c.maxSize", fault.MessageTooLarge)
	if err != nil {
		return err
	}
	stored := make(chan error, 1)
	done := func(err error) { stored <- err }
	if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind == batchType {
		batch, err := parseBatch(body)
		if err != nil {
			return err
		}
		c.line.SendBatch(batch, done)
	} else {
		m, err := headerMessage(c.r.Header, body)
		if err != nil {
			return err
		}
		c.line.Send(m, done)
	}
	switch err := <-stored; {
	case errors.Is(err, hub.ErrSilent):
		panic(http.ErrAbortHandler)
	case err != nil:
		return err
	}
	return c.done()
}

// appPrefix marks application properties among headers.
const appPrefix = "iothub-app-"

// headerMessage makes a message of headers and body (device-protocols 4.2).
func headerMessage(h http.Header, body []byte) (*nave.Message, error) {
	m := &nave.Message{Body: body}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		values := h[name]
		// net/http has changed the case already; lower case is at least the same for all.
		if err := setProperty(m, strings.ToLower(name), values[len(values)-1]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// setProperty puts one header, or one member of a batch entry's properties,
// into the message; names that mean nothing are passed over.
func setProperty(m *nave.Message, name, value string) error {
	low := strings.ToLower(name)
	field, system := systemField(&m.System, low)
	app := strings.HasPrefix(low, appPrefix)
	if !system && !app {
		return nil
	}
	if err := checkText(name, value); err != nil {
		return err
	}
	switch {
	case field != nil:
		*field = value
	case app:
		if len(name) == len(appPrefix) {
			return fault.ArgumentInvalid.New("an application property has an empty name")
		}
		m.SetApp(name[len(appPrefix):], value, true)
	case low == "iothub-expiry":
		at, err := nave.ParseTime(value)
		if err != nil {
			return fault.ArgumentInvalid.Wrap(err, "iothub-expiry: %s", fault.From(err).Text)
		}
		m.System.Expiry = at
	case low == "iothub-ack":
		ack, err := nave.ParseAck(value)
		if err != nil {
			return err
		}
		m.System.Ack = ack
	}
	return nil
}

// systemField returns where a system property of text is kept; a nil field of
// a known name needs more than copying, or is ignored: iothub-to says nothing,
// the path names the sender.
func systemField(s *nave.System, low string) (field *string, known bool) {
	switch low {
	case "iothub-messageid":
		return &s.MessageID, true
	case "iothub-correlationid":
		return &s.CorrelationID, true
	case "iothub-userid":
		return &s.UserID, true
	case "iothub-contenttype":
		return &s.ContentType, true
	case "iothub-contentencoding":
		return &s.ContentEncoding, true
	case "iothub-creationtimeutc", "iothub-creation-time-utc", "iothub-app-iothub-creation-time-utc":
		return &s.Created, true
	case "iothub-messageschema":
		return &s.Schema, true
	case "iothub-interface-id":
		return &s.Interface, true
	case "iothub-operation":
		return &s.Operation, true
	case "dt-subject":
		return &s.Subject, true
	case "iothub-expiry", "iothub-ack":
		return nil, true
	}
	return nil, false
}

// checkText answers ArgumentInvalid for what is not printable ASCII
// (device-protocols 4.2).
func checkText(name, value string) error {
	for _, text := range []string{name, value} {
		for i := range len(text) {
			if c := text[i]; c >= 0x7f || c < ' ' && c != '\t' {
				return fault.ArgumentInvalid.New("the property %q has the byte 0x%02X, allowed is printable ASCII", brief(name), c)
			}
		}
	}
	return nil
}

// parseBatch reads the JSON form of several messages (device-protocols 4.3).
func parseBatch(b []byte) ([]*nave.Message, error) {
	v, err := nave.ParseValue(b)
	if err != nil {
		return nil, malformed(err)
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, fault.ArgumentInvalid.New("the batch is no array of messages, or an empty one")
	}
	batch := make([]*nave.Message, 0, len(list))
	for n, v := range list {
		d, ok := v.(nave.Doc)
		if !ok {
			return nil, fault.ArgumentInvalid.New("message %d of the batch is no object", n)
		}
		m, err := batchMessage(d)
		if err != nil {
			return nil, fault.ArgumentInvalid.Wrap(err, "message %d of the batch: %s", n, fault.From(err).Text)
		}
		batch = append(batch, m)
	}
	return batch, nil
}

func batchMessage(d nave.Doc) (*nave.Message, error) {
	text, ok := d["body"].(string)
	if !ok {
		return nil, fault.ArgumentInvalid.New("body is missing or no string")
	}
	m := &nave.Message{Body: []byte(text)}
	encoded := true // what every SDK but one means by leaving it out
	switch v := d["base64Encoded"].(type) {
	case nil:
	case bool:
		encoded = v
	default:
		return nil, fault.ArgumentInvalid.New("base64Encoded is no boolean")
	}
	if encoded {
		body, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fault.ArgumentInvalid.Wrap(err, "body is not base64; plain text needs base64Encoded false")
		}
		m.Body = body
	}
	return m, batchProperties(m, d["properties"])
}

func batchProperties(m *nave.Message, v any) error {
	if v == nil {
		return nil
	}
	d, ok := v.(nave.Doc)
	if !ok {
		return fault.ArgumentInvalid.New("properties is no object")
	}
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if d[name] == nil {
			continue
		}
		value, ok := d[name].(string)
		if !ok {
			return fault.ArgumentInvalid.New("the property %q is no string", brief(name))
		}
		if err := setProperty(m, name, value); err != nil {
			return err
		}
	}
	return nil
}
