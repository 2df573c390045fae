package hub

import (
	"context"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

var (
	opTwin       = gate.Op{Name: "twin.read", Right: nave.ServiceConnect, Rate: "twinRead", Standard: true, Charge: gate.Chunks}
	opPatchTwin  = gate.Op{Name: "twin.update", Right: nave.ServiceConnect, Rate: "twinUpdate", Standard: true, Charge: gate.Chunks}
	opOwnTwin    = gate.Op{Name: "twin.get", Own: true, Right: nave.DeviceConnect, Rate: "twinRead", Standard: true, Charge: gate.Chunks}
	opReport     = gate.Op{Name: "twin.report", Own: true, Right: nave.DeviceConnect, Rate: "twinUpdate", Standard: true, Charge: gate.Chunks}
	opDesired    = gate.Op{Name: "twin.notify", Own: true, Right: nave.DeviceConnect, Standard: true, Charge: gate.Chunks}
	anyTwin      = "*"
	notification = 64 // bytes that a notification is taken to have at least
)

// Twin returns the twin of a device or module with its identity, as services
// see it.
func (b *Backend) Twin(ctx context.Context, on nave.ID) (*nave.TwinView, error) {
	if err := b.enter(ctx, on, &opTwin, 0); err != nil {
		return nil, err
	}
	v := &nave.TwinView{}
	err := b.hub.db.View(ctx, func(tx *store.Tx) error { return b.hub.readTwin(tx, on, v) })
	if err != nil {
		return nil, b.hub.known(err, on)
	}
	b.hub.gate.Charge(&opTwin, 0)
	return v, nil
}

// readTwin reads identity and twin; a module of an unknown device answers
// DeviceNotFound.
func (h *Hub) readTwin(tx *store.Tx, on nave.ID, v *nave.TwinView) (err error) {
	if on.IsModule() {
		if _, err := tx.Identity(on.Parent()); err != nil {
			return h.known(err, on.Parent())
		}
	}
	if v.Identity, err = tx.Identity(on); err != nil {
		return err
	}
	h.overlay(v.Identity)
	v.Twin, err = tx.Twin(on)
	return err
}

// PatchTwin applies a service's patch or replacement. match is the etag that
// must be current, "" or "*" for any. PreconditionFailed, ArgumentInvalid and
// MessageTooLarge change nothing.
func (b *Backend) PatchTwin(ctx context.Context, on nave.ID, p nave.Patch, match string, size int) (*nave.TwinView, error) {
	h := b.hub
	if err := b.enter(ctx, on, &opPatchTwin, size); err != nil {
		return nil, err
	}
	v := &nave.TwinView{}
	err := h.db.Update(ctx, func(tx *store.Tx) error {
		if err := h.readTwin(tx, on, v); err != nil {
			return err
		}
		return h.writeTwin(tx, v.Twin, p, match)
	})
	if err != nil {
		return nil, h.known(err, on)
	}
	h.gate.Charge(&opPatchTwin, size)
	return v, nil
}

// writeTwin checks the etag, applies the patch, stores the twin and, after the
// commit, tells the device and the log.
func (h *Hub) writeTwin(tx *store.Tx, t *nave.Twin, p nave.Patch, match string) error {
	if match != "" && match != anyTwin && match != t.ETagText() {
		return fault.PreconditionFailed.New("Precondition failed: Invalid ETag, the twin of %s has %s", t.ID, t.ETagText())
	}
	c, err := t.Apply(p, h.now(), &h.o.Limits)
	if err != nil {
		return err
	}
	if err := tx.PutTwin(t); err != nil {
		return err
	}
	tx.After(func() {
		if c.Desired != nil {
			h.desiredChanged(t.ID, &c)
		}
		h.twinEvent(t, &c)
	})
	return nil
}

// desiredChanged tells the device, wherever it is.
func (h *Hub) desiredChanged(id nave.ID, c *nave.Change) {
	h.desiredHere(id, c)
	h.tell(note{Kind: noteDesired, On: id, Desired: c.Desired.Append(nil), Version: c.Version})
}

// desiredHere notifies the line unless the device has already been shown this
// version or a later one (device-protocols 2.9).
func (h *Hub) desiredHere(id nave.ID, c *nave.Change) {
	l := h.holder(id, Twins)
	if l == nil {
		return
	}
	// Held across the call, which never blocks: a GET that shows this version
	// must not be answered before its notification is on its way.
	l.showing.Lock()
	defer l.showing.Unlock()
	l.mu.Lock()
	due := l.desired && c.Version > l.seen
	l.mu.Unlock()
	if !due {
		return
	}
	l.seen = c.Version
	if err := l.peer.Desired(c); err == nil {
		h.gate.Charge(&opDesired, notification)
	}
}

// WatchDesired says whether the device listens for desired properties.
func (l *Line) WatchDesired(on bool) {
	l.speak()
	l.mu.Lock()
	l.desired = on
	l.mu.Unlock()
}

// Twin returns the device's own twin. No notification of this version or an
// earlier one follows.
func (l *Line) Twin(ctx context.Context) (t *nave.Twin, err error) {
	l.speak()
	h := l.hub
	if err := h.gate.Enter(ctx, l.who, l.id, &opOwnTwin, 0); err != nil {
		return nil, err
	}
	err = h.db.View(ctx, func(tx *store.Tx) error { t, err = tx.Twin(l.id); return err })
	if err != nil {
		return nil, h.known(err, l.id)
	}
	l.showing.Lock()
	l.seen = max(l.seen, t.Desired.Version)
	l.showing.Unlock()
	h.gate.Charge(&opOwnTwin, 0)
	return t, nil
}

// Report applies a patch to the reported properties and returns their new
// $version. size is the length of the patch as sent.
func (l *Line) Report(ctx context.Context, p nave.Patch, size int) (version int64, err error) {
	l.speak()
	h := l.hub
	if err := h.gate.Enter(ctx, l.who, l.id, &opReport, size); err != nil {
		return 0, err
	}
	err = h.db.Update(ctx, func(tx *store.Tx) error {
		t, err := tx.Twin(l.id)
		if err != nil {
			return err
		}
		if err := h.writeTwin(tx, t, p, ""); err != nil {
			return err
		}
		version = t.Reported.Version
		return nil
	})
	if err != nil {
		return 0, h.known(err, l.id)
	}
	h.gate.Charge(&opReport, size)
	return version, nil
}
