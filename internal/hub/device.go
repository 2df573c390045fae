package hub

import (
	"context"
	"errors"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opRead   = gate.Op{Name: "registry.read", Right: nave.RegistryRead, Rate: "registry"}
	opList   = gate.Op{Name: "registry.list", Right: nave.RegistryRead, Rate: "registry"}
	opWrite  = gate.Op{Name: "registry.write", Right: nave.RegistryWrite, Rate: "registry"}
	opDelete = gate.Op{Name: "registry.delete", Right: nave.RegistryWrite, Rate: "registry"}
	opRotate = gate.Op{Name: "registry.rotate", Right: nave.RegistryWrite, Rate: "registry", Cost: gate.Entries}
	opCount  = gate.Op{Name: "registry.statistics", Right: nave.RegistryRead, Either: nave.ServiceConnect, Rate: "registry"}
)

// Device returns a device, or a module when on names one.
func (b *Backend) Device(ctx context.Context, on nave.ID) (i *nave.Identity, err error) {
	if err := b.enter(ctx, on, &opRead, 0); err != nil {
		return nil, err
	}
	err = b.hub.db.View(ctx, func(tx *store.Tx) error { i, err = b.hub.identity(tx, on); return err })
	if err != nil {
		return nil, b.hub.known(err, on)
	}
	return b.hub.overlay(i), nil
}

// identity reads an identity; a module of an unknown device is DeviceNotFound.
func (h *Hub) identity(tx *store.Tx, on nave.ID) (*nave.Identity, error) {
	if on.IsModule() {
		if _, err := tx.Identity(on.Parent()); err != nil {
			return nil, h.known(err, on.Parent())
		}
	}
	return tx.Identity(on)
}

// Devices returns up to top devices in id order, behind the id after.
func (b *Backend) Devices(ctx context.Context, after string, top int) (list []*nave.Identity, err error) {
	if err := b.enter(ctx, nave.ID{}, &opList, 0); err != nil {
		return nil, err
	}
	if limit := b.hub.o.Limits.List; top < 1 || top > limit {
		return nil, fault.ArgumentInvalid.Over("registry.maxList", limit, top, "top is out of range, allowed are 1 to %d", limit)
	}
	err = b.hub.db.View(ctx, func(tx *store.Tx) error { list, err = tx.Devices(after, top); return err })
	for _, i := range list {
		b.hub.overlay(i)
	}
	return list, storeFault(err)
}

// Modules returns the modules of a device.
func (b *Backend) Modules(ctx context.Context, device string) (list []*nave.Identity, err error) {
	on := nave.ID{Device: device}
	if err := b.enter(ctx, on, &opList, 0); err != nil {
		return nil, err
	}
	err = b.hub.db.View(ctx, func(tx *store.Tx) error {
		if _, err := tx.Identity(on); err != nil {
			return err
		}
		list, err = tx.Modules(device)
		return err
	})
	for _, i := range list {
		b.hub.overlay(i)
	}
	return list, b.hub.known(err, on)
}

// anyETag in place of an etag stands for whatever the entity has.
const anyETag = "*"

// Put creates a device or module when match is empty, and updates it when match
// is its etag or "*" (service-api 2.3, 2.4). Answers ArgumentInvalid,
// InvalidDeviceScope, DeviceAlreadyExists, ModuleAlreadyExistsOnDevice,
// DeviceNotFound, ModuleNotFound, PreconditionFailed, TooManyDevices,
// TooManyModulesOnDevice, SystemModuleModifyUnauthorizedAccess.
func (b *Backend) Put(ctx context.Context, on nave.ID, p *nave.IdentityPatch, match string) (i *nave.Identity, err error) {
	if err := b.enter(ctx, on, &opWrite, 0); err != nil {
		return nil, err
	}
	if err := checkWritable(on); err != nil {
		return nil, err
	}
	if err := p.Check(on, &b.hub.o.Limits); err != nil {
		return nil, err
	}
	err = b.hub.db.Update(ctx, func(tx *store.Tx) error {
		if match == "" {
			i, err = b.hub.create(tx, on, p, nil)
		} else {
			i, err = b.hub.update(tx, on, p, match)
		}
		return err
	})
	if err != nil {
		return nil, b.hub.known(err, on)
	}
	return b.hub.overlay(i), nil
}

func checkWritable(on nave.ID) error {
	if err := on.Check(); err != nil {
		return err
	}
	if on.IsSystem() {
		return fault.SystemModuleModifyUnauthorizedAccess.New("%s is a system module of an edge device, it exists as long as the device", on)
	}
	return nil
}

