package hub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

const simID = "HUBSIM-8900101000000000019"

var (
	inService = &nave.Connectivity{ProductID: simID, ICCID: "8900101000000000019", Status: "ACTIVE", Platform: "HUBSIM"}
	suspended = &nave.Connectivity{ProductID: simID, ICCID: "8900101000000000019", Status: "SUSPENDED", Platform: "HUBSIM", Barred: true,
		Why: "SIM " + simID + " is SUSPENDED"}
)

// sim sets what the SIM of a device says, as the domain of SIMs does.
func (k *kit) sim(device string, c *nave.Connectivity) {
	k.t.Helper()
	err := k.db.Scope("hub.test").Update(ctx, func(tx *store.Tx) error {
		tx.After(func() { k.hub.ConnectivityChanged(device) })
		return tx.PutConnectivity(device, c)
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

func namesSIM(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(fault.From(err).Text, suspended.Why) {
		t.Errorf("%v does not name the SIM", err)
	}
}

func (k *kit) authenticate(i *nave.Identity) error {
	path := "/devices/" + i.ID.Device
	if i.ID.IsModule() {
		path += "/modules/" + i.ID.Module
	}
	_, err := k.hub.Authenticate(ctx, cred.Claim{SAS: k.token(path, i.Auth.Primary, "", time.Hour)}, i.ID)
	return err
}

func TestBarred(t *testing.T) {
	k := open(t)
	d, m, other := k.put("d1", nave.IdentityPatch{}), k.put("d1/m1", nave.IdentityPatch{}), k.put("d2", nave.IdentityPatch{})
	k.sim("d1", inService)
	if err := k.authenticate(d); err != nil {
		t.Fatal(err)
	}
	_, own := k.connect(d, mqttArrival)
	_, module := k.connect(m, mqttArrival)
	_, bystander := k.connect(other, mqttArrival)

	k.sim("d1", suspended)
	for _, p := range []*device{own, module} {
		why := next[closed](t, p).why
		namesSIM(t, why)
		if hub.Stopped(why) != suspended.Why {
			t.Errorf("Stopped: %q", hub.Stopped(why))
		}
	}
	for _, i := range []*nave.Identity{d, m} {
		err := k.authenticate(i)
		wants(t, err, fault.IotHubUnauthorized)
		wants(t, err, fault.DeviceDisabled) // as the cause
		namesSIM(t, err)
	}
	none(t, bystander)
	if err := k.authenticate(other); err != nil {
		t.Error(err)
	}

	// A policy that may act as devices is refused alike.
	p, _ := k.hub.Policy("device")
	_, err := k.hub.Authenticate(ctx, cred.Claim{SAS: k.token("", p.Primary, "device", time.Hour)}, d.ID)
	namesSIM(t, err)

	k.sim("d1", inService)
	if err := k.authenticate(d); err != nil {
		t.Error(err)
	}
	k.sim("d1", suspended)
	k.sim("d1", nil)
	if err := k.authenticate(m); err != nil {
		t.Error(err)
	}
}

func TestBarredCode(t *testing.T) {
	k := open(t, func(o *hub.Options) { o.DisabledCode = true })
	d := k.put("d1", nave.IdentityPatch{})
	k.sim("d1", suspended)
	err := k.authenticate(d)
	if fault.From(err).Code != fault.DeviceDisabled {
		t.Errorf("%v", err)
	}
	namesSIM(t, err)
}

// TestBarredWhileConnecting bars a device between its proof and its seat.
func TestBarredWhileConnecting(t *testing.T) {
	k := open(t)
	d := k.put("d1", nave.IdentityPatch{})
	who, err := k.hub.Authenticate(ctx, cred.Claim{SAS: k.token("/devices/d1", d.Auth.Primary, "", time.Hour)}, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	k.sim("d1", suspended)
	from := mqttArrival
	from.Peer = &device{got: make(chan any, 10)}
	_, err = k.hub.Connect(ctx, who, d.ID, from)
	namesSIM(t, err)
	if n := k.hub.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestBarredMethod(t *testing.T) {
	k := open(t)
	d := k.put("d1", nave.IdentityPatch{})
	k.put("d1/m1", nave.IdentityPatch{})
	k.sim("d1", suspended)
	for _, on := range []nave.ID{d.ID, {Device: "d1", Module: "m1"}} {
		_, err := k.Invoke(ctx, on, nave.Call{Method: "a"})
		wants(t, err, fault.DeviceNotOnline)
		if fault.From(err).Code != fault.DeviceNotOnline {
			t.Errorf("%v", err)
		}
		namesSIM(t, err)
	}
	k.c2d(d.ID, "waits", nave.AckNone)
	k.sim("d1", inService)
	_, err := k.Invoke(ctx, d.ID, nave.Call{Method: "a"})
	wants(t, err, fault.DeviceNotOnline)
	if strings.Contains(fault.From(err).Text, simID) {
		t.Errorf("%v blames the SIM", err)
	}
}

func TestReset(t *testing.T) {
	k := open(t)
	d, m := k.put("d1", nave.IdentityPatch{}), k.put("d1/m1", nave.IdentityPatch{})
	_, own := k.connect(d, mqttArrival)
	_, module := k.connect(m, mqttArrival)
	why := fault.DeviceConnectionClosedRemotely.New("the connectivity of SIM %s was reset", simID)
	k.hub.CutOff("d1", why)
	for _, p := range []*device{own, module} {
		if got := next[closed](t, p); got.why != why || got.part != hub.Whole {
			t.Errorf("%+v", got)
		}
	}
	k.connect(d, mqttArrival)
}

func TestRegistered(t *testing.T) {
	k := open(t)
	changes := make(chan hub.DeviceChange, 20)
	k.hub.SetRegistered(func(c hub.DeviceChange) { changes <- c })
	text := func(s string) *string { return &s }
	patch := func(iccid, imei string) *nave.IdentityPatch {
		return &nave.IdentityPatch{ICCID: text(iccid), IMEI: text(imei)}
	}
	k.put("plain", nave.IdentityPatch{})
	i := k.put("d1", *patch("8900101000000000019", "350000000000006"))
	if i.WantICCID != "8900101000000000019" || i.WantIMEI != "350000000000006" || i.Connectivity != nil {
		t.Errorf("%+v", i)
	}
	k.sim("d1", inService)
	for _, bad := range []*nave.IdentityPatch{patch("123", ""), patch("890010100000000001x", ""), patch("", "12")} {
		_, err := k.Put(ctx, i.ID, bad, "*")
		wants(t, err, fault.ArgumentInvalid)
	}
	if i, _ = k.Put(ctx, i.ID, &nave.IdentityPatch{Status: text("disabled")}, "*"); i.WantIMEI == "" || i.Connectivity == nil {
		t.Errorf("an update that does not mention it: %+v", i)
	}
	if i, _ = k.Put(ctx, i.ID, &nave.IdentityPatch{IMEI: text("350000000000014")}, "*"); i.WantIMEI != "350000000000014" || i.Connectivity == nil {
		t.Errorf("%+v", i)
	}
	if b := string(i.Append(nil)); !strings.Contains(b, `"connectivity":{"productId":"`+simID+`","iccid":"8900101000000000019","status":"ACTIVE","platform":"HUBSIM"}`) {
		t.Error(b)
	}
	failed, err := k.Bulk(ctx, []hub.BulkItem{{ID: nave.ID{Device: "d2"}, Mode: hub.CreateOnly, Patch: patch("8900101000000000027", "")}})
	if err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	for _, device := range []string{"d1", "plain"} {
		if err := k.Delete(ctx, nave.ID{Device: device}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []hub.DeviceChange{
		{Device: "d1", Created: true, ICCID: "8900101000000000019", IMEI: "350000000000006"},
		{Device: "d1", ICCID: "8900101000000000019", IMEI: "350000000000014"},
		{Device: "d2", Created: true, ICCID: "8900101000000000027"},
		{Device: "d1", Deleted: true}, {Device: "plain", Deleted: true},
	} {
		select {
		case got := <-changes:
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%+v is not told of", want)
		}
	}
	if i = k.put("d1", nave.IdentityPatch{}); i.Connectivity != nil || i.WantICCID != "" {
		t.Errorf("after a new creation: %+v", i)
	}
	err = k.db.Scope("hub.test").Update(ctx, func(tx *store.Tx) error { return tx.PutConnectivity("none", inService) })
	if !errors.Is(err, store.ErrNone) {
		t.Error(err)
	}
}

func TestSettledSMS(t *testing.T) {
	k := open(t)
	ended := make(chan string, 20)
	k.hub.SetSettled(func(device, message string, completed bool) {
		ended <- fmt.Sprint(device, " ", message, " ", completed)
	})
	i := k.put("d1", nave.IdentityPatch{})
	send := func(id string, sms bool, expiry time.Time) {
		c := &nave.C2D{On: i.ID, Message: nave.Message{Body: []byte("hi"), System: nave.System{MessageID: id, Expiry: expiry}}}
		if sms {
			c.SetApp(hub.SMSProperty, "mt", true)
		}
		if err := k.SendToDevice(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	wantEnd := func(want string) {
		t.Helper()
		select {
		case got := <-ended:
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%s is not told of", want)
		}
	}
	l, d := k.connect(i, mqttArrival)
	l.Credit(-1)
	for _, id := range []string{"plain", "s1"} {
		send(id, id != "plain", time.Time{})
		if err := l.Settle(ctx, next[*nave.C2D](t, d).Lock, nave.Complete); err != nil {
			t.Fatal(err)
		}
	}
	wantEnd("d1 s1 true")
	send("s2", true, time.Time{})
	if err := l.Settle(ctx, next[*nave.C2D](t, d).Lock, nave.Reject); err != nil {
		t.Fatal(err)
	}
	wantEnd("d1 s2 false")
	l.Credit(0)
	send("s3", true, k.now().Add(time.Minute))
	k.offset.Add(int64(time.Hour))
	wantEnd("d1 s3 false")
}

// book is a meter that notes what it hears.
type book struct {
	mu      sync.Mutex
	entries []string
	open    []*hub.Traffic
}

func (b *book) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, fmt.Sprintf(format, args...))
}

func (b *book) Opened(t *hub.Traffic) {
	b.note("opened %s %s", t.Device, t.Protocol)
	b.mu.Lock()
	b.open = append(b.open, t)
	b.mu.Unlock()
}

func (b *book) Closed(t *hub.Traffic, why *fault.Error) {
	text := "orderly"
	if why != nil {
		text = why.Code.Name
	}
	b.note("closed %s %d/%d %s", t.Device, t.Up.Load(), t.Down.Load(), text)
}

func (b *book) Request(device, protocol, remote string, up, down int64) {
	b.note("request %s %s %s %d/%d", device, protocol, remote, up, down)
}

func (b *book) is(t *testing.T, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := strings.Join(b.entries, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the meter has heard\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	b.entries = nil
}

func (k *kit) connectOn(w *hub.Wire, i *nave.Identity, from hub.Arrival) (*hub.Line, *device) {
	k.t.Helper()
	d := &device{got: make(chan any, 100)}
	if from.Protocol != "https" {
		from.Peer = d
	}
	who := &nave.Principal{Name: i.ID.String(), Rights: nave.DeviceConnect, Only: i.ID, Proof: "sas", Generation: i.Generation}
	l, err := k.hub.Connect(w.Context(ctx), who, i.ID, from)
	if err != nil {
		k.t.Fatal(err)
	}
	return l, d
}

func TestTraffic(t *testing.T) {
	k := open(t)
	b := &book{}
	d1, m1, d2 := k.put("d1", nave.IdentityPatch{}), k.put("d1/m1", nave.IdentityPatch{}), k.put("d2", nave.IdentityPatch{})
	wire := func(protocol string) *hub.Wire { return hub.NewWire(protocol, "peer", k.now()) }

	unmetered := wire(hub.MQTTTraffic)
	l, _ := k.connectOn(unmetered, d1, mqttArrival)
	l.Close(nil)
	k.hub.SetMeter(b)

	w := wire(hub.MQTTTraffic)
	w.Received(10)
	w.Sent(1)
	l, _ = k.connectOn(w, m1, mqttArrival)
	if n := b.open[0].Up.Load(); n != 10 {
		t.Errorf("%d bytes before the connection", n)
	}
	w.Received(20)
	l.Close(nil)
	b.is(t, "opened d1 MQTT", "closed d1 30/1 orderly")

	// Of several identities on a connection the first has it all.
	amqp := hub.Arrival{Protocol: "amqp"}
	w = wire(hub.AMQPTraffic)
	one, _ := k.connectOn(w, d1, amqp)
	one.Claim(hub.Telemetry)
	two, _ := k.connectOn(w, d2, amqp)
	w.Received(5)
	one.Close(nil)
	again, peer := k.connectOn(w, d1, amqp)
	again.Claim(hub.Telemetry)
	w.Sent(7)
	b.is(t, "opened d1 AMQP")
	k.sim("d1", suspended)
	why := next[closed](t, peer).why
	again.Close(nil)
	b.is(t, "closed d1 5/7 DeviceDisabled")
	if hub.Stopped(why) == "" {
		t.Error(why)
	}
	w.Sent(3)
	k.sim("d1", nil)
	two.Close(nil)
	two, _ = k.connectOn(w, d2, amqp)
	b.is(t, "opened d2 AMQP")
	two.Close(fault.DeviceConnectionClosedRemotely.New("gone"))
	b.is(t)
	hub.EndTraffic(w.Context(ctx))
	hub.EndTraffic(w.Context(ctx))
	hub.EndTraffic(context.Background())
	b.is(t, "closed d2 0/3 DeviceConnectionClosedRemotely")

	w = wire(hub.HTTPTraffic)
	https := hub.Arrival{Protocol: "https"}
	w.Received(100)
	w.EndRequest()
	for range 2 {
		w.Received(8)
		k.connectOn(w, d1, https)
		w.Sent(9)
		w.EndRequest()
	}
	b.is(t, "request d1 HTTP peer 8/9", "request d1 HTTP peer 8/9")
	k.hub.SetMeter(nil)
	if k.hub.Metered() {
		t.Error("still metered")
	}
	k.connectOn(w, d1, https)
	w.EndRequest()
	b.is(t)
}
