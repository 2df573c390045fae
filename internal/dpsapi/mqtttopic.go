package dpsapi

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
)

// Topics of the device API (dps 2.4).
const (
	topicRoot      = "$dps/registrations/"
	responseFilter = topicRoot + "res/#"
	responseRoot   = topicRoot + "res/"
	ridKey         = "$rid"
	maxRID         = 1024
)

// IsDPS says whether an MQTT user name is one of the device API,
// {idScope}/registrations/{registrationId}/api-version=…, and not one of a hub,
// {host}/{deviceId}/[{moduleId}/]?api-version=… (dps 2.4).
func IsDPS(username string) bool {
	part := strings.SplitN(username, "/", 4)
	if len(part) < 3 || !strings.EqualFold(part[1], "registrations") || strings.HasPrefix(part[2], "?") {
		return false
	}
	if len(part) == 4 {
		return !strings.HasPrefix(part[3], "?")
	}
	return !strings.Contains(part[0], ".") // a module of a hub's device named registrations
}

// parseUsername reads a user name (dps 2.4). Values behind the third slash may
// be percent-encoded, in any order, unknown ones are ignored.
func parseUsername(text string) (c dps.Claim, err error) {
	part := strings.SplitN(text, "/", 4)
	if len(part) != 4 || part[0] == "" || part[2] == "" || !strings.EqualFold(part[1], "registrations") {
		return c, fault.DPSGenericBadRequest.New("the user name is not {idScope}/registrations/{registrationId}/api-version=…")
	}
	c.Scope, c.ID = part[0], unescape(part[2])
	version := ""
	for item := range strings.SplitSeq(strings.TrimPrefix(part[3], "?"), "&") {
		switch key, value, _ := strings.Cut(item, "="); {
		case strings.EqualFold(key, "api-version") && version == "":
			version = unescape(value)
		case strings.EqualFold(key, "ClientVersion"):
			c.Client = brief(unescape(value))
		}
	}
	c.Version, err = dps.ParseVersion(version)
	return c, err
}

// unescape decodes percent-encoding; what is none stays as it is.
func unescape(text string) string {
	if s, err := url.PathUnescape(text); err == nil {
		return s
	}
	return text
}

// deviceTopic is what the topic of a request says.
type deviceTopic struct {
	verb           verb
	rid, operation string
	wrong          *fault.Error // it names no operation: what to answer under rid
}

// parseTopic reads the topic of a request; an error is for topics that cannot
// be answered, as they are foreign or have no $rid.
func parseTopic(topic string) (t deviceTopic, err error) {
	rest, ok := strings.CutPrefix(topic, topicRoot)
	if !ok {
		return t, fmt.Errorf("dpsapi: a publish to the foreign topic %q", brief(topic))
	}
	path, query, _ := strings.Cut(rest, "?")
	found := false
	for item := range strings.SplitSeq(query, "&") {
		switch key, value, _ := strings.Cut(item, "="); {
		case key == ridKey && !found:
			t.rid, found = value, true
		case strings.EqualFold(key, "operationId") && t.operation == "":
			t.operation = unescape(value)
		}
	}
	if !found || len(t.rid) > maxRID {
		return t, fmt.Errorf("dpsapi: the topic %q has no %s of at most %d bytes", brief(topic), ridKey, maxRID)
	}
	method, name, _ := strings.Cut(strings.TrimSuffix(path, "/"), "/")
	t.resolve(method, name)
	return t, nil
}

// resolve finds the operation.
func (t *deviceTopic) resolve(method, name string) {
	allowed := "GET"
	switch name {
	case "iotdps-register":
		t.verb, allowed = register, "PUT"
	case "iotdps-get-operationstatus":
		t.verb = status
	case "iotdps-get-registration":
		t.verb = lookup
	default:
		t.wrong = fault.DPSGenericNotFound.New("the topic names no operation: %q", brief(name))
		return
	}
	switch {
	case method != allowed:
		t.wrong = fault.DPSGenericMethodNotAllowed.New("%s goes with %s, not with %q", name, allowed, brief(method))
	case t.verb == status && t.operation == "":
		t.wrong = fault.DPSArgumentNull.New("operationId is missing in the topic")
	}
}

// appendResponseTopic appends the topic of an answer; its form is read very
// literally by SDKs (dps 2.4). No retry-after for 0.
func appendResponseTopic(b []byte, code int, rid string, retry int) []byte {
	b = strconv.AppendInt(append(b, responseRoot...), int64(code), 10)
	b = append(append(b, "/?"+ridKey+"="...), rid...)
	if retry > 0 {
		b = strconv.AppendInt(append(b, "&retry-after="...), int64(retry), 10)
	}
	return b
}
