package amqp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	az "github.com/Azure/go-amqp"

	"github.com/nave-hub/nave/internal/amqp"
)

func azure(t *testing.T, address string, o *az.ConnOptions) *az.Session {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := az.NewConn(within(t), nc, o)
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

func TestAzureClient(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     az.ConnOptions
		size  int
		count int
	}{
		{"bare", az.ConnOptions{}, 100, 500},
		{"anonymous", az.ConnOptions{SASLType: az.SASLTypeAnonymous()}, 100, 10},
		{"frames of 512", az.ConnOptions{MaxFrameSize: 512}, 50000, 5},
		{"frames of 4096", az.ConnOptions{MaxFrameSize: 4096}, 250000, 5},
		{"3 MB", az.ConnOptions{}, 3 << 20, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, address := start(t, amqp.Options{})
			s := azure(t, address, &c.o)
			snd, err := s.NewSender(within(t), "q", nil)
			if err != nil {
				t.Fatal(err)
			}
			rcv, err := s.NewReceiver(within(t), "q", &az.ReceiverOptions{Credit: 20})
			if err != nil {
				t.Fatal(err)
			}
			var sending sync.WaitGroup
			sending.Go(func() {
				for i := range c.count {
					m := az.NewMessage(bytes.Repeat([]byte{byte(i)}, c.size))
					m.ApplicationProperties = map[string]any{"i": int32(i)}
					if err := snd.Send(within(t), m, nil); err != nil {
						t.Error(err)
						return
					}
				}
			})
			defer sending.Wait() // the last outcome may come behind the last message
			for i := range c.count {
				m, err := rcv.Receive(within(t), nil)
				if err != nil {
					t.Fatal(err)
				}
				if m.ApplicationProperties["i"] != int32(i) || len(m.GetData()) != c.size {
					t.Fatalf("message %d is wrong", i)
				}
				if err := rcv.AcceptMessage(within(t), m); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestAzureSettleModes(t *testing.T) {
	for _, snd := range []az.SenderSettleMode{az.SenderSettleModeUnsettled, az.SenderSettleModeSettled, az.SenderSettleModeMixed} {
		for _, rcv := range []az.ReceiverSettleMode{az.ReceiverSettleModeFirst, az.ReceiverSettleModeSecond} {
			t.Run(fmt.Sprint(snd, rcv), func(t *testing.T) {
				b, address := start(t, amqp.Options{})
				s := azure(t, address, nil)
				out, err := s.NewSender(within(t), "q", &az.SenderOptions{SettlementMode: &snd, RequestedReceiverSettleMode: &rcv})
				if err != nil {
					t.Fatal(err)
				}
				const n = 150 // more than the credit
				for range n {
					if err := out.Send(within(t), az.NewMessage([]byte("x")), nil); err != nil {
						t.Fatal(err)
					}
				}
				in, err := s.NewReceiver(within(t), "q", &az.ReceiverOptions{Credit: 10, SettlementMode: &rcv, RequestedSenderSettleMode: &snd})
				if err != nil {
					t.Fatal(err)
				}
				for range n {
					m, err := in.Receive(within(t), nil)
					if err != nil {
						t.Fatal(err)
					}
					if err := in.AcceptMessage(within(t), m); err != nil {
						t.Fatal(err)
					}
				}
				if snd != az.SenderSettleModeSettled {
					b.wait(t, "outcomes", func() bool { return b.settled["accepted"] == n })
				}
			})
		}
	}
}

func TestAzureOutcomes(t *testing.T) {
	b, address := start(t, amqp.Options{})
	s := azure(t, address, nil)
	out, err := s.NewSender(within(t), "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := out.Send(within(t), az.NewMessage([]byte("x")), nil); err != nil {
			t.Fatal(err)
		}
	}
	in, err := s.NewReceiver(within(t), "q", &az.ReceiverOptions{Credit: 5})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		m, err := in.Receive(within(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			err = in.RejectMessage(within(t), m, &az.Error{Condition: "a:b"})
		case 1:
			err = in.ReleaseMessage(within(t), m)
		case 2:
			err = in.ModifyMessage(within(t), m, nil)
		}
		if err != nil {
			t.Error(err)
		}
	}
	b.wait(t, "three outcomes", func() bool {
		return b.settled["rejected a:b"] == 1 && b.settled["released"] == 1 && b.settled["modified"] == 1
	})
	if err := in.Close(within(t)); err != nil {
		t.Error(err)
	}
	b.wait(t, "one lost", func() bool { return b.lost == 1 })
}

func TestAzureErrors(t *testing.T) {
	_, address := start(t, amqp.Options{})
	s := azure(t, address, nil)
	var e *az.Error
	var le *az.LinkError
	if _, err := s.NewSender(within(t), "refused", nil); !errors.As(err, &e) || e.Condition != "amqp:not-found" {
		t.Errorf("%T %v", err, err)
	}
	if _, err := s.NewReceiver(within(t), "refused", nil); !errors.As(err, &e) || e.Condition != "amqp:not-found" {
		t.Errorf("%T %v", err, err)
	}
	small, err := s.NewSender(within(t), "small", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = small.Send(within(t), az.NewMessage(make([]byte, 500000)), nil)
	if !errors.As(err, &e) || e.Condition != "amqp:link:message-size-exceeded" || errors.As(err, &le) {
		t.Errorf("%T %v", err, err)
	}
	if err = small.Send(within(t), az.NewMessage(make([]byte, 50)), nil); err != nil {
		t.Error(err)
	}
}

func TestAzureDrain(t *testing.T) {
	_, address := start(t, amqp.Options{})
	s := azure(t, address, nil)
	in, err := s.NewReceiver(within(t), "q", &az.ReceiverOptions{Credit: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := in.IssueCredit(50); err != nil {
			t.Fatal(err)
		}
		if err := in.DrainCredit(within(t), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Messages of the other codec keep every type in ours, and the other way round.
func TestAzureMessages(t *testing.T) {
	id := az.UUID{1, 2, 3}
	to, ct := "to", "application/json"
	am := &az.Message{
		Header:                &az.MessageHeader{Durable: true, Priority: 5},
		Annotations:           az.Annotations{"x-opt-lock-token": id},
		Properties:            &az.MessageProperties{MessageID: uint64(9), CorrelationID: id, To: &to, ContentType: &ct, UserID: []byte("u")},
		ApplicationProperties: map[string]any{"status-code": int32(200), "version": int64(3)},
		Data:                  [][]byte{[]byte("a"), {}},
	}
	b, err := am.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	m, err := amqp.ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	if m.Properties.MessageID != uint64(9) || m.Properties.CorrelationID != amqp.UUID(id) || m.Properties.ContentType != "application/json" ||
		m.ApplicationProperties.Get("status-code") != int32(200) || m.ApplicationProperties.Get("version") != int64(3) ||
		m.MessageAnnotations[0].Key != amqp.Symbol("x-opt-lock-token") || len(m.Data) != 2 || !m.Header.Durable {
		t.Errorf("%+v", m)
	}
	b, err = m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back az.Message
	if err := back.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if back.Properties.MessageID != uint64(9) || back.Properties.CorrelationID != id || back.ApplicationProperties["status-code"] != int32(200) ||
		string(back.Properties.UserID) != "u" || back.Annotations["x-opt-lock-token"] != id {
		t.Errorf("%+v", back)
	}
}
