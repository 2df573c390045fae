package mqtt

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// FuzzParse: what is accepted encodes as the same bytes, and another decoder accepts it too and reads the same.
func FuzzParse(f *testing.F) {
	for _, v := range samples {
		f.Add(unhex(v.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := Parse(b)
		if err != nil {
			if n != 0 || p != nil && !errors.Is(err, ErrVersion) {
				t.Fatalf("%d, %+v with %v", n, p, err)
			}
			return
		}
		if back := p.(appender).Append(nil); !bytes.Equal(back, b[:n]) {
			t.Fatalf("%x reads as %+v, which is %x", b[:n], p, back)
		}
		if theirs := oracle(t, b[:n], 4); theirs != nil {
			compare(t, p, theirs)
		}
	})
}

// oracle decodes with mochi's codec; it must not refuse what ours accepts.
func oracle(t *testing.T, b []byte, version byte) *packets.Packet {
	_, n, _ := parseLength(b)
	pk := &packets.Packet{ProtocolVersion: version}
	if err := pk.FixedHeader.Decode(b[0]); err != nil {
		t.Fatalf("%x: they refuse the header: %v", b, err)
	}
	pk.FixedHeader.Remaining = len(b) - n
	var err error
	switch body := b[n:]; pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectDecode(body)
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	case packets.Subscribe:
		err = pk.SubscribeDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Unsubscribe:
		err = pk.UnsubscribeDecode(body)
	case packets.Unsuback:
		err = pk.UnsubackDecode(body)
	case packets.Disconnect:
		err = pk.DisconnectDecode(body)
	default:
		return nil
	}
	if err != nil {
		t.Fatalf("%x: they refuse it: %v", b, err)
	}
	return pk
}

func compare(t *testing.T, ours any, theirs *packets.Packet) {
	same := true
	switch p := ours.(type) {
	case *Connect:
		c := &theirs.Connect
		same = p.ClientID == c.ClientIdentifier && p.KeepAlive == c.Keepalive && p.Clean == c.Clean && p.HasUsername == c.UsernameFlag &&
			p.HasPassword == c.PasswordFlag && p.Username == string(c.Username) && bytes.Equal(p.Password, c.Password) && (p.Will != nil) == c.WillFlag
		if p.Will != nil {
			same = same && p.Will.Topic == c.WillTopic && bytes.Equal(p.Will.Payload, c.WillPayload) && p.Will.QoS == c.WillQos && p.Will.Retain == c.WillRetain
		}
	case Connack:
		same = p.Present == theirs.SessionPresent && p.Code == theirs.ReasonCode
	case *Publish:
		h := &theirs.FixedHeader
		same = p.Topic == theirs.TopicName && bytes.Equal(p.Payload, theirs.Payload) && p.ID == theirs.PacketID && p.QoS == h.Qos && p.Dup == h.Dup && p.Retain == h.Retain
	case Puback:
		same = p.ID == theirs.PacketID
	case Subscribe:
		same = p.ID == theirs.PacketID && len(p.Subs) == len(theirs.Filters)
		for i := range p.Subs {
			same = same && p.Subs[i].Filter == theirs.Filters[i].Filter && p.Subs[i].QoS == theirs.Filters[i].Qos
		}
	case Suback:
		same = p.ID == theirs.PacketID && bytes.Equal(p.Codes, theirs.ReasonCodes)
	case Unsubscribe:
		same = p.ID == theirs.PacketID && len(p.Filters) == len(theirs.Filters)
		for i := range p.Filters {
			same = same && p.Filters[i] == theirs.Filters[i].Filter
		}
	case Unsuback:
		same = p.ID == theirs.PacketID
	}
	if !same {
		t.Fatalf("we read %+v, they %+v", ours, theirs)
	}
}
