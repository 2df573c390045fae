package dps

import (
	"cmp"
	"context"
	"reflect"
	"strings"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Instance describes the provisioning service as a whole (dps 3.11).
type Instance struct {
	State      string        `json:"state"` // Active, or Suspended: devices are refused with 403000
	Hubs       []*LinkedHub  `json:"iotHubs,omitzero"`
	Allocation string        `json:"allocationPolicy"` // Hashed, GeoLatency or Static; that of the default settings
	Host       string        `json:"serviceOperationsHostName"`
	DeviceHost string        `json:"deviceProvisioningHostName"`
	Scope      string        `json:"idScope"`
	Policies   []*Policy     `json:"authorizationPolicies,omitzero"` // without keys, but in the answer of a call for keys
	Filters    []*FilterRule `json:"ipFilterRules"`
	Network    string        `json:"publicNetworkAccess"`
	Residency  bool          `json:"enableDataResidency"`
	SKU        SKU           `json:"sku"`
	ETag       string        `json:"etag,omitzero"`
}

// SKU is the size of the instance, which has no effect here.
type SKU struct {
	Name     string `json:"name"` // S1
	Capacity int    `json:"capacity"`
}

// The values of Instance.State that can be set.
const (
	InstanceActive    = "Active"
	InstanceSuspended = "Suspended"
)

// KindInstance is the kind of the one row of the instance, instanceKey its key.
const (
	KindInstance = "instance"
	instanceKey  = "instance"
)

// instanceRow is what is stored of an Instance.
type instanceRow struct {
	State     string        `json:"state,omitzero"`
	Filters   []*FilterRule `json:"ipFilterRules,omitzero"`
	Residency bool          `json:"enableDataResidency,omitzero"`
	SKU       SKU           `json:"sku,omitzero"`
	ETag      string        `json:"etag,omitzero"`
}

var (
	opInstanceRead  = newOp("instance.read", ServiceConfig)
	opInstanceWrite = newOp("instance.write", ServiceConfig)

	instances = &resource[instanceRow]{KindInstance, "the instance",
		Faults{fault.DPSGenericNotFound, fault.DPSGenericConflict}, func(r *instanceRow) *string { return &r.ETag }}
)

// allocations are the policies as the instance spells them, by those of
// settings.
var allocations = map[string]string{AllocateHashed: "Hashed", AllocateGeo: "GeoLatency", AllocateStatic: "Static"}

// ParseInstance reads an instance description as clients send it, also in the
// form of management tools, below properties; read-only members are ignored. It
// answers DeserializationError, ArgumentInvalid, ArgumentNull.
func ParseInstance(b []byte) (*Instance, error) {
	var in struct {
		Properties *Instance `json:"properties"`
		SKU        *SKU      `json:"sku"`
		ETag       string    `json:"etag"`
	}
	if err := Decode(b, &in); err != nil {
		return nil, err
	}
	i := in.Properties
	if i == nil {
		i = &Instance{}
		if err := Decode(b, i); err != nil {
			return nil, err
		}
	}
	if in.SKU != nil {
		i.SKU = *in.SKU
	}
	i.ETag = cmp.Or(i.ETag, in.ETag)
	return i, i.check()
}

func (i *Instance) check() (err error) {
	if i.State, err = canonical("state", cmp.Or(i.State, InstanceActive), InstanceActive, InstanceSuspended); err != nil {
		return err
	}
	if i.Allocation != "" {
		if i.Allocation, err = canonical("allocationPolicy", i.Allocation, "Hashed", "GeoLatency", "Static"); err != nil {
			return err
		}
	}
	if !strings.EqualFold(cmp.Or(i.Network, "Enabled"), "Enabled") {
		return fault.DPSArgumentInvalid.New("publicNetworkAccess is %q; there are no private endpoints here, ipFilterRules restrict who may call", brief(i.Network))
	}
	i.SKU = SKU{cmp.Or(i.SKU.Name, "S1"), cmp.Or(i.SKU.Capacity, 1)}
	if i.SKU.Name != "S1" {
		return fault.DPSArgumentInvalid.New("sku.name is %q, S1 is the only one", brief(i.SKU.Name))
	}
	if err := between("sku.capacity", i.SKU.Capacity, 1, 1000); err != nil {
		return err
	}
	if err := between("the number of ipFilterRules", len(i.Filters), 0, maxFilters); err != nil {
		return err
	}
	for n, f := range i.Filters {
		if f == nil {
			return fault.DPSArgumentNull.New("ipFilterRules[%d] is null", n)
		}
		if err := f.check(); err != nil {
			return err
		}
	}
	return i.checkPolicies()
}

func (i *Instance) checkPolicies() error {
	if i.Policies == nil {
		return nil
	}
	seen, config := map[string]bool{}, false
	for n, p := range i.Policies {
		if p == nil {
			return fault.DPSArgumentNull.New("authorizationPolicies[%d] is null", n)
		}
		if err := p.check(); err != nil {
			return err
		}
		if seen[key(p.Name)] {
			return fault.DPSArgumentInvalid.New("authorizationPolicies names %s twice", p.Name)
		}
		seen[key(p.Name)] = true
		config = config || p.Rights.Has(ServiceConfig)
	}
	if !config {
		return fault.DPSArgumentInvalid.New("authorizationPolicies leaves no policy with ServiceConfig, and nobody could change it back")
	}
	return between("the number of authorizationPolicies", len(i.Policies), 1, maxPolicies)
}

// Instance returns the description of the instance, policies without keys.
func (a *Access) Instance(ctx context.Context) (*Instance, error) {
	if err := a.enter(ctx, opInstanceRead, ""); err != nil {
		return nil, err
	}
	var i *Instance
	err := a.view(ctx, func(tx *store.Tx) (err error) { i, err = a.s.instance(tx); return err })
	return i, err
}

// instance reads the description.
func (s *Service) instance(tx *store.Tx) (*Instance, error) {
	row, err := instances.find(tx, instanceKey)
	if err != nil {
		return nil, err
	}
	if row == nil {
		row = &instanceRow{ETag: unmarked}
	}
	i := &Instance{State: cmp.Or(row.State, InstanceActive), Filters: row.Filters, Residency: row.Residency, ETag: row.ETag,
		Host: s.o.Host, DeviceHost: s.o.Host, Scope: s.scope, Network: "Enabled", SKU: SKU{cmp.Or(row.SKU.Name, "S1"), cmp.Or(row.SKU.Capacity, 1)}}
	if i.Filters == nil {
		i.Filters = []*FilterRule{}
	}
	standard, err := findSettings(tx, DefaultSettings)
	if err != nil {
		return nil, err
	}
	i.Allocation = allocations[cmp.Or(standard.Policy, AllocateHashed)]
	i.Hubs = []*LinkedHub{}
	if err := linkedHubs.every(tx, func(l *LinkedHub) error { i.Hubs = append(i.Hubs, s.showHub(l)); return nil }); err != nil {
		return nil, err
	}
	i.Policies, err = s.policies(tx)
	for _, p := range i.Policies {
		p.Primary, p.Secondary = "", ""
	}
	return i, err
}

// PutInstance replaces what can be set of the instance: state, allocation
// policy, IP filter, residency, size and, where they are given, the policies
// (a key that is missing is kept, or made). iotHubs may be sent back as it was
// read, links are changed one by one. It answers GenericConflict without an
// etag, PreconditionFailed, ArgumentInvalid.
func (a *Access) PutInstance(ctx context.Context, i *Instance, m Match) (*Instance, error) {
	if err := a.enter(ctx, opInstanceWrite, ""); err != nil {
		return nil, err
	}
	var n *Instance
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := a.s.instance(tx)
		if err != nil {
			return err
		}
		if err := m.Put(i.ETag, before.ETag, instances.faults, "the instance"); err != nil {
			return err
		}
		if i.Hubs != nil && !sameHubs(i.Hubs, before.Hubs) {
			return fault.DPSArgumentInvalid.New("iotHubs differs from the linked hubs; change them at /linkedHubs")
		}
		if err := a.s.setAllocation(tx, i.Allocation); err != nil {
			return err
		}
		if i.Policies != nil {
			if err := a.s.replacePolicies(tx, i.Policies); err != nil {
				return err
			}
		}
		stored, err := instances.find(tx, instanceKey)
		if err != nil {
			return err
		}
		row := &instanceRow{State: i.State, Filters: i.Filters, Residency: i.Residency, SKU: i.SKU}
		a.s.changed(tx, KindInstance)
		if err := instances.put(tx, instanceKey, row, stored == nil); err != nil {
			return err
		}
		n, err = a.s.instance(tx)
		return err
	})
	return n, err
}

