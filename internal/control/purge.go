package control

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// purge removes what ended before the time: items of feed data with their keys
// (iot-v1 FD-16), closed desired states and entries of the audit log.
func (c *Control) purge(ctx context.Context, before time.Time) error {
	errs := []error{c.purgeAmounts(ctx, func(tx *store.Tx) (int, error) { return tx.ExpireControlAudit(before, sweepAmount) })}
	for after := ""; ctx.Err() == nil; {
		var devices []*nave.ControlDevice
		err := c.db.View(ctx, func(tx *store.Tx) (err error) { devices, err = tx.Controls(after, sweepAmount); return err })
		if err != nil || len(devices) == 0 {
			return errors.Join(append(errs, err)...)
		}
		for _, d := range devices {
			after = d.ID
			if err := c.purgeDevice(ctx, d.ID, before); err != nil {
				return errors.Join(append(errs, err)...)
			}
		}
	}
	return ctx.Err()
}

func (c *Control) purgeDevice(ctx context.Context, device string, before time.Time) error {
	var items, desired []int64
	err := c.db.View(ctx, func(tx *store.Tx) (err error) {
		if items, err = tx.OldControlSources(device, before); err == nil {
			desired, err = tx.OldDesiredSources(device, before)
		}
		return err
	})
	for _, source := range items {
		err = errors.Join(err, c.purgeAmounts(ctx, func(tx *store.Tx) (int, error) { return tx.ExpireControlFeed(source, before, sweepAmount) }))
	}
	for _, source := range desired {
		err = errors.Join(err, c.purgeAmounts(ctx, func(tx *store.Tx) (int, error) { return tx.ExpireDesired(source, before, sweepAmount) }))
	}
	return err
}

// purgeAmounts repeats a removal of up to sweepAmount rows, each in a
// transaction of its own so that nobody waits long, until few are left.
func (c *Control) purgeAmounts(ctx context.Context, remove func(tx *store.Tx) (int, error)) error {
	for n := sweepAmount; n == sweepAmount; {
		if err := c.db.Update(ctx, func(tx *store.Tx) (err error) { n, err = remove(tx); return err }); err != nil {
			return err
		}
	}
	return nil
}
