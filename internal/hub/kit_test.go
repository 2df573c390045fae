package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// kit is a hub on a real store and bus, with a clock that the test moves.
type kit struct {
	*hub.Backend
	hub    *hub.Hub
	gate   *gate.Gate
	db     *store.DB
	bus    *bus.Bus
	offset atomic.Int64
	t      *testing.T
}

func (k *kit) now() time.Time { return time.Now().Add(time.Duration(k.offset.Load())) }

func open(t *testing.T, change ...func(*hub.Options)) *kit {
	t.Helper()
	k := &kit{t: t}
	ctx := context.Background()
	log := quiet()
	var err error
	if k.db, err = store.Open(ctx, "sqlite::memory:", store.Options{Now: k.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	if k.bus, err = bus.Open(ctx, bus.Options{Now: k.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	db := k.db.Scope("hub.test")
	if k.gate, err = gate.New(ctx, gate.Options{Hub: "hub.test", DB: db, Now: k.now, Log: log}); err != nil {
		t.Fatal(err)
	}
	o := hub.Options{Host: "hub.test", DB: db, Bus: k.bus, Gate: k.gate, Log: log, Limits: nave.Defaults()}
	for _, f := range change {
		f(&o)
	}
	if k.hub, err = hub.Open(ctx, o); err != nil {
		t.Fatal(err)
	}
	k.Backend = k.hub.Backend(hub.Operator())
	t.Cleanup(func() {
		if err := errors.Join(k.hub.Close(), k.gate.Close(), k.bus.Close(), k.db.Close()); err != nil {
			t.Error(err)
		}
	})
	return k
}

// put registers an identity.
func (k *kit) put(name string, p nave.IdentityPatch) *nave.Identity {
	k.t.Helper()
	id, err := nave.ParseID(name)
	if err != nil {
		k.t.Fatal(err)
	}
	i, err := k.Put(context.Background(), id, &p, "")
	if err != nil {
		k.t.Fatal(err)
	}
	return i
}

// token signs a SAS token for a path below the host.
func (k *kit) token(path, key, policy string, life time.Duration) string {
	k.t.Helper()
	text, err := cred.Sign("hub.test"+path, key, policy, k.now().Add(life))
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}

// connect seats an identity by a token of its own.
func (k *kit) connect(i *nave.Identity, from hub.Arrival) (*hub.Line, *device) {
	k.t.Helper()
	ctx := context.Background()
	path := "/devices/" + i.ID.Device
	if i.ID.IsModule() {
		path += "/modules/" + i.ID.Module
	}
	who, err := k.hub.Authenticate(ctx, cred.Claim{SAS: k.token(path, i.Auth.Primary, "", time.Hour)}, i.ID)
	if err != nil {
		k.t.Fatal(err)
	}
	d := &device{got: make(chan any, 1000)}
	from.Peer = d
	l, err := k.hub.Connect(ctx, who, i.ID, from)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { l.Close(nil) })
	return l, d
}

var mqttArrival = hub.Arrival{Holds: hub.Everything, Endless: true, Protocol: "mqtt"}

// device is a peer that records what the hub hands over.
type device struct {
	got  chan any // *nave.C2D, *nave.Call, *nave.Change, closed
	deaf atomic.Bool
}

type closed struct {
	part hub.Part
	why  *fault.Error
}

func (d *device) Deliver(c *nave.C2D) error { return d.take(c) }
func (d *device) Invoke(c *nave.Call) error { return d.take(c) }
func (d *device) Desired(c *nave.Change) error {
	return d.take(c)
}
func (d *device) Close(what hub.Part, why *fault.Error) { d.got <- closed{what, why} }

func (d *device) take(v any) error {
	if d.deaf.Load() {
		return errors.New("deaf")
	}
	d.got <- v
	return nil
}

// next waits for the next thing of type T.
func next[T any](t *testing.T, d *device) T {
	t.Helper()
	select {
	case v := <-d.got:
		got, ok := v.(T)
		if !ok {
			t.Fatalf("got %T %+v, want %T", v, v, got)
		}
		return got
	case <-time.After(patience):
		var none T
		t.Fatalf("no %T came", none)
		return none
	}
}

// none checks that nothing has been handed over, after a settled round trip.
func none(t *testing.T, d *device) {
	t.Helper()
	select {
	case v := <-d.got:
		t.Fatalf("got %T %+v, want nothing", v, v)
	default:
	}
}

// wants checks that err carries the code.
func wants(t *testing.T, err error, code *fault.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("error %v, want %d %s", err, code.ID, code.Name)
	}
}

func (k *kit) c2d(on nave.ID, id string, ack nave.Ack) *nave.C2D {
	k.t.Helper()
	c := &nave.C2D{On: on, Message: nave.Message{Body: []byte(id), System: nave.System{MessageID: id, Ack: ack}}}
	if err := k.SendToDevice(context.Background(), c); err != nil {
		k.t.Fatal(err)
	}
	return c
}

// feedback takes what waits and returns it as "message status" lines.
func (k *kit) feedback() (lines []string) {
	k.t.Helper()
	b, err := k.TakeFeedback(context.Background())
	if err != nil {
		k.t.Fatal(err)
	}
	if b == nil {
		return nil
	}
	for _, r := range b.Records {
		lines = append(lines, fmt.Sprintf("%s %s", r.OriginalMessageID, r.Status))
	}
	if err := k.SettleFeedback(context.Background(), b.Lock, true); err != nil {
		k.t.Fatal(err)
	}
	return lines
}

// until repeats f until it is true: for what the hub does on its own time.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// quiet logs nothing unless NAVE_TEST_LOG is set.
func quiet() *slog.Logger {
	if os.Getenv("NAVE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}
