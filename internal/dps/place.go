package dps

import (
	"context"
	"errors"
	"strings"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// auth returns how the device proves itself to its hub (dps 2.8, 2.9, 2.10).
func (s *Service) auth(j *job, d *dossier) (nave.Auth, error) {
	op, e := j.op, d.enrollment
	if j.issued != nil {
		short, _ := cred.Thumbprints(j.issued.leaf())
		return nave.Auth{Type: nave.AuthSelfSigned, PrimaryThumbprint: short}, nil
	}
	switch op.Kind {
	case AttestX509:
		leaf := certificate(op.Leaf)
		if leaf == nil {
			return nave.Auth{}, errors.New("dps: the stored certificate is unreadable")
		}
		a := nave.Auth{Type: nave.AuthSelfSigned}
		a.PrimaryThumbprint, _ = cred.Thumbprints(leaf)
		if x := e.Attestation.X509; !e.IsGroup() && x != nil && x.Client != nil && x.Client.Secondary != nil {
			if second, err := x.Client.Secondary.Parse(); err == nil {
				a.SecondThumbprint, _ = cred.Thumbprints(second)
			}
		}
		return a, nil
	case AttestKey:
		keys := e.Attestation.Keys()
		if len(keys) != 2 {
			return nave.Auth{}, fault.DPSArgumentInvalid.New("the enrollment has no symmetric keys any more")
		}
		a := nave.Auth{Type: nave.AuthSAS, Primary: keys[0], Secondary: keys[1]}
		if e.IsGroup() {
			var first, second error
			a.Primary, first = cred.Derive(keys[0], op.Spelled)
			a.Secondary, second = cred.Derive(keys[1], op.Spelled)
			return a, errors.Join(first, second)
		}
		return a, nil
	}
	return nave.Auth{Type: nave.AuthSAS}, nil // TPM: the hub's own key
}

// place brings the device to the hub of the plan (dps 4.4, 4.5). When it comes
// from another one the order is create, copy, switch, delete: until the switch
// the former assignment holds.
func (s *Service) place(ctx context.Context, j *job, d *dossier, p *placed) error {
	auth, err := s.auth(j, d)
	if err != nil {
		return err
	}
	to, err := s.target(p.plan.link)
	if err != nil {
		return err
	}
	want := &Placement{Auth: auth, Edge: d.enrollment.Edge(), Twin: p.plan.twin}
	switch {
	case !d.assigned():
		p.substatus = SubstatusInitial
	case strings.EqualFold(d.registration.AssignedHub, p.plan.link.Name):
		want.New = true
		p.substatus = d.again(j.op, p.plan)
	default:
		p.from = d.registration.AssignedHub
		if want.Twin, p.substatus, err = s.luggage(ctx, d, p.plan); err != nil {
			return err
		}
	}
	if err := s.unwaste(ctx, d, p); err != nil {
		return err
	}
	if p.identity, err = to.Place(ctx, p.device, want); err != nil {
		return err
	}
	if p.from != "" {
		return s.move(ctx, j, d, p)
	}
	return nil
}

// again returns the substatus of a device that stays where it is.
func (d *dossier) again(op *operation, p *plan) string {
	was := d.registration
	if was.Substatus != "" && (p.stay || was.Operation == op.ID) { // of the policy never, or after a restart between switch and end
		return was.Substatus
	}
	return SubstatusAgain
}

// luggage returns the twin that a device takes to another hub, and the
// substatus: when its data cannot be had, because the former hub was unlinked or
// has lost the device, it starts afresh.
func (s *Service) luggage(ctx context.Context, d *dossier, p *plan) (*TwinState, string, error) {
	fresh := &TwinState{Tags: nave.Doc{}, Desired: nave.Doc{}}
	if p.twin != nil {
		fresh.add(p.twin)
	}
	link := d.snap.hubs[key(d.registration.AssignedHub)]
	if !d.policy().MigrateData || link == nil {
		return fresh, SubstatusReset, nil
	}
	from, err := s.target(link)
	if err != nil {
		return nil, "", err
	}
	t, err := from.Twin(ctx, d.registration.DeviceID)
	if errors.Is(err, fault.DeviceNotFound) {
		return fresh, SubstatusReset, nil
	}
	if err != nil {
		return nil, "", err
	}
	state := &TwinState{Tags: t.Tags, Desired: t.Desired.Data, Reported: t.Reported.Data}
	if p.custom && p.twin != nil {
		state.add(p.twin)
	}
	return state, SubstatusMigrated, nil
}

// add puts the parts of o in place of t's.
func (t *TwinState) add(o *TwinState) {
	if o.Tags != nil {
		t.Tags = o.Tags
	}
	if o.Desired != nil {
		t.Desired = o.Desired
	}
}

// move switches the registration to the new hub, durably together with the duty
// to delete the device from the former one, and tries that at once; when it
// fails the sweep goes on with it (dps 4.5).
func (s *Service) move(ctx context.Context, j *job, d *dossier, p *placed) error {
	link := d.snap.hubs[key(p.from)]
	w := &waste{Registration: j.op.Registration, Hub: p.from, Device: d.registration.DeviceID, Owner: s.opening}
	err := s.ends.do(ctx, func(tx *store.Tx, _ *together) error {
		if err := s.mine(tx, j.op); err != nil {
			return err
		}
		r := *d.registration
		r.Status, r.AssignedHub, r.DeviceID, r.Substatus = Assigned, p.plan.link.Name, p.device, p.substatus
		r.Operation, r.Updated, r.ETag, r.ErrorCode, r.ErrorMessage = j.op.ID, stamp(s.now()), newRegistrationETag(), 0, ""
		row, err := r.row()
		if err == nil {
			err = tx.PutDPS(row)
		}
		if err != nil || link == nil {
			return err
		}
		s.wasted.Store(true)
		s.changed(tx, KindWaste)
		if row, err = w.row(s.now().Add(wasteTime)); err == nil {
			err = tx.PutDPS(row)
		}
		return err
	})
	if err == nil && link != nil {
		s.clean(ctx, link, w)
	}
	return err
}

// row returns the registration's row.
func (r *Registration) row() (*store.DPSRow, error) {
	row, err := newRow(KindRegistration, key(r.RegistrationID), r)
	if err == nil {
		row.Ref, row.Ref2 = key(r.Group), key(r.AssignedHub)
	}
	return row, err
}

// mine answers errLost unless this node works on the operation.
func (s *Service) mine(tx *store.Tx, op *operation) error {
	row, err := tx.DPS(KindRunning, key(op.Registration))
	if errors.Is(err, store.ErrNone) || err == nil && (row.Ref != op.ID || row.Ref2 != s.opening) {
		return errLost
	}
	return err
}
