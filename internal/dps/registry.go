package dps

import (
	"context"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// RegistryLink names the device registry that devices are shown in (dps 3.12).
// Device records are made with or without it.
type RegistryLink struct {
	ResourceID string `json:"resourceId"`
	Auth       string `json:"authenticationType"` // SystemAssigned or UserAssigned
	Identity   string `json:"selectedUserAssignedIdentityResourceId,omitzero"`
	ETag       string `json:"etag,omitzero"`
}

// KindRegistry is the kind of the one row of the registry link, registryKey its
// key.
const (
	KindRegistry = "registry"
	registryKey  = "namespace"
)

var (
	opRegistryRead  = newOp("registry.read", ServiceConfig)
	opRegistryWrite = newOp("registry.write", ServiceConfig)

	registry = &resource[RegistryLink]{KindRegistry, "the device registry",
		Faults{fault.DPSGenericNotFound, fault.DPSGenericConflict}, func(l *RegistryLink) *string { return &l.ETag }}
)

// ParseRegistryLink reads a registry link as clients send it;
// DeserializationError, ArgumentNull, ArgumentInvalid.
func ParseRegistryLink(b []byte) (*RegistryLink, error) {
	l := &RegistryLink{}
	if err := Decode(b, l); err != nil {
		return nil, err
	}
	if l.ResourceID == "" {
		return nil, fault.DPSArgumentNull.New("resourceId is missing")
	}
	if len(l.ResourceID) > 1024 || len(l.Identity) > 1024 {
		return nil, fault.DPSArgumentInvalid.New("resourceId and selectedUserAssignedIdentityResourceId have at most 1024 bytes")
	}
	if l.Auth == "" {
		l.Auth = "SystemAssigned"
	}
	var err error
	if l.Auth, err = canonical("authenticationType", l.Auth, "SystemAssigned", "UserAssigned"); err != nil {
		return nil, err
	}
	if l.Auth == "UserAssigned" && l.Identity == "" {
		return nil, fault.DPSArgumentNull.New("selectedUserAssignedIdentityResourceId is missing")
	}
	return l, nil
}

// RegistryLink returns the registry link; GenericNotFound when there is none.
func (a *Access) RegistryLink(ctx context.Context) (*RegistryLink, error) {
	return read(ctx, a, opRegistryRead, registry, registryKey)
}

// PutRegistryLink sets the registry link; GenericConflict, GenericNotFound,
// PreconditionFailed.
func (a *Access) PutRegistryLink(ctx context.Context, l *RegistryLink, m Match) (*RegistryLink, error) {
	if err := a.enter(ctx, opRegistryWrite, ""); err != nil {
		return nil, err
	}
	var n RegistryLink
	err := a.update(ctx, func(tx *store.Tx) error {
		before, err := registry.toPut(tx, registryKey, l.ETag, m)
		if err != nil {
			return err
		}
		n = *l
		return registry.put(tx, registryKey, &n, before == nil)
	})
	return &n, err
}

// DeleteRegistryLink removes the registry link; GenericNotFound,
// PreconditionFailed.
func (a *Access) DeleteRegistryLink(ctx context.Context, m Match) error {
	if err := a.enter(ctx, opRegistryWrite, ""); err != nil {
		return err
	}
	return a.update(ctx, func(tx *store.Tx) error {
		if _, err := registry.toDelete(tx, registryKey, m); err != nil {
			return err
		}
		return tx.DeleteDPS(KindRegistry, registryKey)
	})
}
