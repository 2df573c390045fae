package dps

import (
	"context"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// Forget makes the service read its catalogue again.
func Forget(s *Service) { s.catalogue.changes.Add(1) }

// Await returns when an operation that this node works on has ended, or after
// a minute.
func Await(s *Service, id string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		op, ok := s.operations.get(id)
		if !ok {
			op, _ = s.stored(context.Background(), id)
		}
		if op == nil || op.Outcome != nil {
			return
		}
	}
}

// Derivations returns how many derived keys tokens were compared with so far.
func Derivations() int64 { return derivations.Load() }

// Sweep does at once what the sweep does by and by.
func Sweep(s *Service) error {
	for _, f := range []func() error{func() error { return s.renew(s.ctx, leaseLife) }, func() error { return s.resume(false) }, s.strays} {
		if err := f(); err != nil {
			return err
		}
	}
	if err := s.sweepWaste(s.ctx); err != nil {
		return err
	}
	return s.purge(s.ctx)
}

// Reserve fills the queue with n places that never come free; -n frees them.
func Reserve(s *Service, n int64) { s.pool.near.places.Add(n) }

// The kinds of rows that only this package writes.
const (
	Running = KindRunning
	Waste   = KindWaste
)

// Public says whether webhooks may be called at the address.
var Public = isPublic

// Row returns the row to store an enrolment in.
func Row(s *Service, e *Enrollment) (*store.DPSRow, error) { return s.enrollmentRow(e) }

// Seal closes a secret for its place in the store.
func Seal(s *Service, place, secret string) string { return s.seal.Seal(place, secret) }

// Serial returns a serial number as revocations name it.
var Serial = serialOf

// Hashed chooses a hub by the hashed policy.
var Hashed = hashed
