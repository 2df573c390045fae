package dps_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/dps"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

const (
	rigScope = "0ne00ABCDEF"
	rigHost  = "dps.test"
	hubA     = "hub-a.test"
	hubB     = "hub-b.test"
)

var rigKey = []byte("0123456789abcdef0123456789abcdef")

// rig is a provisioning service with two hubs on a real store and bus, with a
// clock that the test moves.
type rig struct {
	*dps.Access
	service *dps.Service
	db      *store.DB
	bus     *bus.Bus
	gate    *gate.Gate
	hubs    map[string]*hub.Hub
	gates   []*gate.Gate
	offset  *atomic.Int64
	stood   atomic.Int64 // when the clock was stopped, Unix nanoseconds; 0: it runs
	options dps.Options
	t       testing.TB
	outage  bool // the test has closed the store

	// Guarded by mu:
	mu   sync.Mutex
	down map[string]bool // hubs that cannot be reached
}

func (k *rig) now() time.Time {
	at := time.Now()
	if stood := k.stood.Load(); stood != 0 {
		at = time.Unix(0, stood)
	}
	return at.Add(time.Duration(k.offset.Load()))
}

// freeze stops the clock: from now on only pass moves it, so that no bucket
// fills by itself.
func (k *rig) freeze() { k.stood.Store(time.Now().UnixNano()) }

// pass moves the clock.
func (k *rig) pass(d time.Duration) { k.offset.Add(int64(d)) }

