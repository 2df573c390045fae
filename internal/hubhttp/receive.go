package hubhttp

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

var receiveRoutes = []route{
	{"GET", "/devices/{d}/messages/devicebound", receiveC2D},
	{"DELETE", "/devices/{d}/messages/devicebound/{lock}", completeC2D},
	{"POST", "/devices/{d}/messages/devicebound/{lock}/abandon", abandonC2D},
	{"GET", "/devices/{d}/modules/{m}/messages/devicebound", receiveC2D},
	{"DELETE", "/devices/{d}/modules/{m}/messages/devicebound/{lock}", completeC2D},
	{"POST", "/devices/{d}/modules/{m}/messages/devicebound/{lock}/abandon", abandonC2D},
}

// receiveC2D answers one message, or 204 at once (device-protocols 4.4).
func receiveC2D(c *call) error {
	lock, err := c.lockTime()
	if err != nil {
		return err
	}
	m, err := c.line.Receive(c.r.Context(), lock)
	if err != nil {
		return err
	}
	if m == nil {
		return c.done()
	}
	c.setMessage(m)
	c.set("Content-Type", "application/octet-stream")
	c.send(http.StatusOK, m.Body)
	return nil
}

// maxLock is the longest lock that a device may ask for.
const maxLock = time.Hour

// lockTime returns the lock time that the request asks for, 0 when it leaves
// that to the hub.
func (c *call) lockTime() (time.Duration, error) {
	const name = "iothub-messagelocktimeout"
	text := c.r.Header.Get(name)
	if text == "" {
		text = c.query[name]
	}
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 1 && n <= maxLock.Seconds()) {
		return 0, fault.ArgumentInvalid.New("%s is %q, allowed are 1 to %g seconds", name, brief(text), maxLock.Seconds())
	}
	return time.Duration(n * float64(time.Second)), nil
}

// setMessage writes the headers of a message. net/http drops a name that HTTP
// does not allow and makes blanks of line breaks in values.
func (c *call) setMessage(m *nave.C2D) {
	s := &m.System
	c.set("ETag", `"`+m.Lock+`"`)
	c.set("iothub-messagelocktoken", m.Lock)
	c.set("iothub-sequencenumber", strconv.FormatInt(m.Seq, 10))
	c.set("iothub-enqueuedtime", nave.Format(m.Enqueued))
	c.set("iothub-deliverycount", strconv.Itoa(m.Deliveries))
	for _, h := range [...]struct{ name, value string }{
		{"iothub-messageid", s.MessageID}, {"iothub-correlationid", s.CorrelationID}, {"iothub-userid", s.UserID},
		{"iothub-to", s.To}, {"iothub-ack", string(s.Ack)},
		// Both spellings: one SDK looks for the second (device-protocols 4.4).
		{"iothub-contenttype", s.ContentType}, {"ContentType", s.ContentType},
		{"iothub-contentencoding", s.ContentEncoding}, {"ContentEncoding", s.ContentEncoding},
	} {
		if h.value != "" {
			c.set(h.name, h.value)
		}
	}
	if !s.Expiry.IsZero() {
		c.set("iothub-expiry", nave.Format(s.Expiry))
	}
	for _, p := range m.App {
		c.set(appPrefix+p.Name, p.Value)
	}
}

// completeC2D completes a delivery, or rejects it when the query says so.
func completeC2D(c *call) error {
	verdict := nave.Complete
	if c.rejects() {
		verdict = nave.Reject
	}
	return c.settleC2D(verdict)
}

func abandonC2D(c *call) error { return c.settleC2D(nave.Abandon) }

// rejects looks for the key reject, with or without value. One SDK writes
// %3Freject=true behind other parameters: the question mark is part of the key
// then.
func (c *call) rejects() bool {
	for _, name := range []string{"reject", "?reject"} {
		if v, given := c.query[name]; given {
			return !strings.EqualFold(v, "false")
		}
	}
	return false
}

// settleC2D ends the delivery whose lock is in the path; If-Match repeats it
// or is absent.
func (c *call) settleC2D(v nave.Verdict) error {
	lock := lockOf(c.name)
	if match := c.ifMatch(); match != "" && match != "*" && lockOf(match) != lock {
		return fault.PreconditionFailed.New("If-Match and the path name different locks")
	}
	if err := c.line.Settle(c.r.Context(), lock, v); err != nil {
		return err
	}
	return c.done()
}
