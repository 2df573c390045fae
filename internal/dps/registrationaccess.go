package dps

import (
	"context"
	"errors"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opRegistrationRead   = newOp("registration.read", RegistrationRead)
	opRegistrationDelete = newOp("registration.delete", RegistrationWrite)
	opRegistrationQuery  = newOp("registration.query", RegistrationRead)
)

var registrationFaults = Faults{fault.DPSDeviceRegistrationNotFound, fault.DPSRegistrationStatusConflict}

// Registration returns the registration state of a device (dps 3.5);
// DeviceRegistrationNotFound.
func (a *Access) Registration(ctx context.Context, id string) (*RegistrationState, error) {
	if err := a.enter(ctx, opRegistrationRead, id); err != nil {
		return nil, err
	}
	var r *Registration
	err := a.view(ctx, func(tx *store.Tx) (err error) {
		r, err = readRow[Registration](tx, KindRegistration, key(id))
		return err
	})
	if errors.Is(err, store.ErrNone) {
		return nil, fault.DPSDeviceRegistrationNotFound.New("the device %s has no registration", brief(id))
	}
	if err != nil {
		return nil, err
	}
	return &r.RegistrationState, nil
}

// DeleteRegistration removes the registration state, so that the device's next
// registration is a first one; the device on the hub stays (dps 3.5). It answers
// DeviceRegistrationNotFound, PreconditionFailed, and RegistrationStatusConflict
// while the device is being assigned.
func (a *Access) DeleteRegistration(ctx context.Context, id string, m Match) error {
	if err := a.enter(ctx, opRegistrationDelete, id); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		busy, err := assigning(tx, id)
		if err != nil {
			return err
		}
		if busy {
			return fault.DPSRegistrationStatusConflict.New("the device %s is being assigned", brief(id))
		}
		var etag string
		r, err := readRow[Registration](tx, KindRegistration, key(id))
		switch {
		case err == nil:
			etag = r.ETag
		case !errors.Is(err, store.ErrNone):
			return err
		}
		if err := m.Delete(etag, registrationFaults, "the registration of "+brief(id)); err != nil {
			return err
		}
		return forget(tx, r)
	})
}

// forget removes a registration and frees the place that it had in its group.
func forget(tx *store.Tx, r *Registration) error {
	if err := tx.DeleteDPS(KindRegistration, key(r.RegistrationID)); err != nil {
		return err
	}
	if r.Group == "" || r.AssignedHub == "" {
		return nil
	}
	g, err := groupRecord(tx, r.Group)
	if err != nil || g.Count == 0 {
		return err
	}
	g.Count--
	return putGroupRecord(tx, g)
}

// GroupRegistrations returns the registration states of a group's members, in
// the order of ids (dps 3.5); EnrollmentGroupNotFound.
func (a *Access) GroupRegistrations(ctx context.Context, group, token string, limit int) ([]*RegistrationState, string, error) {
	if err := a.enter(ctx, opRegistrationQuery, group); err != nil {
		return nil, "", err
	}
	l := &listing[*RegistrationState]{name: "registrations/" + key(group),
		rows: func(tx *store.Tx, after string, n int) ([]*store.DPSRow, error) {
			if _, err := tx.DPS(KindGroup, key(group)); err != nil {
				return nil, missing(err, KindGroup, group)
			}
			return tx.DPSByRef(KindRegistration, key(group), after, n)
		},
		take: func(_ *store.Tx, row *store.DPSRow) (*RegistrationState, bool, error) {
			r, err := decodeRow[Registration](row)
			if err != nil {
				return nil, false, err
			}
			return &r.RegistrationState, true, nil
		}}
	return page(ctx, a, l, token, limit)
}
