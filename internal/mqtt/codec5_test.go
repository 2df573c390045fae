package mqtt

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// samples5 hold every packet of MQTT 5.0 as it stands on the wire, with each property where it may stand.
var samples5 = []struct {
	name, hex string
	want      any
}{
	{"connect bare", "10 0f 0004 4d515454 05 02 003c 00 0002 6431", &Connect{Protocol: "MQTT", Level: 5, ClientID: "d1", KeepAlive: 60, Clean: true}},
	{"connect password alone", "10 12 0004 4d515454 05 40 003c 00 0002 6431 0001 70",
		&Connect{Protocol: "MQTT", Level: 5, ClientID: "d1", KeepAlive: 60, HasPassword: true, Password: []byte("p")}},
	{"connect everything", "10 47 0004 4d515454 05 ee 0005 1b 1100000e10 1700 1901 210014 220003 26 0001 61 0001 62 2700001000 0002 6431" +
		" 0c 0101 0200000009 1800000007 0003 612f62 0002 6869 0001 75 0002 7077",
		&Connect{Protocol: "MQTT", Level: 5, ClientID: "d1", KeepAlive: 5, Clean: true, HasUsername: true, Username: "u", HasPassword: true, Password: []byte("pw"),
			Properties: &Properties{SessionExpiry: new(uint32(3600)), NoProblemInformation: true, RequestResponseInformation: true, ReceiveMaximum: 20,
				AliasMaximum: 3, User: []UserProperty{{"a", "b"}}, MaximumPacket: 4096},
			Will: &Will{Topic: "a/b", Payload: []byte("hi"), QoS: 1, Retain: true, Properties: &Properties{UTF8: true, Expiry: new(uint32(9)), WillDelay: 7}}}},
	{"connack", "20 03 01 00 00", Connack{Present: true}},
	{"connack everything", "20 38 00 00 35 1100000000 12 0001 78 13012c 1a 0001 69 1c 0001 73 1f 0002 6f6b 210400 22000a 2401 2500 26 0001 6b 0001 76 2700010000 2800 2900 2a00",
		Connack{Properties: &Properties{SessionExpiry: new(uint32(0)), AssignedID: "x", KeepAlive: new(uint16(300)), ResponseInformation: "i", ServerReference: "s",
			Reason: "ok", ReceiveMaximum: 1024, AliasMaximum: 10, MaximumQoS: new(byte(1)), NoRetain: true, User: []UserProperty{{"k", "v"}},
			MaximumPacket: 65536, NoWildcards: true, NoSubscriptionID: true, NoShared: true}}},
	{"connack refused", "20 03 00 87 00", Connack{Code: Denied}},
	{"publish 0", "30 06 0003 612f62 00", &Publish{Topic: "a/b", Payload: []byte{}}},
	{"publish everything", "3b 34 0003 612f62 1234 2a 0101 020000003c 03 0004 74657874 08 0001 72 09 0002 6301 0b8101 23000126 0001 61 0001 62 260000 0001 63 6869",
		&Publish{Topic: "a/b", Payload: []byte("hi"), QoS: 1, Dup: true, Retain: true, ID: 0x1234, Properties: &Properties{UTF8: true, Expiry: new(uint32(60)),
			ContentType: "text", ResponseTopic: "r", Correlation: []byte("c\x01"), SubscriptionIDs: []uint32{129}, Alias: 1, User: []UserProperty{{"a", "b"}, {"", "c"}}}}},
	{"publish by alias", "30 08 0000 03 230001 6869", &Publish{Payload: []byte("hi"), Properties: &Properties{Alias: 1}}},
	{"puback", "40 02 ffff", Puback{ID: 65535}},
	{"puback refused", "40 03 0007 87", Puback{ID: 7, Reason: Denied}},
	{"puback with text", "40 09 0007 87 05 1f 0002 6e6f", Puback{ID: 7, Reason: Denied, Properties: &Properties{Reason: "no"}}},
	{"subscribe", "82 0f 0007 00 0003 612f23 2d 0003 2b2f62 02", Subscribe{ID: 7, Subs: []Subscription{
		{Filter: "a/#", QoS: 1, NoLocal: true, AsPublished: true, RetainHandling: 2}, {Filter: "+/b", QoS: 2}}}},
	{"subscribe with identifier", "82 0b 0007 02 0b05 0003 612f23 01", Subscribe{ID: 7, Subs: []Subscription{{Filter: "a/#", QoS: 1}}, Properties: &Properties{SubscriptionIDs: []uint32{5}}}},
	{"suback", "90 06 0007 00 01 87 8f", Suback{ID: 7, Codes: []byte{1, Denied, FilterInvalid}}},
	{"suback with text", "90 09 0007 05 1f 0002 6e6f 80", Suback{ID: 7, Codes: []byte{0x80}, Properties: &Properties{Reason: "no"}}},
	{"unsubscribe", "a2 0b 0008 00 0003 612f23 0001 23", Unsubscribe{ID: 8, Filters: []string{"a/#", "#"}}},
	{"unsuback", "b0 05 0008 00 00 11", Unsuback{ID: 8, Codes: []byte{0, NoSubscription}}},
	{"pingreq", "c0 00", Pingreq{}},
	{"pingresp", "d0 00", Pingresp{}},
	{"disconnect", "e0 00", Disconnect{}},
	{"disconnect reason", "e0 01 8e", Disconnect{Reason: TakenOver}},
	{"disconnect everything", "e0 10 9c 0e 1100000000 1c 0001 73 1f 0002 6f6b", Disconnect{Reason: 0x9c, Properties: &Properties{SessionExpiry: new(uint32(0)), ServerReference: "s", Reason: "ok"}}},
}

