package dps

import (
	"crypto/x509"
	"encoding/json"
	"time"

	"github.com/nave-hub/nave/internal/cred"
)

// Claim is how a device addresses the service and what it shows as proof.
type Claim struct {
	Scope string // id scope as addressed
	ID    string // registration id as addressed, percent-decoded

	SAS   string              // token with its scheme word, "" for none
	Certs []*x509.Certificate // of the TLS handshake, leaf first
	// Proven holds the outcome of a proof that a protocol finished by itself
	// (SASL TPM): the token was checked when the connection opened.
	Proven *Proof

	Version   Version // api-version of the call
	Client    string  // client version text, for the record
	Transport string  // https, mqtt, mqttws, amqp, amqpws
	Remote    string  // peer address
}

// Proof is an attestation that holds for a connection; made by OpenTPM.
type Proof struct {
	scope, id string
	ek, srk   []byte
}

// DeviceRequest is the body of a register call (dps 2.1.1).
type DeviceRequest struct {
	RegistrationID string
	EK, SRK        []byte          // TPM attestation, nil without
	Payload        json.RawMessage // for the webhook, verbatim; nil without
	CSR            []byte          // csr or clientCertificateCsr as sent: base64 of DER, or PEM; nil without
	LegacyCSR      bool            // it came as clientCertificateCsr (2021-11-01-preview)
}

// Status of an operation or registration state (dps 2.1.4).
type Status string

// The statuses. Devices never see Unassigned.
const (
	Unassigned Status = "unassigned"
	Assigning  Status = "assigning"
	Assigned   Status = "assigned"
	Failed     Status = "failed"
	Disabled   Status = "disabled"
)

// Operation is the answer to Register and Status (dps 2.1.2).
type Operation struct {
	ID     string        `json:"operationId"`
	Status Status        `json:"status"`
	State  *DeviceResult `json:"registrationState,omitzero"` // absent while assigning
	Retry  time.Duration `json:"-"`                          // whole seconds to wait before the next poll, while assigning
}

// DeviceResult is a registration as the device sees it, downgraded to the
// api-version of its call (dps 2.1.3).
type DeviceResult struct {
	RegistrationID string          `json:"registrationId"`
	Created        Time            `json:"createdDateTimeUtc"`
	AssignedHub    string          `json:"assignedHub,omitzero"`
	DeviceID       string          `json:"deviceId,omitzero"`
	Status         Status          `json:"status"`
	Substatus      string          `json:"substatus,omitzero"`
	Updated        Time            `json:"lastUpdatedDateTimeUtc"`
	ETag           string          `json:"etag"`
	ErrorCode      int             `json:"errorCode,omitzero"`
	ErrorMessage   string          `json:"errorMessage,omitzero"`
	Payload        json.RawMessage `json:"payload,omitzero"`
	TPM            *TPMResult      `json:"tpm,omitzero"`
	X509           *X509Result     `json:"x509,omitzero"`
	SymmetricKey   *KeyResult      `json:"symmetricKey,omitzero"`
	IssuedChain    []string        `json:"issuedCertificateChain,omitzero"`
	IssuedPEM      string          `json:"issuedClientCertificate,omitzero"`
	TrustBundle    json.RawMessage `json:"trustBundle,omitzero"`
}

// TPMResult carries the activation blob of the hub's device key.
type TPMResult struct {
	AuthenticationKey string `json:"authenticationKey"` // base64
}

// X509Result describes the certificate that was accepted.
type X509Result struct {
	Certificate *CertificateInfo `json:"certificateInfo,omitzero"`
	Group       string           `json:"enrollmentGroupId,omitzero"`
	Signing     *CertificateInfo `json:"signingCertificateInfo,omitzero"`
}

// KeyResult names the group whose key fitted; empty for individual enrolments.
type KeyResult struct {
	Group string `json:"enrollmentGroupId,omitzero"`
}

// CertificateInfo are the eight facts that clients read (dps 2.1.3).
type CertificateInfo = cred.CertificateInfo

// Challenge is the error by which Register asks a TPM to prove itself (dps
// 2.9.3): the surface answers 401 with the blob.
type Challenge struct {
	Key string // base64 of the activation blob
}

func (c *Challenge) Error() string { return "dps: the TPM must activate a key first" }

// ChallengeKeyName is the keyName member of a challenge.
const ChallengeKeyName = "registration"

// Time is written with seven fractional digits and Z (dps 1.3).
type Time struct{ time.Time }

// timeForm is the layout of Time.
const timeForm = "2006-01-02T15:04:05.0000000Z"

// MarshalText writes the time in UTC.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.UTC().Format(timeForm)), nil }

// MarshalJSON keeps that of time.Time, which is embedded, from deciding.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(t.UTC().Format(`"` + timeForm + `"`)), nil }

// UnmarshalText reads RFC 3339 with or without fraction.
func (t *Time) UnmarshalText(text []byte) (err error) {
	t.Time, err = time.Parse(time.RFC3339Nano, string(text))
	return err
}
