package hub

import (
	"context"
	"errors"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// DeviceChange tells what a registry write means for the link between a device
// and a SIM (connectivity-api LK-3, LK-6, RP-13).
type DeviceChange struct {
	Device  string
	Deleted bool   // the device is gone, and its Connectivity with it
	Created bool   // it was not there before
	ICCID   string // what its registration says now, "" for nothing
	IMEI    string
}

// SetRegistered has f called for each device that was created or updated with a
// wish for connectivity, and for each that was deleted, when that is durable and
// in this order. f may block; a nil f ends it. A crash may lose the last calls:
// Identity.WantICCID and the absence of the device are in the store.
func (h *Hub) SetRegistered(f func(DeviceChange)) {
	if f == nil {
		h.onRegistered.Store(nil)
		return
	}
	h.onRegistered.Store(&f)
}

// SMSProperty marks cloud-to-device messages that SetSettled's function hears of
// (RP-11).
const SMSProperty = "connectivity-sms"

// SendSMS is SendToDevice for a short message, which may be valid for longer
// than c2d.maxTtl (connectivity-api SM-1).
func (b *Backend) SendSMS(ctx context.Context, m *nave.C2D, validity time.Duration) error {
	limits := b.hub.o.Limits
	limits.C2DMaxTTL = max(limits.C2DMaxTTL, validity)
	m.System.Expiry = b.hub.now().Add(validity)
	return b.enqueue(ctx, m, &limits)
}

// SetSettled has f called when a cloud-to-device message with the application
// property SMSProperty has ended: completed, or rejected, expired, purged or
// given up. It is called after that is durable, in order, on the node that ended
// the message, and may block; a nil f ends it. Messages that go with their
// device are not told of, nor perhaps the last before a crash.
func (h *Hub) SetSettled(f func(device, messageID string, completed bool)) {
	if f == nil {
		h.onSettled.Store(nil)
		return
	}
	h.onSettled.Store(&f)
}

// noteRegistered notes a change for SetRegistered's function once tx is durable.
func (h *Hub) noteRegistered(tx *store.Tx, i *nave.Identity, created bool) {
	if f := h.onRegistered.Load(); f != nil && !i.ID.IsModule() {
		c := DeviceChange{Device: i.ID.Device, Created: created, ICCID: i.WantICCID, IMEI: i.WantIMEI}
		tx.After(func() { h.later(func() { (*f)(c) }) })
	}
}

// ConnectivityChanged makes the hub obey what the store now says about the
// device's SIM: when it bars the device, its lines and those of its modules are
// closed on every node with a DeviceDisabled that Stopped knows. It does not
// block, and may be called in a Tx.After.
func (h *Hub) ConnectivityChanged(device string) {
	h.obey(device)
	h.tell(note{Kind: noteConnectivity, On: nave.ID{Device: device}})
}

// Attempts to read what a SIM has become (RP-6 allows 5 s).
const (
	obeyTries = 10
	obeyPause = 400 * time.Millisecond
)

func (h *Hub) obey(device string) {
	h.spawn(func() {
		on := nave.ID{Device: device}
		var c *nave.Connectivity
		var err error
		for n := range obeyTries {
			if n > 0 && await(h.ctx, nil, obeyPause) != nil {
				return
			}
			if c, err = h.connectivity(h.ctx, device); err == nil {
				break
			}
		}
		switch {
		case err != nil:
			h.o.Log.Error("what the SIM of a device has become can't be read", "hub", h.o.Host, "device", device, "err", err)
		case c.Reason() != "":
			h.expel(on, barred(device, c))
		}
	})
}

// connectivity reads what the linked SIM says; nil for none, also without the
// device.
func (h *Hub) connectivity(ctx context.Context, device string) (c *nave.Connectivity, err error) {
	err = h.db.View(ctx, func(tx *store.Tx) error {
		i, err := tx.Identity(nave.ID{Device: device})
		if err == nil {
			c = i.Connectivity
		}
		return err
	})
	if errors.Is(err, store.ErrNone) {
		err = nil
	}
	return c, err
}

// CutOff closes the lines of a device and of its modules on every node, saying
// why: code, text and detail are also what Meter.Closed gets. The device may
// connect again at once (RP-12). It does not block.
func (h *Hub) CutOff(device string, why *fault.Error) { h.cutOff(nave.ID{Device: device}, why) }

// offline names the SIM in the answer to who calls a device that is not
// connected because of it.
func (h *Hub) offline(ctx context.Context, on nave.ID, err error) error {
	if !errors.Is(err, fault.DeviceNotOnline) {
		return err
	}
	c, failed := h.connectivity(ctx, on.Device)
	if failed != nil || c.Reason() == "" {
		return err
	}
	e := fault.DeviceNotOnline.Wrap(err, "%s: %s", fault.From(err).Text, c.Reason())
	e.Detail = map[string]any{simDetail: c.Reason()}
	return e
}

// later runs f behind what was put here before, on a goroutine of the hub.
func (h *Hub) later(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errands = append(h.errands, f)
	if !h.running {
		h.running = h.spawn(h.run)
	}
}

func (h *Hub) run() {
	for {
		h.mu.Lock()
		jobs := h.errands
		h.errands = nil
		if len(jobs) == 0 {
			h.running = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		for _, f := range jobs {
			f()
		}
	}
}