func encode5(p any) []byte {
	if v, ok := p.(interface{ AppendV5(b []byte) []byte }); ok {
		return v.AppendV5(nil)
	}
	return p.(appender).Append(nil)
}

func TestVectorsV5(t *testing.T) {
	for _, v := range samples5 {
		t.Run(v.name, func(t *testing.T) {
			raw := unhex(v.hex)
			got, n, err := ParseV5(append(raw, 0xff))
			if err != nil || n != len(raw) || !reflect.DeepEqual(got, v.want) {
				t.Fatalf("ParseV5 = %+v, %d, %v; want %+v, %d", got, n, err, v.want, len(raw))
			}
			if back, n, err := ParseV5(encode5(v.want)); err != nil || n != len(raw) || !reflect.DeepEqual(back, v.want) {
				t.Fatalf("after encoding as %x: %+v, %v", encode5(v.want), back, err)
			}
		})
	}
}

// TestTruncatedV5 cuts every packet at every byte, as TestTruncated does.
func TestTruncatedV5(t *testing.T) {
	for _, v := range samples5 {
		raw := unhex(v.hex)
		for n := range raw {
			if got, _, err := ParseV5(raw[:n]); err != ErrShort {
				t.Errorf("%s cut at %d: %+v, %v", v.name, n, got, err)
			}
			if n < 2 {
				continue
			}
			short := append([]byte{raw[0], byte(n - 2)}, raw[2:n]...)
			got, m, err := ParseV5(short)
			if err == nil {
				if back, _, err := ParseV5(encode5(got)); m != n || err != nil || !reflect.DeepEqual(got, back) {
					t.Errorf("%s shortened to %d: %+v", v.name, n, got)
				}
			} else if !errors.Is(err, ErrProtocol) {
				t.Errorf("%s shortened to %d: %v", v.name, n, err)
			}
		}
	}
}

