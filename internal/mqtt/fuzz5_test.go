package mqtt

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// FuzzParseV5: what is accepted encodes as something that reads the same, and another decoder accepts it too and reads the same.
func FuzzParseV5(f *testing.F) {
	for _, v := range samples5 {
		f.Add(unhex(v.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, n, err := ParseV5(b)
		if err != nil {
			if n != 0 || !errors.Is(err, ErrShort) && !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrAuthMethod) {
				t.Fatalf("%d, %+v with %v", n, p, err)
			}
			return
		}
		again := encode5(p)
		back, m, err := ParseV5(again)
		if err != nil || m != len(again) || !bytes.Equal(encode5(back), again) {
			t.Fatalf("%x reads as %+v, which is %x and reads as %+v, %v", b[:n], p, again, back, err)
		}
		if theirs := oracle(t, b[:n], 5); theirs != nil {
			compare(t, p, theirs)
			compareV5(t, p, theirs)
		}
	})
}

func compareV5(t *testing.T, ours any, theirs *packets.Packet) {
	same, own := true, (*Properties)(nil)
	switch p := ours.(type) {
	case *Connect:
		own = p.Properties
		if p.Will != nil {
			compareProperties(t, p.Will.Properties, &theirs.Connect.WillProperties)
		}
	case Connack:
		own = p.Properties
	case *Publish:
		own = p.Properties
	case Puback:
		same, own = p.Reason == theirs.ReasonCode, p.Properties
	case Subscribe:
		own = p.Properties
		for i := range p.Subs {
			a, b := p.Subs[i], theirs.Filters[i]
			same = same && a.NoLocal == b.NoLocal && a.AsPublished == b.RetainAsPublished && a.RetainHandling == b.RetainHandling
		}
	case Suback:
		own = p.Properties
	case Unsubscribe:
		own = p.Properties
	case Unsuback:
		same, own = bytes.Equal(p.Codes, theirs.ReasonCodes), p.Properties
	case Disconnect:
		// Theirs overlooks a reason without properties.
		same, own = p.Reason == theirs.ReasonCode || theirs.FixedHeader.Remaining == 1, p.Properties
	}
	if !same {
		t.Fatalf("we read %+v, they %+v", ours, theirs)
	}
	compareProperties(t, own, &theirs.Properties)
}

func compareProperties(t *testing.T, p *Properties, theirs *packets.Properties) {
	if p == nil {
		p = &Properties{}
	}
	no := func(given bool, v byte) bool { return given && v == 0 }
	want := packets.Properties{CorrelationData: p.Correlation, AuthenticationData: p.AuthData, ContentType: p.ContentType, ResponseTopic: p.ResponseTopic,
		AssignedClientID: p.AssignedID, AuthenticationMethod: p.AuthMethod, ResponseInfo: p.ResponseInformation, ServerReference: p.ServerReference,
		ReasonString: p.Reason, WillDelayInterval: p.WillDelay, MaximumPacketSize: p.MaximumPacket, ReceiveMaximum: p.ReceiveMaximum,
		TopicAliasMaximum: p.AliasMaximum, TopicAlias: p.Alias}
	if p.Expiry != nil {
		want.MessageExpiryInterval = *p.Expiry
	}
	if p.SessionExpiry != nil {
		want.SessionExpiryInterval = *p.SessionExpiry
	}
	if p.KeepAlive != nil {
		want.ServerKeepAlive = *p.KeepAlive
	}
	if p.MaximumQoS != nil {
		want.MaximumQos = *p.MaximumQoS
	}
	got := *theirs
	same := (got.PayloadFormat == 1) == p.UTF8 && (got.RequestResponseInfo == 1) == p.RequestResponseInformation &&
		no(got.RequestProblemInfoFlag, got.RequestProblemInfo) == p.NoProblemInformation && no(got.RetainAvailableFlag, got.RetainAvailable) == p.NoRetain &&
		no(got.WildcardSubAvailableFlag, got.WildcardSubAvailable) == p.NoWildcards && no(got.SubIDAvailableFlag, got.SubIDAvailable) == p.NoSubscriptionID &&
		no(got.SharedSubAvailableFlag, got.SharedSubAvailable) == p.NoShared && len(got.User) == len(p.User) &&
		len(got.SubscriptionIdentifier) == len(p.SubscriptionIDs) && bytes.Equal(got.CorrelationData, want.CorrelationData) &&
		bytes.Equal(got.AuthenticationData, want.AuthenticationData)
	for i := range p.User {
		same = same && p.User[i] == UserProperty{got.User[i].Key, got.User[i].Val}
	}
	for i := range p.SubscriptionIDs {
		same = same && int(p.SubscriptionIDs[i]) == got.SubscriptionIdentifier[i]
	}
	for _, q := range []*packets.Properties{&got, &want} {
		q.PayloadFormat, q.RequestResponseInfo, q.RequestProblemInfo, q.RetainAvailable, q.WildcardSubAvailable, q.SubIDAvailable, q.SharedSubAvailable = 0, 0, 0, 0, 0, 0, 0
		q.PayloadFormatFlag, q.SessionExpiryIntervalFlag, q.ServerKeepAliveFlag, q.RequestProblemInfoFlag, q.TopicAliasFlag, q.MaximumQosFlag = false, false, false, false, false, false
		q.RetainAvailableFlag, q.WildcardSubAvailableFlag, q.SubIDAvailableFlag, q.SharedSubAvailableFlag = false, false, false, false
		q.User, q.SubscriptionIdentifier, q.CorrelationData, q.AuthenticationData = nil, nil, nil, nil
	}
	if !same || !reflect.DeepEqual(got, want) {
		t.Fatalf("we read %+v, they %+v", p, theirs)
	}
}