// sameHubs says whether a client has sent back what it has read.
func sameHubs(sent, read []*LinkedHub) bool {
	if len(sent) != len(read) {
		return false
	}
	facts := func(l *LinkedHub) [5]any {
		return [5]any{key(l.Name), l.Local, l.Location, max(1, l.Weight), l.Applies()}
	}
	for i, l := range sent {
		if l == nil || !reflect.DeepEqual(facts(l), facts(read[i])) {
			return false
		}
		if l.Connection != "" && l.Connection != read[i].Connection {
			return false
		}
	}
	return true
}

// setAllocation writes the policy of the instance into its default settings; ""
// is the default.
func (s *Service) setAllocation(tx *store.Tx, policy string) error {
	p, err := findSettings(tx, DefaultSettings)
	if err != nil {
		return err
	}
	want := ""
	for name, spelled := range allocations {
		if spelled == policy {
			want = name
		}
	}
	if cmp.Or(p.Policy, AllocateHashed) == cmp.Or(want, AllocateHashed) {
		return nil
	}
	fresh, err := profiles.find(tx, DefaultSettings)
	if err != nil {
		return err
	}
	p.Policy = want
	s.changed(tx, KindSettings)
	return profiles.put(tx, DefaultSettings, p, fresh == nil)
}

// newPolicyKeys fills in keys that a policy lacks: those of before, else new
// ones.
func (p *Policy) newPolicyKeys(before *Policy) {
	if before != nil {
		p.Primary, p.Secondary = cmp.Or(p.Primary, before.Primary), cmp.Or(p.Secondary, before.Secondary)
	}
	if p.Primary == "" {
		p.Primary = cred.NewLongKey()
	}
	if p.Secondary == "" {
		p.Secondary = cred.NewLongKey()
	}
}
