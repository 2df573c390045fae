package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// Options are what a hub is opened with. Host, DB, Bus and Gate are required.
type Options struct {
	Host    string   // host name as connection strings call it
	Aliases []string // other names that clients dial: gateways, localhost
	Limits  nave.Limits
	DB      *store.DB // scoped to this hub
	Bus     *bus.Bus
	Gate    *gate.Gate

	Partitions  int           // of the event log, 4
	Retention   time.Duration // of the event log, 24 h
	RetainBytes int64         // of the event log, 0: no limit
	Sources     []nave.Source // event sources besides Telemetry that go to the log

	DisableLocalAuth, DisableDeviceSAS, DisableModuleSAS bool

	DisabledCode     bool          // answer 403012 instead of 404001 or 401003 for a disabled device
	DeviceFaults     bool          // obey fault-injection messages of devices (device-protocols 6)
	ConnectionEvents time.Duration // how often connection states are published, 60 s
	FeedbackEvery    time.Duration // pause between feedback batches, 15 s

	// Bearer checks a JWT and returns whom it stands for; nil refuses all.
	Bearer func(ctx context.Context, token string) (*nave.Principal, error)
	// Report hears of each connection that ended for a reason and of each
	// failure that a surface answered; it must not block.
	Report func(op string, on nave.ID, why *fault.Error)

	Log *slog.Logger
}

// Hub is one IoT hub.
//
// Lock order: mu before a Line's mu; a Line's showing before its mu. No lock is
// held across a call into the store, the bus or a Peer, except showing across
// Peer.Desired, which keeps notifications and answers to GET in order.
type Hub struct {
	// Set by Open, then read only:
	o      Options
	name   string
	hosts  []string
	db     *store.DB
	bus    *bus.Bus
	gate   *gate.Gate
	events *bus.Log
	routed map[nave.Source]bool
	born   time.Time       // when the hub was created
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	start  sync.Mutex // of goroutines: none begins once stop was called
	work   sync.WaitGroup
	off    []func() // unsubscribe from the bus

	policies    atomic.Pointer[map[string]nave.Policy]
	authorities atomic.Pointer[[]authority]
	calls       atomic.Uint64 // last request id
	outbox      outbox
	counter     atomic.Uint64 // low half of connection event numbers
	feedbackAt  atomic.Int64  // last emission of a feedback batch, Unix nanoseconds
	readings    readings      // places of event readers, with a lock of its own

	meter        atomic.Pointer[Meter]
	onRegistered atomic.Pointer[func(DeviceChange)]
	onSettled    atomic.Pointer[func(device, messageID string, completed bool)]

	// Guarded by mu:
	mu          sync.Mutex
	seats       map[nave.ID]*seat
	moduleSeats int                       // seats of modules
	inflight    map[nave.ID]int           // open method calls
	arrivals    map[nave.ID]chan struct{} // closed when the identity starts to listen for methods
	dirty       map[nave.ID]nave.Presence // presence not yet written
	visits      map[nave.ID]time.Time     // activity over HTTPS not yet written
	news        map[nave.ID]state         // connection states not yet published
	played      map[nave.ID]played        // fault modes that devices asked for
	waiting     chan struct{}             // closed when feedback arrives
	claims      uint64                    // number of the last claim of a line
	hints       map[nave.ID]whereabouts   // of identities at other nodes, not yet in the store
	inquiries   map[string]bool           // nodes that are being looked for
	errands     []func()                  // calls of what SetRegistered and SetSettled have set
	running     bool                      // a goroutine works at them
}

// Open starts a hub on its part of the store and the bus.
func Open(ctx context.Context, o Options) (*Hub, error) {
	o = o.withDefaults()
	name, _, _ := strings.Cut(o.Host, ".")
	h := &Hub{
		o: o, name: name, hosts: append([]string{o.Host}, o.Aliases...), db: o.DB, bus: o.Bus, gate: o.Gate,
		routed: map[nave.Source]bool{}, seats: map[nave.ID]*seat{}, inflight: map[nave.ID]int{},
		arrivals: map[nave.ID]chan struct{}{}, dirty: map[nave.ID]nave.Presence{}, visits: map[nave.ID]time.Time{}, news: map[nave.ID]state{},
		played: map[nave.ID]played{}, hints: map[nave.ID]whereabouts{}, inquiries: map[string]bool{}, waiting: make(chan struct{}),
	}
	for _, s := range o.Sources {
		h.routed[s] = true
	}
	h.outbox.hub = h
	h.ctx, h.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := h.open(ctx); err != nil {
		h.stop()
		return nil, fmt.Errorf("hub %s: %w", o.Host, err)
	}
	return h, nil
}

