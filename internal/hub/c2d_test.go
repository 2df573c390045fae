package hub_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
)

var ctx = context.Background()

// The worked example of hub-semantics 5.3.
func TestC2DWorkedExample(t *testing.T) {
	k := open(t, func(o *hub.Options) { o.Limits.C2DDeliveries = 2 })
	i := k.put("d1", nave.IdentityPatch{})
	k.c2d(i.ID, "m1", nave.AckFull)
	amqp := hub.Arrival{Holds: hub.Commands, Protocol: "amqp"}
	l, d := k.connect(i, amqp)
	l.Credit(10)
	first := next[*nave.C2D](t, d)
	if first.Deliveries != 1 {
		t.Errorf("first delivery counts %d", first.Deliveries)
	}
	if err := l.Settle(ctx, first.Lock, nave.Abandon); err != nil {
		t.Fatal(err)
	}
	second := next[*nave.C2D](t, d)
	if second.Deliveries != 2 || second.Failed != 1 || second.Seq != first.Seq {
		t.Errorf("second delivery: %d deliveries, %d failed", second.Deliveries, second.Failed)
	}
	l.Close(fault.DeviceConnectionClosedRemotely.New("lost"))
	l, d = k.connect(i, amqp)
	l.Credit(10)
	third := next[*nave.C2D](t, d)
	if third.Deliveries != 3 || third.Failed != 1 {
		t.Errorf("third delivery: %d deliveries, %d failed", third.Deliveries, third.Failed)
	}
	k.offset.Add(int64(61 * time.Second))
	var lines []string
	until(t, "feedback", func() bool { lines = k.feedback(); return lines != nil })
	if !slices.Equal(lines, []string{"m1 DeliveryCountExceeded"}) {
		t.Errorf("feedback %v", lines)
	}
	wants(t, l.Settle(ctx, third.Lock, nave.Complete), fault.DeviceMessageLockLost)
}

func TestC2DVerdicts(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	for _, c := range []struct {
		ack  nave.Ack
		v    nave.Verdict
		want []string
	}{
		{nave.AckNone, nave.Complete, nil}, {nave.AckPositive, nave.Complete, []string{"m Success"}},
		{nave.AckNegative, nave.Complete, nil}, {nave.AckFull, nave.Complete, []string{"m Success"}},
		{nave.AckPositive, nave.Reject, nil}, {nave.AckNegative, nave.Reject, []string{"m Rejected"}},
		{nave.AckFull, nave.Reject, []string{"m Rejected"}}, {nave.AckNone, nave.Reject, nil},
	} {
		k.c2d(i.ID, "m", c.ack)
		l.Credit(-1)
		m := next[*nave.C2D](t, d)
		if err := l.Settle(ctx, m.Lock, c.v); err != nil {
			t.Fatal(err)
		}
		if got := k.feedback(); !slices.Equal(got, c.want) {
			t.Errorf("ack %s, verdict %d: feedback %v, want %v", c.ack, c.v, got, c.want)
		}
		wants(t, l.Settle(ctx, m.Lock, nave.Complete), fault.DeviceMessageLockLost)
	}
	wants(t, l.Settle(ctx, "zz", nave.Complete), fault.DeviceMessageLockLost)
}

func TestC2DLimits(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	send := func(change func(*nave.C2D)) error {
		c := &nave.C2D{On: i.ID}
		change(c)
		return k.SendToDevice(ctx, c)
	}
	wants(t, send(func(c *nave.C2D) { c.Body = make([]byte, 64<<10+1) }), fault.MessageTooLarge)
	wants(t, send(func(c *nave.C2D) { c.On.Device = "none" }), fault.DeviceNotFound)
	wants(t, send(func(c *nave.C2D) { c.On.Module = "none" }), fault.ModuleNotFound)
	wants(t, send(func(c *nave.C2D) { c.System.Expiry = k.now().Add(-time.Hour) }), fault.InvalidMessageExpiryTime)
	wants(t, send(func(c *nave.C2D) { c.System.Expiry = k.now().Add(72 * time.Hour) }), fault.InvalidMessageExpiryTime)
	for range 50 {
		if err := send(func(*nave.C2D) {}); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, send(func(*nave.C2D) {}), fault.DeviceMaximumQueueDepthExceeded)
	if n, err := k.Purge(ctx, i.ID); n != 50 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	off := nave.Disabled
	if _, err := k.Put(ctx, i.ID, &nave.IdentityPatch{Status: &off}, "*"); err != nil {
		t.Fatal(err)
	}
	wants(t, send(func(*nave.C2D) {}), fault.DeviceNotFound)
}

func TestC2DOrderAndTakeover(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	for _, id := range []string{"a", "b", "c"} {
		k.c2d(i.ID, id, nave.AckNone)
	}
	l, d := k.connect(i, mqttArrival)
	l.Credit(-1)
	for _, id := range []string{"a", "b", "c"} {
		if m := next[*nave.C2D](t, d); m.System.MessageID != id {
			t.Errorf("got %s, want %s", m.System.MessageID, id)
		}
	}
	k.offset.Add(int64(10 * time.Minute))
	l2, d2 := k.connect(i, mqttArrival)
	if c := next[closed](t, d); c.why.Code != fault.ConnectionForcefullyClosedOnNewConnection {
		t.Errorf("the old connection was closed by %v", c.why)
	}
	l2.Credit(-1)
	for _, id := range []string{"a", "b", "c"} {
		if m := next[*nave.C2D](t, d2); m.System.MessageID != id || m.Deliveries != 2 {
			t.Errorf("got %s, delivery %d, want %s, delivery 2", m.System.MessageID, m.Deliveries, id)
		}
	}
}

