package mqtt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// samples hold every packet as it stands on the wire.
var samples = []struct {
	name, hex string
	want      any
}{
	{"connect bare", "10 0e 0004 4d515454 04 00 003c 0002 6431", &Connect{Protocol: "MQTT", Level: 4, ClientID: "d1", KeepAlive: 60}},
	{"connect everything", "10 1e 0004 4d515454 04 ee 0005 0002 6431 0003 612f62 0002 6869 0001 75 0002 7077",
		&Connect{Protocol: "MQTT", Level: 4, ClientID: "d1", KeepAlive: 5, Clean: true, HasUsername: true, Username: "u", HasPassword: true,
			Password: []byte("pw"), Will: &Will{Topic: "a/b", Payload: []byte("hi"), QoS: 1, Retain: true}}},
	{"connack", "20 02 01 00", Connack{Present: true}},
	{"connack refused", "20 02 00 05", Connack{Code: NotAuthorized}},
	{"publish 0", "30 05 0003 612f62", &Publish{Topic: "a/b", Payload: []byte{}}},
	{"publish 1", "3b 09 0003 612f62 1234 6869", &Publish{Topic: "a/b", Payload: []byte("hi"), QoS: 1, Dup: true, Retain: true, ID: 0x1234}},
	{"publish 2", "34 07 0003 612f62 0001", &Publish{Topic: "a/b", Payload: []byte{}, QoS: 2, ID: 1}},
	{"puback", "40 02 ffff", Puback{ID: 65535}},
	{"subscribe", "82 0e 0007 0003 612f23 01 0003 2b2f62 02", Subscribe{ID: 7, Subs: []Subscription{{Filter: "a/#", QoS: 1}, {Filter: "+/b", QoS: 2}}}},
	{"suback", "90 05 0007 01 00 80", Suback{ID: 7, Codes: []byte{1, 0, SubFailure}}},
	{"unsubscribe", "a2 0a 0008 0003 612f23 0001 23", Unsubscribe{ID: 8, Filters: []string{"a/#", "#"}}},
	{"unsuback", "b0 02 0008", Unsuback{ID: 8}},
	{"pingreq", "c0 00", Pingreq{}},
	{"pingresp", "d0 00", Pingresp{}},
	{"disconnect", "e0 00", Disconnect{}},
}

type appender interface{ Append(b []byte) []byte }

func TestVectors(t *testing.T) {
	for _, v := range samples {
		t.Run(v.name, func(t *testing.T) {
			raw := unhex(v.hex)
			got, n, err := Parse(append(raw, 0xff))
			if err != nil || n != len(raw) || !reflect.DeepEqual(got, v.want) {
				t.Fatalf("Parse = %+v, %d, %v; want %+v, %d", got, n, err, v.want, len(raw))
			}
			if back := v.want.(appender).Append([]byte("x")); !bytes.Equal(back[1:], raw) {
				t.Fatalf("Append = %x, want %x", back[1:], raw)
			}
		})
	}
}

