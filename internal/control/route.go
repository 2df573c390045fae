package control

import (
	"strings"

	"github.com/nave-hub/nave"
)

// Route is one (resource, source) of a device (iot-v1 MQ-12).
type Route struct {
	Source   *nave.ControlSource
	Resource string
}

const topicRoot = "iot/v1/devices/"

// AckTopic is where the device gets its acknowledgements (iot-v1 11.4).
func (d *Device) AckTopic() string { return topicRoot + d.ID + "/feed-data/acks" }

// FeedTopic is where the device publishes the source's items.
func (d *Device) FeedTopic(r Route) string { return d.topic(r) + "/feed-data" }

// DesiredTopic is where the device gets the desired states of a command.
func (d *Device) DesiredTopic(r Route) string { return d.topic(r) + "/desired" }

func (d *Device) topic(r Route) string {
	kind := "/sensors/"
	if r.Source.IsCommand() {
		kind = "/commands/"
	}
	return topicRoot + d.ID + "/resources/" + r.Resource + kind + r.Source.ID
}

// Routes returns the device's routes, by source id and resource.
func (d *Device) Routes() (all []Route) {
	for _, s := range d.Sources {
		if len(s.Resources) == 0 {
			all = append(all, Route{s, d.Resource})
			continue
		}
		for _, resource := range s.Resources {
			all = append(all, Route{s, resource})
		}
	}
	return all
}

// RoutesOf returns the routes of one source.
func (d *Device) RoutesOf(source string) (all []Route) {
	for _, r := range d.Routes() {
		if r.Source.ID == source {
			all = append(all, r)
		}
	}
	return all
}

// Route finds the route of a feed topic or a desired topic of the device.
func (d *Device) Route(topic string) (r Route, desired, ok bool) {
	rest, ok := strings.CutPrefix(topic, topicRoot+d.ID+"/resources/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 4 || parts[3] != "feed-data" && parts[3] != "desired" {
		return Route{}, false, false
	}
	desired = parts[3] == "desired"
	for _, r := range d.RoutesOf(parts[2]) {
		if r.Resource == parts[0] && (parts[1] == "commands") == r.Source.IsCommand() && (!desired || r.Source.IsCommand()) {
			return r, desired, true
		}
	}
	return Route{}, desired, false
}
