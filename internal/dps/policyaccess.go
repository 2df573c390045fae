package dps

import (
	"context"
	"errors"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opPolicyKeys   = newOp("policy.keys", ServiceConfig)
	opPolicyWrite  = newOp("policy.write", ServiceConfig)
	opPolicyDelete = newOp("policy.delete", ServiceConfig)
)

// maxPolicies is how many policies an instance has at most.
const maxPolicies = 50

// ParsePolicy reads a policy as clients send it; DeserializationError,
// ArgumentInvalid.
func ParsePolicy(b []byte) (*Policy, error) {
	p := &Policy{}
	if err := Decode(b, p); err != nil {
		return nil, err
	}
	return p, p.check()
}

// check answers ArgumentInvalid for a policy with a bad name or key, or without
// rights. Keys may be missing.
func (p *Policy) check() error {
	if len(p.Name) > 64 {
		return fault.DPSArgumentInvalid.New("keyName is longer than 64 characters")
	}
	if err := checkName("a policy", p.Name); err != nil {
		return err
	}
	if p.Rights == 0 {
		return fault.DPSArgumentInvalid.New("rights of the policy %s is missing or empty", p.Name)
	}
	for _, k := range []struct{ name, value string }{{"primaryKey", p.Primary}, {"secondaryKey", p.Secondary}} {
		if k.value == "" {
			continue
		}
		if err := cred.CheckKey(k.value); err != nil {
			return fault.DPSArgumentInvalid.Wrap(err, "%s of the policy %s: %s", k.name, p.Name, err)
		}
	}
	return nil
}

// policies returns all policies with keys, in the order of names.
func (s *Service) policies(tx *store.Tx) (all []*Policy, err error) {
	rows, err := tx.DPSAfter(KindPolicy, "", 2*maxPolicies)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		p, err := s.openPolicy(row)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// PolicyKeys returns all policies with their keys, in the order of names (dps
// 3.11).
func (a *Access) PolicyKeys(ctx context.Context) (all []*Policy, err error) {
	if err := a.enter(ctx, opPolicyKeys, ""); err != nil {
		return nil, err
	}
	err = a.view(ctx, func(tx *store.Tx) error { all, err = a.s.policies(tx); return err })
	return all, err
}

// PutPolicy creates a policy or replaces the one of its name, and returns it
// with keys; those that are missing are kept, or made. ArgumentInvalid, also
// when no policy with ServiceConfig would be left.
func (a *Access) PutPolicy(ctx context.Context, p *Policy) (*Policy, error) {
	if err := a.enter(ctx, opPolicyWrite, ""); err != nil {
		return nil, err
	}
	return a.s.setPolicy(ctx, p)
}

// SetPolicy is PutPolicy for the node that sets policies at its start.
func (s *Service) SetPolicy(ctx context.Context, p *Policy) error {
	_, err := s.setPolicy(ctx, p)
	return err
}

func (s *Service) setPolicy(ctx context.Context, p *Policy) (*Policy, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var n Policy
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		all, err := s.policies(tx)
		if err != nil {
			return err
		}
		n = *p
		var before *Policy
		for _, other := range all {
			if key(other.Name) == key(p.Name) {
				before = other
				n.Name = other.Name
			}
		}
		if before == nil && len(all) >= maxPolicies {
			return fault.DPSArgumentInvalid.Over("policies", maxPolicies, len(all)+1, "the quota of policies is used up")
		}
		if before != nil && !n.Rights.Has(ServiceConfig) {
			if err := leavesConfig(all, n.Name); err != nil {
				return err
			}
		}
		n.newPolicyKeys(before)
		row, err := s.policyRow(&n)
		if err != nil {
			return err
		}
		return tx.PutDPS(row)
	})
	if err != nil {
		return nil, translated(err)
	}
	return &n, nil
}

// leavesConfig answers ArgumentInvalid unless another policy than the named one
// may administer the instance.
func leavesConfig(all []*Policy, name string) error {
	for _, p := range all {
		if key(p.Name) != key(name) && p.Rights.Has(ServiceConfig) {
			return nil
		}
	}
	return fault.DPSArgumentInvalid.New("no policy with ServiceConfig would be left, and nobody could change it back")
}

// DeletePolicy removes a policy; GenericNotFound, ArgumentInvalid when no
// policy with ServiceConfig would be left.
func (a *Access) DeletePolicy(ctx context.Context, name string) error {
	if err := a.enter(ctx, opPolicyDelete, ""); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		all, err := a.s.policies(tx)
		if err != nil {
			return err
		}
		err = tx.DeleteDPS(KindPolicy, key(name))
		if errors.Is(err, store.ErrNone) {
			return fault.DPSGenericNotFound.New("there is no policy %s", brief(name))
		}
		if err != nil {
			return err
		}
		return leavesConfig(all, name)
	})
}

// replacePolicies makes the policies exactly those of the list.
func (s *Service) replacePolicies(tx *store.Tx, list []*Policy) error {
	all, err := s.policies(tx)
	if err != nil {
		return err
	}
	before := map[string]*Policy{}
	for _, p := range all {
		before[key(p.Name)] = p
	}
	for _, p := range list {
		n := *p
		if old := before[key(p.Name)]; old != nil {
			n.Name = old.Name
		}
		n.newPolicyKeys(before[key(p.Name)])
		delete(before, key(p.Name))
		row, err := s.policyRow(&n)
		if err != nil {
			return err
		}
		if err := tx.PutDPS(row); err != nil {
			return err
		}
	}
	for name := range before {
		if err := tx.DeleteDPS(KindPolicy, name); err != nil {
			return err
		}
	}
	return nil
}
