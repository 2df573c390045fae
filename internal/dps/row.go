package dps

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/nave-hub/nave/internal/store"
)

// The kinds of rows in the store.
const (
	KindEnrollment   = "enrollment"   // key registration id
	KindGroup        = "group"        // key group id
	KindRegistration = "registration" // key registration id, ref group id, ref2 assigned hub
	KindOperation    = "operation"    // key operation id, ref registration id, at created
	KindNonce        = "nonce"        // key scope and registration, at expiry
	KindDeviceRecord = "devicerecord"
	KindGroupRecord  = "grouprecord"
	KindDeviceGroup  = "devicegroup"
	KindMember       = "member" // key group/device
	KindSettings     = "settings"
	KindRecord       = "record" // key operation id, ref registration id, at started
	KindHub          = "hub"    // key host name
	KindCA           = "ca"
	KindCertificate  = "certificate"
	KindBundle       = "bundle"
	KindCredential   = "credential"
	KindPolicy       = "policy"
)

// readRow returns what the row of kind and key holds, as T; store.ErrNone.
func readRow[T any](tx *store.Tx, kind, key string) (*T, error) {
	row, err := tx.DPS(kind, key)
	if err != nil {
		return nil, err
	}
	return decodeRow[T](row)
}

func decodeRow[T any](row *store.DPSRow) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(row.Doc, v); err != nil {
		return nil, fmt.Errorf("dps: the row %s %s: %w", row.Kind, row.Key, err)
	}
	return v, nil
}

// newRow returns a row that holds v.
func newRow(kind, key string, v any) (*store.DPSRow, error) {
	doc, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("dps: the row %s %s: %w", kind, key, err)
	}
	return &store.DPSRow{Kind: kind, Key: key, Doc: doc}, nil
}
