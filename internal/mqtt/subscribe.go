package mqtt

// Subscription is one topic filter and the QoS asked for, 0 to 2.
type Subscription struct {
	Filter string
	QoS    byte
}

// Subscribe is the SUBSCRIBE packet (section 3.8).
type Subscribe struct {
	ID   uint16
	Subs []Subscription
}

func parseSubscribe(body []byte, loose bool) (Subscribe, error) {
	f := &fields{b: body, name: "SUBSCRIBE"}
	s := Subscribe{ID: f.id()}
	for f.err == nil && (len(f.b) > 0 || len(s.Subs) == 0) {
		if len(f.b) == 0 {
			f.fail("MQTT-3.8.3-3", "no topic filter")
			break
		}
		sub := Subscription{Filter: f.filter(loose), QoS: f.byte("the requested QoS")}
		if f.err == nil && sub.QoS > 2 {
			f.fail("MQTT-3.8.3-4", "requested QoS above 2 or reserved bits set")
		}
		s.Subs = append(s.Subs, sub)
	}
	return s, f.end()
}

func (f *fields) filter(loose bool) string {
	s := f.text("the topic filter")
	switch {
	case f.err != nil:
	case s == "":
		f.fail("MQTT-4.7.3-1", "empty topic filter")
	case !loose && !validFilter(s):
		f.fail("MQTT-4.7.1-2", "the topic filter has a wildcard in a wrong place")
	}
	return s
}

// Append appends the encoded packet.
func (s Subscribe) Append(b []byte) []byte {
	size := 2
	for _, sub := range s.Subs {
		size += 2 + len(sub.Filter) + 1
	}
	b = appendUint16(appendHeader(b, typeSubscribe<<4|2, size), s.ID)
	for _, sub := range s.Subs {
		b = append(appendText(b, sub.Filter), sub.QoS)
	}
	return b
}
