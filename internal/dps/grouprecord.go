package dps

import (
	"errors"

	"github.com/nave-hub/nave/internal/store"
)

// GroupRecord is the account of one enrolment group (dps 6.2). Its row has the
// group id as key.
type GroupRecord struct {
	ID         string `json:"enrollmentGroupId"`
	Count      int    `json:"registrationCount"` // devices that are assigned
	Failed     int    `json:"failedCount"`       // operations that failed
	First      Time   `json:"firstRegistrationUtc,omitzero"`
	Last       Time   `json:"lastRegistrationUtc,omitzero"`
	Max        *int   `json:"maxRegistrations,omitzero"`
	ValidFrom  Time   `json:"validFromUtc,omitzero"`
	ValidTo    Time   `json:"validToUtc,omitzero"`
	SettingsID string `json:"provisioningSettingsId,omitzero"`
	Deleted    bool   `json:"groupDeleted"`
	ETag       string `json:"etag,omitzero"`
}

// groupRecord returns the record of a group, a new one when there is none.
func groupRecord(tx *store.Tx, group string) (*GroupRecord, error) {
	r, err := readRow[GroupRecord](tx, KindGroupRecord, key(group))
	if errors.Is(err, store.ErrNone) {
		return &GroupRecord{ID: group}, nil
	}
	return r, err
}

// putGroupRecord stores counts. The etag stays, so that an operator can change
// the limits of a group that is busy.
func putGroupRecord(tx *store.Tx, r *GroupRecord) error {
	if r.ETag == "" {
		r.ETag = newETag()
	}
	row, err := newRow(KindGroupRecord, key(r.ID), r)
	if err != nil {
		return err
	}
	return tx.PutDPS(row)
}
