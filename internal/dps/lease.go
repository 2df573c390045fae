package dps

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/store"
)

// KindNode is the kind of rows of nodes that serve the instance. The key is
// Service.opening, the time the end of the node's lease.
const KindNode = "node"

// A node holds all operations it works on by one lease, which it renews. When
// the lease has run out, or an earlier process of the same name has left it, any
// node takes its operations over.
const (
	leaseLife  = 30 * time.Second
	leaseRenew = 5 * time.Second
	resumeEach = 2 * time.Second
	strayEach  = time.Minute
	purgeEach  = 10 * time.Second
	purgeMost  = 500

	recordsKept = 90 * 24 * time.Hour // provisioning records
)

// sweep does what is due by time, until Close.
func (s *Service) sweep() {
	s.log("resuming operations", s.resume(true))
	second, resume := time.NewTicker(time.Second), time.NewTicker(resumeEach)
	purge, stray, renew := time.NewTicker(purgeEach), time.NewTicker(strayEach), time.NewTicker(leaseRenew)
	for _, t := range []*time.Ticker{second, resume, purge, stray, renew} {
		defer t.Stop()
	}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-second.C:
			s.pool.near.look()
			s.pool.far.look()
		case <-renew.C:
			s.log("renewing the lease", s.renew(s.ctx, leaseLife))
		case <-resume.C:
			s.log("resuming operations", s.resume(false))
			s.log("deleting moved devices", s.sweepWaste(s.ctx))
		case <-stray.C:
			s.log("looking for stray operations", s.strays())
		case <-purge.C:
			now := s.now()
			for _, b := range []*buckets{&s.failures, &s.registers, &s.polls, &s.lookups, &s.services} {
				b.sweep(now)
			}
			s.log("dropping old operations", s.purge(s.ctx))
		}
	}
}

func (s *Service) log(what string, err error) {
	if err != nil && s.ctx.Err() == nil {
		s.o.Log.Warn("the provisioning service's sweep failed", "at", what, "err", err)
	}
}

// renew sets how long the node's lease lasts from now.
func (s *Service) renew(ctx context.Context, life time.Duration) error {
	at := time.Now()
	err := s.db.Update(ctx, func(tx *store.Tx) error { return s.putLease(tx, life) })
	if err == nil {
		s.leased.Store(at.UnixNano())
	}
	return err
}

func (s *Service) putLease(tx *store.Tx, life time.Duration) error {
	return tx.PutDPS(&store.DPSRow{Kind: KindNode, Key: s.opening, At: s.now().Add(life), Doc: []byte("{}")})
}

// holds says whether the lease was renewed so lately that no other node can have
// taken an operation over.
func (s *Service) holds() bool {
	return time.Since(time.Unix(0, s.leased.Load())) < leaseLife/2
}

// resume takes over operations of nodes whose leases have run out; at the start
// also those of an earlier process with this node's name.
func (s *Service) resume(start bool) error {
	var dead []string
	err := s.db.View(s.ctx, func(tx *store.Tx) error {
		rows, err := tx.DPSBefore(KindNode, s.now(), purgeMost)
		if err == nil && start {
			node, _, _ := strings.Cut(s.opening, "/")
			var earlier []*store.DPSRow
			earlier, err = tx.DPSAfter(KindNode, node+"/", purgeMost)
			for _, row := range earlier {
				if strings.HasPrefix(row.Key, node+"/") {
					rows = append(rows, row)
				}
			}
		}
		for _, row := range rows {
			if row.Key != s.opening {
				dead = append(dead, row.Key)
			}
		}
		return err
	})
	for _, node := range dead {
		if err == nil {
			err = s.inherit(node)
		}
	}
	return err
}

// inherit takes over what a node has left, and drops its lease when nothing is
// left.
func (s *Service) inherit(node string) error {
	for s.ctx.Err() == nil {
		var rows []*store.DPSRow
		err := s.db.View(s.ctx, func(tx *store.Tx) (err error) { rows, err = tx.DPSByRef2(KindRunning, node, purgeMost); return err })
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return s.db.Update(s.ctx, func(tx *store.Tx) error {
				rows, err := tx.DPSByRef2(KindRunning, node, 1)
				if err != nil || len(rows) > 0 {
					return err
				}
				if err = tx.DeleteDPS(KindNode, node); errors.Is(err, store.ErrNone) {
					return nil // by another node
				}
				return err
			})
		}
		for _, row := range rows {
			if done, err := s.takeOver(row.Key, node); err != nil || !done {
				return err
			}
		}
	}
	return nil
}

// strays takes over operations whose node has no lease at all, which can be
// after its lease was dropped while it still accepted them and it ended then.
func (s *Service) strays() error {
	var stray []*store.DPSRow
	err := s.db.View(s.ctx, func(tx *store.Tx) error {
		known := map[string]bool{}
		for after := ""; ; {
			rows, err := tx.DPSAfter(KindRunning, after, purgeMost)
			if err != nil {
				return err
			}
			for _, row := range rows {
				alive, seen := known[row.Ref2]
				if !seen {
					_, err := tx.DPS(KindNode, row.Ref2)
					if err != nil && !errors.Is(err, store.ErrNone) {
						return err
					}
					alive = err == nil
					known[row.Ref2] = alive
				}
				if !alive && row.Ref2 != s.opening {
					stray = append(stray, row)
				}
			}
			if len(rows) < purgeMost {
				return nil
			}
			after = rows[len(rows)-1].Key
		}
	})
	for _, row := range stray {
		if err == nil {
			_, err = s.takeOver(row.Key, row.Ref2)
		}
	}
	return err
}

// takeOver makes an operation of the node this one's and queues it; false when
// the queue is full.
func (s *Service) takeOver(registration, node string) (bool, error) {
	lane := s.pool.lane(true) // what was left once may be slow again
	if lane.reserve() > 0 {
		return false, nil
	}
	var op *operation
	err := s.db.Update(s.ctx, func(tx *store.Tx) error {
		op = nil
		row, err := tx.DPS(KindRunning, registration)
		if errors.Is(err, store.ErrNone) || err == nil && row.Ref2 != node {
			return nil // it has ended, or somebody else was first
		}
		if err != nil {
			return err
		}
		found, err := decodeRow[operation](row)
		if err != nil {
			return err
		}
		found.Owner = s.opening
		if row, err = found.row(); err != nil {
			return err
		}
		op = found
		return tx.PutDPS(row)
	})
	if err != nil || op == nil {
		lane.unreserve()
		return err == nil, err
	}
	op.far = true
	s.pool.put(newJob(op, nil))
	return true, nil
}

// release gives up the lease at Close, so that other nodes need not wait.
func (s *Service) release(ctx context.Context) error {
	err := s.renew(ctx, 0)
	if errors.Is(err, store.ErrClosed) {
		return nil
	}
	return err
}

// purge drops operations and records that are older than they are kept.
func (s *Service) purge(ctx context.Context) error {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	for kind, age := range map[string]time.Duration{KindOperation: snap.standard.retention(), KindRecord: recordsKept} {
		for n := purgeMost; n == purgeMost && ctx.Err() == nil; {
			err := s.db.Update(ctx, func(tx *store.Tx) error {
				rows, err := tx.DPSBefore(kind, s.now().Add(-age), purgeMost)
				n = len(rows)
				for _, row := range rows {
					if err := tx.DeleteDPS(kind, row.Key); err != nil {
						return err
					}
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
