package dps

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/store"
)

// KindRunning is the kind of rows of operations that run. Its key is the
// registration id, so that a registration has one at most; its ref is the
// operation id, its second ref the node that works on it (Service.opening). An
// operation that has ended stands under KindOperation.
const KindRunning = "running"

// operation is one register call, from its acceptance to the end of retention.
// A value that others can see is not changed any more: each step makes a copy.
type operation struct {
	ID           string `json:"operationId"`
	Registration string `json:"registrationId"` // as spelled by the enrolment, of group members by the call
	Status       Status `json:"status"`
	Created      Time   `json:"created"`
	Fingerprint  []byte `json:"fingerprint,omitzero"` // of proof and body
	RetryAfter   int    `json:"retryAfter,omitzero"`  // seconds, of the profile in force

	// What the device sent; dropped when the operation ends, except Sent:
	Payload json.RawMessage `json:"payload,omitzero"`
	CSR     []byte          `json:"csr,omitzero"`
	Legacy  bool            `json:"legacyCSR,omitzero"`
	Sent    bool            `json:"sentCSR,omitzero"`

	// How it was attested:
	Kind    string `json:"attestation"`
	Group   string `json:"group,omitzero"`
	Spelled string `json:"spelled,omitzero"` // id that the group's keys are derived for
	Leaf    []byte `json:"leaf,omitzero"`    // DER
	Signing []byte `json:"signing,omitzero"` // DER
	EK      []byte `json:"ek,omitzero"`
	SRK     []byte `json:"srk,omitzero"`

	// How it came:
	Transport string `json:"transport,omitzero"`
	Version   string `json:"apiVersion,omitzero"`
	Client    string `json:"client,omitzero"`
	Remote    string `json:"remote,omitzero"`

	// While it runs:
	Owner   string `json:"owner,omitzero"`   // Service.opening of the node that works on it
	Counted bool   `json:"counted,omitzero"` // the group's record counts it already

	Outcome *outcome `json:"outcome,omitzero"` // nil while it runs

	// On the node that started it only:
	proof [sha256.Size]byte // of the token or certificate
	far   bool              // see pool
}

// outcome is what an operation ended in.
type outcome struct {
	RegistrationState
	TPM       *TPMResult      `json:"tpm,omitzero"`
	X509      *X509Result     `json:"x509,omitzero"`
	Symmetric *KeyResult      `json:"symmetricKeyResult,omitzero"`
	Chain     []string        `json:"issuedCertificateChain,omitzero"`
	PEM       string          `json:"issuedClientCertificate,omitzero"`
	Bundle    json.RawMessage `json:"trustBundle,omitzero"`
}

// newOperationID returns a digit, 16 hex digits and a GUID, separated by dots
// (dps 1.3).
func newOperationID() string {
	var b [24]byte
	rand.Read(b[:]) // never fails since Go 1.24
	b[14], b[16] = b[14]&0x0f|0x40, b[16]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return "5." + h[:16] + "." + h[16:24] + "-" + h[24:28] + "-" + h[28:32] + "-" + h[32:36] + "-" + h[36:]
}

// newOperation returns the operation of a register call.
func newOperation(c *Claim, r *DeviceRequest, a *attested, now time.Time) *operation {
	op := &operation{ID: newOperationID(), Registration: c.ID, Status: Assigning, Created: stamp(now),
		Payload: r.Payload, CSR: r.CSR, Legacy: r.LegacyCSR, Sent: r.CSR != nil,
		Kind: a.kind, Group: a.group(), Spelled: a.spelled, EK: a.ek, SRK: a.srk,
		Transport: c.Transport, Version: c.Version.String(), Client: brief(c.Client), Remote: c.Remote, proof: c.proof()}
	if !a.enrollment.IsGroup() {
		op.Registration = a.enrollment.RegistrationID
	}
	if a.leaf != nil {
		op.Leaf = a.leaf.Raw
	}
	if a.signing != nil {
		op.Signing = a.signing.Raw
	}
	h := sha256.New()
	h.Write(a.identity())
	h.Write(r.Payload)
	h.Write([]byte{0})
	h.Write(r.CSR)
	op.Fingerprint = h.Sum(nil)
	return op
}

// proof returns what stands for the token or the certificate of a claim; zero
// when it has neither.
func (c *Claim) proof() (sum [sha256.Size]byte) {
	switch {
	case c.SAS != "":
		return sha256.Sum256([]byte("sas\x00" + c.SAS))
	case len(c.Certs) > 0:
		return sha256.Sum256(append([]byte("x509\x00"), c.Certs[0].Raw...))
	}
	return sum
}

