package dps

import (
	"encoding/json"

	"github.com/nave-hub/nave/internal/store"
)

// The values of DeviceRecord.Status.
const (
	RecordStaged  = "staged"
	RecordActive  = "active"
	RecordBlocked = "blocked"
	RecordRetired = "retired"
)

// DeviceRecord is the service's lasting memory of one device (dps 6.1). Its row
// has the record id as key, the device id as ref and the registration id, as a
// key, as second ref.
type DeviceRecord struct {
	ID             string          `json:"deviceRecordId"`
	RegistrationID string          `json:"registrationId,omitzero"`
	DeviceID       string          `json:"deviceId,omitzero"`
	Source         RecordSource    `json:"source,omitzero"`
	Status         string          `json:"status"`
	Overrides      RecordOverrides `json:"overrides,omitzero"`
	Groups         []string        `json:"deviceGroupIds,omitzero"`
	LastRecord     string          `json:"lastProvisioningRecordId,omitzero"`
	Hubs           []HubStay       `json:"hubHistory,omitzero"`
	Issued         []RecordIssued  `json:"issuedCertificates,omitzero"`
	Created        Time            `json:"createdDateTimeUtc,omitzero"`
	Updated        Time            `json:"lastUpdatedDateTimeUtc,omitzero"`
	ETag           string          `json:"etag,omitzero"`

	// Reprovision makes the next register ignore a policy that says never, and
	// Hubs of the action, where given, take the place of the enrolment's; both
	// are set by an action of a device group. Stored only.
	Reprovision     bool     `json:"reprovision,omitzero"`
	ReprovisionHubs []string `json:"reprovisionHubs,omitzero"`
}

// RecordSource says what a device was enrolled by.
type RecordSource struct {
	Type string `json:"type,omitzero"` // enrollment, enrollmentGroup or manual
	ID   string `json:"id,omitzero"`
}

// RecordOverrides are applied at allocation.
type RecordOverrides struct {
	DeviceID         string          `json:"deviceId,omitzero"`
	Hub              string          `json:"iotHubHostName,omitzero"`
	InitialTwin      json.RawMessage `json:"initialTwin,omitzero"`
	CredentialPolicy string          `json:"credentialPolicyName,omitzero"`
}

// HubStay is how long a device was on a hub.
type HubStay struct {
	Hub  string `json:"iotHubHostName"`
	From Time   `json:"fromUtc"`
	To   Time   `json:"toUtc,omitzero"`
}

// RecordIssued is a certificate that was issued to the device.
type RecordIssued struct {
	Serial string `json:"serialNumber"`
	SHA256 string `json:"sha256Thumbprint"`
	Until  Time   `json:"notAfterUtc"`
	Status string `json:"status"` // valid, replaced or revoked
}

// Most entries of the lists of a record; the oldest go first.
const (
	maxStays  = 50
	maxIssued = 20
)

// barred says whether the device may not register: blocked or retired (dps 6.1).
func (r *DeviceRecord) barred() bool {
	return r != nil && (r.Status == RecordBlocked || r.Status == RecordRetired)
}

// restored is the status of a record that is no longer blocked.
func (r *DeviceRecord) restored() string {
	if len(r.Hubs) > 0 {
		return RecordActive
	}
	return RecordStaged
}

// shown is r as answers have it.
func (r *DeviceRecord) shown() *DeviceRecord {
	n := *r
	n.Reprovision, n.ReprovisionHubs = false, nil
	return &n
}

// recordOf returns the record of a registration, nil when there is none.
func recordOf(tx *store.Tx, registration string) (*DeviceRecord, error) {
	rows, err := tx.DPSByRef2(KindDeviceRecord, key(registration), 1)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return decodeRow[DeviceRecord](rows[0])
}

// row returns the record's row.
func (r *DeviceRecord) row() (*store.DPSRow, error) {
	row, err := newRow(KindDeviceRecord, key(r.ID), r)
	if err == nil {
		row.Ref, row.Ref2 = r.DeviceID, key(r.RegistrationID)
	}
	return row, err
}

// stay notes which hub the device is on from now.
func (r *DeviceRecord) stay(hub string, now Time) {
	if n := len(r.Hubs); n > 0 && r.Hubs[n-1].To.IsZero() {
		if r.Hubs[n-1].Hub == hub {
			return
		}
		r.Hubs[n-1].To = now
	}
	r.Hubs = append(r.Hubs, HubStay{Hub: hub, From: now})
	if n := len(r.Hubs); n > maxStays {
		r.Hubs = r.Hubs[n-maxStays:]
	}
}