func (o Options) withDefaults() Options {
	if o.Limits == (nave.Limits{}) {
		o.Limits = nave.Defaults()
	}
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	if o.Retention == 0 {
		o.Retention = 24 * time.Hour
	}
	if o.ConnectionEvents == 0 {
		o.ConnectionEvents = time.Minute
	}
	if o.FeedbackEvery == 0 {
		o.FeedbackEvery = 15 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Report == nil {
		o.Report = func(string, nave.ID, *fault.Error) {}
	}
	return o
}

func (h *Hub) open(ctx context.Context) (err error) {
	h.events, err = h.bus.Log(ctx, "events-"+bus.Word(h.o.Host), bus.LogOptions{
		Partitions: h.o.Partitions, MaxAge: h.o.Retention, MaxBytes: h.o.RetainBytes})
	if err != nil {
		return err
	}
	if err := h.db.Update(ctx, h.settle); err != nil {
		return err
	}
	if err := h.loadAuth(ctx); err != nil {
		return err
	}
	if err := h.listen(); err != nil {
		return err
	}
	h.work.Go(h.sweep)
	return nil
}

// settle makes the store agree with a node that has just started: it holds no
// line, and the policies exist.
func (h *Hub) settle(tx *store.Tx) error {
	if _, err := tx.ClearPresence(h.bus.Node()); err != nil {
		return err
	}
	if _, err := tx.ReleaseC2D(lockPrefix(h.bus.Node())); err != nil {
		return err
	}
	if err := h.noteBirth(tx); err != nil {
		return err
	}
	have, err := tx.Policies()
	if err != nil || len(have) > 0 {
		return err
	}
	for _, p := range nave.DefaultPolicies() {
		p.Primary, p.Secondary = cred.NewKey(), cred.NewKey()
		if err := tx.PutPolicy(p); err != nil {
			return err
		}
	}
	return nil
}

// noteBirth reads when the hub was created, at its first start writes it.
func (h *Hub) noteBirth(tx *store.Tx) error {
	const key = "created"
	text, err := tx.Setting(key)
	if errors.Is(err, store.ErrNone) {
		text = nave.Format(h.now())
		err = tx.PutSetting(key, text)
	}
	if err == nil {
		h.born, err = nave.ParseTime(text)
	}
	return err
}

// Created returns when the hub was created.
func (h *Hub) Created() time.Time { return h.born }

// Close ends every line with ServiceUnavailable and stops the hub. Store, bus
// and gate stay open.
func (h *Hub) Close() error {
	for _, stop := range h.off {
		stop()
	}
	for _, l := range h.lines() {
		l.shut(Whole, fault.ServiceUnavailable.New("the hub is shutting down"))
	}
	h.start.Lock()
	h.stop()
	h.start.Unlock()
	h.work.Wait()
	return h.flush(context.Background())
}

// Host returns the hub's host name.
func (h *Hub) Host() string { return h.o.Host }

// Name returns the first label of the host name.
func (h *Hub) Name() string { return h.name }

// Limits returns the limits that the hub enforces.
func (h *Hub) Limits() *nave.Limits { return &h.o.Limits }

// Gate returns the gate that the hub's operations enter through.
func (h *Hub) Gate() *gate.Gate { return h.gate }

// Answers says whether clients may call the hub by the host name, which may
// carry a port.
func (h *Hub) Answers(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	for _, name := range h.hosts {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

// Report passes a failure that a surface answered on to Options.Report.
func (h *Hub) Report(op string, on nave.ID, why *fault.Error) { h.o.Report(op, on, why) }

// Now returns the time on the hub's clock.
func (h *Hub) Now() time.Time { return h.now() }

func (h *Hub) now() time.Time { return h.db.Now() }
