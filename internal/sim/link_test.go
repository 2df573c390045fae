package sim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/sim"
)

// peer is a device at the far end of a line.
type peer struct {
	shut chan *fault.Error
	got  chan *nave.C2D
}

func (p *peer) Deliver(c *nave.C2D) error          { p.got <- c; return nil }
func (p *peer) Invoke(*nave.Call) error            { return nil }
func (p *peer) Desired(*nave.Change) error         { return nil }
func (p *peer) Close(_ hub.Part, why *fault.Error) { p.shut <- why }

// live is a device that is connected.
type live struct {
	*peer
	line *hub.Line
	wire *hub.Wire
	ctx  context.Context
}

// connect connects a device the way a listener does.
func (r *rig) connect(id string) *live {
	r.Helper()
	l := &live{peer: &peer{make(chan *fault.Error, 4), make(chan *nave.C2D, 4)}, wire: hub.NewWire(hub.MQTTTraffic, "198.51.100.7:4711", r.clock.now())}
	l.ctx = l.wire.Context(context.Background())
	i := r.identity(id)
	token := r.must(cred.Sign(host+"/devices/"+id, i.Auth.Primary, "", r.clock.now().Add(time.Hour))).(string)
	who := r.must(r.hub.Authenticate(l.ctx, cred.Claim{SAS: token}, i.ID)).(*nave.Principal)
	line, err := r.hub.Connect(l.ctx, who, i.ID, hub.Arrival{Peer: l.peer, Holds: hub.Everything, Endless: true, Protocol: "mqtt", Remote: "198.51.100.7:4711"})
	if err != nil {
		r.Fatal(err)
	}
	l.line = line
	return l
}

// end ends the connection; why nil is the device's own wish.
func (l *live) end(why *fault.Error) {
	l.line.Close(why)
	hub.EndTraffic(l.ctx)
}

// patience is for what must come, and comes at once unless something is wrong.
const patience = time.Minute

// shutBy awaits that the hub closes the connection, and ends it.
func (r *rig) shutBy(l *live) *fault.Error {
	r.Helper()
	select {
	case why := <-l.shut:
		l.end(why)
		return why
	case <-time.After(patience):
		r.Fatal("the connection is still open")
		return nil
	}
}

func (r *rig) usage(product string) sim.DataUsage {
	r.Helper()
	all, err := r.admin().Usage(context.Background(), product, sim.UsageQuery{From: noon.AddDate(0, 0, -1), To: noon.AddDate(0, 0, 1)})
	if err != nil {
		r.Fatal(err)
	}
	var sum sim.DataUsage
	for _, u := range all {
		sum.Uplink, sum.Downlink, sum.Total = sum.Uplink+u.Data.Uplink, sum.Downlink+u.Data.Downlink, sum.Total+u.Data.Total
	}
	return sum
}

func (r *rig) sessions(product string) []sim.DataSession {
	r.Helper()
	all, _, err := r.admin().DataSessions(context.Background(), product, sim.DataSessionQuery{State: "ALL"})
	if err != nil {
		r.Fatal(err)
	}
	return all
}

func TestLink(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	ids := r.fixture(icc1, icc2)
	s1, s2 := ids[0], ids[1]
	r.mustChange(s1, sim.Active)
	r.device("dev-1", "", "350000000000006")
	r.device("dev-2", "", "")
	t.Run("C-160 new, then there", func(t *testing.T) {
		for _, want := range []bool{true, false} {
			l, created, err := r.admin().PutLink(ctx, s1, "dev-1", false, sim.Origin{})
			if err != nil || created != want || l.ProductID != s1 || l.Warnings != nil {
				t.Fatal(l, created, err)
			}
		}
		if c := r.identity("dev-1").Connectivity; c == nil || c.ICCID != icc1 || c.Barred || c.IMEI != "350000000000006" || c.Platform != "HUBSIM" {
			t.Errorf("%+v", c)
		}
	})
	t.Run("C-161 C-163 taken, and replaced", func(t *testing.T) {
		_, _, err := r.admin().PutLink(ctx, s2, "dev-1", false, sim.Origin{})
		wantFault(t, err, fault.SIMAlreadyLinked)
		l, created, err := r.admin().PutLink(ctx, s2, "dev-1", true, sim.Origin{})
		if err != nil || !created || len(l.Warnings) != 1 || l.Warnings[0].Code != "sim_not_in_service" {
			t.Fatal(l, created, err)
		}
		if p := r.product(s1); p.Device != nil {
			t.Error(p.Device)
		}
	})
	t.Run("C-162 no such device", func(t *testing.T) {
		_, _, err := r.admin().PutLink(ctx, s1, "nosuch", false, sim.Origin{})
		wantFault(t, err, fault.SIMValidationFailed)
		if p := sim.NewProblem(err, noon, "", ""); len(p.Errors) != 1 || p.Errors[0].Pointer != "/deviceId" {
			t.Error(p.Errors)
		}
	})
	t.Run("C-164 no link", func(t *testing.T) {
		_, err := r.admin().Link(ctx, s1)
		wantFault(t, err, fault.SIMLinkNotFound)
		wantFault(t, r.admin().DeleteLink(ctx, s1, sim.Origin{}), fault.SIMLinkNotFound)
	})
	t.Run("C-165 by registration", func(t *testing.T) {
		r.device("dev-3", icc1, "")
		r.await("the link of dev-3", func() bool { c := r.identity("dev-3").Connectivity; return c != nil && c.ProductID == s1 })
	})
	t.Run("LK-6 a deleted device", func(t *testing.T) {
		if err := r.hub.Backend(hub.Operator()).Delete(ctx, nave.ID{Device: "dev-3"}, "*"); err != nil {
			t.Fatal(err)
		}
		r.await("the end of the link", func() bool { return r.product(s1).Device == nil })
	})
}

