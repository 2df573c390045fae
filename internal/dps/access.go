package dps

import (
	"context"
	"strings"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// ServiceClaim is how a caller of the service API proves what it may do.
type ServiceClaim struct {
	SAS    string   // Authorization header, "" for none
	Host   string   // the host it has called, a port is dropped
	Path   []string // decoded segments of the path, which a token may be narrowed to
	Remote string   // peer address
}

// Access is a handle for whoever manages the instance: its methods are the
// operations of the service API, and each passes the gate. It may be used by
// many goroutines.
type Access struct {
	// Set by As and Operator, then read only:
	s      *Service
	who    *nave.Principal
	rights Right
	free   bool // not throttled
}

// serviceOp is an Op of the gate with the right of this family.
type serviceOp struct {
	gate.Op
	right Right
}

func newOp(name string, right Right) *serviceOp {
	return &serviceOp{gate.Op{Name: "dps." + name}, right}
}

// As checks the claim and returns what it gives access to;
// IotHubUnauthorizedAccess (dps 3.1).
func (s *Service) As(ctx context.Context, c *ServiceClaim) (*Access, error) {
	if err := s.screen(ctx, c.Remote, filterService); err != nil {
		return nil, err
	}
	if c.SAS == "" {
		return nil, fault.DPSIotHubUnauthorizedAccess.New("Unauthorized: the request has no Authorization header")
	}
	t, err := cred.ParseSAS(c.SAS)
	if err != nil {
		return nil, unauthorized(err)
	}
	if !t.CoversFold(s.hosts(c.Host), c.Path...) {
		return nil, fault.DPSIotHubUnauthorizedAccess.New("Unauthorized: sr of the token does not name this service")
	}
	if err := t.CheckExpiry(s.now(), cred.Skew); err != nil {
		return nil, unauthorized(err)
	}
	p, err := s.policy(ctx, t.Policy)
	if err != nil {
		return nil, err
	}
	if !t.VerifyLoose(p.Primary, p.Secondary) || p.Name == "" {
		return nil, fault.DPSIotHubUnauthorizedAccess.New("Unauthorized: the token was not signed with a key of a policy here")
	}
	who := &nave.Principal{Name: p.Name, Proof: "policy", Until: t.Expiry}
	return &Access{s: s, who: who, rights: p.Rights}, nil
}

// unauthorized passes on why a token is no proof.
func unauthorized(err error) error {
	return fault.DPSIotHubUnauthorizedAccess.Wrap(err, "Unauthorized: %s", err)
}

// Operator returns the access of the node's own operator: console and command
// line. It has all rights and is not throttled.
func (s *Service) Operator() *Access {
	return &Access{s: s, who: &nave.Principal{Name: "operator", Proof: "policy"}, rights: allRights, free: true}
}

// hosts are the names that sr of a token may have: ours and the one called.
func (s *Service) hosts(called string) []string {
	if i := strings.LastIndexByte(called, ':'); i >= 0 && !strings.HasSuffix(called, "]") {
		called = called[:i]
	}
	hosts := append([]string{s.o.Host}, s.o.Aliases...)
	if called != "" {
		hosts = append(hosts, called)
	}
	return hosts
}

// Name returns the name of the policy.
func (a *Access) Name() string { return a.who.Name }

// Require answers IotHubUnauthorizedAccess unless the policy has the right; what
// is what needs it.
func (a *Access) Require(right Right, what string) error {
	if a.rights.Has(right) {
		return nil
	}
	return fault.DPSIotHubUnauthorizedAccess.New("the policy %q lacks %s, which %s needs", a.who.Name, right, what)
}

// enter lets an operation on the registration or group id begin:
// IotHubUnauthorizedAccess, ThrottlingException, or what the gate injects.
func (a *Access) enter(ctx context.Context, op *serviceOp, id string) error {
	if err := a.Require(op.right, op.Name); err != nil {
		return err
	}
	if err := a.throttle(ctx); err != nil {
		return err
	}
	return translated(a.s.gate.Enter(ctx, a.who, nave.ID{Device: id}, &op.Op, 0))
}

// throttle counts the operation against the instance's rate (dps 4.7).
func (a *Access) throttle(ctx context.Context) error {
	if a.free {
		return nil
	}
	snap, err := a.s.snapshot(ctx)
	if err != nil {
		return err
	}
	limit := snap.standard.serviceLimit()
	if limit < 0 {
		return nil
	}
	if wait := a.s.services.take("", float64(limit), time.Minute, a.s.now()); wait > 0 {
		return throttled("serviceOperationsPerMinute", limit, wait)
	}
	return nil
}

// view reads within one snapshot of the store.
func (a *Access) view(ctx context.Context, f func(*store.Tx) error) error {
	return translated(a.s.db.View(ctx, f))
}

// update writes in one transaction. f may run more than once.
func (a *Access) update(ctx context.Context, f func(*store.Tx) error) error {
	return translated(a.s.db.Update(ctx, f))
}
