package controlapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/control"
	"github.com/nave-hub/nave/internal/fault"
)

// readTime is how long the body of a request may take, from the end of the
// header on (iot-v1 LP-7).
const readTime = 30 * time.Second

// body takes steps 11 to 13 of iot-v1 2.1: 4013, 4015.
func (c *call) body(limit int) ([]byte, error) {
	if c.r.ContentLength > int64(limit) {
		return nil, tooLarge(limit)
	}
	if err := c.checkType(); err != nil {
		return nil, err
	}
	return c.read(limit)
}

func tooLarge(limit int) error {
	e := control.Refuse(fault.ControlPayloadTooLarge, "body_too_large", "the body of the request is larger than the plan's %d bytes", limit)
	e.Detail["max_bytes"] = limit
	return e
}

func (c *call) read(limit int) (b []byte, err error) {
	if n := c.r.ContentLength; n >= 0 {
		b = make([]byte, n)
		_, err = io.ReadFull(c.r.Body, b)
	} else {
		b, err = io.ReadAll(io.LimitReader(c.r.Body, int64(limit)+1))
	}
	switch {
	case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
		return nil, control.Refuse(fault.ControlBadRequest, "malformed_json", "the body of the request did not end in time")
	case err != nil:
		return nil, control.Refuse(fault.ControlBadRequest, "malformed_json", "the body of the request ended early")
	case len(b) > limit:
		return nil, tooLarge(limit)
	}
	http.NewResponseController(c.w).SetReadDeadline(time.Time{}) // or a slow store would end the request's context
	return b, nil
}

// checkType is step 12 (iot-v1 RC-11, G-13).
func (c *call) checkType() error {
	text := c.r.Header.Get("Content-Type")
	if text != "application/json" && (text != "" || c.r.ContentLength != 0) {
		kind, params, err := mime.ParseMediaType(text)
		switch charset, given := params["charset"]; {
		case err != nil || kind != "application/json":
			return unsupported("content_type", "application/json")
		case given && !strings.EqualFold(charset, "utf-8"):
			return unsupported("charset", "utf-8")
		}
	}
	for _, coding := range c.r.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return unsupported("content_encoding", "identity")
		}
	}
	return nil
}

func unsupported(reason, accepted string) error {
	e := control.Refuse(fault.ControlUnsupportedMediaType, reason, "the body must be JSON in UTF-8 without compression")
	e.Detail["accepted"] = accepted
	return e
}