// TestCatchUp registers a device before its SIM comes, and starts anew.
func TestCatchUp(t *testing.T) {
	r := newDiskRig(t)
	r.device("early", icc1, "")
	id := r.fixture(icc1)[0]
	r.close()
	r.open()
	r.await("the link", func() bool { c := r.identity("early").Connectivity; return c != nil && c.ProductID == id })
}

// await waits until something that happens by itself has happened.
func (r *rig) await(what string, f func() bool) {
	r.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("%s did not come", what)
		}
	}
}

func TestEnforcement(t *testing.T) {
	r := newRig(t)
	s1 := r.fixture(icc1)[0]
	r.mustChange(s1, sim.Active)
	r.device("dev-1", "", "")
	r.device("dev-2", "", "")
	r.link(s1, "dev-1")
	t.Run("C-166 closed and refused", func(t *testing.T) {
		l := r.connect("dev-1")
		r.mustChange(s1, sim.Suspended)
		if why := r.shutBy(l); hub.Stopped(why) == "" {
			t.Error(why)
		}
		r.await("the end of the data session", func() bool { all := r.sessions(s1); return len(all) == 1 && all[0].Cause == sim.CauseStatus })
		i := r.identity("dev-1")
		token, _ := cred.Sign(host+"/devices/dev-1", i.Auth.Primary, "", r.clock.now().Add(time.Hour))
		if _, err := r.hub.Authenticate(context.Background(), cred.Claim{SAS: token}, i.ID); err == nil {
			t.Error("the device may connect")
		}
	})
	t.Run("C-167 C-168 accepted again", func(t *testing.T) {
		r.mustChange(s1, sim.Active)
		r.connect("dev-1").end(nil)
		r.connect("dev-2").end(nil)
	})
}

// TestEnforceOff switches enforcement off and on while a device is linked.
func TestEnforceOff(t *testing.T) {
	r := newRig(t)
	s1 := r.fixture(icc1)[0]
	r.device("dev-1", "", "")
	r.link(s1, "dev-1")
	for _, enforce := range []bool{true, false, true} {
		a := sim.Account{Account: "HUBSIM_1", Platform: "HUBSIM", Adapter: sim.AdapterEmbedded, Enabled: true, Embedded: &sim.Embedded{Enforce: &enforce}}
		if _, err := r.admin().PutPlatform(context.Background(), "HUBSIM_1", a); err != nil {
			t.Fatal(err)
		}
		if c := r.identity("dev-1").Connectivity; c == nil || c.Barred != enforce {
			t.Errorf("enforce %t: %+v", enforce, c)
		}
	}
}

