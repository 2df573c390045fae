package dps

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"slices"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// CredentialPolicy says how certificates for CSRs are issued (dps 3.12).
type CredentialPolicy struct {
	Name      string   `json:"name"`
	Authority string   `json:"certificateAuthorityName"`
	Validity  int      `json:"validityDays,omitzero"` // 0: the authority's
	Renew     int      `json:"renewBeforeDays,omitzero"`
	KeyTypes  []string `json:"keyTypes,omitzero"` // of CSRs; empty: all
	Subject   string   `json:"subjectTemplate,omitzero"`
	ETag      string   `json:"etag,omitzero"`
}

// subjectTemplate is the one subject that issued certificates have (dps 2.10.3).
const subjectTemplate = "CN={registrationId}"

const maxCredentials = 100

var (
	opCredentialRead   = newOp("credential.read", ServiceConfig)
	opCredentialWrite  = newOp("credential.write", ServiceConfig)
	opCredentialDelete = newOp("credential.delete", ServiceConfig)

	credentials = &resource[CredentialPolicy]{KindCredential, "the credential policy",
		Faults{fault.DPSGenericNotFound, fault.DPSGenericConflict}, func(p *CredentialPolicy) *string { return &p.ETag }}
)

// ParseCredentialPolicy reads a credential policy as clients send it;
// DeserializationError, ArgumentNull, ArgumentInvalid.
func ParseCredentialPolicy(b []byte) (*CredentialPolicy, error) {
	p := &CredentialPolicy{}
	if err := Decode(b, p); err != nil {
		return nil, err
	}
	if p.Authority == "" {
		return nil, fault.DPSArgumentNull.New("certificateAuthorityName is missing")
	}
	if p.Validity != 0 {
		if err := between("validityDays", p.Validity, 1, maxValidity); err != nil {
			return nil, err
		}
	}
	if p.Renew != 0 {
		most := maxValidity
		if p.Validity != 0 {
			most = p.Validity - 1
		}
		if err := between("renewBeforeDays", p.Renew, 1, most); err != nil {
			return nil, err
		}
	}
	for i, text := range p.KeyTypes {
		k, err := cred.ParseKeyType(text)
		if err != nil || text == "" {
			return nil, fault.DPSArgumentInvalid.New("keyTypes[%d] is %q, known are rsa2048, rsa4096, ec256 and ec384", i, brief(text))
		}
		p.KeyTypes[i] = string(k)
	}
	if p.Subject != "" && p.Subject != subjectTemplate {
		return nil, fault.DPSArgumentInvalid.New("subjectTemplate is %q, certificates are issued for %s only", brief(p.Subject), subjectTemplate)
	}
	return p, nil
}

// CredentialPolicy returns a credential policy; GenericNotFound.
func (a *Access) CredentialPolicy(ctx context.Context, name string) (*CredentialPolicy, error) {
	return read(ctx, a, opCredentialRead, credentials, name)
}

// CredentialPolicies returns a page of the credential policies, in the order of
// names.
func (a *Access) CredentialPolicies(ctx context.Context, token string, limit int) ([]*CredentialPolicy, string, error) {
	return pages(ctx, a, opCredentialRead, credentials.listed("credentialPolicies", same), token, limit)
}

// PutCredentialPolicy creates or replaces a credential policy that
// ParseCredentialPolicy has read; GenericConflict, GenericNotFound,
// PreconditionFailed, and CertificateAuthorityNotFound for an authority that is
// not there (dps 5.4).
func (a *Access) PutCredentialPolicy(ctx context.Context, name string, p *CredentialPolicy, m Match) (*CredentialPolicy, error) {
	if err := a.enter(ctx, opCredentialWrite, name); err != nil {
		return nil, err
	}
	if err := checkName("a credential policy", name); err != nil {
		return nil, err
	}
	if err := sameName("name", name, p.Name); err != nil {
		return nil, err
	}
	var n CredentialPolicy
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := credentials.toPut(tx, name, p.ETag, m)
		if err != nil {
			return err
		}
		n = *p
		n.Name = name
		if before != nil {
			n.Name = before.Name
		} else if err := credentials.room(tx, maxCredentials, "credential policies"); err != nil {
			return err
		}
		if _, err := authorities.need(tx, p.Authority); err != nil {
			return err
		}
		return credentials.put(tx, name, &n, before == nil)
	})
	return &n, err
}

// DeleteCredentialPolicy removes a credential policy; GenericNotFound,
// PreconditionFailed, and, without force, GenericConflict while an enrolment
// names it.
func (a *Access) DeleteCredentialPolicy(ctx context.Context, name string, m Match, force bool) error {
	if err := a.enter(ctx, opCredentialDelete, name); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		if _, err := credentials.toDelete(tx, name, m); err != nil {
			return err
		}
		by, err := "", error(nil)
		if !force {
			by, err = a.s.referring(tx, func(e *Enrollment) bool { return named(name, e.CredentialPolicy) })
		}
		if err != nil {
			return err
		}
		if by != "" {
			return fault.DPSGenericConflict.New("%s is named by %s; force=true deletes it all the same", credentials.called(name), by)
		}
		return tx.DeleteDPS(KindCredential, key(name))
	})
}

// allows answers ArgumentInvalid for a signing request with a kind of key that
// the policy does not take; a nil policy takes all.
func (p *CredentialPolicy) allows(r *cred.Request) error {
	if p == nil || len(p.KeyTypes) == 0 {
		return nil
	}
	kind := ""
	switch k := r.PublicKey.(type) {
	case *rsa.PublicKey:
		kind = fmt.Sprint("rsa", k.N.BitLen())
	case *ecdsa.PublicKey:
		kind = fmt.Sprint("ec", k.Curve.Params().BitSize)
	}
	if !slices.Contains(p.KeyTypes, kind) {
		return fault.DPSArgumentInvalid.New("the CSR has a key of type %s, the credential policy %s takes %v", kind, p.Name, p.KeyTypes)
	}
	return nil
}

// days returns the life of certificates that the policy asks for, 0 for none.
func (p *CredentialPolicy) days() int {
	if p == nil {
		return 0
	}
	return p.Validity
}
