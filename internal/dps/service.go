package dps

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// Options are what a Service is opened with. Host, Scope, DB, Bus, Gate and Key
// are required.
type Options struct {
	Host    string   // service operations host name
	Aliases []string // other names of both endpoints
	Scope   string   // id scope of a new instance; the stored one wins

	DB   *store.DB // scoped to the instance
	Bus  *bus.Bus
	Gate *gate.Gate

	// Local returns the hub of this process with the host name, nil when there
	// is none.
	Local func(host string) Target
	// Remote returns a hub behind its service API by a connection string; nil:
	// NewRemote.
	Remote func(connection string) (Target, error)
	// Web calls webhooks; nil: a client that follows no redirects and calls no
	// private addresses.
	Web *http.Client
	// Locate says where a device calls from (geoLatency); nil: nowhere.
	Locate func(remote string) (location string)

	Workers  int           // registrations carried out at once in this process, 256; as many again may wait for webhooks and remote hubs
	Backlog  int           // registrations waiting on this node, 100,000; more are refused with 429001
	Patience time.Duration // how long a hub that is down is waited for, 60 s (dps 4.8)

	Key    []byte // 32 bytes that encrypt secrets at rest
	Report func(op string, registration string, why *fault.Error)
	Log    *slog.Logger
}

// Device operations. All answer faults of family DPS; Register may also answer
// a *Challenge.
type devices interface {
	// Register starts a registration, or returns the one under way (dps 2.2).
	Register(ctx context.Context, c *Claim, body []byte) (*Operation, error)
	// Status returns an operation of the claimed registration.
	Status(ctx context.Context, c *Claim, operation string) (*Operation, error)
	// Lookup returns the stored registration, without calling hub or webhook.
	Lookup(ctx context.Context, c *Claim, body []byte) (*DeviceResult, error)
	// Serves says whether the id scope, compared without case, is this one.
	Serves(scope string) bool
	// OpenTPM begins TPM attestation outside of HTTPS: it returns the
	// activation blob, and verify, which checks the token made with the key.
	// Any registration id gets a blob: what the enrolment says is judged by the
	// register that follows (dps 2.9.3).
	OpenTPM(ctx context.Context, c *Claim, ek, srk []byte) (blob []byte, verify func(token string) (*Proof, error), err error)
}

var _ devices = (*Service)(nil)

// Service is one provisioning instance on one node. Its methods may be called
// from any goroutine.
//
// No lock is held across a call into store, bus, hub or webhook, but for the
// catalogue's: who wants to read it while it is read waits for the result.
type Service struct {
	// Set by Open, then read only:
	o       Options
	scope   string
	opening string // node and opening, unique among all openings of all nodes
	db      *store.DB
	bus     *bus.Bus
	gate    *gate.Gate
	seal    *Sealer
	web     *http.Client
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	wake    chan struct{} // actions of device groups have begun
	work    sync.WaitGroup
	off     func()

	// With locks of their own:
	catalogue  catalogue // what is read on every call
	groupOf    *memory[string, string]
	paths      *memory[string, *pathFound]
	refused    *memory[string, time.Time]
	operations *memory[string, *operation]
	failures   buckets // failed attestations per address
	registers  buckets // registrations of the instance
	polls      buckets // per device
	lookups    buckets // per device
	services   buckets // operations of the service API
	pool       pool
	begins     *batch // transactions of Register
	ends       *batch // transactions of workers
	remotes    remotes
	hooks      hooks
	wasted     atomic.Bool  // this node has made rows of KindWaste
	leased     atomic.Int64 // when the lease was last renewed, Unix nanoseconds by the real clock
}

// scopeSetting is the store's setting that holds the id scope.
const scopeSetting = "dps.scope"

// Open starts the instance on its part of the store and the bus, and resumes
// registrations that an earlier node has left.
func Open(ctx context.Context, o Options) (*Service, error) {
	o = o.withDefaults()
	seal, err := NewSealer(o.Key)
	if err != nil {
		return nil, err
	}
	s := &Service{o: o, db: o.DB, bus: o.Bus, gate: o.Gate, seal: seal, web: o.Web, opening: o.Bus.Node() + "/" + rand.Text(), wake: make(chan struct{}, 1),
		groupOf: newMemory[string, string](groupsKept), paths: newMemory[string, *pathFound](pathsKept),
		refused: newMemory[string, time.Time](refusalsKept), operations: newMemory[string, *operation](operationsKept)}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.open(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("provisioning %s: %w", o.Host, err)
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Report == nil {
		o.Report = func(string, string, *fault.Error) {}
	}
	if o.Local == nil {
		o.Local = func(string) Target { return nil }
	}
	if o.Remote == nil {
		o.Remote = NewRemote
	}
	if o.Locate == nil {
		o.Locate = func(string) string { return "" }
	}
	if o.Workers == 0 {
		o.Workers = 256
	}
	if o.Backlog == 0 {
		o.Backlog = 100_000
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	return o
}

func (s *Service) open(ctx context.Context) (err error) {
	s.leased.Store(time.Now().UnixNano())
	if err := s.db.Update(ctx, s.settle); err != nil {
		return err
	}
	if err := s.reload(ctx); err != nil {
		return err
	}
	if s.off, err = s.bus.Listen(s.subject(), s.heard); err != nil {
		return err
	}
	s.begins, s.ends = newBatch(s), newBatch(s)
	s.pool.start(s)
	s.work.Go(s.sweep)
	s.work.Go(s.runActions)
	return nil
}

// settle reads the id scope, at the first start writes it with the default
// policy, and takes the node's lease.
func (s *Service) settle(tx *store.Tx) (err error) {
	s.scope, err = tx.Setting(scopeSetting)
	if errors.Is(err, store.ErrNone) {
		s.scope = s.o.Scope
		err = tx.PutSetting(scopeSetting, s.scope)
	}
	if err != nil {
		return err
	}
	if err := s.seedPolicy(tx); err != nil {
		return err
	}
	return s.putLease(tx, leaseLife)
}

// Close stops the instance. Registrations under way are resumed by the next
// start or by another node. Store, bus and gate stay open.
func (s *Service) Close() error {
	if s.ctx.Err() != nil {
		return nil
	}
	s.off()
	s.stop()
	s.work.Wait()
	return s.release(context.Background())
}

// Scope returns the id scope.
func (s *Service) Scope() string { return s.scope }

// Host returns the service operations host name.
func (s *Service) Host() string { return s.o.Host }

// Serves says whether the id scope, compared without case, is this one.
func (s *Service) Serves(scope string) bool { return strings.EqualFold(scope, s.scope) }

// Answers says whether clients may call the instance by the host name, which
// may carry a port.
func (s *Service) Answers(host string) bool {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	if strings.EqualFold(host, s.o.Host) {
		return true
	}
	for _, name := range s.o.Aliases {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

// Report passes a failure that a surface answered on to Options.Report.
func (s *Service) Report(op, registration string, why *fault.Error) {
	s.o.Report(op, registration, why)
}

// Now returns the time on the instance's clock.
func (s *Service) Now() time.Time { return s.now() }

func (s *Service) now() time.Time { return s.db.Now() }
