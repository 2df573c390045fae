package dps

import (
	"encoding/base64"
	"encoding/json"
)

// RegistrationState is the outcome of a device's registration as the service
// API shows it (dps 3.5).
type RegistrationState struct {
	RegistrationID string          `json:"registrationId"`
	Created        Time            `json:"createdDateTimeUtc,omitzero"` // first registration
	AssignedHub    string          `json:"assignedHub,omitzero"`
	DeviceID       string          `json:"deviceId,omitzero"`
	Status         Status          `json:"status"`
	Substatus      string          `json:"substatus,omitzero"` // the true one, whatever the device was told
	ErrorCode      int             `json:"errorCode,omitzero"`
	ErrorMessage   string          `json:"errorMessage,omitzero"`
	Updated        Time            `json:"lastUpdatedDateTimeUtc,omitzero"`
	ETag           string          `json:"etag,omitzero"` // base64 of a quoted text
	Payload        json.RawMessage `json:"payload,omitzero"`
}

// The values of Substatus (dps 4.5).
const (
	SubstatusInitial  = "initialAssignment"
	SubstatusMigrated = "deviceDataMigrated"
	SubstatusReset    = "deviceDataReset"
	SubstatusAgain    = "reprovisionedToInitialAssignment"
)

// Registration is the stored registration: its state and what only the
// provisioning service itself knows.
type Registration struct {
	RegistrationState

	Attestation string      `json:"attestationType,omitzero"`    // tpm, x509 or symmetricKey
	Group       string      `json:"group,omitzero"`              // group id; "" for individual enrolments
	Fingerprint string      `json:"fingerprint,omitzero"`        // of the credentials on the hub
	Version     string      `json:"apiVersion,omitzero"`         // of the call that registered
	TPM         *TPMResult  `json:"tpm,omitzero"`                // of the device result
	X509        *X509Result `json:"x509,omitzero"`               // of the device result
	Symmetric   *KeyResult  `json:"symmetricKeyResult,omitzero"` // of the device result
	Issued      *Issued     `json:"issued,omitzero"`             // certificate made from a CSR
	Operation   string      `json:"operationId,omitzero"`        // that made this state
}

// Issued describes the certificate that a CSR got; the chain itself is in the
// operation.
type Issued struct {
	Serial string `json:"serialNumber"`
	SHA1   string `json:"sha1Thumbprint"`
	SHA256 string `json:"sha256Thumbprint"`
	Until  Time   `json:"notAfterUtc"`
}

// newRegistrationETag returns a new etag of a registration state: base64 of a
// quoted etag (dps 1.3).
func newRegistrationETag() string { return asRegistrationETag(newETag()) }

func asRegistrationETag(etag string) string { return base64.StdEncoding.EncodeToString([]byte(etag)) }
