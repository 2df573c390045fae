package gate

import (
	"slices"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
)

// permit answers IotHubUnauthorizedAccess unless who may do op on on
// (service-api 1.6, device-protocols 1.2).
func permit(who *nave.Principal, on nave.ID, op *Op) *fault.Error {
	switch {
	case who == nil:
		return fault.IotHubUnauthorizedAccess.New("%s needs credentials, and the caller has shown none", op.Name)
	case who.Only != (nave.ID{}):
		if op.Own && on == who.Only {
			return nil
		}
		return foreign(who, on, op)
	case who.Ops != nil && !slices.Contains(who.Ops, op.Name):
		return unassigned(who, on, op)
	case op.Own && who.Rights.Has(nave.DeviceConnect):
		return nil
	case op.Own && op.Right == 0:
		return lacks(who, nave.DeviceConnect, 0, op)
	case who.Rights.Has(op.Right), op.Either != 0 && who.Rights.Has(op.Either):
		return nil
	}
	return lacks(who, op.Right, op.Either, op)
}

func foreign(who *nave.Principal, on nave.ID, op *Op) *fault.Error {
	if !op.Own {
		return fault.IotHubUnauthorizedAccess.New("the credentials of %s do not allow %s, which needs a policy with %s", who.Only, op.Name, needs(op.Right, op.Either))
	}
	return fault.IotHubUnauthorizedAccess.New("the credentials of %s do not allow %s on %s", who.Only, op.Name, on)
}

// unassigned refuses whoever a role gives single operations only (service-api
// 1.5). Surfaces that know verb and path of a request put them in.
func unassigned(who *nave.Principal, on nave.ID, op *Op) *fault.Error {
	path := op.Name
	if on != (nave.ID{}) {
		path += " on " + on.String()
	}
	return fault.IotHubUnauthorizedAccess.New("Principal %s is not authorized for %s due to no assigned permissions", who.Name, path)
}

func lacks(who *nave.Principal, want, either nave.Right, op *Op) *fault.Error {
	return fault.IotHubUnauthorizedAccess.New("the policy %q lacks %s, which %s needs", who.Name, needs(want, either), op.Name)
}

func needs(want, either nave.Right) string {
	switch {
	case want == 0:
		return "any right"
	case either == 0:
		return want.String()
	}
	return want.String() + " or " + either.String()
}
