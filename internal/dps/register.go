package dps

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// Operations of devices; any authenticated principal may do them.
var (
	opRegister = gate.Op{Name: "dps.register"}
	opStatus   = gate.Op{Name: "dps.status"}
	opLookup   = gate.Op{Name: "dps.lookup"}
)

// admit is what all device calls begin with: the scope is ours, the id can be
// one, the gate is open.
func (s *Service) admit(ctx context.Context, c *Claim, op *gate.Op) error {
	if !s.Serves(c.Scope) {
		return fault.DPSGenericNotFound.New("there is no ID scope %q here", brief(c.Scope))
	}
	if err := CheckRegistrationID(c.ID); err != nil {
		return err
	}
	if err := s.screen(ctx, c.Remote, filterDevice); err != nil {
		return err
	}
	who := &nave.Principal{Name: c.ID, Proof: "device"}
	return translated(s.gate.Enter(ctx, who, nave.ID{Device: c.ID}, op, 0))
}

// Register starts a registration and returns its operation, which is durable;
// of a call that is repeated while its operation runs, that operation. Faults:
// those of ParseRequest, GenericNotFound for another scope,
// IotHubUnauthorizedAccess, EnrollmentNotFound for a TPM,
// RegistrationStatusConflict, ThrottlingException, ServiceUnavailable; a
// *Challenge for a TPM that has shown no token (dps 2.2).
func (s *Service) Register(ctx context.Context, c *Claim, body []byte) (*Operation, error) {
	if err := s.admit(ctx, c, &opRegister); err != nil {
		return nil, err
	}
	r, err := ParseRequest(body, c.ID)
	if err != nil {
		return nil, err
	}
	if r.EK != nil && strings.HasPrefix(c.Transport, "mqtt") {
		return nil, fault.DPSArgumentInvalid.New("tpm cannot be used over MQTT, HTTPS and AMQP carry it")
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	a, err := s.attest(ctx, c, r)
	if err != nil {
		return nil, err
	}
	// Behind the proof, so that strangers cannot use up what devices have.
	if limit := snap.standard.Limits.Registrations; limit > 0 {
		if wait := s.registers.take("", float64(limit), time.Minute, s.now()); wait > 0 {
			return nil, throttled("registrationsPerMinute", limit, wait)
		}
	}
	profile, err := s.profileFor(ctx, snap, a.enrollment, c.ID)
	if err != nil {
		return nil, err
	}
	op := newOperation(c, r, a, s.now())
	op.RetryAfter = int(profile.retryAfter() / time.Second)
	return s.begin(ctx, op, a.enrollment)
}

// profileFor returns the settings in force for the enrolment, and refuses
// members of a group that need a device record and have none (dps 6.1).
func (s *Service) profileFor(ctx context.Context, snap *snapshot, e *Enrollment, id string) (p *Settings, err error) {
	p = snap.profile(e, "")
	if !e.IsGroup() || len(snap.settings) == 0 && !p.RequireRecord {
		return p, nil
	}
	var record *DeviceRecord
	err = s.db.View(ctx, func(tx *store.Tx) error {
		account, err := groupRecord(tx, e.GroupID)
		if err != nil {
			return err
		}
		if p = snap.profile(e, account.SettingsID); p.RequireRecord {
			record, err = recordOf(tx, id)
		}
		return err
	})
	if err == nil && p.RequireRecord && record == nil {
		err = refuse(errors.New("the device has no device record, and the settings ask for one"))
	}
	return p, translated(err)
}

// begin stores the operation and hands it to a worker.
func (s *Service) begin(ctx context.Context, op *operation, e *Enrollment) (*Operation, error) {
	op.far = s.isFar(e)
	lane := s.pool.lane(op.far)
	if wait := lane.reserve(); wait > 0 {
		return nil, throttled("backlog", s.o.Backlog, wait)
	}
	op.Owner = s.opening
	row, err := op.row()
	if err != nil {
		lane.unreserve()
		return nil, translated(err)
	}
	var other *operation
	err = s.begins.do(ctx, func(tx *store.Tx, _ *together) error {
		other = nil
		err := tx.InsertDPS(row)
		if errors.Is(err, store.ErrExists) {
			if other, err = readRow[operation](tx, KindRunning, row.Key); errors.Is(err, store.ErrNone) {
				err = tx.InsertDPS(row)
			}
		}
		return err
	})
	if err != nil || other != nil {
		lane.unreserve()
		return s.joined(op, other, err)
	}
	s.operations.put(op.ID, op)
	s.pool.put(newJob(op, e))
	return s.shown(op, DefaultVersion), nil
}

// joined answers a register that found another under way.
func (s *Service) joined(op, other *operation, err error) (*Operation, error) {
	switch {
	case err != nil:
		return nil, translated(err)
	case other.same(op):
		return s.shown(other, DefaultVersion), nil
	}
	return nil, fault.DPSRegistrationStatusConflict.New("Precondition failed. Another registration of %s with other credentials, payload or CSR is under way.", op.Registration)
}

// shown returns the operation with the advice when to ask again.
func (s *Service) shown(op *operation, v Version) *Operation {
	a := op.answer(v)
	if a.State == nil {
		a.Retry = s.pool.lane(op.far).advise(time.Duration(max(op.RetryAfter, 2)) * time.Second)
	}
	return a
}

// Status returns an operation of the claimed registration; AsyncOperationNotFound,
// ThrottlingException for a device that asks too often, and what Register
// answers to a proof (dps 2.3).
func (s *Service) Status(ctx context.Context, c *Claim, id string) (*Operation, error) {
	if err := s.admit(ctx, c, &opStatus); err != nil {
		return nil, err
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	op, known := s.operations.get(id)
	if !known {
		if op, err = s.stored(ctx, id); err != nil {
			return nil, err
		}
	}
	if op == nil || !op.startedBy(s, c) {
		r := &DeviceRequest{}
		if op != nil && op.of(c.ID) {
			r.EK, r.SRK = op.EK, op.SRK
		}
		if _, err := s.attest(ctx, c, r); err != nil {
			return nil, err
		}
	}
	if err := s.paced(&s.polls, c, snap); err != nil {
		return nil, err
	}
	if op == nil || !op.of(c.ID) {
		return nil, fault.DPSAsyncOperationNotFound.New("the registration %s has no operation %q", c.ID, brief(id))
	}
	if s.outdated(op, snap) {
		return nil, fault.DPSAsyncOperationNotFound.New("the operation %s is no longer kept", op.ID)
	}
	return s.shown(op, c.Version), nil
}

// pollWindow is the time that pollsPer10Seconds counts over.
const pollWindow = 10 * time.Second

// paced counts a question of a device that has proved itself.
func (s *Service) paced(b *buckets, c *Claim, snap *snapshot) error {
	limit := snap.standard.pollLimit()
	if limit <= 0 {
		return nil
	}
	if wait := b.take(key(c.ID), float64(limit), pollWindow, s.now()); wait > 0 {
		return throttled("pollsPer10Seconds", limit, wait)
	}
	return nil
}

// outdated says whether the operation has ended so long ago that it is not kept.
func (s *Service) outdated(op *operation, snap *snapshot) bool {
	return op.Outcome != nil && s.now().After(op.Created.Add(snap.standard.retention()))
}

// stored reads an operation; nil when there is none. One that has ended is
// remembered.
func (s *Service) stored(ctx context.Context, id string) (op *operation, err error) {
	if len(id) > maxOperationID {
		return nil, nil
	}
	err = s.db.View(ctx, func(tx *store.Tx) error { op, err = readOperation(tx, id); return err })
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, nil
	case err != nil:
		return nil, translated(err)
	case op.Outcome != nil:
		s.operations.put(id, op)
	}
	return op, nil
}

// maxOperationID is longer than any operation id.
const maxOperationID = 100

// Lookup returns the stored registration; DeviceRegistrationNotFound, and what
// Register answers to a body and a proof. It asks neither hub nor webhook and
// has a rate of its own (dps 2.3, 5.7).
func (s *Service) Lookup(ctx context.Context, c *Claim, body []byte) (*DeviceResult, error) {
	if err := s.admit(ctx, c, &opLookup); err != nil {
		return nil, err
	}
	r, err := ParseRequest(body, c.ID)
	if err != nil {
		return nil, err
	}
	if r.CSR != nil {
		return nil, fault.DPSArgumentInvalid.New("a CSR is part of a register call, not of a look-up")
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.attest(ctx, c, r); err != nil {
		return nil, err
	}
	if err := s.paced(&s.lookups, c, snap); err != nil {
		return nil, err
	}
	var reg *Registration
	err = s.db.View(ctx, func(tx *store.Tx) (err error) {
		reg, err = readRow[Registration](tx, KindRegistration, key(c.ID))
		return err
	})
	switch {
	case errors.Is(err, store.ErrNone):
		return nil, fault.DPSDeviceRegistrationNotFound.New("the device %s has not registered", c.ID)
	case err != nil:
		return nil, translated(err)
	}
	d := reg.device(c.Version)
	if d.Status == Assigned {
		d.TPM, d.X509, d.SymmetricKey = reg.TPM, reg.X509, reg.Symmetric
	}
	return d, nil
}

// certificate parses DER that was stored; nil for none.
func certificate(der []byte) *x509.Certificate {
	if der == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return cert
}
