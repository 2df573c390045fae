package hubamqp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/amqp"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubamqp"
	"github.com/nave-hub/nave/internal/navetest"
	database "github.com/nave-hub/nave/internal/store"
)

const simWhy = "SIM HUBSIM-8900101000000000019 is SUSPENDED"

// bench is a hub with its AMQP surface, whose store the test writes to.
type bench struct {
	t    *testing.T
	hub  *hub.Hub
	db   *database.DB
	ctx  context.Context
	ln   net.Listener
	keys map[string]string
	work sync.WaitGroup
}

func openBench(t *testing.T) *bench {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	db, err := database.Open(ctx, "sqlite::memory:", database.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	bus1, err := bus.Open(ctx, bus.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, ctx: ctx, db: db.Scope(navetest.Host), keys: map[string]string{}}
	g, err := gate.New(ctx, gate.Options{Hub: navetest.Host, DB: b.db, Now: time.Now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if b.hub, err = hub.Open(ctx, hub.Options{Host: navetest.Host, DB: b.db, Bus: bus1, Gate: g, Log: log}); err != nil {
		t.Fatal(err)
	}
	if b.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s := hubamqp.New(hubamqp.Options{Hub: b.hub, Log: log})
	b.work.Go(func() {
		for {
			nc, err := b.ln.Accept()
			if err != nil {
				return
			}
			b.work.Go(func() { s.Serve(ctx, nc, nil, "amqpplain") })
		}
	})
	t.Cleanup(func() {
		b.ln.Close()
		cancel()
		b.work.Wait()
		if err := errors.Join(b.hub.Close(), g.Close(), bus1.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) token(name string) string {
	b.t.Helper()
	id, err := nave.ParseID(name)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.keys[name] == "" {
		i, err := b.hub.Backend(hub.Operator()).Put(b.ctx, id, &nave.IdentityPatch{}, "")
		if err != nil {
			b.t.Fatal(err)
		}
		b.keys[name] = i.Auth.Primary
	}
	text, err := cred.Sign(navetest.Host+"/devices/"+strings.Replace(name, "/", "/modules/", 1), b.keys[name], "", time.Now().Add(time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

func (b *bench) sim(device string, barred bool) {
	b.t.Helper()
	c := &nave.Connectivity{ProductID: "HUBSIM-8900101000000000019", Status: "ACTIVE"}
	if barred {
		c.Status, c.Barred, c.Why = "SUSPENDED", true, simWhy
	}
	if err := b.db.Update(b.ctx, func(tx *database.Tx) error { return tx.PutConnectivity(device, c) }); err != nil {
		b.t.Fatal(err)
	}
	b.hub.ConnectivityChanged(device)
}

func (b *bench) join() *party {
	b.t.Helper()
	nc, err := net.Dial("tcp", b.ln.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := try(b.t, nil, dialed{nc: nc})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// TestBarred follows connectivity-api RP-6.
func TestBarred(t *testing.T) {
	b := openBench(t)
	for _, name := range []string{"d1", "d1/m1", "d2"} {
		b.token(name)
	}
	b.sim("d1", false)
	p := b.join()
	d := p.desk()
	for _, name := range []string{"d1", "d1/m1", "d2"} {
		d.ok(b.token(name))
	}
	one, module, other := p.sender("/devices/d1/messages/events"), p.receiver("/devices/d1/modules/m1/messages/devicebound"), p.sender("/devices/d2/messages/events")

	b.sim("d1", true)
	for _, link := range []*thread{one, module} {
		if e := link.detached(amqp.UnauthorizedAccess); !strings.Contains(e.Description, simWhy) {
			t.Errorf("detached with %v", e)
		}
	}
	other.accepted(data("not concerned"))
	if e := p.refused(amqp.RoleSender, "/devices/d1/messages/events", amqp.UnauthorizedAccess); !strings.Contains(e.Description, simWhy) {
		t.Errorf("an attach is refused with %v", e)
	}
	for _, name := range []string{"d1", "d1/m1"} {
		if status, text := d.put(b.token(name)); status != 401 || !strings.Contains(text, simWhy) {
			t.Errorf("put-token of %s: %d %s", name, status, text)
		}
	}
	b.sim("d1", false)
	d.ok(b.token("d1"))
	p.sender("/devices/d1/messages/events").accepted(data("again"))
}

// TestReset follows connectivity-api RP-12.
func TestReset(t *testing.T) {
	b := openBench(t)
	p := b.join()
	d := p.desk()
	d.ok(b.token("d1"))
	link := p.sender("/devices/d1/messages/events")
	b.hub.CutOff("d1", fault.DeviceConnectionClosedRemotely.New("%s was reset", "HUBSIM-8900101000000000019"))
	select {
	case err := <-link.gone:
		if !strings.Contains(fmt.Sprint(err), "was reset") {
			t.Errorf("detached with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the link stays")
	}
	d.ok(b.token("d1"))
	p.sender("/devices/d1/messages/events").accepted(data("again"))
}
