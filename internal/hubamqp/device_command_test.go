package hubamqp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/navetest"
)

// sendTo queues a message for the device.
func sendTo(t testing.TB, k *navetest.Kit, d *navetest.Device, c *nave.C2D) *nave.C2D {
	t.Helper()
	c.On = d.ID
	if err := k.Backend.SendToDevice(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func order(id string) *nave.C2D {
	return &nave.C2D{Message: nave.Message{Body: []byte("body of " + id), System: nave.System{MessageID: id, Ack: nave.AckFull}}}
}

// emptied waits until nothing is queued for the device.
func emptied(t testing.TB, k *navetest.Kit, d *navetest.Device) {
	t.Helper()
	pending(t, k, d, 0)
}

func pending(t testing.TB, k *navetest.Kit, d *navetest.Device, want int) {
	t.Helper()
	n := -1
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(5 * time.Millisecond) {
		i, err := k.Backend.Device(context.Background(), d.ID)
		if err != nil {
			t.Fatal(err)
		}
		if n = i.Pending; n == want {
			return
		}
	}
	t.Fatalf("%d messages are queued, want %d", n, want)
}

// verdicts waits for the feedback of the messages; that of others is passed over.
func verdicts(t testing.TB, k *navetest.Kit, ids ...string) map[string]nave.Outcome {
	t.Helper()
	all := map[string]nave.Outcome{}
	missing := func(id string) bool { return all[id] == "" }
	for late := time.Now().Add(patience); slices.ContainsFunc(ids, missing); time.Sleep(5 * time.Millisecond) {
		b, err := k.Backend.TakeFeedback(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			for _, r := range b.Records {
				all[r.OriginalMessageID] = r.Status
			}
			if err := k.Backend.SettleFeedback(context.Background(), b.Lock, true); err != nil {
				t.Fatal(err)
			}
		}
		if time.Now().After(late) {
			t.Fatalf("feedback %v", all)
		}
	}
	return all
}

// listening connects a new device that receives commands.
func listening(t *testing.T, k *navetest.Kit, a ...attachment) (*navetest.Device, *thread, *party) {
	names.Lock()
	names.n++
	d := k.Device(fmt.Sprint("c", names.n))
	names.Unlock()
	p := device(t, k, d)
	return d, p.receiver(commands(d), a...), p
}

func TestCommandsDrained(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	d, l, _ := listening(t, k, attachment{manual: true})
	for n := range 3 {
		sendTo(t, k, d, order(fmt.Sprint("m", n)))
	}
	for _, want := range []int{3, 0} {
		l.Grant(10)
		l.Drain()
		select {
		case <-l.back:
		case <-within(t).Done():
			t.Fatal("the credit does not come back")
		}
		if len(l.got) != want || l.Credit() != 0 {
			t.Errorf("%d messages came before the credit was given back, want %d; %d credits are left", len(l.got), want, l.Credit())
		}
		for range len(l.got) {
			in, _ := l.next()
			in.Accept()
		}
		emptied(t, k, d)
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	t.Run("DEV-176 form of a transfer", func(t *testing.T) {
		d, l, _ := listening(t, k)
		at := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		c := &nave.C2D{Message: nave.Message{Body: []byte("hello"), System: nave.System{MessageID: "m1", CorrelationID: "c1", UserID: "back", To: "",
			ContentType: "text/plain", ContentEncoding: "utf-8", Expiry: at, Ack: nave.AckFull}}}
		c.SetApp("k", "v", true)
		sendTo(t, k, d, c)
		in, m := l.next()
		u, ok := m.MessageAnnotations.Get("x-opt-lock-token").(amqp.UUID)
		tag := []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6]}
		if !ok || len(in.Tag()) != 16 || !bytes.Equal(in.Tag(), append(tag, u[8:]...)) || in.Settled {
			t.Errorf("tag %s, lock token %v", hex.EncodeToString(in.Tag()), u)
		}
		if len(m.Data) != 1 || string(m.Data[0]) != "hello" {
			t.Errorf("body %q", m.Data)
		}
		if m.MessageAnnotations.Get("x-opt-sequence-number") != uint64(c.Seq) || m.MessageAnnotations.Get("iothub-deliverycount") != uint8(1) {
			t.Errorf("%#v", m.MessageAnnotations)
		}
		if _, ok := m.MessageAnnotations.Get("iothub-enqueuedtime").(amqp.Timestamp); !ok {
			t.Errorf("%#v", m.MessageAnnotations)
		}
		for _, a := range m.MessageAnnotations {
			if _, ok := a.Key.(amqp.Symbol); !ok {
				t.Errorf("key %#v", a.Key)
			}
		}
		p := m.Properties
		if p.MessageID != "m1" || p.CorrelationID != "c1" || string(p.UserID) != "back" || p.ContentType != "text/plain" || p.ContentEncoding != "utf-8" ||
			p.To != "/devices/"+d.ID.Device+"/messages/devicebound" || !p.AbsoluteExpiryTime.Time().Equal(at) {
			t.Errorf("%+v", p)
		}
		if m.ApplicationProperties.Get("k") != "v" || m.ApplicationProperties.Get("iothub-ack") != "full" {
			t.Errorf("%#v", m.ApplicationProperties)
		}
		in.Accept()
		emptied(t, k, d)
	})
	t.Run("DEV-177 accepted", func(t *testing.T) {
		d, l, _ := listening(t, k)
		sendTo(t, k, d, order("177"))
		in, _ := l.next()
		in.Accept()
		emptied(t, k, d)
		if v := verdicts(t, k, "177"); v["177"] != nave.Success {
			t.Errorf("%v", v)
		}
	})
	t.Run("DEV-178 accepted in mode second", func(t *testing.T) {
		d, l, p := listening(t, k, attachment{snd: amqp.SettleUnsettled, rcv: amqp.SettleSecond})
		sendTo(t, k, d, order("178"))
		in, _ := l.next()
		in.Accept()
		emptied(t, k, d)
		p.answered(0x24, "")
	})
	t.Run("DEV-179 accepted after the lock ran out", func(t *testing.T) {
		k := navetest.Start(t)
		d := k.Device("late")
		p := device(t, k, d)
		l := p.receiver(commands(d), attachment{snd: amqp.SettleUnsettled, rcv: amqp.SettleSecond})
		sendTo(t, k, d, order("179"))
		first, _ := l.next()
		k.Clock.Add(61 * time.Second)
		second, m := l.next()
		if m.MessageAnnotations.Get("iothub-deliverycount") != uint8(2) {
			t.Errorf("%#v", m.MessageAnnotations)
		}
		first.Accept()
		p.answered(0x25, "com.microsoft:message-lock-lost")
		second.Accept()
		emptied(t, k, d)
	})
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	t.Run("DEV-180 released", func(t *testing.T) {
		d, l, _ := listening(t, k)
		sendTo(t, k, d, order("180"))
		in, _ := l.next()
		in.Release()
		in, m := l.next()
		if m.MessageAnnotations.Get("iothub-deliverycount") != uint8(2) {
			t.Errorf("%#v", m.MessageAnnotations)
		}
		in.Modify(amqp.Modified{DeliveryFailed: true})
		in, m = l.next()
		if m.MessageAnnotations.Get("iothub-deliverycount") != uint8(3) {
			t.Errorf("%#v", m.MessageAnnotations)
		}
		in.Accept()
		emptied(t, k, d)
		if v := verdicts(t, k, "180"); v["180"] != nave.Success {
			t.Errorf("%v", v)
		}
	})
	t.Run("DEV-181 rejected", func(t *testing.T) {
		d, l, _ := listening(t, k)
		sendTo(t, k, d, order("181"))
		in, _ := l.next()
		in.Reject(nil)
		sendTo(t, k, d, order("181b"))
		in, _ = l.next()
		in.Modify(amqp.Modified{UndeliverableHere: true})
		if v := verdicts(t, k, "181", "181b"); v["181"] != nave.Rejected || v["181b"] != nave.Rejected {
			t.Errorf("%v", v)
		}
		emptied(t, k, d)
	})
	t.Run("DEV-182 mixed order", func(t *testing.T) {
		d, l, _ := listening(t, k)
		var all []*amqp.Delivery
		for _, id := range []string{"a", "b", "c", "d"} {
			sendTo(t, k, d, order("182"+id))
		}
		for range 4 {
			in, _ := l.next()
			all = append(all, in)
		}
		for _, n := range []int{2, 0, 3, 1} {
			all[n].Accept()
		}
		if v := verdicts(t, k, "182a", "182b", "182c", "182d"); v["182a"] != nave.Success || v["182d"] != nave.Success {
			t.Errorf("%v", v)
		}
		emptied(t, k, d)
	})
}

func TestUnsettledCommands(t *testing.T) {
	t.Parallel()
	k := navetest.Start(t)
	t.Run("DEV-183 lock time-out", func(t *testing.T) {
		k := navetest.Start(t)
		d := k.Device("slow")
		l := device(t, k, d).receiver(commands(d))
		sendTo(t, k, d, order("183"))
		l.next()
		k.Clock.Add(61 * time.Second)
		in, m := l.next()
		if m.Properties.MessageID != "183" {
			t.Errorf("%+v", m.Properties)
		}
		in.Accept()
		emptied(t, k, d)
	})
	t.Run("DEV-184 detach", func(t *testing.T) {
		d, l, p := listening(t, k)
		other := p.sender(events(d))
		sendTo(t, k, d, order("184"))
		l.next()
		l.Detach(nil)
		<-l.gone
		other.accepted(data("stays"))
		in, m := p.receiver(commands(d)).next()
		if m.MessageAnnotations.Get("iothub-deliverycount") != uint8(2) && m.MessageAnnotations.Get("iothub-deliverycount") != uint8(1) {
			t.Errorf("%#v", m.MessageAnnotations)
		}
		in.Accept()
		emptied(t, k, d)
		// The connection breaks: the same.
		in2 := p.receiver(commands(d))
		sendTo(t, k, d, order("184b"))
		in2.next()
		p.Abort()
		in, m = device(t, k, d).receiver(commands(d)).next()
		if m.Properties.MessageID != "184b" {
			t.Errorf("%+v", m.Properties)
		}
		in.Accept()
		emptied(t, k, d)
	})
	t.Run("DEV-185 module", func(t *testing.T) {
		d := k.Device("c-185/mod")
		l := device(t, k, d).receiver(commands(d))
		sendTo(t, k, d, order("185"))
		in, m := l.next()
		if m.Properties.To != "/devices/c-185/modules/mod/messages/devicebound" {
			t.Error(m.Properties.To)
		}
		in.Accept()
	})
	t.Run("DEV-186 no credit", func(t *testing.T) {
		d, l, p := listening(t, k, attachment{snd: amqp.SettleMixed, manual: true})
		for _, id := range []string{"186a", "186b", "186c"} {
			sendTo(t, k, d, order(id))
		}
		p.sender(events(d)).accepted(data("a round trip"))
		l.quiet()
		l.Grant(2)
		for range 2 {
			in, _ := l.next()
			in.Accept()
		}
		pending(t, k, d, 1)
		l.quiet()
		l.Grant(1)
		in, _ := l.next()
		in.Accept()
		emptied(t, k, d)
	})
	t.Run("DEV-187 empty body", func(t *testing.T) {
		d, l, _ := listening(t, k)
		sendTo(t, k, d, &nave.C2D{})
		in, m := l.next()
		if len(m.Data) != 1 || len(m.Data[0]) != 0 {
			t.Errorf("%#v", m.Data)
		}
		in.Accept()
	})
	t.Run("settled by the sender", func(t *testing.T) {
		d, l, _ := listening(t, k, attachment{snd: amqp.SettleSettled})
		sendTo(t, k, d, order("settled"))
		if in, _ := l.next(); !in.Settled {
			t.Error("not settled")
		}
		emptied(t, k, d)
	})
	t.Run("a client that asks for little", func(t *testing.T) {
		d, l, _ := listening(t, k, attachment{snd: amqp.SettleMixed, max: 65536})
		sendTo(t, k, d, &nave.C2D{Message: nave.Message{Body: bytes.Repeat([]byte("x"), 65536)}})
		if in, _ := l.next(); in.Size <= 65536 {
			t.Errorf("%d bytes came", in.Size)
		}
	})
}

// answered waits for a disposition of the server as sender, settled, with the
// state; condition is that of its error.
func (p *party) answered(state uint64, condition string) {
	p.t.Helper()
	p.tap.await(p.t, "an answer to the disposition", func(all []frame) bool {
		for _, f := range all {
			if f.code != 0x15 || len(f.fields) < 5 || f.fields[0] != false || f.fields[3] != true {
				continue
			}
			d, _ := f.fields[4].(amqp.Described)
			if d.Descriptor != state {
				continue
			}
			if condition == "" {
				return true
			}
			list, _ := d.Value.([]any)
			if len(list) > 0 {
				e, _ := list[0].(amqp.Described)
				if of, _ := e.Value.([]any); len(of) > 0 && of[0] == amqp.Symbol(condition) {
					return true
				}
			}
		}
		return false
	})
}
