package hubamqp_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	az "github.com/Azure/go-amqp"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/navetest"
)

// azSession opens a session of the foreign client.
func azSession(t *testing.T, k *navetest.Kit, sasl az.SASLType) *az.Session {
	t.Helper()
	c, err := az.NewConn(within(t), handshake(t, k), &az.ConnOptions{HostName: k.Hub.Host(), SASLType: sasl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := c.NewSession(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// azureToken puts a token as clients in Go do: without a message-id.
func azureToken(t *testing.T, s *az.Session, token string) {
	t.Helper()
	out, err := s.NewSender(within(t), "$cbs", nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.NewReceiver(within(t), "$cbs", nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &az.Message{Value: token, Properties: &az.MessageProperties{ReplyTo: ptr("cbs")},
		ApplicationProperties: map[string]any{"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": "hub.test"}}
	if err := out.Send(within(t), m, nil); err != nil {
		t.Fatal(err)
	}
	r, err := in.Receive(within(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.ApplicationProperties["status-code"] != int32(200) {
		t.Fatalf("put-token answers %v", r.ApplicationProperties)
	}
}

func ptr[T any](v T) *T { return &v }

// azureRedirect asks for an address and returns the redirect's info.
func azureRedirect(t *testing.T, s *az.Session, address string) map[string]any {
	t.Helper()
	_, err := s.NewReceiver(within(t), address, nil)
	e, ok := errors.AsType[*az.Error](err)
	if link, is := errors.AsType[*az.LinkError](err); is && link.RemoteErr != nil {
		e, ok = link.RemoteErr, true
	}
	if !ok || e.Condition != "amqp:link:redirect" {
		t.Fatalf("the error is %v", err)
	}
	return e.Info
}

// azureEvents reads a partition of an entity until it has n events.
func azureEvents(t *testing.T, s *az.Session, entity, partition string, n int) (all []string) {
	t.Helper()
	r, err := s.NewReceiver(within(t), entity+"/ConsumerGroups/$Default/Partitions/"+partition, &az.ReceiverOptions{Credit: 300,
		Filters: []az.LinkFilter{az.NewSelectorFilter("amqp.annotation.x-opt-offset > '-1'")}})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		m, err := r.Receive(within(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AcceptMessage(within(t), m); err != nil {
			t.Fatal(err)
		}
		all = append(all, string(m.GetData()))
	}
	return all
}

// TestForeignBackEnd reads through the hub's own name by redirect, as clients for
// Go and the command line do.
func TestForeignBackEnd(t *testing.T) {
	k := navetest.Start(t)
	d1 := k.Device("d1")
	publish(t, line(t, d1, k), "a", "b")
	t.Run("SVC-237 redirect and SASL PLAIN with the key", func(t *testing.T) {
		s := azSession(t, k, nil)
		azureToken(t, s, k.Policy("service"))
		address, _ := azureRedirect(t, s, "messages/events/")["address"].(string)
		// The entity is what stands between the port and the last character.
		_, entity, ok := strings.Cut(address, ":5671/")
		if !ok || entity != "hub/" {
			t.Fatalf("address is %q", address)
		}
		p, _ := k.Hub.Policy("service")
		s = azSession(t, k, az.SASLTypePlain("service", p.Primary))
		if got := azureEvents(t, s, entity[:len(entity)-1], "2", 2); strings.Join(got, " ") != "a b" {
			t.Errorf("events are %v", got)
		}
	})
	t.Run("SVC-257 what az iot hub monitor-events does", func(t *testing.T) {
		s := azSession(t, k, az.SASLTypePlain("service@sas.root.hub", k.Policy("service")))
		info := azureRedirect(t, s, "messages/events/$management")
		address, _ := info["address"].(string)
		if info["hostname"] != "hub.test" || !strings.HasSuffix(address, "/hub/$management") {
			t.Fatalf("info is %v", info)
		}
		s = azSession(t, k, az.SASLTypeAnonymous())
		azureToken(t, s, k.Policy("service"))
		if _, err := s.NewReceiver(within(t), address, nil); err != nil { // nothing is ever asked on it
			t.Fatal(err)
		}
		out, err := s.NewSender(within(t), "$management", nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.NewReceiver(within(t), "$management", &az.ReceiverOptions{TargetAddress: "mgmt-reply"})
		if err != nil {
			t.Fatal(err)
		}
		m := &az.Message{Properties: &az.MessageProperties{MessageID: uint64(1), ReplyTo: ptr("mgmt-reply")}, Value: nil,
			ApplicationProperties: map[string]any{"operation": "READ", "name": "hub", "type": "com.microsoft:eventhub"}, Data: [][]byte{{}}}
		if err := out.Send(within(t), m, nil); err != nil {
			t.Fatal(err)
		}
		r, err := in.Receive(within(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := r.Value.(map[string]any)
		if ids, _ := body["partition_ids"].([]string); strings.Join(ids, " ") != "0 1 2 3" || r.Properties.CorrelationID != uint64(1) {
			t.Fatalf("answer is %v", r.Value)
		}
		if got := azureEvents(t, s, "hub", "2", 2); strings.Join(got, " ") != "a b" {
			t.Errorf("events are %v", got)
		}
	})
	t.Run("SVC-258 what az iot hub monitor-feedback does", func(t *testing.T) {
		s := azSession(t, k, az.SASLTypePlain("service@sas.root.hub", k.Policy("service")))
		out, err := s.NewSender(within(t), "/messages/devicebound", nil)
		if err != nil {
			t.Fatal(err)
		}
		m := &az.Message{Properties: &az.MessageProperties{To: ptr("/devices/d1/messages/devicebound"), MessageID: "wait-on-me"},
			ApplicationProperties: map[string]any{"iothub-ack": "full"}, Data: [][]byte{[]byte("x")}}
		if err := out.Send(within(t), m, nil); err != nil {
			t.Fatal(err)
		}
		settle(t, k, d1, nave.Complete)
		in, err := s.NewReceiver(within(t), "/messages/servicebound/feedback", &az.ReceiverOptions{Credit: 300})
		if err != nil {
			t.Fatal(err)
		}
		r, err := in.Receive(within(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		var all []record
		if err := json.Unmarshal(r.GetData(), &all); err != nil || len(all) != 1 || all[0].OriginalMessageID != "wait-on-me" {
			t.Errorf("feedback is %s %v", r.GetData(), err)
		}
		if err := in.AcceptMessage(within(t), r); err != nil {
			t.Error(err)
		}
	})
}
