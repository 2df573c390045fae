package hub

import (
	"context"
	"errors"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/store"
)

// Provision is what a device is to be, see Backend.Provision.
type Provision struct {
	Auth nave.Auth // type sas without keys keeps those of the device, or makes new ones
	Edge bool
	Twin *nave.Patch // replaces the sections it names, reported ones too; nil leaves the twin of an existing device alone
	New  bool        // Twin is for a new device only
}

// Provision creates the device, or gives the one that is there authentication,
// capability and twin in one step; what is so already is not written, and the
// etag stays. The system modules of an edge device get its authentication, so
// that they connect with the device's key (dps 4.4). Answers as Put and
// PatchTwin do.
func (b *Backend) Provision(ctx context.Context, device string, p *Provision) (i *nave.Identity, created bool, err error) {
	on := nave.ID{Device: device}
	if err := b.enter(ctx, on, &opWrite, 0); err != nil {
		return nil, false, err
	}
	if err := on.Check(); err != nil {
		return nil, false, err
	}
	err = b.hub.db.Update(ctx, func(tx *store.Tx) error {
		i, created, err = b.hub.provision(tx, on, p)
		return err
	})
	if err != nil {
		return nil, false, b.hub.known(err, on)
	}
	return b.hub.overlay(i), created, nil
}

func (h *Hub) provision(tx *store.Tx, on nave.ID, p *Provision) (*nave.Identity, bool, error) {
	old, err := tx.Identity(on)
	if errors.Is(err, store.ErrNone) {
		auth := p.Auth
		i, err := h.create(tx, on, &nave.IdentityPatch{Auth: &auth, Edge: &p.Edge}, p.Twin)
		if err == nil && i.Edge {
			err = h.shareAuth(tx, i)
		}
		return i, true, err
	}
	if err != nil {
		return nil, false, err
	}
	i, err := h.reprovision(tx, old, p)
	if err != nil || p.Twin == nil || p.New {
		return i, false, err
	}
	t, err := tx.Twin(on)
	if err != nil {
		return nil, false, err
	}
	twin := *p.Twin
	twin.Replace = true
	return i, false, h.writeTwin(tx, t, twin, anyTwin)
}

// reprovision writes authentication and capability where they differ.
func (h *Hub) reprovision(tx *store.Tx, old *nave.Identity, p *Provision) (*nave.Identity, error) {
	auth := p.Auth
	patch := nave.IdentityPatch{Auth: &auth, StatusReason: &old.StatusReason}
	i, err := patch.Update(old, h.now(), &h.o.Limits)
	if err != nil {
		return nil, err
	}
	if i.Auth == old.Auth && p.Edge == old.Edge {
		return old, nil
	}
	if p.Edge != old.Edge {
		if err := h.turnEdge(tx, i, p.Edge); err != nil {
			return nil, err
		}
	}
	if err := tx.PutIdentity(i); err != nil {
		return nil, err
	}
	if i.Edge {
		err = h.shareAuth(tx, i)
	}
	return i, err
}

// turnEdge makes a device an edge device, or ends that.
func (h *Hub) turnEdge(tx *store.Tx, i *nave.Identity, edge bool) error {
	i.Edge, i.DeviceScope, i.ParentScopes = edge, "", nil
	if edge {
		i.DeviceScope = i.EdgeScope()
	}
	for _, m := range []string{nave.EdgeAgent, nave.EdgeHub} {
		on := nave.ID{Device: i.ID.Device, Module: m}
		if !edge {
			if err := h.delete(tx, on, anyETag); err != nil && !errors.Is(err, store.ErrNone) {
				return err
			}
			continue
		}
		module, err := (&nave.IdentityPatch{}).Create(on, h.now(), &h.o.Limits)
		if err == nil {
			err = h.insert(tx, module, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shareAuth gives the system modules the authentication of their device.
func (h *Hub) shareAuth(tx *store.Tx, i *nave.Identity) error {
	for _, m := range []string{nave.EdgeAgent, nave.EdgeHub} {
		module, err := tx.Identity(nave.ID{Device: i.ID.Device, Module: m})
		if err != nil {
			return err
		}
		if module.Auth == i.Auth {
			continue
		}
		module.Auth, module.ETag = i.Auth, nave.NewETag()
		if err := tx.PutIdentity(module); err != nil {
			return err
		}
	}
	return nil
}
