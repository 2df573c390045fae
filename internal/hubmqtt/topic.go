package hubmqtt

import (
	"strconv"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// The parts of topics that are always the same (device-protocols 2.3).
const (
	methodRequest = "$iothub/methods/POST/"
	methodReply   = "$iothub/methods/res/"
	twinGet       = "$iothub/twin/GET/"
	twinReport    = "$iothub/twin/PATCH/properties/reported/"
	twinReply     = "$iothub/twin/res/"
	twinDesired   = "$iothub/twin/PATCH/properties/desired/"
	ridQuery      = "?$rid="
)

// verb is what a publish asks for.
type verb uint8

const (
	sendTelemetry verb = iota
	answerMethod
	readTwin
	reportTwin
)

// request is a topic that a client published to. Its texts are parts of the
// topic.
type request struct {
	verb    verb
	bag     string // sendTelemetry: the property bag as sent
	rid     string // all others: the request id as sent
	status  int    // answerMethod
	version int64  // reportTwin, with hasVersion: the expected reported $version

	hasVersion bool
}

// parseTopic reads the topic of a publish by the connection of id. It answers
// IotHubUnauthorized for the topic of another identity and ArgumentInvalid for
// one that the hub does not know.
func parseTopic(id nave.ID, topic string) (request, error) {
	if strings.HasPrefix(topic, "$iothub/") {
		return parseRequest(topic)
	}
	rest, err := cutOwn(id, topic)
	if err != nil {
		return request{}, err
	}
	messages, rest, _ := strings.Cut(rest, "/")
	events, bag, _ := strings.Cut(rest, "/")
	if !strings.EqualFold(messages, "messages") || !strings.EqualFold(events, "events") {
		return request{}, unknownTopic(id, topic)
	}
	return request{verb: sendTelemetry, bag: bag}, nil
}

// cutOwn removes devices/{d}/ or devices/{d}/modules/{m}/ from a topic.
func cutOwn(id nave.ID, topic string) (rest string, err error) {
	devices, rest, _ := strings.Cut(topic, "/")
	device, rest, more := strings.Cut(rest, "/")
	if devices != "devices" || !more {
		return "", unknownTopic(id, topic)
	}
	named := nave.ID{Device: device}
	if after, ok := strings.CutPrefix(rest, "modules/"); ok {
		named.Module, rest, _ = strings.Cut(after, "/")
	}
	if named != id {
		return "", fault.IotHubUnauthorized.New("the topic %q belongs to %s, this connection is that of %s", brief(topic), brief(named.String()), id)
	}
	return rest, nil
}

func unknownTopic(id nave.ID, topic string) error {
	return fault.ArgumentInvalid.New("the hub has no topic %q that %s could publish to, telemetry goes to %smessages/events/", brief(topic), id, ownPrefix(id))
}

// ownPrefix returns the beginning of the topics that carry the identity.
func ownPrefix(id nave.ID) string {
	if id.IsModule() {
		return "devices/" + id.Device + "/modules/" + id.Module + "/"
	}
	return "devices/" + id.Device + "/"
}

// parseRequest reads a topic below $iothub/.
func parseRequest(topic string) (r request, err error) {
	var query string
	if rest, ok := strings.CutPrefix(topic, twinGet); ok {
		r.verb, query = readTwin, rest
	} else if rest, ok := strings.CutPrefix(topic, twinReport); ok {
		r.verb, query = reportTwin, rest
	} else if rest, ok := strings.CutPrefix(topic, methodReply); ok {
		status, rest, _ := strings.Cut(rest, "/")
		n, err := strconv.ParseInt(status, 10, 32)
		if err != nil {
			return request{}, fault.ArgumentInvalid.New("the status %q in the topic %q is no whole number", brief(status), brief(topic))
		}
		r.verb, r.status, query = answerMethod, int(n), rest
	} else {
		return request{}, fault.ArgumentInvalid.New("the hub has no topic %q, below $iothub/ a device publishes to %s, %s and %s{status}/", brief(topic), twinGet, twinReport, methodReply)
	}
	return r, r.readQuery(topic, query)
}

// readQuery takes ?$rid=… and $version=…, which nobody encodes.
func (r *request) readQuery(topic, query string) error {
	query, ok := strings.CutPrefix(query, "?")
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "$rid":
			r.rid = value
		case "$version":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return fault.ArgumentInvalid.New("the $version %q in the topic %q is no whole number", brief(value), brief(topic))
			}
			r.version, r.hasVersion = n, true
		}
	}
	if !ok || r.rid == "" {
		return fault.ArgumentInvalid.New("the topic %q has no request id, it must end in ?$rid=", brief(topic))
	}
	return nil
}
