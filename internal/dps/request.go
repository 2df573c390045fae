package dps

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

// maxMessage is the longest body of a device call in bytes (dps 4.7).
const maxMessage = 96 << 10

// ParseRequest reads the body of a register or lookup call for the registration
// id: nothing, white space, an empty string or an object, in which unknown members are ignored.
// Answers MessageTooLarge, DeserializationError, InvalidRegistrationId for
// another id than the addressed one, InvalidEndorsementKey,
// InvalidStorageRootKey, and ArgumentInvalid for a CSR (dps 2.1.1).
func ParseRequest(body []byte, id string) (*DeviceRequest, error) {
	if len(body) > maxMessage {
		return nil, fault.DPSMessageTooLarge.New("the body has %d bytes, %d are allowed", len(body), maxMessage)
	}
	if body = bytes.TrimSpace(body); len(body) == 0 || string(body) == `""` {
		return &DeviceRequest{}, nil
	}
	var in struct {
		ID  string `json:"registrationId"`
		TPM *struct {
			EK  string `json:"endorsementKey"`
			SRK string `json:"storageRootKey"`
		} `json:"tpm"`
		Payload jsontext.Value `json:"payload"`
		CSR     string         `json:"csr"`
		Older   string         `json:"clientCertificateCsr"`
	}
	if err := jsonv2.Unmarshal(body, &in); err != nil {
		return nil, fault.DPSDeserializationError.Wrap(err, "the body is not JSON of the expected shape%s", place(err))
	}
	if in.ID != "" && !strings.EqualFold(in.ID, id) {
		return nil, mismatch(id, in.ID, false)
	}
	r := &DeviceRequest{RegistrationID: in.ID}
	if in.Payload.Kind() != 'n' {
		r.Payload = json.RawMessage(in.Payload)
	}
	if in.TPM != nil {
		if err := r.tpm(in.TPM.EK, in.TPM.SRK); err != nil {
			return nil, err
		}
	}
	return r, r.request(in.CSR, in.Older, id)
}

// place says where decoding ended, as far as that is known.
func place(err error) string {
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok && e.JSONPointer != "" {
		return ": " + string(e.JSONPointer)
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return ": " + e.Err.Error()
	}
	return ""
}

func (r *DeviceRequest) tpm(ek, srk string) error {
	k, err := cred.ParseEndorsementKeyText(ek)
	if err != nil {
		return fault.DPSInvalidEndorsementKey.Wrap(err, "tpm.endorsementKey: %s", err)
	}
	r.EK = k.Bytes()
	if srk == "" {
		return nil
	}
	if k, err = cred.ParseStorageRootKeyText(srk); err != nil {
		return fault.DPSInvalidStorageRootKey.Wrap(err, "tpm.storageRootKey: %s", err)
	}
	r.SRK = k.Bytes()
	return nil
}

// request checks a CSR, whose common name has to be the registration id (dps
// 2.10).
func (r *DeviceRequest) request(text, older, id string) error {
	name := "csr"
	if text == "" {
		text, name, r.LegacyCSR = older, "clientCertificateCsr", older != ""
	}
	if text == "" {
		return nil
	}
	q, err := cred.ParseRequest([]byte(text))
	if err == nil {
		err = q.CheckName(id)
	}
	if err != nil {
		return fault.DPSArgumentInvalid.Wrap(err, "%s: %s", name, err)
	}
	r.CSR = []byte(text)
	return nil
}

// encode64 is base64 with padding.
func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