func TestMeter(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	ids := r.fixture(icc1, icc2)
	s1, s2 := ids[0], ids[1]
	r.mustChange(s1, sim.Active)
	r.mustChange(s2, sim.Active)
	r.device("dev-1", "", "")
	r.link(s1, "dev-1")
	t.Run("C-170 exact", func(t *testing.T) {
		l := r.connect("dev-1")
		l.wire.Received(1000)
		l.wire.Sent(200)
		r.tick()
		l.wire.Received(234)
		l.end(nil)
		if u := r.usage(s1); u != (sim.DataUsage{Uplink: 1234, Downlink: 200, Total: 1434}) {
			t.Errorf("%+v", u)
		}
		all := r.sessions(s1)
		if len(all) != 1 || all[0].Uplink != 1234 || all[0].Downlink != 200 || all[0].Cause != sim.CauseDevice || all[0].IP != "198.51.100.7" {
			t.Errorf("%+v", all)
		}
	})
	t.Run("C-172 a change of link books first", func(t *testing.T) {
		l := r.connect("dev-1")
		l.wire.Received(100)
		if _, _, err := r.admin().PutLink(ctx, s2, "dev-1", true, sim.Origin{}); err != nil {
			t.Fatal(err)
		}
		l.wire.Received(11)
		l.end(nil)
		if a, b := r.usage(s1), r.usage(s2); a.Uplink != 1334 || b.Uplink != 11 {
			t.Errorf("%+v %+v", a, b)
		}
		if a, b := r.sessions(s1), r.sessions(s2); a[0].Cause != sim.CauseLink && a[1].Cause != sim.CauseLink || b[0].Cause != sim.CauseDevice {
			t.Errorf("%+v %+v", a, b)
		}
	})
	t.Run("C-171 the counter", func(t *testing.T) {
		part := r.product(s1).Part("usageVolume-data")
		if c := part.BucketCounter[0]; c.ValueName != "1.534 KB" || c.CounterType != "USED" {
			t.Errorf("%+v", c)
		}
		if text, _ := json.Marshal(sim.Amount{Amount: 1234567, Units: "KB"}); string(text) != `{"amount":1234.567,"units":"KB"}` {
			t.Error(string(text))
		}
	})
	t.Run("C-219 over HTTP", func(t *testing.T) {
		request := func() {
			w := hub.NewWire(hub.HTTPTraffic, "198.51.100.9:1", r.clock.now())
			c := w.Context(ctx)
			i := r.identity("dev-1")
			token, _ := cred.Sign(host+"/devices/dev-1", i.Auth.Primary, "", r.clock.now().Add(time.Hour))
			who := r.must(r.hub.Authenticate(c, cred.Claim{SAS: token}, i.ID)).(*nave.Principal)
			r.must(r.hub.Connect(c, who, i.ID, hub.Arrival{Protocol: "https"}))
			w.Received(10)
			w.Sent(1)
			w.EndRequest()
		}
		before := len(r.sessions(s2))
		r.clock.set(noon.Add(time.Minute))
		for range 3 {
			request()
			r.clock.set(r.clock.now().Add(20 * time.Second))
		}
		r.tick()
		if all := r.sessions(s2); len(all) != before+1 || all[0].State != "OPEN" || all[0].Uplink != 30 {
			t.Fatalf("%+v", all)
		}
		r.clock.set(r.clock.now().Add(15 * time.Minute))
		r.tick()
		if all := r.sessions(s2); len(all) != before+1 || all[0].Cause != sim.CauseIdle || all[0].Downlink != 3 {
			t.Errorf("%+v", all)
		}
	})
	t.Run("C-177 C-225 reset", func(t *testing.T) {
		l := r.connect("dev-1")
		if _, err := r.admin().Reset(ctx, s2, sim.Origin{}); err != nil {
			t.Fatal(err)
		}
		r.shutBy(l)
		r.await("the end of the data session", func() bool { return r.sessions(s2)[0].Cause == sim.CauseReset })
		r.connect("dev-1").end(nil)
		if c, err := r.admin().Reset(ctx, s1, sim.Origin{}); err != nil || c.Monitor != nil {
			t.Error(c, err)
		}
	})
}

func (r *rig) offering(o sim.Offering) {
	r.Helper()
	o.Account = "HUBSIM_1"
	if _, err := r.admin().CreateOffering(context.Background(), o); err != nil {
		r.Fatal(err)
	}
}

