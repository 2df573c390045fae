package dps

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Times of a try.
const (
	tryTime   = 2 * time.Minute
	firstWait = 200 * time.Millisecond // before the second try; doubles up to lastWait
	lastWait  = 10 * time.Second
)

// errLost: the operation was taken over by another node.
var errLost = errors.New("dps: the operation is another node's now")

// placed is a device on its hub.
type placed struct {
	plan      *plan
	device    string
	substatus string
	identity  *nave.Identity
	from      string // hub that it has left, "" for none
}

// carry does one try of a job: it ends the operation, or queues it again for
// later.
func (s *Service) carry(j *job) {
	ctx, cancel := context.WithTimeout(s.ctx, tryTime)
	defer cancel()
	if j.until.IsZero() {
		j.until = time.Now().Add(s.o.Patience)
	}
	end, err := s.try(ctx, j)
	switch {
	case s.ctx.Err() != nil:
		return // resumed after the next start
	case errors.Is(err, errLost):
		s.lost(j)
		return
	case err != nil && passing(err) && time.Now().Before(j.until):
		s.again(j, err)
		return
	case err != nil:
		end = s.failing(j, err)
	}
	s.close(ctx, j, end)
}

// passing says whether a failure may be over soon: of a hub or of the store,
// not of a webhook.
func passing(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return true
	}
	switch e.Code.HTTP {
	case 429, 500, 502, 503, 504:
		return true
	}
	return false
}

// again queues the job for a later try, without holding a worker.
func (s *Service) again(j *job, err error) {
	wait := min(firstWait<<min(j.tries, 10), lastWait)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.After > wait {
		wait = min(e.After, lastWait)
	}
	j.tries++
	s.o.Log.Debug("a registration waits", "registration", j.op.Registration, "op", j.op.ID, "wait", wait, "err", err)
	lane := s.pool.lane(j.far)
	time.AfterFunc(min(wait, max(0, time.Until(j.until))+time.Millisecond), func() {
		select {
		case lane.jobs <- j:
		case <-s.ctx.Done():
		}
	})
}

// lost forgets a job that another node has taken over.
func (s *Service) lost(j *job) {
	s.operations.drop(j.op.ID)
	s.pool.drop(j)
}

// ending is what close writes.
type ending struct {
	outcome *outcome
	dossier *dossier // nil when it could not be read
	placed  *placed  // nil unless assigned
	cause   *fault.Error
}

// try carries the registration out; faults end it as failed.
func (s *Service) try(ctx context.Context, j *job) (*ending, error) {
	d, err := s.dossier(ctx, j)
	if err != nil {
		return nil, err
	}
	if !d.enrollment.Enabled() || d.record.barred() {
		return &ending{outcome: s.outcome(j, d, Disabled), dossier: d}, nil
	}
	if err := s.count(ctx, j, d); err != nil {
		return nil, err
	}
	if err := s.issue(ctx, j, d); err != nil {
		return nil, err
	}
	p := &placed{device: d.device(j.op)}
	if j.plan == nil {
		if j.plan, err = s.decide(ctx, j, d); err != nil {
			return nil, err
		}
		if err := s.afterWebhook(ctx, j); err != nil {
			return nil, err
		}
	}
	p.plan = j.plan
	if err := s.place(ctx, j, d, p); err != nil {
		return nil, s.failover(j, d, err)
	}
	o := s.outcome(j, d, Assigned)
	o.AssignedHub, o.DeviceID, o.Substatus, o.Payload = p.plan.link.Name, p.device, p.substatus, p.plan.payload
	if err := s.give(ctx, j, d, p, o); err != nil {
		return nil, err
	}
	return &ending{outcome: o, dossier: d, placed: p}, nil
}

// afterWebhook answers EnrollmentNotFound or EnrollmentGroupNotFound when the
// enrolment was deleted while the webhook took its time, so that nothing is left
// on a hub (dps 3.3).
func (s *Service) afterWebhook(ctx context.Context, j *job) error {
	if j.plan.webhook == 0 {
		return nil
	}
	return s.db.View(ctx, func(tx *store.Tx) error { return remains(tx, j.op) })
}

// failover has the next try go to another hub where the settings allow it (dps
// 4.8); the device keeps a hub that it has.
func (s *Service) failover(j *job, d *dossier, err error) error {
	if !d.profile.Failover || d.assigned() || !errors.Is(err, fault.ServiceUnavailable) || j.plan.custom {
		return err
	}
	candidates, none := d.candidates()
	if none != nil || d.record.overrides().Hub != "" {
		return err
	}
	for _, l := range candidates {
		if l.Name != j.plan.link.Name && !j.down[l.Name] {
			if j.down == nil {
				j.down = map[string]bool{}
			}
			j.down[j.plan.link.Name] = true
			next := *j.plan
			next.link = l
			j.plan = &next
			return err
		}
	}
	j.down = nil // once round: the first may be back
	return err
}

