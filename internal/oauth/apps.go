package oauth

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/store"
)

// AppsOptions are what Apps are made with. Host, DB and Bus are required.
type AppsOptions struct {
	Host     string        // of the hub, without a scheme; issuer of the tokens
	DB       *store.DB     // of the process: the applications of all its tenants
	Bus      *bus.Bus      //
	Lifetime time.Duration // of tokens, 60 s – 1 h; 5 min
	Secret   []byte        // seals the signing keys in the store; empty: they are kept as they are
	Log      *slog.Logger
}

// Apps are the applications of the tenants of a process, with their
// credentials, and the issuer and verifier of their access tokens
// (connectivity-api 2). Its methods may be called from any goroutine.
type Apps struct {
	// Set by OpenApps, then read only:
	o     AppsOptions
	db    *store.DB
	log   *slog.Logger
	off   func()
	stop  context.CancelFunc
	work  sync.WaitGroup
	chain *chain

	// Guarded by mu:
	mu    sync.Mutex
	live  map[string]*standing // by client id
	epoch int64                // counts what may have made live wrong
}

// Life times of tokens (connectivity-api TK-6).
const (
	defaultTokenLife = 5 * time.Minute
	minTokenLife     = time.Minute
	maxTokenLife     = time.Hour
)

// OpenApps starts the applications of a process; Close ends it. The first start
// makes the key that signs tokens.
func OpenApps(ctx context.Context, o AppsOptions) (*Apps, error) {
	if o.Lifetime == 0 {
		o.Lifetime = defaultTokenLife
	}
	o.Lifetime = min(max(o.Lifetime, minTokenLife), maxTokenLife)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	a := &Apps{o: o, db: o.DB, log: o.Log, live: map[string]*standing{}}
	a.chain = &chain{db: o.DB, secret: o.Secret}
	if err := a.chain.open(ctx); err != nil {
		return nil, err
	}
	var err error
	if a.off, err = o.Bus.Listen(a.subject(), a.heard); err != nil {
		return nil, err
	}
	ctx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.work.Go(func() { a.sweep(ctx) })
	return a, nil
}

// Close ends the background work; tokens stay valid.
func (a *Apps) Close() {
	a.off()
	a.stop()
	a.work.Wait()
}

// Lifetime returns how long tokens live.
func (a *Apps) Lifetime() time.Duration { return a.o.Lifetime }

// Issuer returns the iss claim of the tokens.
func (a *Apps) Issuer() string { return "https://" + a.o.Host }

// Now returns the time by which tokens are judged.
func (a *Apps) Now() time.Time { return a.db.Now() }

func (a *Apps) subject() string { return "oauth.app." + bus.Word(a.o.Host) }

// keysChanged stands in a note instead of a client.
const keysChanged = "*keys"

func (a *Apps) heard(in []byte) {
	n, ok := parseNote(in)
	switch {
	case !ok || n.Node == a.o.Bus.Node():
	case n.Client == keysChanged:
		a.chain.age()
	default:
		a.forget(n.Client)
	}
}

// changed makes every node read the credential again, once the transaction is
// durable.
func (a *Apps) changed(tx *store.Tx, clients ...string) {
	tx.After(func() {
		for _, c := range clients {
			a.forget(c)
			a.o.Bus.Tell(a.subject(), note{a.o.Bus.Node(), c})
		}
	})
}

// sweep removes keys that no token can need any more.
func (a *Apps) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := a.db.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.DeleteTokenKeys(a.db.Now().Add(-2 * maxTokenLife))
			return err
		})
		if err != nil && ctx.Err() == nil {
			a.log.Warn("retired token keys could not be removed", "err", err)
		}
	}
}