func quiet() *slog.Logger {
	if os.Getenv("NAVE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// start opens a rig in memory with both hubs linked.
func start(t testing.TB, change ...func(*dps.Options)) *rig {
	k := openRig(t, "sqlite::memory:", &atomic.Int64{}, change...)
	k.link(hubA, 1)
	k.link(hubB, 1)
	return k
}

func newOffset() *atomic.Int64 { return &atomic.Int64{} }

func openRig(t testing.TB, url string, offset *atomic.Int64, change ...func(*dps.Options)) *rig {
	t.Helper()
	k := &rig{t: t, hubs: map[string]*hub.Hub{}, down: map[string]bool{}, offset: offset}
	ctx := context.Background()
	db, err := store.Open(ctx, url, store.Options{Now: k.now, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	k.db = db
	if k.bus, err = bus.Open(ctx, bus.Options{Node: "n1", Now: k.now, Log: quiet()}); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{hubA, hubB} {
		scoped := db.Scope(host)
		g, err := gate.New(ctx, gate.Options{Hub: host, DB: scoped, Now: k.now, Log: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		k.gates = append(k.gates, g)
		if k.hubs[host], err = hub.Open(ctx, hub.Options{Host: host, DB: scoped, Bus: k.bus, Gate: g, Log: quiet(), Limits: nave.Defaults()}); err != nil {
			t.Fatal(err)
		}
	}
	if k.gate, err = gate.New(ctx, gate.Options{Hub: rigHost, DB: db.Scope(rigHost), Now: k.now, Log: quiet()}); err != nil {
		t.Fatal(err)
	}
	k.options = dps.Options{Host: rigHost, Scope: rigScope, DB: db.Scope(rigHost), Bus: k.bus, Gate: k.gate, Key: rigKey, Log: quiet(), Local: k.local}
	for _, f := range change {
		f(&k.options)
	}
	k.open()
	t.Cleanup(k.shut)
	return k
}

func (k *rig) open() {
	k.t.Helper()
	var err error
	if k.service, err = dps.Open(context.Background(), k.options); err != nil {
		k.t.Fatal(err)
	}
	k.Access = k.service.Operator()
}

// restart closes the service and opens it again.
func (k *rig) restart() {
	k.t.Helper()
	if err := k.service.Close(); err != nil {
		k.t.Error(err)
	}
	k.open()
}

func (k *rig) shut() {
	err := k.service.Close()
	for _, h := range k.hubs {
		err = errors.Join(err, h.Close())
	}
	for _, g := range append(k.gates, k.gate) {
		err = errors.Join(err, g.Close())
	}
	if err = errors.Join(err, k.bus.Close(), k.db.Close()); err != nil && !k.outage {
		k.t.Error(err)
	}
}

// local is a hub of the rig, which a test may cut off.
func (k *rig) local(host string) dps.Target {
	h := k.hubs[host]
	if h == nil {
		return nil
	}
	return &cable{dps.LocalTarget(h), k, host}
}

// cut takes a hub off the net, or brings it back.
func (k *rig) cut(host string, off bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down[host] = off
}

// cable is the way to a real hub; only the way can be broken.
type cable struct {
	dps.Target
	k    *rig
	host string
}

func (c *cable) cut() error {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	if c.k.down[c.host] {
		return fault.ServiceUnavailable.New("the hub %s cannot be reached", c.host)
	}
	return nil
}

func (c *cable) Place(ctx context.Context, id string, p *dps.Placement) (*nave.Identity, error) {
	if err := c.cut(); err != nil {
		return nil, err
	}
	return c.Target.Place(ctx, id, p)
}

func (c *cable) DeleteDevice(ctx context.Context, id string) error {
	if err := c.cut(); err != nil {
		return err
	}
	return c.Target.DeleteDevice(ctx, id)
}

func (c *cable) Twin(ctx context.Context, id string) (*nave.Twin, error) {
	if err := c.cut(); err != nil {
		return nil, err
	}
	return c.Target.Twin(ctx, id)
}

// whatever is there may be replaced.
var whatever = dps.Match{IfMatch: "*"}

// row stores what no operation of the service API is needed for.
func (k *rig) row(kind, key, ref, ref2 string, v any) {
	k.t.Helper()
	doc, err := jsonv2.Marshal(v)
	if err == nil {
		err = k.options.DB.Update(context.Background(), func(tx *store.Tx) error {
			return tx.PutDPS(&store.DPSRow{Kind: kind, Key: key, Ref: ref, Ref2: ref2, Doc: doc})
		})
	}
	if err != nil {
		k.t.Fatal(err)
	}
	dps.Forget(k.service)
}

// stored reads a row.
func stored[T any](k *rig, kind, key string) *T {
	k.t.Helper()
	v := new(T)
	err := k.options.DB.View(context.Background(), func(tx *store.Tx) error {
		row, err := tx.DPS(kind, key)
		if err != nil {
			return err
		}
		return jsonv2.Unmarshal(row.Doc, v)
	})
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return v
}

func (k *rig) link(host string, weight int) {
	k.row(dps.KindHub, host, "", "", &dps.LinkedHub{Name: host, Local: true, Weight: weight})
}

func (k *rig) unlink(host string) {
	k.t.Helper()
	err := k.options.DB.Update(context.Background(), func(tx *store.Tx) error { return tx.DeleteDPS(dps.KindHub, host) })
	if err != nil {
		k.t.Fatal(err)
	}
	dps.Forget(k.service)
}

// rawEnrollment stores an enrolment past the checks of the service API.
func (k *rig) rawEnrollment(e *dps.Enrollment) {
	k.t.Helper()
	row, err := dps.Row(k.service, e)
	if err == nil {
		err = k.options.DB.Update(context.Background(), func(tx *store.Tx) error { return tx.PutDPS(row) })
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *rig) settings(p *dps.Settings) { k.row(dps.KindSettings, p.ID, "", "", p) }

// enroll makes an individual enrolment with a symmetric key.
func (k *rig) enroll(id string, change ...func(*dps.Enrollment)) *dps.Enrollment {
	k.t.Helper()
	e := &dps.Enrollment{RegistrationID: id, Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{Primary: cred.NewLongKey(), Secondary: cred.NewLongKey()}}}
	return k.enrolled(e, change...)
}

// group makes an enrolment group with a symmetric key.
func (k *rig) group(id string, change ...func(*dps.Enrollment)) *dps.Enrollment {
	k.t.Helper()
	e := &dps.Enrollment{GroupID: id, Attestation: &dps.Attestation{Type: dps.AttestKey, SymmetricKey: &dps.SymmetricKey{Primary: cred.NewLongKey(), Secondary: cred.NewLongKey()}}}
	return k.enrolled(e, change...)
}

// enrolled stores e, over one that is there.
func (k *rig) enrolled(e *dps.Enrollment, change ...func(*dps.Enrollment)) *dps.Enrollment {
	k.t.Helper()
	for _, f := range change {
		f(e)
	}
	ctx := context.Background()
	put, get := k.PutEnrollment, k.Enrollment
	if e.IsGroup() {
		put, get = k.PutGroup, k.Group
	}
	m := dps.Match{}
	if _, err := get(ctx, e.ID()); err == nil {
		m = whatever
	}
	n, err := put(ctx, e.ID(), e, m)
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

// key returns the primary key that the device with the id has of e.
func keyOf(t testing.TB, e *dps.Enrollment, id string) string {
	t.Helper()
	k := e.Attestation.SymmetricKey.Primary
	if !e.IsGroup() {
		return k
	}
	derived, err := cred.Derive(k, id)
	if err != nil {
		t.Fatal(err)
	}
	return derived
}

var modern = dps.Version{Day: "2021-06-01"}

// claim is a device's with a token signed with the key.
func (k *rig) claim(id, key string) *dps.Claim {
	k.t.Helper()
	token, err := cred.Sign(rigScope+"/registrations/"+id, key, "registration", k.now().Add(time.Hour))
	if err != nil {
		k.t.Fatal(err)
	}
	return &dps.Claim{Scope: rigScope, ID: id, SAS: token, Version: modern, Transport: "https", Remote: "192.0.2.7:4711"}
}

// by is the claim of a device of the enrolment.
func (k *rig) by(e *dps.Enrollment, id string) *dps.Claim { return k.claim(id, keyOf(k.t, e, id)) }

func certClaim(id string, certs ...*x509.Certificate) *dps.Claim {
	return &dps.Claim{Scope: rigScope, ID: id, Certs: certs, Version: modern, Transport: "https", Remote: "192.0.2.7:4711"}
}

// register carries a registration to its end.
func (k *rig) register(c *dps.Claim, body string) *dps.Operation {
	k.t.Helper()
	op, err := k.service.Register(context.Background(), c, []byte(body))
	if err != nil {
		k.t.Fatalf("register %s: %v", c.ID, err)
	}
	return k.await(c, op.ID)
}

// await polls once, when the operation has ended.
func (k *rig) await(c *dps.Claim, id string) *dps.Operation {
	k.t.Helper()
	dps.Await(k.service, id)
	op, err := k.service.Status(context.Background(), c, id)
	if err != nil {
		k.t.Fatalf("status of %s: %v", c.ID, err)
	}
	if op.State == nil {
		k.t.Fatalf("the operation of %s has not ended: %+v", c.ID, op)
	}
	return op
}

// assigned checks that the operation ended well.
func assigned(t testing.TB, op *dps.Operation) *dps.DeviceResult {
	t.Helper()
	if op.Status != dps.Assigned || op.State == nil || op.State.Status != dps.Assigned || op.State.AssignedHub == "" || op.State.DeviceID == "" {
		b, _ := jsonv2.Marshal(op)
		t.Fatalf("not assigned: %s", b)
	}
	return op.State
}

// failed checks that the operation failed with the number.
func failed(t testing.TB, op *dps.Operation, code int) *dps.DeviceResult {
	t.Helper()
	if op.Status != dps.Failed || op.State == nil || op.State.ErrorCode != code || op.State.ErrorMessage == "" {
		b, _ := jsonv2.Marshal(op)
		t.Fatalf("not failed with %d: %s", code, b)
	}
	return op.State
}

// device reads an identity off a hub; nil when there is none.
func (k *rig) device(host, id string) *nave.Identity {
	k.t.Helper()
	i, err := k.hubs[host].Backend(hub.Operator()).Device(context.Background(), nave.ID{Device: id})
	if errors.Is(err, fault.DeviceNotFound) {
		return nil
	}
	if err != nil {
		k.t.Fatal(err)
	}
	return i
}

func (k *rig) twin(host, id string) *nave.Twin {
	k.t.Helper()
	v, err := k.hubs[host].Backend(hub.Operator()).Twin(context.Background(), nave.ID{Device: id})
	if err != nil {
		k.t.Fatal(err)
	}
	return v.Twin
}

// wants checks that err carries the code.
func wants(t testing.TB, err error, code *fault.Code) *fault.Error {
	t.Helper()
	if !errors.Is(err, code) {
		t.Fatalf("error %v, want %d %s", err, code.ID, code.Name)
	}
	e := fault.From(err)
	if e.Code.HTTP == 429 && (e.After < 2*time.Second || e.After > 300*time.Second || e.After%time.Second != 0) {
		t.Fatalf("429 with Retry-After %v", e.After)
	}
	return e
}

// until repeats f until it is true: for what the service does on its own time.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func wire(t testing.TB, v any) string {
	t.Helper()
	b, err := jsonv2.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func raw(text string) json.RawMessage { return json.RawMessage(text) }
