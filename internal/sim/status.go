package sim

import (
	"slices"
	"strings"

	"github.com/nave-hub/nave/internal/fault"
)

// Status is a state in the life cycle of a product (connectivity-api PR-9).
type Status string

// The statuses.
const (
	Created          Status = "CREATED"
	Inventory        Status = "INVENTORY"
	PendingActive    Status = "PENDING_ACTIVE"
	Active           Status = "ACTIVE"
	Suspended        Status = "SUSPENDED"
	Blocked          Status = "BLOCKED"
	Inactive         Status = "INACTIVE"
	PendingTerminate Status = "PENDING_TERMINATE"
	Terminated       Status = "TERMINATED"
)

// Statuses are all of them, in the order of the life cycle.
var Statuses = []Status{Created, Inventory, PendingActive, Active, Suspended, Blocked, Inactive, PendingTerminate, Terminated}

// SettableStatuses are those that can be requested.
var SettableStatuses = []Status{Active, Suspended, Blocked, PendingTerminate, Terminated}

// Known says whether s is a status, spelt exactly.
func (s Status) Known() bool { return slices.Contains(Statuses, s) }

// Settable says whether s can be requested (SC-10).
func (s Status) Settable() bool { return slices.Contains(SettableStatuses, s) }

// Carries says whether a SIM of this status carries traffic.
func (s Status) Carries() bool { return s == Active || s == PendingActive || s == PendingTerminate }

// steps are the requests that the reference platform obeys (SC-7).
var steps = map[Status][]Status{
	Created:          {Terminated},
	Inventory:        {Active, Terminated},
	PendingActive:    {Active, Terminated},
	Active:           {Active, Suspended, Blocked, PendingTerminate, Terminated},
	Suspended:        {Active, Suspended, Blocked, PendingTerminate, Terminated},
	Blocked:          {Active, Suspended, Blocked, PendingTerminate, Terminated},
	PendingTerminate: {Active, PendingTerminate, Terminated},
	Terminated:       {Terminated},
}

// Step answers SIMStatusNotAllowed when the reference platform does not go
// from one status to the other on request.
func Step(from, to Status) error {
	if slices.Contains(steps[from], to) {
		return nil
	}
	return notAllowed(from, to)
}

func notAllowed(from, to Status) error {
	return fault.SIMStatusNotAllowed.New("A change from %s to %s is not possible.", from, to)
}

func listed(all []Status) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

// CheckStatus answers SIMStatusNotSettable for a status that cannot be
// requested anywhere; the status must be known.
func CheckStatus(to Status) error {
	if to.Settable() {
		return nil
	}
	return fault.SIMStatusNotSettable.New("%s cannot be requested, the platform sets it. Possible are %s.", to, listed(SettableStatuses))
}