// TestTruncated cuts every packet at every byte: as a stream it is incomplete, and with the length adjusted it must be refused, or be
// another packet that encodes as itself.
func TestTruncated(t *testing.T) {
	for _, v := range samples {
		raw := unhex(v.hex)
		for n := range raw {
			if got, _, err := Parse(raw[:n]); err != ErrShort {
				t.Errorf("%s cut at %d: %+v, %v", v.name, n, got, err)
			}
			if n < 2 {
				continue
			}
			short := append([]byte{raw[0], byte(n - 2)}, raw[2:n]...)
			got, m, err := Parse(short)
			if err == nil && (m != n || !bytes.Equal(got.(appender).Append(nil), short)) {
				t.Errorf("%s shortened to %d: %+v", v.name, n, got)
			}
			if err != nil && !errors.Is(err, ErrProtocol) {
				t.Errorf("%s shortened to %d: %v", v.name, n, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for _, v := range []struct{ name, hex, want string }{
		{"type 0", "00 00", "reserved packet 0"},
		{"type 15", "f0 00", "packet 15"},
		{"five length bytes", "30 8080808001", "more than 4 bytes"},
		{"length not minimal", "c0 80 00", "encoded in 2 bytes"},
		{"connect flags", "11 00", "MQTT-2.2.2-2"},
		{"connect reserved bit", "10 0e 0004 4d515454 04 01 003c 0002 6431", "MQTT-3.1.2-3]"},
		{"connect will qos without will", "10 0e 0004 4d515454 04 08 003c 0002 6431", "MQTT-3.1.2-11"},
		{"connect will retain without will", "10 0e 0004 4d515454 04 20 003c 0002 6431", "MQTT-3.1.2-11"},
		{"connect will qos 3", "10 13 0004 4d515454 04 1c 003c 0002 6431 0001 61 0000", "MQTT-3.1.2-14"},
		{"connect empty will topic", "10 12 0004 4d515454 04 04 003c 0002 6431 0000 0000", "empty will topic"},
		{"connect password alone", "10 11 0004 4d515454 04 40 003c 0002 6431 0001 70", "MQTT-3.1.2-22"},
		{"connect trailing byte", "10 0f 0004 4d515454 04 00 003c 0002 6431 00", "more bytes than fields"},
		{"connect client id with nul", "10 0e 0004 4d515454 04 00 003c 0002 6400", "client identifier is not valid"},
		{"connect level 3", "10 10 0006 4d5149736470 03 00 003c 0002 6431", "not MQTT 3.1.1"},
		{"connect level 5", "10 0f 0004 4d515454 05 00 003c 00 0002 6431", "not MQTT 3.1.1"},
		{"connack flags", "20 02 02 00", "reserved flags"},
		{"connack present and refused", "20 02 01 05", "MQTT-3.2.2-4"},
		{"connack length", "20 03 01 00 00", "remaining length 3"},
		{"publish qos 3", "36 07 0003 612f62 0001", "MQTT-3.3.1-4"},
		{"publish dup qos 0", "38 05 0003 612f62", "MQTT-3.3.1-2"},
		{"publish id 0", "32 07 0003 612f62 0000", "MQTT-2.3.1-1"},
		{"publish empty topic", "30 02 0000", "empty topic"},
		{"publish plus", "30 05 0003 612f2b", "MQTT-3.3.2-2"},
		{"publish hash", "30 05 0003 612f23", "MQTT-3.3.2-2"},
		{"publish nul", "30 05 0003 610062", "MQTT-3.3.2-1"},
		{"publish surrogate", "30 05 0003 eda080", "MQTT-3.3.2-1"},
		{"publish overlong utf-8", "30 04 0002 c080", "MQTT-3.3.2-1"},
		{"puback id 0", "40 02 0000", "MQTT-2.3.1-1"},
		{"puback flags", "42 02 0001", "MQTT-2.2.2-2"},
		{"puback length", "40 01 00", "remaining length 1"},
		{"pubrec", "50 02 0001", "QoS 2 is not supported"},
		{"pubrel", "62 02 0001", "QoS 2 is not supported"},
		{"pubcomp", "70 02 0001", "QoS 2 is not supported"},
		{"subscribe flags", "80 08 0007 0003 612f23 01", "MQTT-2.2.2-2"},
		{"subscribe id 0", "82 08 0000 0003 612f23 01", "MQTT-2.3.1-1"},
		{"subscribe empty", "82 02 0007", "MQTT-3.8.3-3"},
		{"subscribe qos 3", "82 08 0007 0003 612f23 03", "MQTT-3.8.3-4"},
		{"subscribe reserved bits", "82 08 0007 0003 612f23 11", "MQTT-3.8.3-4"},
		{"subscribe empty filter", "82 05 0007 0000 01", "MQTT-4.7.3-1"},
		{"subscribe hash inside", "82 08 0007 0003 232f61 01", "wildcard in a wrong place"},
		{"subscribe hash in level", "82 07 0007 0002 6123 01", "wildcard in a wrong place"},
		{"subscribe plus in level", "82 07 0007 0002 612b 01", "wildcard in a wrong place"},
		{"suback code", "90 03 0007 03", "MQTT-3.9.3-2"},
		{"suback empty", "90 02 0007", "no return code"},
		{"unsubscribe empty", "a2 02 0007", "MQTT-3.10.3-2"},
		{"unsubscribe flags", "a0 07 0008 0003 612f23", "MQTT-2.2.2-2"},
		{"pingreq length", "c0 01 00", "remaining length 1"},
		{"disconnect flags", "e1 00", "MQTT-2.2.2-2"},
	} {
		t.Run(v.name, func(t *testing.T) {
			p, n, err := Parse(unhex(v.hex))
			if err == nil || !strings.Contains(err.Error(), v.want) || n != 0 {
				t.Fatalf("Parse = %+v, %d, %v; want an error with %q", p, n, err, v.want)
			}
			if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrVersion) {
				t.Errorf("%v is neither ErrProtocol nor ErrVersion", err)
			}
		})
	}
}

func TestLengths(t *testing.T) {
	for _, size := range []int{0, 127, 128, 16383, 16384, 2097151, 2097152, MaxRemaining} {
		b := appendHeader(nil, 0x30, size)
		got, n, err := parseLength(append(b, 0))
		if got != size || n != len(b) || err != nil || headerSize(size) != n {
			t.Errorf("%d: %d in %d bytes (%d), %v", size, got, n, headerSize(size), err)
		}
	}
}

func TestFilters(t *testing.T) {
	for filter, want := range map[string]bool{"#": true, "+": true, "a/+/b": true, "a/#": true, "/": true, "+/+": true, "a//b": true,
		"a#": false, "#/a": false, "a/#/": false, "a+": false, "+a/b": false, "a/##": false} {
		if validFilter(filter) != want {
			t.Errorf("%q: %v", filter, !want)
		}
	}
}

// TestLoose is for ids and property values with '+' and '#' (device-protocols 2.3, 2.5).
func TestLoose(t *testing.T) {
	var p Publish
	body := (&Publish{Topic: "devices/a#b/messages/events/k=v+w"}).Append(nil)[2:]
	if err := p.decode(0x30, body, "", true); err != nil || p.Topic != "devices/a#b/messages/events/k=v+w" {
		t.Errorf("%+v, %v", p, err)
	}
	sub := Subscribe{ID: 1, Subs: []Subscription{{Filter: "devices/a#b/messages/devicebound/#", QoS: 1}}}
	if _, err := parseSubscribe(sub.Append(nil)[2:], true); err != nil {
		t.Error(err)
	}
	if _, err := parseSubscribe(sub.Append(nil)[2:], false); err == nil {
		t.Error("accepted without LooseTopics")
	}
}

func TestDetach(t *testing.T) {
	wire := (&Publish{Topic: "t/1", Payload: []byte("hello"), QoS: 1, ID: 9}).Append(nil)
	var p Publish
	known := ""
	for range 2 {
		body := bytes.Clone(wire[2:])
		if err := p.decode(wire[0], body, known, false); err != nil {
			t.Fatal(err)
		}
		p.detach(body, known)
		clear(body)
		if p.Topic != "t/1" || string(p.Payload) != "hello" {
			t.Fatalf("%+v", p)
		}
		known = p.Topic
	}
}