func TestLimit(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	r.account("HUBSIM_1", "HUBSIM", nil)
	limit := int64(1000)
	r.offering(sim.Offering{ID: "off-1", Name: "1 KB", DataLimit: &limit, OnLimit: sim.Suspend})
	r.offering(sim.Offering{ID: "off-first", Name: "first use", Activation: sim.FirstUse})
	s1 := r.stock("HUBSIM_1", "off-1", icc1)[0]
	r.mustChange(s1, sim.Active)
	r.device("dev-1", "", "")
	r.link(s1, "dev-1")
	t.Run("C-140 suspended by its limit", func(t *testing.T) {
		l := r.connect("dev-1")
		l.wire.Received(850)
		r.tick()
		r.wantStatus(s1, sim.Active)
		l.wire.Received(1150)
		r.tick()
		r.wantStatus(s1, sim.Suspended)
		r.shutBy(l)
		h, _, err := r.admin().History(ctx, s1, sim.Paging{})
		if err != nil || h[1].Reason != "data_limit" && h[0].Reason != "data_limit" {
			t.Errorf("%+v %v", h[:2], err)
		}
		_, err = r.change(s1, sim.Active)
		wantFault(t, err, fault.SIMDataLimitReached)
		kinds := r.events()
		if kinds[sim.UsageThreshold] != 2 {
			t.Errorf("%v", kinds)
		}
	})
	t.Run("RP-9 active again in the next period", func(t *testing.T) {
		r.tick()
		r.wantStatus(s1, sim.Suspended)
		r.clock.set(time.Date(2026, 4, 1, 0, 0, 30, 0, time.UTC))
		r.tick()
		r.wantStatus(s1, sim.Active)
		r.clock.set(noon)
	})
	t.Run("C-169 first use", func(t *testing.T) {
		s5 := r.stock("HUBSIM_1", "off-first", "8900101000000000050")[0]
		r.device("dev-5", "", "")
		r.link(s5, "dev-5")
		if got, err := r.change(s5, sim.Active); err != nil || got != sim.PendingActive {
			t.Fatal(got, err)
		}
		r.connect("dev-5").end(nil)
		r.wantStatus(s5, sim.Active)
		if h, _, _ := r.admin().History(ctx, s5, sim.Paging{}); h[0].Actor.Type != sim.ByHub {
			t.Errorf("%+v", h[0])
		}
	})
	t.Run("C-220 locked to an IMEI", func(t *testing.T) {
		r.offering(sim.Offering{ID: "off-lock", Name: "locked", IMEILock: true})
		s := r.stock("HUBSIM_1", "off-lock", "8900101000000000068")[0]
		r.mustChange(s, sim.Active)
		r.device("lock-1", "", "350000000000006")
		r.device("lock-2", "", "350000000000014")
		r.link(s, "lock-1")
		if _, _, err := r.admin().PutLink(ctx, s, "lock-2", true, sim.Origin{}); err != nil {
			t.Fatal(err)
		}
		if c := r.identity("lock-2").Connectivity; c == nil || !c.Barred || c.Why == "" {
			t.Errorf("%+v", c)
		}
	})
}

