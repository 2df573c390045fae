package dps

import (
	"context"
	"encoding/json"

	"github.com/nave-hub/nave/internal/fault"
)

// maxBulk is how many items a bulk call has at most (dps 3.7).
const maxBulk = 10

// Bulk is a call over several enrolments, made by ParseBulk.
type Bulk struct {
	mode  string
	group bool
	items []bulkItem
}

type bulkItem struct {
	id, etag string
	body     json.RawMessage
}

// The modes (dps 3.7).
const (
	bulkCreate = "create"
	bulkUpdate = "update"
	bulkMatch  = "updateIfMatchETag"
	bulkDelete = "delete"
)

// BulkResult is the answer to a bulk call.
type BulkResult struct {
	Successful bool        `json:"isSuccessful"`
	Errors     []BulkError `json:"errors"`
}

// BulkError is what an item of a bulk call failed with.
type BulkError struct {
	RegistrationID string `json:"registrationId,omitzero"`
	GroupID        string `json:"enrollmentGroupId,omitzero"`
	Code           int    `json:"errorCode"`
	Status         string `json:"errorStatus"`
}

// ParseBulk reads the body of a bulk call over individual enrolments or groups.
// It answers DeserializationError, ArgumentInvalid for an unknown mode and a
// number of items other than 1 to 10, RegistrationIdDefinedMultipleTimes, or
// the code of an id that is missing.
func ParseBulk(b []byte, group bool) (*Bulk, error) {
	var body struct {
		Mode        string            `json:"mode"`
		Enrollments []json.RawMessage `json:"enrollments"`
		Groups      []json.RawMessage `json:"enrollmentGroups"`
	}
	if err := Decode(b, &body); err != nil {
		return nil, err
	}
	bulk := &Bulk{group: group}
	items, name := body.Enrollments, "enrollments"
	if group {
		items, name = body.Groups, "enrollmentGroups"
	}
	if body.Mode == "" {
		return nil, fault.DPSArgumentNull.New("the member mode is missing")
	}
	var err error
	if bulk.mode, err = canonical("mode", body.Mode, bulkCreate, bulkUpdate, bulkMatch, bulkDelete); err != nil {
		return nil, err
	}
	if len(items) == 0 || len(items) > maxBulk {
		return nil, fault.DPSArgumentInvalid.New("%s has %d items, 1 to %d are allowed", name, len(items), maxBulk)
	}
	return bulk, bulk.add(items)
}

// add reads the ids of the items.
func (b *Bulk) add(items []json.RawMessage) error {
	seen := map[string]bool{}
	for _, item := range items {
		var names struct {
			RegistrationID string `json:"registrationId"`
			GroupID        string `json:"enrollmentGroupId"`
			ETag           string `json:"etag"`
		}
		if err := Decode(item, &names); err != nil {
			return err
		}
		id := names.RegistrationID
		if b.group {
			id = names.GroupID
		}
		if id == "" {
			return checkID(id, b.group)
		}
		if seen[key(id)] {
			return fault.DPSRegistrationIdDefinedMultipleTimes.New("the id %q is named more than once", brief(id))
		}
		seen[key(id)] = true
		b.items = append(b.items, bulkItem{id, names.ETag, item})
	}
	return nil
}

// Bulk creates, updates or removes enrolments, each on its own: the result
// lists those that failed (dps 3.7).
func (a *Access) Bulk(ctx context.Context, b *Bulk) (*BulkResult, error) {
	op := opEnrollmentBulk
	if b.group {
		op = opGroupBulk
	}
	if err := a.enter(ctx, op, ""); err != nil {
		return nil, err
	}
	result := &BulkResult{Errors: []BulkError{}}
	for _, item := range b.items {
		if err := a.bulkItem(ctx, b, item); err != nil {
			e := fault.From(err)
			failed := BulkError{RegistrationID: item.id, Code: e.Code.ID, Status: e.Text}
			if b.group {
				failed.RegistrationID, failed.GroupID = "", item.id
			}
			result.Errors = append(result.Errors, failed)
		}
	}
	result.Successful = len(result.Errors) == 0
	return result, nil
}

func (a *Access) bulkItem(ctx context.Context, b *Bulk, item bulkItem) error {
	var m Match
	switch b.mode {
	case bulkDelete:
		kind := KindEnrollment
		if b.group {
			kind = KindGroup
		}
		return a.erase(ctx, kind, item.id, Match{IfMatch: item.etag})
	case bulkCreate:
		m.IfNoneMatch = "*"
	case bulkUpdate:
		m.IfMatch = "*"
	case bulkMatch:
		if item.etag == "" {
			return fault.DPSArgumentNull.New("the item has no etag, which mode %s needs", bulkMatch)
		}
		m.IfMatch = item.etag
	}
	e, err := ParseEnrollment(item.body, b.group)
	if err != nil {
		return err
	}
	_, err = a.write(ctx, e, m)
	return err
}
