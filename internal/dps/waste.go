package dps

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// KindWaste is the kind of rows of devices that have moved and are still to be
// deleted from their former hubs. Its key is hub and device, its ref the
// registration, its time the next try or, while somebody deletes, the end of the
// lease.
const KindWaste = "waste"

// waste is a device on a former hub.
type waste struct {
	Registration string `json:"registrationId"`
	Hub          string `json:"hub"`
	Device       string `json:"deviceId"`
	Tries        int    `json:"tries,omitzero"`
	Owner        string `json:"owner,omitzero"` // who deletes now, "" for nobody
}

// Times of deleting.
const (
	wasteTime  = 30 * time.Second // lease
	wasteCall  = 10 * time.Second
	wasteFirst = 5 * time.Second // before the second try; doubles up to wasteLast
	wasteLast  = time.Hour
)

func (w *waste) key() string { return key(w.Hub) + "/" + w.Device }

func (w *waste) row(at time.Time) (*store.DPSRow, error) {
	row, err := newRow(KindWaste, w.key(), w)
	if err == nil {
		row.Ref, row.At = key(w.Registration), at
	}
	return row, err
}

// clean deletes the device from its former hub, whose lease is ours, and notes
// when to try again if that fails.
func (s *Service) clean(ctx context.Context, link *LinkedHub, w *waste) {
	err := s.deleteFrom(ctx, link, w.Device)
	if err != nil {
		s.o.Log.Warn("a device that has moved could not be deleted from its former hub", "registration", w.Registration, "hub", w.Hub, "device", w.Device, "err", err)
	}
	done := err == nil
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		now, err := readRow[waste](tx, KindWaste, w.key())
		if errors.Is(err, store.ErrNone) || err == nil && now.Owner != s.opening {
			return nil
		}
		if err != nil {
			return err
		}
		if done {
			return tx.DeleteDPS(KindWaste, w.key())
		}
		now.Owner, now.Tries = "", now.Tries+1
		row, err := now.row(s.now().Add(min(wasteFirst<<min(now.Tries-1, 12), wasteLast)))
		if err != nil {
			return err
		}
		return tx.PutDPS(row)
	})
	if err != nil && ctx.Err() == nil { // the lease runs out and the sweep goes on
		s.o.Log.Warn("a deletion could not be noted", "hub", w.Hub, "device", w.Device, "err", err)
	}
}

func (s *Service) deleteFrom(ctx context.Context, link *LinkedHub, device string) error {
	ctx, cancel := context.WithTimeout(ctx, wasteCall)
	defer cancel()
	t, err := s.target(link)
	if err != nil {
		return err
	}
	return t.DeleteDevice(ctx, device)
}

// unwaste keeps a device that comes back to a hub from being deleted there;
// ServiceUnavailable while somebody is at it.
func (s *Service) unwaste(ctx context.Context, d *dossier, p *placed) error {
	name := (&waste{Hub: p.plan.link.Name, Device: p.device}).key()
	for _, row := range d.waste {
		if row.Key != name {
			continue
		}
		return s.db.Update(ctx, func(tx *store.Tx) error {
			w, err := readRow[waste](tx, KindWaste, name)
			if errors.Is(err, store.ErrNone) {
				return nil
			}
			if err != nil {
				return err
			}
			if row, err := tx.DPS(KindWaste, name); err != nil || w.Owner != "" && row.At.After(s.now()) {
				return errors.Join(err, fault.ServiceUnavailable.New("the device is just being deleted from the hub that it comes back to"))
			}
			return tx.DeleteDPS(KindWaste, name)
		})
	}
	return nil
}

// sweepWaste deletes what is due, unless its registration is under way or has
// come back.
func (s *Service) sweepWaste(ctx context.Context) error {
	var due []*store.DPSRow
	err := s.db.View(ctx, func(tx *store.Tx) (err error) { due, err = tx.DPSBefore(KindWaste, s.now(), 20); return err })
	if err != nil {
		return err
	}
	for _, row := range due {
		w, err := decodeRow[waste](row)
		if err != nil {
			return err
		}
		link, err := s.lease(ctx, w)
		if err != nil {
			return err
		}
		if link != nil {
			s.clean(ctx, link, w)
		}
	}
	return nil
}

// lease takes the deletion for this node; nil when there is none to do now.
func (s *Service) lease(ctx context.Context, w *waste) (link *LinkedHub, err error) {
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		link = nil
		row, err := tx.DPS(KindWaste, w.key())
		if errors.Is(err, store.ErrNone) || err == nil && row.At.After(s.now()) {
			return nil
		}
		if err != nil {
			return err
		}
		if busy, err := assigning(tx, w.Registration); err != nil || busy {
			return err
		}
		r, err := readRow[Registration](tx, KindRegistration, key(w.Registration))
		if err != nil && !errors.Is(err, store.ErrNone) {
			return err
		}
		back := err == nil && key(r.AssignedHub) == key(w.Hub) && r.DeviceID == w.Device
		l := snap.hubs[key(w.Hub)]
		if back || l == nil { // an unlinked hub is nobody's to clean
			return tx.DeleteDPS(KindWaste, w.key())
		}
		w.Owner = s.opening
		if row, err = w.row(s.now().Add(wasteTime)); err != nil {
			return err
		}
		link = l
		return tx.PutDPS(row)
	})
	return link, err
}