func TestC2DExpiry(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	k.c2d(i.ID, "old", nave.AckFull)
	k.offset.Add(int64(61 * time.Minute))
	l, d := k.connect(i, mqttArrival)
	l.Credit(-1)
	k.c2d(i.ID, "new", nave.AckNone)
	if m := next[*nave.C2D](t, d); m.System.MessageID != "new" {
		t.Errorf("got %s", m.System.MessageID)
	}
	var lines []string
	until(t, "feedback", func() bool { lines = k.feedback(); return lines != nil })
	if !slices.Equal(lines, []string{"old Expired"}) {
		t.Errorf("feedback %v", lines)
	}
}

func TestC2DRefusedDelivery(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	d.deaf.Store(true)
	l.Credit(-1)
	k.c2d(i.ID, "m", nave.AckNone)
	until(t, "the message is queued again", func() bool {
		got, err := k.Device(ctx, i.ID)
		return err == nil && got.Pending == 1
	})
	d.deaf.Store(false)
	until(t, "delivered", func() bool {
		l.Credit(-1)
		return len(d.got) > 0
	})
	if m := next[*nave.C2D](t, d); m.Failed != 0 {
		t.Errorf("%d failed deliveries", m.Failed)
	}
}

func TestReceiveOverHTTPS(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	who := hub.Operator()
	l, err := k.hub.Connect(ctx, who, i.ID, hub.Arrival{Protocol: "https"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := l.Receive(ctx, 0); c != nil || err != nil {
		t.Fatalf("empty queue: %v, %v", c, err)
	}
	k.c2d(i.ID, "m", nave.AckNone)
	c, err := l.Receive(ctx, 0)
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	if again, err := l.Receive(ctx, 0); again != nil || err != nil {
		t.Fatalf("a locked message was delivered: %v, %v", again, err)
	}
	k.offset.Add(int64(61 * time.Second))
	wants(t, l.Settle(ctx, c.Lock, nave.Complete), fault.DeviceMessageLockLost)
	until(t, "the lock runs out", func() bool { c, err = l.Receive(ctx, 0); return c != nil })
	if c.Deliveries != 2 || c.Failed != 1 {
		t.Errorf("%d deliveries, %d failed", c.Deliveries, c.Failed)
	}
	if err := l.Settle(ctx, c.Lock, nave.Complete); err != nil {
		t.Fatal(err)
	}
}

func TestFeedbackPause(t *testing.T) {
	k := open(t, func(o *hub.Options) { o.FeedbackEvery = time.Hour })
	i := k.put("d1", nave.IdentityPatch{})
	l, d := k.connect(i, mqttArrival)
	l.Credit(-1)
	complete := func(id string) {
		k.c2d(i.ID, id, nave.AckFull)
		if err := l.Settle(ctx, next[*nave.C2D](t, d).Lock, nave.Complete); err != nil {
			t.Fatal(err)
		}
	}
	complete("a")
	if b, err := k.NextFeedback(ctx); err != nil || len(b.Records) != 1 {
		t.Fatal("the first record comes at once", b, err)
	}
	got := make(chan int, 1)
	go func() {
		b, err := k.NextFeedback(ctx)
		if err != nil {
			t.Error(err)
			got <- 0
			return
		}
		got <- len(b.Records)
	}()
	for range 64 {
		complete("b")
	}
	select {
	case n := <-got:
		if n != 64 {
			t.Errorf("a batch of %d records", n)
		}
	case <-time.After(patience):
		t.Error("64 records do not wait for the pause")
	}
}

// A device that comes back while a message is on its way to its old connection
// gets all messages in sequence order.
func TestC2DOrderOverReconnects(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	const messages = 20
	for n := range messages {
		k.c2d(i.ID, string(rune('a'+n)), nave.AckNone)
	}
	for range 50 {
		l, d := k.connect(i, mqttArrival)
		l.Credit(-1)
		first := next[*nave.C2D](t, d)
		go l.Close(nil)
		l2, d2 := k.connect(i, mqttArrival)
		l2.Credit(-1)
		for n := range messages {
			if m := next[*nave.C2D](t, d2); m.System.MessageID != string(rune('a'+n)) {
				t.Fatalf("message %d is %s, the old connection got %s first", n, m.System.MessageID, first.System.MessageID)
			}
		}
		l2.Close(nil)
	}
}

// TestC2DWithoutID: a message without an id gets one, which does not count as
// its size.
func TestC2DWithoutID(t *testing.T) {
	k := open(t)
	i := k.put("d1", nave.IdentityPatch{})
	m := &nave.C2D{On: i.ID}
	m.Body = make([]byte, 64<<10)
	if err := k.SendToDevice(ctx, m); err != nil || len(m.System.MessageID) != 36 {
		t.Errorf("64 KiB get the id %q: %v", m.System.MessageID, err)
	}
	big := &nave.C2D{On: i.ID}
	big.Body = make([]byte, 64<<10+1)
	if err := k.SendToDevice(ctx, big); !errors.Is(err, fault.MessageTooLarge) {
		t.Errorf("a byte more: %v", err)
	}
}
