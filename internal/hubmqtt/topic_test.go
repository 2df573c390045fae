package hubmqtt

import (
	"errors"
	"strings"
	"testing"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

var (
	dev    = nave.ID{Device: "d"}
	module = nave.ID{Device: "d", Module: "m"}
)

func TestTopic(t *testing.T) {
	for _, c := range []struct {
		name  string
		id    nave.ID
		topic string
		want  request
	}{
		{"DEV-073 with slash", dev, "devices/d/messages/events/", request{}},
		{"DEV-074 without slash", dev, "devices/d/messages/events", request{}},
		{"letter case", dev, "devices/d/Messages/Events/a=b", request{bag: "a=b"}},
		{"DEV-081 raw slashes in the bag", dev, "devices/d/messages/events/a=b/c%/e=#/+", request{bag: "a=b/c%/e=#/+"}},
		{"odd ids", nave.ID{Device: "#", Module: "+"}, "devices/#/modules/+/messages/events/x", request{bag: "x"}},
		{"DEV-087 module", module, "devices/d/modules/m/messages/events/%24.on=o/", request{bag: "%24.on=o/"}},
		{"DEV-121 get", dev, "$iothub/twin/GET/?$rid=1", request{verb: readTwin, rid: "1"}},
		{"DEV-122 odd rid", dev, "$iothub/twin/GET/?$rid=a/b%20{c}", request{verb: readTwin, rid: "a/b%20{c}"}},
		{"DEV-123 report", dev, "$iothub/twin/PATCH/properties/reported/?$rid=7", request{verb: reportTwin, rid: "7"}},
		{"DEV-129 version", module, "$iothub/twin/PATCH/properties/reported/?$rid=7&$version=12", request{verb: reportTwin, rid: "7", version: 12, hasVersion: true}},
		{"version first", dev, "$iothub/twin/PATCH/properties/reported/?$version=0&$rid=7", request{verb: reportTwin, rid: "7", hasVersion: true}},
		{"DEV-111 method", dev, "$iothub/methods/res/200/?$rid=1a", request{verb: answerMethod, rid: "1a", status: 200}},
		{"negative status", dev, "$iothub/methods/res/-1/?$rid=1", request{verb: answerMethod, rid: "1", status: -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := parseTopic(c.id, c.topic); err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestTopicRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		id    nave.ID
		topic string
		want  *fault.Code
	}{
		{"DEV-068 foo/bar", dev, "foo/bar", fault.ArgumentInvalid},
		{"DEV-069 another device", dev, "devices/other/messages/events/", fault.IotHubUnauthorized},
		{"another letter case", dev, "devices/D/messages/events/", fault.IotHubUnauthorized},
		{"prefix of the id", dev, "devices/dd/messages/events/", fault.IotHubUnauthorized},
		{"device as its module", dev, "devices/d/modules/m/messages/events/", fault.IotHubUnauthorized},
		{"module as its device", module, "devices/d/messages/events/", fault.IotHubUnauthorized},
		{"module as another", module, "devices/d/modules/n/messages/events/", fault.IotHubUnauthorized},
		{"devicebound", dev, "devices/d/messages/devicebound/", fault.ArgumentInvalid},
		{"nothing behind", dev, "devices/d", fault.ArgumentInvalid},
		{"unknown tree", dev, "$iothub/jobs/GET/?$rid=1", fault.ArgumentInvalid},
		{"no rid", dev, "$iothub/twin/GET/", fault.ArgumentInvalid},
		{"empty rid", dev, "$iothub/twin/GET/?$rid=", fault.ArgumentInvalid},
		{"no question mark", dev, "$iothub/twin/GET/$rid=1", fault.ArgumentInvalid},
		{"version", dev, "$iothub/twin/PATCH/properties/reported/?$rid=7&$version=x", fault.ArgumentInvalid},
		{"desired", dev, "$iothub/twin/PATCH/properties/desired/?$rid=7", fault.ArgumentInvalid},
		{"status", dev, "$iothub/methods/res/ok/?$rid=1", fault.ArgumentInvalid},
		{"status too large", dev, "$iothub/methods/res/99999999999/?$rid=1", fault.ArgumentInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := parseTopic(c.id, c.topic); !errors.Is(err, c.want) {
				t.Errorf("got %+v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func FuzzTopic(f *testing.F) {
	for _, s := range []string{"devices/d/messages/events/a=b", "devices/d/modules/m/messages/events/", "$iothub/twin/GET/?$rid=1",
		"$iothub/twin/PATCH/properties/reported/?$rid=1&$version=2", "$iothub/methods/res/-5/?$rid=x", "devices/d/messages/devicebound/#", "$iothub/#", "+/#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, topic string) {
		for _, id := range []nave.ID{dev, module} {
			if r, err := parseTopic(id, topic); err == nil {
				if r.verb == sendTelemetry && !strings.HasPrefix(topic, ownPrefix(id)) {
					t.Fatalf("%q accepted for %s", topic, id)
				}
				if r.verb != sendTelemetry && (r.rid == "" || !strings.Contains(topic, "$rid="+r.rid)) {
					t.Fatalf("%q gave the rid %q", topic, r.rid)
				}
			}
			if classify(id, topic) != 0 && !strings.HasPrefix(topic, ownPrefix(id)) && !strings.HasPrefix(topic, "$iothub/") {
				t.Fatalf("filter %q accepted for %s", topic, id)
			}
			matches(topic, "$iothub/twin/res/200/?$rid=1")
		}
	})
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name   string
		id     nave.ID
		filter string
		want   tree
	}{
		{"DEV-092 commands", dev, "devices/d/messages/devicebound/#", commands},
		{"letter case", dev, "devices/d/messages/deviceBound/#", commands},
		{"narrower", dev, "devices/d/messages/devicebound/+", commands},
		{"own messages", dev, "devices/d/messages/#", commands},
		{"DEV-108 module commands", module, "devices/d/modules/m/messages/devicebound/#", commands},
		{"wide module filter", module, "devices/d/modules/m/#", commands | inputs},
		{"inputs", module, "devices/d/modules/m/inputs/#", inputs},
		{"one input", module, "devices/d/modules/m/inputs/i/#", inputs},
		{"methods", dev, "$iothub/methods/POST/#", methods},
		{"one method", dev, "$iothub/methods/POST/reboot/#", methods},
		{"methods wide", module, "$iothub/methods/#", methods},
		{"replies", dev, "$iothub/twin/res/#", replies},
		{"replies narrow", dev, "$iothub/twin/res/200/#", replies},
		{"desired", dev, "$iothub/twin/PATCH/properties/desired/#", desired},
		{"desired wide", dev, "$iothub/twin/PATCH/properties/#", desired},
		{"twin", dev, "$iothub/twin/#", replies | desired},
		{"odd id", nave.ID{Device: "a#+"}, "devices/a#+/messages/devicebound/#", commands},
		{"DEV-109 another device", dev, "devices/e/messages/devicebound/#", 0},
		{"any device", dev, "devices/+/messages/devicebound/#", 0},
		{"everything", dev, "#", 0},
		{"everything of the device", dev, "devices/d/#", 0},
		{"its module", dev, "devices/d/modules/m/#", 0},
		{"its device", module, "devices/d/messages/devicebound/#", 0},
		{"own telemetry", dev, "devices/d/messages/events/#", 0},
		{"hub", dev, "$iothub/#", 0},
		{"hub by plus", dev, "$iothub/+/POST/#", 0},
		{"no level behind", dev, "$iothub/methods/POST", 0},
		{"hash in the middle", dev, "$iothub/methods/POST/#/x", 0},
		{"hash in a level", dev, "$iothub/methods/POST/a#", 0},
		{"foreign", dev, "foo/bar", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := classify(c.id, c.filter); got != c.want {
				t.Errorf("%q: got %b, want %b", c.filter, got, c.want)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/#", "a/b/c", true}, {"a/#", "a", true}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false}, {"a/+/c", "a/b/c", true},
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a", "a/b", false}, {"#", "x", true},
		{"devices/d/messages/deviceBound/#", "devices/d/messages/devicebound/x", true},
		{"devices/D/messages/devicebound/#", "devices/d/messages/devicebound/x", false},
		{"$iothub/methods/POST/reboot/#", "$iothub/methods/POST/reboot/?$rid=1", true},
		{"$iothub/methods/POST/reboot/#", "$iothub/methods/POST/other/?$rid=1", false},
		{"devices/#/messages/devicebound/#", "devices/#/messages/devicebound/x", true},
		{"devices/#/messages/devicebound/#", "devices/d/messages/devicebound/x", false},
	} {
		if got := matches(c.filter, c.topic); got != c.want {
			t.Errorf("matches(%q, %q) is %v", c.filter, c.topic, got)
		}
	}
}

func TestReached(t *testing.T) {
	for _, c := range []struct {
		name    string
		filters []nave.Filter
		want    tree
	}{
		{"none", nil, 0},
		{"all", []nave.Filter{{Topic: "devices/d/messages/devicebound/#"}, {Topic: "$iothub/methods/POST/#"}, {Topic: "$iothub/twin/#"}}, commands | methods | replies | desired},
		{"a filter that would stop the queue", []nave.Filter{{Topic: "devices/d/messages/devicebound/a=b"}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := reached(dev, c.filters); got != c.want {
				t.Errorf("got %b, want %b", got, c.want)
			}
		})
	}
}

func TestFreeID(t *testing.T) {
	used := map[uint16]string{65535: "", 1: ""}
	if id, ok := freeID(used, 65534); id != 2 || !ok {
		t.Errorf("got %d, %v; want 2: 0 is no id, 65535 and 1 are in use", id, ok)
	}
	for n := range 65535 {
		used[uint16(n+1)] = ""
	}
	if id, ok := freeID(used, 5); ok {
		t.Errorf("got %d although every id is in use", id)
	}
}
