package hubmqtt

import (
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// tree is a set of topics that the hub publishes to, one bit each.
type tree uint8

const (
	commands tree = 1 << iota // T4, T6
	inputs                    // T8
	methods                   // T10
	replies                   // T15
	desired                   // T17
)

// classify returns the trees that a topic filter of the identity reaches into,
// 0 when it reaches none (device-protocols 2.4). Identities are compared
// literally. A "#" may stand in for the end of a tree's own name, but no sooner
// than behind the identity or behind $iothub/methods/ and $iothub/twin/.
func classify(id nave.ID, filter string) tree {
	var f tree
	if rest, ok := strings.CutPrefix(filter, "$iothub/"); ok {
		f |= reaches(rest, methods, 1, "methods", "POST")
		f |= reaches(rest, replies, 1, "twin", "res")
		f |= reaches(rest, desired, 1, "twin", "PATCH", "properties", "desired")
		return f
	}
	rest, ok := strings.CutPrefix(filter, ownPrefix(id))
	if !ok {
		return 0
	}
	if !id.IsModule() {
		// devices/{d}/# would take in the modules too.
		return reaches(rest, commands, 1, "messages", "devicebound")
	}
	return reaches(rest, commands, 0, "messages", "devicebound") | reaches(rest, inputs, 0, "inputs")
}

// reaches returns t when the filter can match a topic below path. The first
// literal levels of path must be spelled out.
func reaches(filter string, t tree, literal int, path ...string) tree {
	for n, name := range path {
		level, rest, more := strings.Cut(filter, "/")
		switch {
		case level == "#" && !more && n >= literal:
			return t
		case !more || !sameLevel(level, name) && (level != "+" || n < literal):
			return 0
		}
		filter = rest
	}
	for {
		level, rest, more := strings.Cut(filter, "/")
		if strings.ContainsAny(level, "+#") && len(level) > 1 || level == "#" && more {
			return 0 // [MQTT-4.7.1-2], [MQTT-4.7.1-3]
		}
		if !more {
			return t
		}
		filter = rest
	}
}

// sameLevel compares a level that a client wrote with one of ours: the words
// messages and devicebound count in any case (device-protocols 2.3).
func sameLevel(theirs, ours string) bool {
	return theirs == ours || (ours == "messages" || ours == "devicebound") && strings.EqualFold(theirs, ours)
}

// matches says whether a topic of ours fits a filter that classify accepted.
func matches(filter, topic string) bool {
	for {
		f, filterRest, moreFilter := strings.Cut(filter, "/")
		if f == "#" && !moreFilter {
			return true
		}
		t, topicRest, moreTopic := strings.Cut(topic, "/")
		if f != "+" && !sameLevel(f, t) {
			return false
		}
		switch {
		case !moreTopic:
			return !moreFilter || filterRest == "#"
		case !moreFilter:
			return false
		}
		filter, topic = filterRest, topicRest
	}
}

// granted returns the highest QoS of the filters that match the topic; ok is
// false when none does.
func granted(filters []nave.Filter, topic string) (qos byte, ok bool) {
	for n := range filters {
		if matches(filters[n].Topic, topic) {
			qos, ok = max(qos, filters[n].QoS), true
		}
	}
	return qos, ok
}

// reached returns the trees that the filters reach into. Commands count only
// when every one of them would match: the queue has an order, and one that
// stays would stop it.
func reached(id nave.ID, filters []nave.Filter) tree {
	var all tree
	for n := range filters {
		all |= classify(id, filters[n].Topic)
	}
	if _, ok := granted(filters, ownPrefix(id)+"messages/devicebound/\x00"); !ok {
		all &^= commands
	}
	return all
}

func illegalFilter(id nave.ID, filter string) *fault.Error {
	return fault.IotHubUnauthorized.New("%s may not subscribe to %q, legal filters are %smessages/devicebound/#, %s#, %s# and %s#",
		id, brief(filter), ownPrefix(id), methodRequest, twinReply, twinDesired)
}
