package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/nave-hub/nave/internal/bus"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// TenantOptions are one tenant: a hub and its part of the store.
type TenantOptions struct {
	Name string
	Hub  *hub.Hub
	DB   *store.DB // scoped to the hub
	Gate *gate.Gate
}

// Options are what a Service is opened with. Tenants, Bus and Key are required.
type Options struct {
	Tenants []TenantOptions
	Bus     *bus.Bus
	Key     []byte // 32 bytes; secrets of platform accounts are encrypted with it

	Retention    time.Duration // of usage, data sessions and messages; 13 months (US-2)
	MonitorKeep  time.Duration // of ended monitors and tasks, 7 days (MO-7)
	AsyncTimeout time.Duration // of asynchronous changes, 24 h (MO-7)
	MaxTask      int           // items of a task, 10,000; the surface has its own limit
	SyncTask     int           // most items of a task that is awaited, 100 (BK-6)
	BookEvery    time.Duration // of usage, 10 s (RP-8)
	TimersEvery  time.Duration // 60 s (RP-5)
	WorkEvery    time.Duration // how often monitors are looked at, 2 s

	Log *slog.Logger
}

// Service is the connectivity side of a process. Its methods may be called
// from any goroutine.
type Service struct {
	// Set by Open, then read only:
	o       Options
	tenants map[string]*Tenant
}

// Open starts the connectivity side: changes that were under way go on.
// ArgumentInvalid for options that make no sense.
func Open(ctx context.Context, o Options) (*Service, error) {
	o = o.withDefaults()
	if len(o.Key) != 32 {
		return nil, fault.ArgumentInvalid.New("the key of the connectivity API has %d bytes, it needs 32", len(o.Key))
	}
	s := &Service{o: o, tenants: map[string]*Tenant{}}
	for _, to := range o.Tenants {
		t, err := openTenant(ctx, s, to)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connectivity of %s: %w", to.Name, err), s.Close())
		}
		s.tenants[to.Name] = t
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Retention, 13 * 31 * 24 * time.Hour}, {&o.MonitorKeep, 7 * 24 * time.Hour}, {&o.AsyncTimeout, 24 * time.Hour},
		{&o.BookEvery, 10 * time.Second}, {&o.TimersEvery, time.Minute}, {&o.WorkEvery, 2 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.MaxTask == 0 {
		o.MaxTask = 10000
	}
	if o.SyncTask == 0 {
		o.SyncTask = 100
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Tenant returns the tenant, nil when there is none of the name.
func (s *Service) Tenant(name string) *Tenant { return s.tenants[name] }

// Tenants returns the names of the tenants, sorted.
func (s *Service) Tenants() []string { return slices.Sorted(maps.Keys(s.tenants)) }

// Tick does now what is due by time, for every tenant; it returns when all of
// it is done.
func (s *Service) Tick(ctx context.Context) error {
	var all []error
	for _, name := range s.Tenants() {
		all = append(all, s.tenants[name].Tick(ctx))
	}
	return errors.Join(all...)
}

// Stop has every call answer that the hub is stopping, from now on.
func (s *Service) Stop() {
	for _, t := range s.tenants {
		t.halted.Store(true)
	}
}

// Close stops, books usage and awaits what runs. Hubs, store and bus stay open.
func (s *Service) Close() error {
	s.Stop()
	var all []error
	for _, t := range s.tenants {
		all = append(all, t.close())
	}
	return errors.Join(all...)
}
