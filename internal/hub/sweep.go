package hub

import (
	"context"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// expireSome ends up to sweepBatch messages: those past their expiry, and
// deliveries whose lock has run out.
func (h *Hub) expireSome(ctx context.Context) (more bool, err error) {
	now := h.now()
	due := false
	err = h.db.View(ctx, func(tx *store.Tx) error {
		expired, lapsed, err := tx.DueC2D(now, 1)
		due = len(expired)+len(lapsed) > 0
		return err
	})
	if err != nil {
		return false, err
	}
	if due {
		err = h.db.Update(ctx, func(tx *store.Tx) error {
			expired, lapsed, err := tx.DueC2D(now, sweepBatch)
			if err != nil {
				return err
			}
			more = len(expired) == sweepBatch || len(lapsed) == sweepBatch
			return h.endDue(tx, expired, lapsed)
		})
		if err != nil {
			return false, err
		}
	}
	return more, h.sweepFeedback(ctx)
}

func (h *Hub) endDue(tx *store.Tx, expired, lapsed []*nave.C2D) error {
	gone := map[nave.ID]map[int64]bool{}
	for _, c := range expired {
		if gone[c.On] == nil {
			gone[c.On] = map[int64]bool{}
		}
		gone[c.On][c.Seq] = true
		if err := h.finish(tx, c, nave.Expired); err != nil {
			return err
		}
	}
	for _, c := range lapsed {
		if gone[c.On][c.Seq] {
			continue
		}
		if err := h.fail(tx, c); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) sweepFeedback(ctx context.Context) error {
	if n, err := h.feedbackWaits(ctx); err != nil || n == 0 {
		return err
	}
	return h.db.Update(ctx, func(tx *store.Tx) error {
		tx.After(h.feedbackHere) // a lock may have run out
		_, err := tx.SweepFeedback(h.now(), h.o.Limits.FeedbackTries)
		return err
	})
}

// expire closes the line because its proof has run out (device-protocols 1.9).
func (l *Line) expire() {
	l.shut(Whole, fault.IotHubUnauthorized.Over("auth.skew", l.hub.o.Limits.Skew, "expired",
		"the token of %s has expired and was not renewed, renew it and reconnect", l.id))
}
