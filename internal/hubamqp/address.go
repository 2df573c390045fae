package hubamqp

import (
	"net/url"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

// inputLink carries messages to the inputs of a module. Without an edge gateway
// there are none; the link attaches and stays silent.
const inputLink hub.Part = 200

// Endpoints behind the addresses (device-protocols 3.5, service-api 3 and 4).
type endpoint uint8

const (
	nowhere endpoint = iota
	tokenEndpoint
	telemetryEndpoint
	commandEndpoint
	twinEndpoint
	methodEndpoint
	sendEndpoint
	feedbackEndpoint
	notificationEndpoint
	eventEndpoint
	managementEndpoint
)

// address is what a link's address says.
type address struct {
	to  endpoint
	ids []nave.ID // of a device or module: as written, then percent-decoded when that differs

	// Of eventEndpoint:
	entity, group, partition string
}

// parseAddress reads the address of a link: an optional scheme and host, an
// optional slash, then segments whose keywords are compared without case.
func parseAddress(text string) (a address) {
	if scheme, rest, ok := strings.Cut(text, "://"); ok && !strings.Contains(scheme, "/") {
		_, text, _ = strings.Cut(rest, "/")
	}
	seg := strings.Split(strings.Trim(text, "/"), "/")
	is := func(n int, word string) bool { return n < len(seg) && strings.EqualFold(seg[n], word) }
	switch {
	case len(seg) == 1 && is(0, "$cbs"):
		a.to = tokenEndpoint
	case is(len(seg)-1, "$management") && !is(0, "messages"):
		a.to = managementEndpoint
	case is(0, "devices"):
		a.device(seg[1:])
	case is(0, "messages"):
		a.service(seg)
	case len(seg) == 5 && is(1, "ConsumerGroups") && is(3, "Partitions"):
		a = address{to: eventEndpoint, entity: seg[0], group: seg[2], partition: seg[4]}
	}
	return a
}

// device reads what follows "devices".
func (a *address) device(seg []string) {
	if len(seg) == 0 || seg[0] == "" {
		return
	}
	raw := nave.ID{Device: seg[0]}
	rest := seg[1:]
	if len(rest) >= 2 && strings.EqualFold(rest[0], "modules") {
		if raw.Module, rest = rest[1], rest[2:]; raw.Module == "" {
			return
		}
	}
	switch strings.ToLower(strings.Join(rest, "/")) {
	case "messages/events":
		a.to = telemetryEndpoint
	case "messages/devicebound":
		a.to = commandEndpoint
	case "twin":
		a.to = twinEndpoint
	case "methods/devicebound":
		a.to = methodEndpoint
	default:
		return
	}
	a.ids = []nave.ID{raw}
	device, err := url.PathUnescape(raw.Device)
	module, err2 := url.PathUnescape(raw.Module)
	if decoded := (nave.ID{Device: device, Module: module}); err == nil && err2 == nil && decoded != raw {
		a.ids = append(a.ids, decoded)
	}
}

// service reads addresses below "messages".
func (a *address) service(seg []string) {
	below := strings.ToLower(strings.Join(seg[1:], "/"))
	switch {
	case below == "devicebound":
		a.to = sendEndpoint
	case below == "servicebound/feedback":
		a.to = feedbackEndpoint
	case below == "servicebound/filenotifications", below == "servicebound/fileuploadnotifications":
		a.to = notificationEndpoint
	case below == "events", strings.HasPrefix(below, "events/"):
		// Clients are sent on to the event endpoint's own address from here.
		*a = address{to: eventEndpoint, entity: "messages/events"}
		if len(seg) == 6 && strings.EqualFold(seg[2], "ConsumerGroups") && strings.EqualFold(seg[4], "Partitions") {
			a.group, a.partition = seg[3], seg[5]
		}
	}
}

// part returns which of a device's links this is; false when the address has no
// link in that direction.
func (a *address) part(l *amqp.Link) (hub.Part, bool) {
	fromDevice := l.Role == amqp.RoleReceiver
	switch a.to {
	case telemetryEndpoint:
		if fromDevice {
			return hub.TelemetryLink, true
		}
		return inputLink, a.ids[0].IsModule()
	case commandEndpoint:
		return hub.CommandLink, !fromDevice
	case twinEndpoint:
		if fromDevice {
			return hub.TwinRequestLink, true
		}
		return hub.TwinResponseLink, true
	case methodEndpoint:
		if fromDevice {
			return hub.MethodResponseLink, true
		}
		return hub.MethodRequestLink, true
	}
	return 0, false
}

// Attach implements amqp.Handler.
func (c *conn) Attach(l *amqp.Link) {
	a := parseAddress(l.PeerAddress())
	if a.to == tokenEndpoint {
		c.attachTokens(l)
		return
	}
	if c.crowded() {
		return
	}
	// Behind the tokens that came before.
	c.do(func() { c.attach(l, &a) })
}

func (c *conn) attach(l *amqp.Link, a *address) {
	toService := l.Role == amqp.RoleSender
	switch {
	case l.Inflight > 0:
		c.refuse(l, "link.attach", nave.ID{}, fault.InflightMessagesInLink.New("a live link %q of this session has %d deliveries that are not settled, settle or detach first", brief(l.Name), l.Inflight))
	case len(a.ids) > 0:
		c.attachDevice(l, a)
	case a.to == sendEndpoint && !toService:
		c.attachDevicebound(l)
	case a.to == feedbackEndpoint && toService:
		c.attachFeedback(l)
	case a.to == notificationEndpoint && toService:
		c.attachNotifications(l)
	case a.to == eventEndpoint && (toService || a.entity == "messages/events"):
		c.attachReader(l, a.entity, a.group, a.partition)
	case a.to == managementEndpoint:
		c.attachManagement(l)
	case c.publishes(l):
		c.refuse(l, "events.publish", nave.ID{}, fault.IotHubUnauthorizedAccess.New("Unauthorized: no policy of a hub may publish to its event endpoint"))
	default:
		c.refuse(l, "link.attach", nave.ID{}, addressNotFound(l))
	}
}

func addressNotFound(l *amqp.Link) error {
	verb := "sends to"
	if l.Role == amqp.RoleSender {
		verb = "receives from"
	}
	return fault.AmqpAddressNotFound.New("nothing %s the address %q here", verb, brief(l.PeerAddress()))
}

// publishes says whether the peer wants to send to the event endpoint itself
// (service-api 4.2).
func (c *conn) publishes(l *amqp.Link) bool {
	text := l.PeerAddress()
	if _, rest, ok := strings.Cut(text, "://"); ok {
		_, text, _ = strings.Cut(rest, "/")
	}
	entity, rest, more := strings.Cut(strings.Trim(text, "/"), "/")
	return l.Role == amqp.RoleReceiver && strings.EqualFold(entity, c.hub.Name()) &&
		(!more || len(rest) > 11 && strings.EqualFold(rest[:11], "Partitions/"))
}