// startedBy says whether the claim shows the very token or certificate that
// started the operation on this node, which then needs no second look at the
// enrolment.
func (op *operation) startedBy(s *Service, c *Claim) bool {
	proof := c.proof()
	if op.proof == ([sha256.Size]byte{}) || subtle.ConstantTimeCompare(op.proof[:], proof[:]) == 0 || !op.of(c.ID) {
		return false
	}
	if c.SAS == "" {
		return true
	}
	_, err := cred.ParseProvisioning(c.SAS, s.scope, c.ID, s.now())
	return err == nil
}

// of says whether the operation belongs to the registration id.
func (op *operation) of(id string) bool { return strings.EqualFold(op.Registration, id) }

// row returns the operation's row, running or ended.
func (op *operation) row() (*store.DPSRow, error) {
	if op.Outcome != nil {
		row, err := newRow(KindOperation, op.ID, op)
		if err == nil {
			row.At = op.Created.Time
		}
		return row, err
	}
	row, err := newRow(KindRunning, key(op.Registration), op)
	if err == nil {
		row.Ref, row.Ref2 = op.ID, op.Owner
	}
	return row, err
}

// ended returns the operation with its outcome, without what only work needs.
func (op *operation) ended(o *outcome) *operation {
	n := *op
	n.Status, n.Outcome, n.Owner = o.Status, o, ""
	n.Payload, n.CSR, n.Leaf, n.Signing, n.Fingerprint = nil, nil, nil, nil, nil
	return &n
}

// record returns the log entry of the operation.
func (op *operation) record() *ProvisioningRecord {
	r := &ProvisioningRecord{OperationID: op.ID, RegistrationID: op.Registration, Transport: op.Transport, Version: op.Version,
		Client: op.Client, Attestation: op.Kind, Group: op.Group, Status: op.Status, Started: op.Created, Remote: op.Remote}
	if op.Group == "" {
		r.Enrollment = op.Registration
	}
	return r
}

// same says whether another register is the same call once more.
func (op *operation) same(o *operation) bool { return bytes.Equal(op.Fingerprint, o.Fingerprint) }

// runningOperation returns an operation that has not ended; store.ErrNone.
func runningOperation(tx *store.Tx, id string) (*operation, error) {
	rows, err := tx.DPSByRef(KindRunning, id, "", 1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, store.ErrNone
	}
	return decodeRow[operation](rows[0])
}

// readOperation returns an operation, ended or not; store.ErrNone.
func readOperation(tx *store.Tx, id string) (*operation, error) {
	op, err := readRow[operation](tx, KindOperation, id)
	if !errors.Is(err, store.ErrNone) {
		return op, err
	}
	return runningOperation(tx, id)
}

// assigning says whether an operation of the registration runs.
func assigning(tx *store.Tx, registration string) (bool, error) {
	_, err := tx.DPS(KindRunning, key(registration))
	if errors.Is(err, store.ErrNone) {
		return false, nil
	}
	return err == nil, err
}

// answer returns the operation as the device sees it with its api-version.
func (op *operation) answer(v Version) *Operation {
	a := &Operation{ID: op.ID, Status: op.Status}
	if op.Outcome == nil {
		return a
	}
	o := op.Outcome
	a.State = o.device(v)
	if o.Status != Assigned {
		return a
	}
	a.State.TPM, a.State.X509, a.State.SymmetricKey = o.TPM, o.X509, o.Symmetric
	a.State.IssuedChain, a.State.IssuedPEM = o.Chain, o.PEM
	if op.Sent || v.legacyCSR() {
		a.State.TrustBundle = o.Bundle
	}
	return a
}

// device returns the state as the device sees it with its api-version (dps
// 2.1.3): the true substatus is for the service API (dps 4.5).
func (r *RegistrationState) device(v Version) *DeviceResult {
	d := &DeviceResult{RegistrationID: r.RegistrationID, Created: r.Created, Status: r.Status, Updated: r.Updated, ETag: r.ETag}
	switch r.Status {
	case Assigned:
		d.AssignedHub, d.DeviceID, d.Substatus, d.Payload = r.AssignedHub, r.DeviceID, r.Substatus, r.Payload
		if d.Substatus == SubstatusAgain && !v.showsSubstatus() {
			d.Substatus = SubstatusInitial
		}
	case Failed:
		d.ErrorCode, d.ErrorMessage = r.ErrorCode, r.ErrorMessage
	}
	return d
}

// stamp returns a time as answers and rows have it: in UTC with seven digits.
func stamp(at time.Time) Time { return Time{at.UTC().Truncate(100 * time.Nanosecond)} }