// outcome returns the state that the operation leads to: the hub of an earlier
// registration stays on record.
func (s *Service) outcome(j *job, d *dossier, status Status) *outcome {
	now := stamp(s.now())
	o := &outcome{RegistrationState: RegistrationState{RegistrationID: j.op.Registration, Created: now, Status: status, Updated: now, ETag: newRegistrationETag()}}
	if d != nil && d.registration != nil {
		r := d.registration
		o.RegistrationID, o.Created = r.RegistrationID, r.Created
		o.AssignedHub, o.DeviceID, o.Substatus = r.AssignedHub, r.DeviceID, r.Substatus
		if o.Created.IsZero() {
			o.Created = now
		}
	}
	return o
}

// failing is the ending of an operation that cannot succeed (dps 4.2).
func (s *Service) failing(j *job, err error) *ending {
	e := &ending{cause: fault.From(err)}
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	e.dossier, _ = s.dossier(ctx, j) // without it the state of an earlier registration is not kept
	e.outcome = s.outcome(j, e.dossier, Failed)
	e.outcome.ErrorCode, e.outcome.ErrorMessage = failure(e.cause)
	return e
}

// failure returns number and text of a failed operation: of a hub's refusal its
// own words.
func failure(e *fault.Error) (int, string) {
	text := e.Text
	if own, ok := e.Detail[hubText].(string); ok {
		text = own
	}
	switch code := e.Code; {
	case code.Family == fault.DPS && code.HTTP < 500:
		return code.ID, text
	case code.HTTP == 401:
		return fault.DPSIotHubUnauthorizedAccess.ID, text
	case code.HTTP == 403, code.HTTP == 413:
		return code.ID, text
	case code.HTTP == 429, code.HTTP > 500:
		return fault.DPSServiceUnavailable.ID, text
	case code.Family == fault.Hub && code.HTTP < 500:
		return fault.DPSArgumentInvalid.ID, text
	}
	return fault.DPSServerError.ID, text
}

// give fills in what the device gets besides: how it was recognised, the key
// for its TPM, the issued certificate, the trust bundle.
func (s *Service) give(ctx context.Context, j *job, d *dossier, p *placed, o *outcome) (err error) {
	switch j.op.Kind {
	case AttestKey:
		o.Symmetric = &KeyResult{Group: d.enrollment.GroupID}
	case AttestX509:
		o.X509 = x509Result(j.op)
	case AttestTPM:
		if o.TPM, err = s.tpmResult(j.op, p); err != nil {
			return err
		}
	}
	if j.issued != nil {
		j.issued.give(o, j.op.Legacy)
	}
	o.Bundle, err = s.bundle(ctx, d)
	return err
}

// tpmResult wraps the hub's device key for the TPM.
func (s *Service) tpmResult(op *operation, p *placed) (*TPMResult, error) {
	if p.identity.Auth.Type != nave.AuthSAS {
		return nil, nil // the device proves itself by the issued certificate
	}
	secret, err := base64.StdEncoding.DecodeString(p.identity.Auth.Primary)
	if err != nil {
		return nil, err
	}
	blob, err := s.activation(p.plan.link.Name, p.device, op.EK, op.SRK, secret)
	if err != nil {
		return nil, err
	}
	return &TPMResult{AuthenticationKey: encode64(blob)}, nil
}

// x509Result describes the certificates that an operation was attested by.
func x509Result(op *operation) *X509Result {
	r := &X509Result{Group: op.Group}
	if cert := certificate(op.Leaf); cert != nil {
		info := cred.Info(cert)
		r.Certificate = &info
	}
	if cert := certificate(op.Signing); cert != nil {
		info := cred.Info(cert)
		r.Signing = &info
	}
	return r
}

// count lets the group's window and quota decide, and where there is a quota
// takes the place at once, so that two devices cannot both be the last (dps
// 6.2).
func (s *Service) count(ctx context.Context, j *job, d *dossier) error {
	if d.account == nil || j.op.Counted {
		return nil
	}
	now := s.now()
	if from, to := d.account.ValidFrom, d.account.ValidTo; !from.IsZero() && now.Before(from.Time) || !to.IsZero() && now.After(to.Time) {
		return fault.DPSIotHubUnauthorizedAccess.New("The enrollment group takes registrations at other times only")
	}
	if d.account.Max == nil || d.counted() {
		return nil
	}
	counted := *j.op
	counted.Counted = true
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		if err := s.mine(tx, j.op); err != nil {
			return err
		}
		account, err := groupRecord(tx, d.enrollment.GroupID)
		if err != nil {
			return err
		}
		if account.Max != nil && account.Count >= *account.Max {
			return fault.DPSTooManyEnrollments.Over("maxRegistrations", *account.Max, account.Count+1, "The enrollment group has no room for another device")
		}
		account.Count++
		if err := putGroupRecord(tx, account); err != nil {
			return err
		}
		row, err := counted.row()
		if err != nil {
			return err
		}
		return tx.PutDPS(row)
	})
	if err == nil {
		j.op = &counted
	}
	return err
}

// counted says whether the group's record counts the device already.
func (d *dossier) counted() bool {
	return d.assigned() && d.enrollment.IsGroup() && key(d.registration.Group) == key(d.enrollment.GroupID)
}
