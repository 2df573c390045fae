package hubhttp_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/hubhttp"
	"github.com/nave-hub/nave/internal/store"
)

// The store and the bus that all hubs of the tests share.
var (
	sharedDB  *store.DB
	sharedBus *bus.Bus
	quiet     = slog.New(slog.NewTextHandler(io.Discard, nil))
	hubs      atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	if sharedBus, err = bus.Open(ctx, bus.Options{Log: quiet}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer sharedBus.Close()
	if sharedDB, err = store.Open(ctx, "sqlite::memory:", store.Options{Log: quiet, Now: now}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer sharedDB.Close()
	return m.Run()
}

// ahead is how far the hubs' clock is before the real one.
var ahead atomic.Int64

func now() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }

// rig is a hub behind a TLS server.
type rig struct {
	t      *testing.T
	host   string
	hub    *hub.Hub
	gate   *gate.Gate
	server *httptest.Server
	front  *hubhttp.Server
	all    *hub.Backend // of the operator

	mu      sync.Mutex
	vars    map[string]string
	peers   map[nave.ID]*peer
	reports []report
	client  tls.Config
}

type report struct {
	op  string
	on  nave.ID
	why *fault.Error
}

// options change what a rig is made of.
type options struct {
	hub  func(*hub.Options)
	gate func(*gate.Options)
	http func(*hubhttp.Options)
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	ctx := context.Background()
	r := &rig{t: t, host: fmt.Sprintf("myhub%d.test", hubs.Add(1)), vars: map[string]string{}, peers: map[nave.ID]*peer{}}
	db := sharedDB.Scope(r.host)
	limits := gate.Options{Hub: r.host, DB: db, Now: now, Log: quiet}
	if o.gate != nil {
		o.gate(&limits)
	}
	var err error
	if r.gate, err = gate.New(ctx, limits); err != nil {
		t.Fatal(err)
	}
	ho := hub.Options{Host: r.host, Aliases: []string{"127.0.0.1"}, Limits: nave.Defaults(), DB: db, Bus: sharedBus, Gate: r.gate, Log: quiet,
		FeedbackEvery: time.Millisecond, Report: r.report}
	if o.hub != nil {
		o.hub(&ho)
	}
	if r.hub, err = hub.Open(ctx, ho); err != nil {
		t.Fatal(err)
	}
	xo := hubhttp.Options{Hub: r.hub, Tier: "S1 x1", Log: quiet}
	if o.http != nil {
		o.http(&xo)
	}
	r.front = hubhttp.New(xo)
	r.server = httptest.NewUnstartedServer(r.front)
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	r.server.StartTLS()
	r.client = tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	r.all = r.hub.Backend(hub.Operator())
	t.Cleanup(func() {
		r.server.Close()
		for _, p := range r.peers {
			p.line.Close(nil)
		}
		if err := r.hub.Close(); err != nil {
			t.Error(err)
		}
		if err := r.gate.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) report(op string, on nave.ID, why *fault.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, report{op, on, why})
}

// seen returns the reports so far.
func (r *rig) seen() []report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]report(nil), r.reports...)
}

// create registers an identity and returns it.
func (r *rig) create(id string, change ...func(*nave.IdentityPatch)) *nave.Identity {
	r.t.Helper()
	on := parseID(r.t, id)
	p := &nave.IdentityPatch{}
	for _, f := range change {
		f(p)
	}
	i, err := r.all.Put(context.Background(), on, p, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

func parseID(t *testing.T, text string) nave.ID {
	t.Helper()
	id, err := nave.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// peer records what the hub hands to a live device, and answers methods.
type peer struct {
	line    *hub.Line
	answer  func(c *nave.Call) *nave.Reply // nil: never; its nil reply: not yet
	calls   chan *nave.Call
	desired chan *nave.Change
	closed  chan *fault.Error
}

func (p *peer) Deliver(*nave.C2D) error { return nil }

func (p *peer) Invoke(c *nave.Call) error {
	p.calls <- c
	if p.answer != nil {
		if reply := p.answer(c); reply != nil {
			go p.line.Answer(c.ID, *reply)
		}
	}
	return nil
}

func (p *peer) Desired(c *nave.Change) error {
	p.desired <- c
	return nil
}

func (p *peer) Close(_ hub.Part, why *fault.Error) {
	select {
	case p.closed <- why:
	default:
	}
}

// connect opens a live line of the identity, which must be there.
func (r *rig) connect(id string, answer func(*nave.Call) *nave.Reply) *peer {
	r.t.Helper()
	on := parseID(r.t, id)
	p := &peer{answer: answer, calls: make(chan *nave.Call, 200), desired: make(chan *nave.Change, 200), closed: make(chan *fault.Error, 1)}
	i, err := r.all.Device(context.Background(), on)
	if err != nil {
		r.t.Fatal(err)
	}
	who := &nave.Principal{Name: id, Rights: nave.DeviceConnect, Only: on, Proof: "sas", Generation: i.Generation}
	p.line, err = r.hub.Connect(context.Background(), who, on, hub.Arrival{Peer: p, Holds: hub.Everything, Protocol: "mqtt"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	old := r.peers[on]
	r.peers[on] = p
	r.mu.Unlock()
	if old != nil {
		old.line.Close(nil)
	}
	return p
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// next waits for a value.
func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
		panic("unreachable")
	}
}
