package oauth

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// ServerOptions are what a Server is made with. Realm, DB and Bus are required.
type ServerOptions struct {
	Realm string    // whose clients: iot, sim
	Host  string    // of the hub, for notes between nodes
	DB    *store.DB // of the hub
	Bus   *bus.Bus

	Lifetime  time.Duration // of tokens, 1 h
	MaxTokens int           // live ones of a client, 10; the oldest goes first

	SourceFailures int           // failed authentications from one source within Window, 10; then it is refused for Window
	ClientFailures int           // failed ones for one client within Window, 100; then wrong secrets are answered with Throttled
	Window         time.Duration // 60 s

	// Ended hears, within the transaction, of tokens that ended before their
	// time; token is their hash.
	Ended func(tx *store.Tx, client string, token []byte) error
	Log   *slog.Logger
}

// Server issues and checks the tokens of one realm.
type Server struct {
	// Set by Open, then read only:
	o       ServerOptions
	db      *store.DB
	off     func()
	stop    context.CancelFunc
	work    sync.WaitGroup
	sources guard
	clients guard

	// Guarded by mu:
	mu    sync.Mutex
	known map[digest]*kept
	epoch int64 // counts what may have made known wrong
}

// Open starts a server; Close ends it.
func Open(ctx context.Context, o ServerOptions) (*Server, error) {
	o = o.withDefaults()
	s := &Server{o: o, db: o.DB, known: map[digest]*kept{}}
	s.sources = guard{limit: o.SourceFailures, window: o.Window, now: o.DB.Now}
	s.clients = guard{limit: o.ClientFailures, window: o.Window, now: o.DB.Now}
	var err error
	if s.off, err = o.Bus.Listen(s.subject(), func(in []byte) { s.heard(in) }); err != nil {
		return nil, err
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.work.Go(func() { s.sweep(ctx) })
	return s, nil
}

func (o ServerOptions) withDefaults() ServerOptions {
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	if o.MaxTokens == 0 {
		o.MaxTokens = 10
	}
	if o.SourceFailures == 0 {
		o.SourceFailures = 10
	}
	if o.ClientFailures == 0 {
		o.ClientFailures = 100
	}
	if o.Window == 0 {
		o.Window = time.Minute
	}
	if o.Ended == nil {
		o.Ended = func(*store.Tx, string, []byte) error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Close ends the server.
func (s *Server) Close() {
	s.off()
	s.stop()
	s.work.Wait()
}

// Lifetime returns how long tokens live.
func (s *Server) Lifetime() time.Duration { return s.o.Lifetime }

func (s *Server) subject() string { return "oauth." + s.o.Realm + "." + bus.Word(s.o.Host) }

// note tells other nodes of a client whose tokens have changed.
type note struct{ Node, Client string }

func (s *Server) heard(in []byte) {
	if n, ok := parseNote(in); ok && n.Node != s.o.Bus.Node() {
		s.forget(n.Client)
	}
}

// changed makes every node read the client's tokens again, once the
// transaction is durable.
func (s *Server) changed(tx *store.Tx, client string) {
	tx.After(func() {
		s.forget(client)
		s.o.Bus.Tell(s.subject(), note{s.o.Bus.Node(), client})
	})
}

// sweepEvery is the pause between removals of expired tokens.
const sweepEvery = time.Minute

func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.db.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.ExpireOAuthTokens(s.o.Realm, s.db.Now())
			return err
		})
		if err != nil && ctx.Err() == nil {
			s.o.Log.Warn("expired tokens could not be removed", "hub", s.o.Host, "err", err)
		}
	}
}

func away(err error) error {
	return fault.ServiceUnavailable.Wrap(err, "the store cannot be reached now")
}
