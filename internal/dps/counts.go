package dps

import (
	"context"

	"github.com/nave-hub/nave/internal/store"
)

// Counts say how much there is of what devices bring and need.
type Counts struct {
	Enrollments   int `json:"enrollments"`
	Groups        int `json:"enrollmentGroups"`
	Registrations int `json:"registrations"`
}

// Counts returns how much is stored.
func (s *Service) Counts(ctx context.Context) (n Counts, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		for _, c := range []struct {
			to   *int
			kind string
		}{{&n.Enrollments, KindEnrollment}, {&n.Groups, KindGroup}, {&n.Registrations, KindRegistration}} {
			if *c.to, err = tx.CountDPS(c.kind); err != nil {
				return err
			}
		}
		return nil
	})
	return n, translated(err)
}
