package dps

import (
	"errors"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// DeviceGroup is a named set of device records across enrolments (dps 6.3). Its
// row has the group id as key, and groupBusy as ref while an action runs.
type DeviceGroup struct {
	ID          string       `json:"deviceGroupId"`
	Description string       `json:"description"`
	Membership  Membership   `json:"membership"`
	Count       *int         `json:"memberCount,omitzero"` // nil in lists of groups with a query
	Active      *GroupAction `json:"activeAction,omitzero"`
	Last        *GroupAction `json:"lastAction,omitzero"` // the one that ended last
	Created     Time         `json:"createdDateTimeUtc,omitzero"`
	Updated     Time         `json:"lastUpdatedDateTimeUtc,omitzero"`
	ETag        string       `json:"etag,omitzero"`
}

// groupBusy is the ref of groups with an action that runs.
const groupBusy = "busy"

// Membership says how records become members: one by one when Query is empty,
// else by a query over device records. In JSON it is "explicit" or
// {"query": "…"}.
type Membership struct{ Query string }

// explicit is the JSON of membership one by one.
const explicit = "explicit"

// MarshalJSON writes "explicit" or {"query": "…"}.
func (m Membership) MarshalJSON() ([]byte, error) {
	if m.Query == "" {
		return jsonv2.Marshal(explicit)
	}
	return jsonv2.Marshal(map[string]string{"query": m.Query})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Membership) UnmarshalJSON(b []byte) error {
	*m = Membership{}
	switch jsontext.Value(b).Kind() {
	case 'n': // counts as absent
		return nil
	case '"':
		var word string
		if err := jsonv2.Unmarshal(b, &word); err != nil {
			return err
		}
		_, err := canonical("membership", word, explicit)
		return err
	}
	var v struct {
		Query string `json:"query"`
	}
	if err := jsonv2.Unmarshal(b, &v); err != nil {
		return err
	}
	if v.Query == "" {
		return fault.DPSArgumentInvalid.New(`membership is "explicit" or an object with a query`)
	}
	m.Query = v.Query
	return nil
}

// GroupAction is something done to all members of a device group in the
// background. It is stored in its group, so that any node can go on with it.
type GroupAction struct {
	ID       string   `json:"operationId"`
	Type     string   `json:"type"` // block, unblock, reprovision or retire
	Hubs     []string `json:"iotHubs,omitzero"`
	Status   string   `json:"status"` // running or succeeded
	Started  Time     `json:"startedUtc"`
	Finished Time     `json:"finishedUtc,omitzero"`
	Done     int      `json:"done"`
	Total    int      `json:"total"`

	After string `json:"after,omitzero"` // key of the last record that was looked at; stored only
}

// The values of GroupAction.Type and Status.
const (
	ActionBlock       = "block"
	ActionUnblock     = "unblock"
	ActionReprovision = "reprovision"
	ActionRetire      = "retire"

	ActionRunning   = "running"
	ActionSucceeded = "succeeded"
)

// maxDescription is the longest description in bytes.
const maxDescription = 1024

// maxDeviceGroups is how many device groups an instance has at most.
const maxDeviceGroups = 1000

var deviceGroups = &resource[DeviceGroup]{KindDeviceGroup, "the device group",
	Faults{fault.DPSDeviceGroupNotFound, fault.DPSDeviceGroupConflict}, func(g *DeviceGroup) *string { return &g.ETag }}

// ParseDeviceGroup reads a device group as clients send it, read-only members
// dropped; DeserializationError, ArgumentInvalid for its query.
func ParseDeviceGroup(b []byte) (*DeviceGroup, error) {
	g := &DeviceGroup{}
	if err := Decode(b, g); err != nil {
		return nil, err
	}
	g.Count, g.Active, g.Last, g.Created, g.Updated = nil, nil, nil, Time{}, Time{}
	if len(g.Description) > maxDescription {
		return nil, fault.DPSArgumentInvalid.New("description has %d bytes, %d are allowed", len(g.Description), maxDescription)
	}
	_, err := parseQuery(g.Membership.Query, "deviceRecords")
	return g, err
}

// ParseGroupAction reads {"type", "iotHubs"}; DeserializationError,
// ArgumentNull, ArgumentInvalid.
func ParseGroupAction(b []byte) (*GroupAction, error) {
	var in struct {
		Type string   `json:"type"`
		Hubs []string `json:"iotHubs"`
	}
	if err := Decode(b, &in); err != nil {
		return nil, err
	}
	if in.Type == "" {
		return nil, fault.DPSArgumentNull.New("type is missing")
	}
	kind, err := canonical("type", in.Type, ActionBlock, ActionUnblock, ActionReprovision, ActionRetire)
	switch {
	case err != nil:
		return nil, err
	case len(in.Hubs) > 0 && kind != ActionReprovision:
		return nil, fault.DPSArgumentInvalid.New("iotHubs is for reprovision, not for %s", kind)
	case len(in.Hubs) > maxHubs:
		return nil, fault.DPSArgumentInvalid.New("iotHubs has %d items, %d are allowed", len(in.Hubs), maxHubs)
	}
	return &GroupAction{Type: kind, Hubs: in.Hubs}, nil
}

func explicitOnly(g *DeviceGroup) error {
	return fault.DPSDeviceGroupConflict.New("members of %s come from its query and cannot be changed one by one", deviceGroups.called(g.ID))
}

// shown is g as answers have it.
func (g *DeviceGroup) shown() *DeviceGroup {
	n := *g
	n.Active, n.Last = g.Active.shown(), g.Last.shown()
	if n.Count == nil && n.Membership.Query == "" {
		n.Count = new(int)
	}
	return &n
}

func (x *GroupAction) shown() *GroupAction {
	if x == nil {
		return nil
	}
	n := *x
	n.After = ""
	return &n
}

// save writes the group under a new etag.
func (g *DeviceGroup) save(tx *store.Tx, fresh bool) error {
	g.ETag = newETag()
	if g.Membership.Query != "" {
		g.Count = nil // counted when it is asked for
	}
	row, err := newRow(KindDeviceGroup, key(g.ID), g)
	if err != nil {
		return err
	}
	if g.Active != nil {
		row.Ref = groupBusy
	}
	return deviceGroups.store(tx, row, fresh)
}

// member is a row of kind KindMember: its key is group/record, its refs are the
// keys of both.
type member struct {
	Record string `json:"deviceRecordId"`
}

func memberKey(group, record string) string { return key(group) + "/" + key(record) }

// enrol makes the record a member of an explicit group, or ends that, and
// counts. The record's own list is the caller's.
func (g *DeviceGroup) enrol(tx *store.Tx, record string, in bool) error {
	count := 0
	if g.Count != nil {
		count = *g.Count
	}
	name := memberKey(g.ID, record)
	if in {
		row, err := newRow(KindMember, name, member{record})
		if err != nil {
			return err
		}
		row.Ref, row.Ref2 = key(g.ID), key(record)
		switch err := tx.InsertDPS(row); {
		case errors.Is(err, store.ErrExists):
			return nil
		case err != nil:
			return err
		}
		count++
	} else {
		switch err := tx.DeleteDPS(KindMember, name); {
		case errors.Is(err, store.ErrNone):
			return nil
		case err != nil:
			return err
		}
		count--
	}
	g.Count = &count
	return g.save(tx, false)
}
