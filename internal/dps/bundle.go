package dps

import (
	"context"

	"github.com/nave-hub/nave/internal/cred"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// TrustBundle is a set of certificates that devices are handed (dps 2.10.1,
// 3.12).
type TrustBundle struct {
	ID           string              `json:"id"`
	Created      Time                `json:"createdDateTime,omitzero"`
	Updated      Time                `json:"lastModifiedDateTime,omitzero"`
	ETag         string              `json:"etag,omitzero"`
	Certificates []BundleCertificate `json:"certificates"`
}

// BundleCertificate is one certificate of a bundle.
type BundleCertificate struct {
	Certificate string           `json:"certificate"` // PEM
	Metadata    *CertificateInfo `json:"metadata,omitzero"`
}

// Limits of trust bundles.
const (
	maxBundles    = 100
	maxBundleSize = 50 // certificates
)

var (
	opBundleRead   = newOp("bundle.read", ServiceConfig)
	opBundleWrite  = newOp("bundle.write", ServiceConfig)
	opBundleDelete = newOp("bundle.delete", ServiceConfig)

	bundles = &resource[TrustBundle]{KindBundle, "the trust bundle",
		Faults{fault.DPSGenericNotFound, fault.DPSGenericConflict}, func(b *TrustBundle) *string { return &b.ETag }}
)

// ParseTrustBundle reads a trust bundle as clients send it, and describes its
// certificates; DeserializationError, ArgumentNull, ArgumentInvalid.
func ParseTrustBundle(b []byte) (*TrustBundle, error) {
	t := &TrustBundle{}
	if err := Decode(b, t); err != nil {
		return nil, err
	}
	t.Created, t.Updated = Time{}, Time{}
	if len(t.Certificates) == 0 {
		return nil, fault.DPSArgumentNull.New("certificates is missing or empty")
	}
	if err := between("the number of certificates", len(t.Certificates), 1, maxBundleSize); err != nil {
		return nil, err
	}
	for i := range t.Certificates {
		c := &t.Certificates[i]
		cert, err := cred.ParseCertificate([]byte(c.Certificate))
		if err != nil {
			return nil, fault.DPSArgumentInvalid.Wrap(err, "certificates[%d]: %s", i, err)
		}
		info := cred.Info(cert)
		c.Certificate, c.Metadata = string(cred.AppendCertificate(nil, cert)), &info
	}
	return t, nil
}

// TrustBundle returns a trust bundle; GenericNotFound.
func (a *Access) TrustBundle(ctx context.Context, id string) (*TrustBundle, error) {
	return read(ctx, a, opBundleRead, bundles, id)
}

// TrustBundles returns a page of the trust bundles, in the order of ids.
func (a *Access) TrustBundles(ctx context.Context, token string, limit int) ([]*TrustBundle, string, error) {
	return pages(ctx, a, opBundleRead, bundles.listed("trustBundles", same), token, limit)
}

// PutTrustBundle creates or replaces a trust bundle that ParseTrustBundle has
// read; GenericConflict, GenericNotFound, PreconditionFailed, ArgumentInvalid
// for its id.
func (a *Access) PutTrustBundle(ctx context.Context, id string, t *TrustBundle, m Match) (*TrustBundle, error) {
	if err := a.enter(ctx, opBundleWrite, id); err != nil {
		return nil, err
	}
	if err := checkName("a trust bundle", id); err != nil {
		return nil, err
	}
	if err := sameName("id", id, t.ID); err != nil {
		return nil, err
	}
	var n TrustBundle
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := bundles.toPut(tx, id, t.ETag, m)
		if err != nil {
			return err
		}
		n = *t
		n.ID, n.Updated = id, Time{a.s.now()}
		n.Created = n.Updated
		if before != nil {
			n.ID, n.Created = before.ID, before.Created
		} else if err := bundles.room(tx, maxBundles, "trust bundles"); err != nil {
			return err
		}
		return bundles.put(tx, id, &n, before == nil)
	})
	return &n, err
}

// DeleteTrustBundle removes a trust bundle; GenericNotFound,
// PreconditionFailed, GenericConflict while an enrolment names it.
func (a *Access) DeleteTrustBundle(ctx context.Context, id string, m Match) error {
	if err := a.enter(ctx, opBundleDelete, id); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		if _, err := bundles.toDelete(tx, id, m); err != nil {
			return err
		}
		by, err := a.s.referring(tx, func(e *Enrollment) bool { return named(id, e.TrustBundle) })
		if err != nil {
			return err
		}
		if by != "" {
			return fault.DPSGenericConflict.New("%s is named by %s", bundles.called(id), by)
		}
		return tx.DeleteDPS(KindBundle, key(id))
	})
}
