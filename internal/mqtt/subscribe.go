package mqtt

// Subscription is one topic filter and the QoS asked for, 0 to 2; the rest are options of MQTT 5.0 (section 3.8.3.1).
type Subscription struct {
	Filter               string
	QoS                  byte
	NoLocal, AsPublished bool
	RetainHandling       byte // 0 to 2
}

// Subscribe is the SUBSCRIBE packet (section 3.8). Properties are of MQTT 5.0.
type Subscribe struct {
	ID         uint16
	Subs       []Subscription
	Properties *Properties
}

func parseSubscribe5(body []byte, loose bool) (Subscribe, error) {
	f := &fields{b: body, name: "SUBSCRIBE"}
	s := Subscribe{ID: f.id(), Properties: f.properties(typeSubscribe)}
	switch {
	case f.err != nil:
	case len(f.b) == 0:
		f.protocol("no topic filter")
	case s.Properties != nil && len(s.Properties.SubscriptionIDs) > 1:
		f.protocol("more than one subscription identifier")
	}
	for f.err == nil && len(f.b) > 0 {
		sub := Subscription{Filter: f.filter(loose)}
		options := f.byte("the subscription options")
		sub.QoS, sub.NoLocal, sub.AsPublished, sub.RetainHandling = options&3, options&4 != 0, options&8 != 0, options>>4&3
		if f.err == nil && (sub.QoS > 2 || sub.RetainHandling > 2 || options > 0x3f) {
			f.protocol("reserved subscription options")
		}
		s.Subs = append(s.Subs, sub)
	}
	return s, f.end()
}

// AppendV5 appends the packet as MQTT 5.0 encodes it.
func (s Subscribe) AppendV5(b []byte) []byte {
	body := appendProperties(appendUint16(nil, s.ID), s.Properties)
	for _, sub := range s.Subs {
		options := sub.QoS | sub.RetainHandling<<4
		if sub.NoLocal {
			options |= 4
		}
		if sub.AsPublished {
			options |= 8
		}
		body = append(appendText(body, sub.Filter), options)
	}
	return append(appendHeader(b, typeSubscribe<<4|2, len(body)), body...)
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
