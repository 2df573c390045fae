package dps

import (
	"errors"

	"github.com/nave-hub/nave/internal/store"
)

// ProvisioningRecord is the log entry of one register operation (dps 6.5). It
// is stored when the operation ends; before that readRecord makes it from the
// operation. Its row has the operation id as key, the registration id, as a
// key, as ref, and the start as time.
type ProvisioningRecord struct {
	OperationID    string `json:"operationId"`
	RegistrationID string `json:"registrationId"`
	Scope          string `json:"idScope,omitzero"`
	Transport      string `json:"transport,omitzero"`
	Version        string `json:"apiVersion,omitzero"`
	Client         string `json:"clientVersion,omitzero"`
	Attestation    string `json:"attestationType,omitzero"`
	Enrollment     string `json:"enrollmentId,omitzero"`
	Group          string `json:"enrollmentGroupId,omitzero"`
	Status         Status `json:"status"`
	Substatus      string `json:"substatus,omitzero"`
	AssignedHub    string `json:"assignedHub,omitzero"`
	PreviousHub    string `json:"previousHub,omitzero"`
	ErrorCode      int    `json:"errorCode,omitzero"`
	ErrorMessage   string `json:"errorMessage,omitzero"`
	WebhookMS      int64  `json:"webhookDurationMs,omitzero"`
	Started        Time   `json:"startedUtc,omitzero"`
	Finished       Time   `json:"finishedUtc,omitzero"`
	Remote         string `json:"remoteAddress,omitzero"`
	ETag           string `json:"etag,omitzero"`

	// Of a certificate issued by the operation (dps 2.10.3):
	Issued *Issued `json:"issuedCertificate,omitzero"`
}

// readRecord returns the entry of an operation, also of one that runs;
// store.ErrNone.
func readRecord(tx *store.Tx, id string) (*ProvisioningRecord, error) {
	r, err := readRow[ProvisioningRecord](tx, KindRecord, id)
	if !errors.Is(err, store.ErrNone) {
		return r, err
	}
	op, err := runningOperation(tx, id)
	if err != nil {
		return nil, err
	}
	return op.record(), nil
}
