package hubamqp_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/navetest"
	nodes "github.com/nave-hub/nave/internal/node"
)

const feedbackAddress = "/messages/servicebound/feedback"

type record struct {
	OriginalMessageID, EnqueuedTimeUTC, StatusCode, Description, DeviceID, ModuleID, DeviceGenerationID string
}

func recordsOf(t testing.TB, d *amqp.Delivery) (all []record) {
	t.Helper()
	m := parse(t, d)
	if len(m.Data) != 1 {
		t.Fatalf("the message has %d data sections", len(m.Data))
	}
	if err := json.Unmarshal(m.Data[0], &all); err != nil {
		t.Fatalf("the body is %s: %v", m.Data[0], err)
	}
	return all
}

func quick(every time.Duration) func(*nodes.Config) {
	return func(c *nodes.Config) { c.Hub.Feedback = every }
}

// asking is a command that asks for feedback.
func asking(id, messageID, ack string) *amqp.Message {
	m := command(to(id), "x", "iothub-ack", ack)
	m.Properties.MessageID = messageID
	return m
}

// settle has the device take its next message and make something of it.
func settle(t testing.TB, k *navetest.Kit, d *navetest.Device, v nave.Verdict) {
	t.Helper()
	l := line(t, d, k)
	c, err := l.Receive(t.Context(), 0)
	if err != nil || c == nil {
		t.Fatalf("received %v %v", c, err)
	}
	if err := l.Settle(t.Context(), c.Lock, v); err != nil {
		t.Fatal(err)
	}
}

func TestFeedback(t *testing.T) {
	k := navetest.Start(t, quick(20*time.Millisecond))
	b := service(t, k)
	s := b.sender("/messages/devicebound")
	d1 := k.Device("d1")
	b.receiver("/messages/serviceBound/fileuploadnotifications")
	b.receiver("/messages/servicebound/filenotifications")
	f := b.receiver("amqps://hub.test/messages/serviceBound/feedback")
	one := func(t *testing.T) record {
		t.Helper()
		all := recordsOf(t, f.next())
		if len(all) != 1 {
			t.Fatalf("records are %v", all)
		}
		return all[0]
	}
	t.Run("SVC-225 full, completed", func(t *testing.T) {
		wantAccepted(t, s.message(asking("d1", "m-1", "full")))
		settle(t, k, d1, nave.Complete)
		r := one(t)
		if _, err := nave.ParseTime(r.EnqueuedTimeUTC); err != nil || r.OriginalMessageID != "m-1" || r.StatusCode != "Success" || r.Description != "Success" || r.DeviceID != "d1" || r.DeviceGenerationID == "" {
			t.Errorf("record is %+v", r)
		}
	})
	t.Run("SVC-226 positive, rejected", func(t *testing.T) {
		wantAccepted(t, s.message(asking("d1", "quiet", "positive")))
		settle(t, k, d1, nave.Reject)
		wantAccepted(t, s.message(asking("d1", "next", "positive")))
		settle(t, k, d1, nave.Complete)
		if r := one(t); r.OriginalMessageID != "next" {
			t.Errorf("record is %+v", r)
		}
	})
	t.Run("SVC-228 full, rejected and purged", func(t *testing.T) {
		wantAccepted(t, s.message(asking("d1", "rejected", "full")))
		settle(t, k, d1, nave.Reject)
		if r := one(t); r.OriginalMessageID != "rejected" || r.StatusCode != "Rejected" {
			t.Errorf("record is %+v", r)
		}
		wantAccepted(t, s.message(asking("d1", "purged", "full")))
		k.REST("DELETE", "/devices/d1/commands", "")
		if r := one(t); r.OriginalMessageID != "purged" || r.StatusCode != "Purged" {
			t.Errorf("record is %+v", r)
		}
	})
	t.Run("SVC-230 form of the message", func(t *testing.T) {
		wantAccepted(t, s.message(asking("d1", "form", "full")))
		settle(t, k, d1, nave.Complete)
		d := f.next()
		m := parse(t, d)
		if len(d.Tag()) != 16 || m.Properties.ContentType != "application/vnd.microsoft.iothub.feedback.json" || m.Properties.ContentEncoding != "utf-8" ||
			string(m.Properties.UserID) != "hub" || m.Properties.MessageID == nil {
			t.Errorf("tag %x, properties %+v", d.Tag(), m.Properties)
		}
		if at, ok := m.MessageAnnotations.Get("iothub-enqueuedtime").(amqp.Timestamp); !ok || k.Clock.Now().Sub(at.Time()) > time.Hour {
			t.Errorf("annotations are %v", m.MessageAnnotations)
		}
	})
	t.Run("SVC-233 device deleted", func(t *testing.T) {
		gone := k.Device("gone")
		f.Detach(nil)
		<-f.gone
		wantAccepted(t, s.message(asking("gone", "of-the-deleted", "full")))
		settle(t, k, gone, nave.Complete)
		if err := k.Backend.Delete(t.Context(), gone.ID, ""); err != nil {
			t.Fatal(err)
		}
		wantAccepted(t, s.message(asking("d1", "of-another", "full")))
		settle(t, k, d1, nave.Complete)
		f = b.receiver(feedbackAddress)
		if r := one(t); r.OriginalMessageID != "of-another" {
			t.Errorf("record is %+v", r)
		}
	})
	t.Run("SVC-227 negative, expired", func(t *testing.T) {
		m := asking("d1", "late", "negative")
		m.Properties.AbsoluteExpiryTime = amqp.NewTimestamp(k.Clock.Now().Add(30 * time.Second))
		wantAccepted(t, s.message(m))
		k.Clock.Add(30 * time.Second)
		if r := one(t); r.OriginalMessageID != "late" || r.StatusCode != "Expired" {
			t.Errorf("record is %+v", r)
		}
	})
}

