package dps

import (
	"encoding/json"
	"strings"
)

// Enrollment is an individual enrolment or, with GroupID in place of
// RegistrationID, an enrolment group (dps 3.9). The tags are the wire's and the
// store's.
type Enrollment struct {
	RegistrationID string             `json:"registrationId,omitzero"`
	GroupID        string             `json:"enrollmentGroupId,omitzero"`
	DeviceID       string             `json:"deviceId,omitzero"`                  // individual; "": the registration id
	State          *RegistrationState `json:"registrationState,omitzero"`         // individual, filled for answers, never stored
	Information    json.RawMessage    `json:"optionalDeviceInformation,omitzero"` // individual; verbatim
	Attestation    *Attestation       `json:"attestation,omitzero"`
	Capabilities   *Capabilities      `json:"capabilities,omitzero"`
	HubHost        string             `json:"iotHubHostName,omitzero"` // the older way to name one hub; it is in Hubs too
	InitialTwin    json.RawMessage    `json:"initialTwin,omitzero"`    // verbatim; nil without
	ETag           string             `json:"etag,omitzero"`           // with its own quotes
	Provisioning   string             `json:"provisioningStatus,omitzero"`
	Reprovision    *ReprovisionPolicy `json:"reprovisionPolicy,omitzero"` // nil in the store: the settings', else migrate
	Created        Time               `json:"createdDateTimeUtc,omitzero"`
	Updated        Time               `json:"lastUpdatedDateTimeUtc,omitzero"`
	Allocation     string             `json:"allocationPolicy,omitzero"` // "": the instance's
	Hubs           []string           `json:"iotHubs,omitzero"`          // empty: all linked hubs
	Custom         *CustomAllocation  `json:"customAllocationDefinition,omitzero"`

	// Of the previews (dps 2.10):
	CredentialPolicy string          `json:"credentialPolicyName,omitzero"`
	Issuance         *IssuancePolicy `json:"clientCertificateIssuancePolicy,omitzero"`
	TrustBundle      string          `json:"trustBundleId,omitzero"`
}

// The values of Provisioning.
const (
	ProvisioningEnabled  = "enabled"
	ProvisioningDisabled = "disabled"
)

// The values of Allocation (dps 4.2).
const (
	AllocateHashed = "hashed"
	AllocateGeo    = "geoLatency"
	AllocateStatic = "static"
	AllocateCustom = "custom"
)

// Capabilities are what the device becomes on its hub.
type Capabilities struct {
	Edge bool `json:"iotEdge"`
}

// ReprovisionPolicy says what a repeated registration may change (dps 4.5).
type ReprovisionPolicy struct {
	UpdateHub   bool `json:"updateHubAssignment"`
	MigrateData bool `json:"migrateDeviceData"`
}

// CustomAllocation is the webhook that chooses the hub (dps 4.3). The query
// string of the URL may hold a key and is never logged.
type CustomAllocation struct {
	URL     string `json:"webhookUrl"`
	Version string `json:"apiVersion,omitzero"`
}

// IssuancePolicy names the CA that signs CSRs of devices (dps 2.10.1).
type IssuancePolicy struct {
	Authority string `json:"certificateAuthorityName"`
}

// IsGroup says whether e is a group.
func (e *Enrollment) IsGroup() bool { return e.GroupID != "" }

// ID returns the registration id or the group id, as spelled at creation.
func (e *Enrollment) ID() string {
	if e.IsGroup() {
		return e.GroupID
	}
	return e.RegistrationID
}

// Enabled says whether devices may register.
func (e *Enrollment) Enabled() bool { return e.Provisioning != ProvisioningDisabled }

// Device returns the device id for the registration id: the enrolment's, or
// the registration id itself.
func (e *Enrollment) Device(registration string) string {
	if e.DeviceID != "" {
		return e.DeviceID
	}
	return registration
}

// Policy returns the reprovision policy, the default where none is set.
func (e *Enrollment) Policy() ReprovisionPolicy {
	if e.Reprovision == nil {
		return ReprovisionPolicy{UpdateHub: true, MigrateData: true}
	}
	return *e.Reprovision
}

// Edge says whether the device is to be an IoT Edge device.
func (e *Enrollment) Edge() bool { return e.Capabilities != nil && e.Capabilities.Edge }

// kind returns the kind of e's row.
func (e *Enrollment) kind() string {
	if e.IsGroup() {
		return KindGroup
	}
	return KindEnrollment
}

// key returns the key of a row for an id that compares without case.
func key(id string) string { return strings.ToLower(id) }

// shown returns e as answers have it, with the defaults that are not stored
// (dps 3.9).
func (e *Enrollment) shown() *Enrollment {
	c := *e
	policy := e.Policy()
	c.Reprovision = &policy
	if c.Capabilities == nil {
		c.Capabilities = &Capabilities{}
	}
	return &c
}

// public is shown without symmetric keys, as reads have it (dps 3.6).
func (e *Enrollment) public() *Enrollment {
	c := e.shown()
	if e.Attestation != nil && e.Attestation.SymmetricKey != nil {
		a := *e.Attestation
		a.SymmetricKey = &SymmetricKey{}
		c.Attestation = &a
	}
	return c
}