func TestRefusedV5(t *testing.T) {
	for _, v := range []struct {
		name, hex string
		reason    byte
		want      string
	}{
		{"property twice", "20 09 00 00 06 210001 210001", ProtocolViolation, "stands twice"},
		{"property that is not known", "20 05 00 00 02 7f00", ProtocolViolation, "does not belong"},
		{"property of another packet", "20 05 00 00 02 0101", ProtocolViolation, "does not belong"},
		{"receive maximum 0", "20 06 00 00 03 210000", ProtocolViolation, "receive maximum is 0"},
		{"packet maximum 0", "20 08 00 00 05 2700000000", ProtocolViolation, "maximum packet size is 0"},
		{"maximum QoS 2", "20 05 00 00 02 2402", ProtocolViolation, "maximum QoS"},
		{"flag 2", "20 05 00 00 02 2502", ProtocolViolation, "neither 0 nor 1"},
		{"properties longer than the packet", "20 04 00 00 05 21", MalformedPacket, "cut off"},
		{"property cut off", "20 05 00 00 02 2100", MalformedPacket, "missing"},
		{"length of properties not minimal", "20 05 00 00 8000 00", MalformedPacket, "too many bytes"},
		{"length of five bytes", "20 08 00 00 8080808001 00", MalformedPacket, "more than 4 bytes"},
		{"session present and refused", "20 03 01 87 00", ProtocolViolation, "session present"},
		{"alias 0", "30 08 0001 61 03 230000 62", TopicAliasInvalid, "topic alias 0"},
		{"no topic, no alias", "30 03 0000 00", ProtocolViolation, "neither topic nor topic alias"},
		{"response topic with wildcard", "30 09 0001 61 04 08 0001 23 62", ProtocolViolation, "response topic"},
		{"subscription identifier 0", "82 09 0007 02 0b00 0001 61 00", ProtocolViolation, "identifier is 0"},
		{"two subscription identifiers", "82 0b 0007 04 0b010b02 0001 61 00", ProtocolViolation, "more than one"},
		{"subscription options", "82 07 0007 00 0001 61 40", ProtocolViolation, "reserved"},
		{"retain handling 3", "82 07 0007 00 0001 61 30", ProtocolViolation, "reserved"},
		{"subscribe empty", "82 03 0007 00", ProtocolViolation, "no topic filter"},
		{"unsubscribe empty", "a2 03 0007 00", ProtocolViolation, "no topic filter"},
		{"suback empty", "90 03 0007 00", MalformedPacket, "remaining length 3"},
		{"auth data alone", "10 14 0004 4d515454 05 02 003c 05 16 0002 0102 0002 6431", ProtocolViolation, "without method"},
		{"AUTH", "f0 00", BadAuthMethod, "AUTH"},
		{"AUTH flags", "f1 00", MalformedPacket, "flags"},
		{"pubrec", "50 02 0001", 0, "QoS 2 is not supported"},
		{"ping length", "c0 01 00", MalformedPacket, "remaining length 1"},
		{"user property cut off", "30 09 0001 61 04 26 0001 61 62", MalformedPacket, "user property"},
		{"content type not UTF-8", "30 09 0001 61 04 03 0001 ff 62", MalformedPacket, "not valid UTF-8"},
	} {
		t.Run(v.name, func(t *testing.T) {
			p, n, err := ParseV5(unhex(v.hex))
			var broken *ProtocolError
			if !errors.As(err, &broken) || broken.Reason != v.reason || !strings.Contains(err.Error(), v.want) || n != 0 {
				t.Fatalf("ParseV5 = %+v, %d, %+v; want reason %#x and %q", p, n, err, v.reason, v.want)
			}
		})
	}
	if _, _, err := ParseV5(unhex("10 13 0004 4d515454 05 02 003c 04 15 0001 78 0002 6431")); err != ErrAuthMethod {
		t.Errorf("with an authentication method: %v", err)
	}
	if _, _, err := ParseV5(unhex(samples[0].hex)); err != ErrVersion {
		t.Errorf("a CONNECT of 3.1.1: %v", err)
	}
}

func TestReasons(t *testing.T) {
	for code, want := range map[byte]byte{0: 0, BadIdentifier: 0x85, Unavailable: 0x88, BadCredentials: 0x86, NotAuthorized: 0x87, 0x9F: 0x9F, 7: 0x80} {
		if got := modern(code); got != want {
			t.Errorf("%d becomes %#x, want %#x", code, got, want)
		}
	}
	for code, want := range map[byte]byte{0: 0, 4: 4, UnsupportedVersion: 1, InvalidIdentifier: 2, ServerUnavailable: 3, BadUserOrPassword: 4, Denied: 5, 0x8A: 5} {
		if got := classic(code); got != want {
			t.Errorf("%#x becomes %d, want %d", code, got, want)
		}
	}
}

func TestLongProperties(t *testing.T) {
	p := &Publish{Topic: "t", Payload: []byte("x"), Properties: &Properties{User: []UserProperty{{"n", strings.Repeat("v", 20000)}}}}
	got, n, err := ParseV5(p.AppendV5(nil))
	if err != nil || n != len(p.AppendV5(nil)) || !reflect.DeepEqual(got, p) {
		t.Fatal(n, err)
	}
	if !bytes.Contains(p.AppendV5(nil), []byte{0x26, 0, 1, 'n'}) {
		t.Error("encoded otherwise")
	}
}