func TestFeedbackSettlement(t *testing.T) {
	k := navetest.Start(t, quick(20*time.Millisecond))
	b := service(t, k)
	s := b.sender("/messages/devicebound")
	d1 := k.Device("d1")
	second := func(l *amqp.Link) { l.RcvMode, l.SndMode = amqp.SettleSecond, amqp.SettleUnsettled }
	outcome := func(id string) {
		wantAccepted(t, s.message(asking("d1", id, "full")))
		settle(t, k, d1, nave.Complete)
	}
	f := b.receiver(feedbackAddress, second)
	if f.RcvMode != amqp.SettleSecond {
		t.Errorf("receiver settle mode is %d", f.RcvMode)
	}
	// First, as the clock moves: an outcome still on its way to the hub would come too late.
	t.Run("lock ran out", func(t *testing.T) {
		outcome("e")
		late := f.take()
		k.Clock.Add(2 * time.Minute)
		again := f.take() // the sweep gives it out anew
		if r := recordsOf(t, again); r[0].OriginalMessageID != "e" {
			t.Errorf("again came %v", r)
		}
		late.Accept() // too late, the other delivery still counts
		again.Accept()
		outcome("f")
		if r := recordsOf(t, f.next()); r[0].OriginalMessageID != "f" {
			t.Errorf("next came %v", r)
		}
	})
	t.Run("SVC-232 abandoned in mode second", func(t *testing.T) {
		outcome("a")
		f.take().Release()
		again := f.take()
		if r := recordsOf(t, again); r[0].OriginalMessageID != "a" {
			t.Errorf("again came %v", r)
		}
		if m := parse(t, again); m.Header.DeliveryCount != 1 {
			t.Errorf("delivery-count is %d", m.Header.DeliveryCount)
		}
		again.Accept()
	})
	t.Run("SVC-231 completed in mode second", func(t *testing.T) {
		outcome("b")
		f.next()
		outcome("c")
		if r := recordsOf(t, f.next()); r[0].OriginalMessageID != "c" {
			t.Errorf("next came %v", r)
		}
	})
	t.Run("abandoned in mode first", func(t *testing.T) {
		f.Detach(nil)
		<-f.gone
		first := b.receiver(feedbackAddress)
		outcome("first")
		first.take().Release()
		if r := recordsOf(t, first.next()); r[0].OriginalMessageID != "first" {
			t.Errorf("again came %v", r)
		}
		first.Detach(nil)
		<-first.gone
		f = b.receiver(feedbackAddress, second)
	})
	t.Run("lost with its link", func(t *testing.T) {
		outcome("d")
		f.take()
		f.Detach(nil)
		<-f.gone
		f = b.receiver(feedbackAddress, second)
		if r := recordsOf(t, f.next()); r[0].OriginalMessageID != "d" {
			t.Errorf("again came %v", r)
		}
	})
}

func TestFeedbackDrained(t *testing.T) {
	k := navetest.Start(t, quick(time.Nanosecond))
	b := service(t, k)
	s := b.sender("/messages/devicebound")
	d1 := k.Device("d1")
	drained := make(chan struct{}, 1)
	f := b.receiver(feedbackAddress, func(l *amqp.Link) {
		l.ManualCredit = true
		l.OnDrained = func() { drained <- struct{}{} }
	})
	for _, want := range []int{0, 1, 0} {
		if want > 0 {
			wantAccepted(t, s.message(asking("d1", "drained", "full")))
			settle(t, k, d1, nave.Complete)
		}
		f.Grant(5)
		f.Drain()
		select {
		case <-drained:
		case <-within(t).Done():
			t.Fatal("the credit does not come back")
		}
		if len(f.came) != want || f.Credit() != 0 {
			t.Errorf("%d batches came before the credit was given back, want %d; %d credits are left", len(f.came), want, f.Credit())
		}
		for range len(f.came) {
			f.next()
		}
	}
}

func TestFeedbackBatch(t *testing.T) {
	k := navetest.Start(t, quick(time.Hour))
	b := service(t, k)
	s := b.sender("/messages/devicebound")
	f := b.receiver(feedbackAddress)
	// The first record does not wait for others; the pause begins with it.
	d0 := k.Device("d0")
	wantAccepted(t, s.message(asking("d0", "first", "full")))
	settle(t, k, d0, nave.Complete)
	f.next()
	t.Run("SVC-229 64 records at once", func(t *testing.T) {
		for n := range 64 {
			d := k.Device(fmt.Sprintf("d%d", n%8+1) + strings.Repeat("x", n/8))
			wantAccepted(t, s.message(asking(d.Device, fmt.Sprint(n), "full")))
			settle(t, k, d, nave.Complete)
		}
		if all := recordsOf(t, f.next()); len(all) != 64 {
			t.Errorf("%d records came", len(all))
		}
	})
}