// events counts the events in the hub's log by type.
func (r *rig) events() map[string]int {
	r.Helper()
	r.tick()
	kinds := map[string]int{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := r.hub.Backend(hub.Operator()).PartitionInfo(ctx, 0)
	if err != nil {
		r.Fatal(err)
	}
	reader, err := r.hub.Backend(hub.Operator()).Events(ctx, 0, nave.Position{})
	if err != nil {
		r.Fatal(err)
	}
	defer reader.Close()
	for last := int64(-1); last < info.Last; {
		some, err := reader.Next(ctx)
		if err != nil {
			r.Fatal(err)
		}
		for _, e := range some {
			var body struct {
				Type string `json:"eventType"`
			}
			if last = e.Seq; e.Source == sim.Source && json.Unmarshal(e.Body, &body) == nil {
				kinds[body.Type]++
			}
		}
	}
	return kinds
}

func TestSMS(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	ids := r.fixture(icc1, icc2)
	s1, s2 := ids[0], ids[1]
	t.Run("C-174 C-175 not possible", func(t *testing.T) {
		_, err := r.admin().SendSMS(ctx, s2, sim.SMSRequest{Payload: "hi"}, sim.Origin{})
		wantFault(t, err, fault.SIMStatusNotAllowed)
		r.mustChange(s2, sim.Active)
		_, err = r.admin().SendSMS(ctx, s2, sim.SMSRequest{Payload: "hi"}, sim.Origin{})
		wantFault(t, err, fault.SIMNoDeviceLinked)
		_, err = r.admin().SendSMS(ctx, s2, sim.SMSRequest{Payload: "日本"}, sim.Origin{})
		wantFault(t, err, fault.SIMValidationFailed)
	})
	r.mustChange(s1, sim.Active)
	r.device("dev-1", "", "")
	r.link(s1, "dev-1")
	t.Run("C-176 delivered", func(t *testing.T) {
		l := r.connect("dev-1")
		l.line.Credit(10)
		m, err := r.admin().SendSMS(ctx, s1, sim.SMSRequest{Payload: "hi"}, sim.Origin{})
		if err != nil || m.Status != "SUBMITTED" {
			t.Fatal(m, err)
		}
		var c *nave.C2D
		select {
		case c = <-l.got:
		case <-time.After(patience):
			t.Fatal("the message did not come")
		}
		if string(c.Body) != "hi" || c.App[0].Name != hub.SMSProperty {
			t.Errorf("%+v", c)
		}
		if err := l.line.Settle(ctx, c.Lock, nave.Complete); err != nil {
			t.Fatal(err)
		}
		r.await("DELIVERED", func() bool {
			got, err := r.admin().Message(ctx, s1, m.ID)
			return err == nil && got.Status == "DELIVERED"
		})
		l.end(nil)
	})
	t.Run("RP-11 expired", func(t *testing.T) {
		m, err := r.admin().SendSMS(ctx, s1, sim.SMSRequest{Payload: "late", Validity: 60}, sim.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		r.clock.set(noon.Add(time.Minute))
		r.tick()
		if got, err := r.admin().Message(ctx, s1, m.ID); err != nil || got.Status != "EXPIRED" {
			t.Error(got, err)
		}
	})
	t.Run("SM-1 valid for longer than other messages to devices", func(t *testing.T) {
		m, err := r.admin().SendSMS(ctx, s1, sim.SMSRequest{Payload: "hi", Validity: 604_800}, sim.Origin{})
		if err != nil || m.Status != "SUBMITTED" {
			t.Fatal(m, err)
		}
	})
}

func TestProperties(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	id := r.fixture(icc1)[0] + "-simCard"
	set := func(ops ...sim.PropertyOp) ([]sim.CustomProperty, error) {
		p, err := r.admin().ChangeProperties(ctx, sim.PropertyChange{Product: id, Ops: ops})
		if err != nil {
			return nil, err
		}
		return p.CustomProperty, nil
	}
	t.Run("C-132 C-133 added and replaced", func(t *testing.T) {
		for _, value := range []string{"blue", "red"} {
			got, err := set(sim.PropertyOp{Op: sim.SetProperty, Name: "colour", Value: value})
			if err != nil || len(got) != 1 || got[0].Value != value {
				t.Fatal(got, err)
			}
		}
		page, err := r.admin().List(ctx, &sim.Query{CustomProperty: []sim.CustomProperty{{Name: "colour", Value: "red"}}})
		if err != nil || page.Total != 1 {
			t.Error(page, err)
		}
	})
	t.Run("C-221 too many", func(t *testing.T) {
		var ops []sim.PropertyOp
		for n := range 20 {
			ops = append(ops, sim.PropertyOp{Op: sim.SetProperty, Name: fmt.Sprint("n", n), Value: ""})
		}
		_, err := set(ops...)
		wantFault(t, err, fault.SIMPropertyLimit)
		if got, err := set(sim.PropertyOp{Op: sim.RemoveProperty, Name: "colour"}); err != nil || len(got) != 0 {
			t.Error(got, err)
		}
	})
}

// TestRights has every kind of operation be refused without its right, and
// when a fault is injected.
func TestRights(t *testing.T) {
	ctx := context.Background()
	r := newRig(t)
	id := r.fixture(icc1)[0]
	reader := r.t.As(sim.Actor{Type: sim.Application, ID: "ro", Rights: sim.Read})
	if _, err := reader.List(ctx, &sim.Query{}); err != nil {
		t.Fatal(err)
	}
	_, err := reader.ChangeStatus(ctx, sim.StatusChange{Product: id + "-simCard", To: sim.Active})
	if p := sim.NewProblem(err, noon, "", ""); p.Code != "permission_missing" || p.Status != 403 {
		t.Errorf("%+v", p)
	}
	writer := r.t.As(sim.Actor{Type: sim.Application, ID: "rw", Rights: sim.Read | sim.Write})
	_, err = writer.Import(ctx, "HUBSIM_1", []sim.SIM{{}}, sim.Origin{})
	wantFault(t, err, fault.IotHubUnauthorizedAccess)
	if _, err := r.gate.Inject(gate.Rule{Op: "sim.change", Code: fault.SIMPlatformTimeout.ID, Family: fault.SIM}); err != nil {
		t.Fatal(err)
	}
	_, err = writer.ChangeStatus(ctx, sim.StatusChange{Product: id + "-simCard", To: sim.Active})
	wantFault(t, err, fault.SIMPlatformTimeout)
}
