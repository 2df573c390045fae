package dps

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
)

// The key K that a TPM is challenged with is not stored: it is derived from the
// key at rest for scope, registration, endorsement key and hour, so that every
// node knows it and a caller who proves nothing costs no write. One is taken
// for its hour and the next, at least 60 minutes (dps 2.9.3).
const nonceWindow = time.Hour

func (s *Service) nonce(id string, ek []byte, window int64) []byte {
	h := hmac.New(sha256.New, s.o.Key)
	h.Write([]byte("dps tpm nonce\x00" + key(s.scope) + "\x00" + key(id) + "\x00"))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(window)))
	h.Write(ek)
	return h.Sum(nil)
}

// nonces are the keys in force, the newest first, in base64.
func (s *Service) nonces(id string, ek []byte) []string {
	w := s.now().Unix() / int64(nonceWindow/time.Second)
	return []string{encode64(s.nonce(id, ek, w)), encode64(s.nonce(id, ek, w-1))}
}

// activation returns the blob by which the TPM that has both keys comes to hold
// the key.
func (s *Service) activation(host, id string, ek, srk, secret []byte) ([]byte, error) {
	e, err := cred.ParseEndorsementKey(ek)
	if err != nil {
		return nil, fault.DPSInvalidEndorsementKey.Wrap(err, "the endorsement key: %s", err)
	}
	r, err := cred.ParseStorageRootKey(srk)
	if err != nil {
		return nil, fault.DPSInvalidStorageRootKey.Wrap(err, "the storage root key: %s", err)
	}
	blob, err := cred.Activation(e, r, secret, host+"/devices/"+id)
	if err != nil {
		return nil, fault.DPSInvalidEndorsementKey.Wrap(err, "the keys of the TPM take no activation: %s", err)
	}
	return blob, nil
}

// attestTPM judges a claim by an enrolment with an endorsement key.
func (s *Service) attestTPM(c *Claim, r *DeviceRequest, a *attested) (*attested, error) {
	enrolled := a.enrollment.Attestation.TPM
	if enrolled == nil || strings.HasPrefix(c.Transport, "mqtt") {
		return nil, refuse(errors.New("a TPM cannot prove itself on this way"))
	}
	ek, err := base64.StdEncoding.DecodeString(enrolled.EK)
	if err != nil {
		return nil, refuse(errors.New("the enrolled endorsement key is unreadable"))
	}
	a.ek = ek
	if enrolled.SRK != "" {
		if a.srk, err = base64.StdEncoding.DecodeString(enrolled.SRK); err != nil {
			return nil, refuse(errors.New("the enrolled storage root key is unreadable"))
		}
	}
	shown := r
	if c.Proven != nil {
		if !strings.EqualFold(c.Proven.scope, s.scope) || !strings.EqualFold(c.Proven.id, c.ID) {
			return nil, refuse(errors.New("the proof is for another registration"))
		}
		shown = &DeviceRequest{EK: c.Proven.ek, SRK: c.Proven.srk}
	}
	switch {
	case shown.EK != nil && !bytes.Equal(shown.EK, a.ek):
		return nil, refuse(errors.New("the endorsement key is not the enrolled one"))
	case shown.SRK != nil && a.srk != nil && !bytes.Equal(shown.SRK, a.srk):
		return nil, refuse(errors.New("the storage root key is not the enrolled one"))
	case a.srk == nil:
		a.srk = shown.SRK
	}
	switch {
	case c.Proven != nil:
		return a, nil
	case c.SAS != "":
		if _, err := cred.VerifyProvisioning(c.SAS, s.scope, c.ID, [][]string{s.nonces(c.ID, a.ek)}, s.now()); err != nil {
			return nil, refuse(err)
		}
		return a, nil
	case shown.EK == nil:
		return nil, refuse(errors.New("neither a token nor an endorsement key was shown"))
	}
	return nil, s.challenge(c, a)
}

// challenge returns the *Challenge for a TPM, or why there can be none.
func (s *Service) challenge(c *Claim, a *attested) error {
	if a.srk == nil {
		return fault.DPSInvalidStorageRootKey.New("tpm.storageRootKey is missing, and the enrollment has none")
	}
	nonce, err := base64.StdEncoding.DecodeString(s.nonces(c.ID, a.ek)[0])
	if err != nil {
		return translated(err)
	}
	blob, err := s.activation(s.o.Host, c.ID, a.ek, a.srk, nonce)
	if err != nil {
		return err
	}
	return &Challenge{Key: encode64(blob)}
}

// OpenTPM begins TPM attestation outside of HTTPS: it returns the activation
// blob, and verify, which checks the token made with the key and may be called
// once the blob was sent; refusals are IotHubUnauthorizedAccess. What it proves
// is possession of the endorsement key; whether the registration is enrolled
// with it, Register says (dps 2.5, 2.9.3).
func (s *Service) OpenTPM(_ context.Context, c *Claim, ek, srk []byte) (blob []byte, verify func(token string) (*Proof, error), err error) {
	if err := CheckRegistrationID(c.ID); err != nil {
		return nil, nil, err
	}
	nonce := s.nonce(c.ID, ek, s.now().Unix()/int64(nonceWindow/time.Second))
	if blob, err = s.activation(s.o.Host, c.ID, ek, srk, nonce); err != nil {
		return nil, nil, err
	}
	scope, id, ek, srk := c.Scope, c.ID, bytes.Clone(ek), bytes.Clone(srk)
	return blob, func(token string) (*Proof, error) {
		if _, err := cred.VerifyProvisioning(token, s.scope, id, [][]string{s.nonces(id, ek)}, s.now()); err != nil {
			return nil, refuse(err)
		}
		return &Proof{scope: scope, id: id, ek: ek, srk: srk}, nil
	}, nil
}
