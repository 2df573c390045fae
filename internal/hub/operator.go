package hub

import "github.com/nave-hub/nave/internal/gate"

// Rule is a fault-injection rule (service-api 6.3).
type Rule = gate.Rule

// Usage is what the operations of a hub have done since it started.
type Usage = gate.Usage

// InjectFault puts a rule in force and returns it with its id, or
// ArgumentInvalid. It is the operator's to call.
func (h *Hub) InjectFault(r Rule) (Rule, error) { return h.gate.Inject(r) }

// Faults returns the rules in force, Count being what is left of it.
func (h *Hub) Faults() []Rule { return h.gate.Rules() }

// RemoveFault ends the rule; GenericNotFound when there is none of this id.
func (h *Hub) RemoveFault(id string) error { return h.gate.Remove(id) }

// ClearFaults ends all rules.
func (h *Hub) ClearFaults() { h.gate.Clear() }

// Usage returns the accounts of all operations seen so far, and of the day's
// message units those used and the limit, 0 for none.
func (h *Hub) Usage() (all Usage, used, limit int64) {
	used, limit = h.gate.Quota()
	return h.gate.Usage(), used, limit
}