// create registers an identity with its twin, which start may fill.
func (h *Hub) create(tx *store.Tx, on nave.ID, p *nave.IdentityPatch, start *nave.Patch) (*nave.Identity, error) {
	if err := h.room(tx, on); err != nil {
		return nil, err
	}
	i, err := p.Create(on, h.now(), &h.o.Limits)
	if err != nil {
		return nil, err
	}
	if err := h.checkParent(tx, i, nil); err != nil {
		return nil, err
	}
	if err := h.insert(tx, i, start); err != nil {
		return nil, err
	}
	if i.WantICCID != "" || i.WantIMEI != "" {
		h.noteRegistered(tx, i, true)
	}
	if i.Edge {
		for _, m := range []string{nave.EdgeAgent, nave.EdgeHub} {
			module, err := (&nave.IdentityPatch{}).Create(nave.ID{Device: on.Device, Module: m}, h.now(), &h.o.Limits)
			if err == nil {
				err = h.insert(tx, module, nil)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return i, nil
}

// room answers TooManyDevices or TooManyModulesOnDevice when another identity
// has no place.
func (h *Hub) room(tx *store.Tx, on nave.ID) error {
	c, err := tx.Count()
	if err != nil {
		return err
	}
	if limit := h.o.Limits.Devices; c.Devices+c.Modules >= limit {
		return fault.TooManyDevices.Over("registry.maxDevices", limit, c.Devices+c.Modules+1, "the registry is full")
	}
	if !on.IsModule() {
		return nil
	}
	if _, err := tx.Identity(on.Parent()); err != nil {
		return h.known(err, on.Parent())
	}
	modules, err := tx.Modules(on.Device)
	if limit := h.o.Limits.Modules; err == nil && len(modules) >= limit {
		return fault.TooManyModulesOnDevice.Over("registry.maxModules", limit, len(modules)+1, "device %s has too many modules", on.Device)
	}
	return err
}

func (h *Hub) insert(tx *store.Tx, i *nave.Identity, start *nave.Patch) error {
	switch err := tx.InsertIdentity(i); {
	case errors.Is(err, store.ErrExists) && i.ID.IsModule():
		return fault.ModuleAlreadyExistsOnDevice.New("module %s is already registered", i.ID)
	case errors.Is(err, store.ErrExists):
		return fault.DeviceAlreadyExists.New("A device with ID '%s' is already registered.", i.ID)
	case err != nil:
		return err
	}
	t := nave.NewTwin(i.ID)
	if start != nil {
		if _, err := t.Apply(*start, h.now(), &h.o.Limits); err != nil {
			return err
		}
	}
	tx.After(func() { h.lifecycleEvent("createDeviceIdentity", t) })
	return tx.PutTwin(t)
}

// update changes an identity; disabling a device ends its connections and
// those of its modules.
func (h *Hub) update(tx *store.Tx, on nave.ID, p *nave.IdentityPatch, match string) (*nave.Identity, error) {
	old, err := h.identity(tx, on)
	if err != nil {
		return nil, err
	}
	if err := matches(old, match); err != nil {
		return nil, err
	}
	i, err := p.Update(old, h.now(), &h.o.Limits)
	if err != nil {
		return nil, err
	}
	if err := h.checkParent(tx, i, old); err != nil {
		return nil, err
	}
	if i.Status == nave.Disabled && old.Status != nave.Disabled {
		tx.After(func() { h.cutOff(on, fault.DeviceDisabled.New("device %s was disabled", on)) })
	}
	if p.ICCID != nil || p.IMEI != nil {
		h.noteRegistered(tx, i, false)
	}
	return i, tx.PutIdentity(i)
}

func matches(i *nave.Identity, match string) error {
	if match != anyETag && match != i.ETag {
		return fault.PreconditionFailed.New("Precondition failed: Invalid ETag, %s has %s", i.ID, i.ETag)
	}
	return nil
}

// Delete removes a device with all that is its, or a module. match is the etag,
// "" or "*" for any.
func (b *Backend) Delete(ctx context.Context, on nave.ID, match string) error {
	if err := b.enter(ctx, on, &opDelete, 0); err != nil {
		return err
	}
	if err := checkWritable(on); err != nil {
		return err
	}
	err := b.hub.db.Update(ctx, func(tx *store.Tx) error { return b.hub.delete(tx, on, match) })
	return b.hub.known(err, on)
}

func (h *Hub) delete(tx *store.Tx, on nave.ID, match string) error {
	i, err := h.identity(tx, on)
	if err != nil {
		return err
	}
	if match != "" {
		if err := matches(i, match); err != nil {
			return err
		}
	}
	t, err := tx.Twin(on)
	if err != nil {
		return err
	}
	tx.After(func() {
		h.cutOff(on, goneFault(on).New("%s was deleted", on))
		h.lifecycleEvent("deleteDeviceIdentity", t)
		if f := h.onRegistered.Load(); f != nil && !on.IsModule() {
			h.later(func() { (*f)(DeviceChange{Device: on.Device, Deleted: true}) })
		}
	})
	return tx.DeleteIdentity(on)
}

func goneFault(on nave.ID) *fault.Code {
	if on.IsModule() {
		return fault.ModuleNotFound
	}
	return fault.DeviceNotFound
}

// Statistics counts the registry.
type Statistics struct{ Devices, Enabled, Disabled, Modules, Connected int }

// Statistics returns the counts of devices and of their connections; modules
// count on their own.
func (b *Backend) Statistics(ctx context.Context) (s Statistics, err error) {
	if err := b.enter(ctx, nave.ID{}, &opCount, 0); err != nil {
		return s, err
	}
	if err := b.hub.flush(ctx); err != nil {
		return s, storeFault(err)
	}
	err = b.hub.db.View(ctx, func(tx *store.Tx) error {
		c, err := tx.Count()
		s = Statistics{c.Devices, c.Enabled, c.Disabled, c.Modules, c.Connected}
		return err
	})
	return s, storeFault(err)
}
