package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/store"
)

// Link returns the device link of a product; SIMLinkNotFound.
func (a *Access) Link(ctx context.Context, id string) (*DeviceLink, error) {
	if err := a.enter(ctx, "", &opRead, 0); err != nil {
		return nil, err
	}
	s, _, err := a.t.bundle(ctx, id, "")
	if err != nil {
		return nil, err
	}
	if s.Device == "" {
		return nil, fault.SIMLinkNotFound.New("Product %s is not linked to a device.", s.ID)
	}
	return linkView(s), nil
}

func linkView(s *store.SIM) *DeviceLink {
	l := &DeviceLink{DeviceID: s.Device, ProductID: s.ID, LinkedAt: At(s.Linked)}
	if !Status(s.Status).Carries() {
		l.Warnings = []Warning{{Code: "sim_not_in_service", Detail: "The SIM is " + s.Status + " and carries no traffic, so the device is cut off."}}
	}
	return l
}

// PutLink links a product to a device (LK-1, LK-2, LK-5); created is false when
// it was so already. SIMAlreadyLinked unless replace dissolves what is in the
// way.
func (a *Access) PutLink(ctx context.Context, id, device string, replace bool, o Origin) (link *DeviceLink, created bool, err error) {
	if err := a.enter(ctx, "", &opLink, 0); err != nil {
		return nil, false, err
	}
	s, _, err := a.t.bundle(ctx, id, "")
	if err != nil {
		return nil, false, err
	}
	return a.t.link(ctx, s.ID, device, replace, cause{a.actor, "", o.Correlation})
}

func (t *Tenant) link(ctx context.Context, product, to string, replace bool, c cause) (link *DeviceLink, created bool, err error) {
	before, err := t.linksOf(ctx, product, to)
	if err != nil {
		return nil, false, known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	for _, d := range before {
		t.bookAt(ctx, d)
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		created = false
		s, err := tx.SIM(product)
		if err != nil {
			return err
		}
		i, err := device(tx, to)
		if errors.Is(err, store.ErrNone) {
			return invalid([]Issue{{In: "body", Pointer: "/deviceId", Code: "invalid_value", Detail: "No such device."}})
		}
		if err != nil || s.Device == to {
			link = linkView(s)
			return err
		}
		other, err := tx.SIMOfDevice(to)
		if err != nil && !errors.Is(err, store.ErrNone) {
			return err
		}
		taken := err == nil
		if (s.Device != "" || taken) && !replace {
			return alreadyLinked(s, other, to)
		}
		if taken {
			if err := t.unlinkIn(tx, other, c); err != nil {
				return err
			}
		}
		if s.Device != "" {
			if err := t.unlinkIn(tx, s, c); err != nil {
				return err
			}
		}
		if err := t.linkIn(tx, s, i, c); err != nil {
			return err
		}
		created, link = true, linkView(s)
		return nil
	})
	if errors.Is(err, store.ErrExists) {
		err = fault.SIMAlreadyLinked.New("Device %s is linked to another product.", to)
	}
	if err != nil {
		return nil, false, known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	if created {
		t.follow(ctx, append(before, to)...)
	}
	return link, created, nil
}

func alreadyLinked(s, other *store.SIM, device string) error {
	if s.Device != "" {
		return fault.SIMAlreadyLinked.New("Product %s is linked to device %s.", s.ID, s.Device)
	}
	return fault.SIMAlreadyLinked.New("Device %s is linked to product %s.", device, other.ID)
}

// linksOf returns the devices whose usage must be booked before a link of the
// two is made: the device itself, and that of the product.
func (t *Tenant) linksOf(ctx context.Context, product, device string) (all []string, err error) {
	if device != "" {
		all = append(all, device)
	}
	err = t.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.SIM(product)
		if err == nil && s.Device != "" && s.Device != device {
			all = append(all, s.Device)
		}
		return err
	})
	return all, err
}

// follow has the data sessions of devices follow a change of link, on every
// node.
func (t *Tenant) follow(ctx context.Context, devices ...string) {
	seen := map[string]bool{}
	for _, d := range devices {
		if seen[d] {
			continue
		}
		seen[d] = true
		if err := t.meter.bookDevice(ctx, d); err != nil {
			t.o.Log.Warn("data sessions could not follow a link", "tenant", t.name, "device", d, "err", err)
		}
		t.tell(note{Device: d})
	}
}

// linkIn writes a link.
func (t *Tenant) linkIn(tx *store.Tx, s *store.SIM, i *nave.Identity, c cause) error {
	a := t.account(s.Account)
	s.Device, s.Linked = i.ID.Device, t.Now()
	if a != nil && a.embedded() {
		s.IMEI = i.WantIMEI
		if err := t.lockIMEI(tx, s); err != nil {
			return err
		}
	}
	if err := tx.PutSIM(s); err != nil {
		return err
	}
	if err := t.recordLink(tx, s, "", s.Device, c); err != nil {
		return err
	}
	return t.showDevice(tx, a, s)
}

// lockIMEI ties a product to the first IMEI seen, if its tariff wants that
// (RP-13).
func (t *Tenant) lockIMEI(tx *store.Tx, s *store.SIM) error {
	o, err := offeringOf(tx, s.Offering)
	if err != nil {
		return err
	}
	switch {
	case !o.IMEILock:
		s.Locked = ""
	case s.Locked == "":
		s.Locked = s.IMEI
	}
	return nil
}

// unlinkIn writes the end of a link.
func (t *Tenant) unlinkIn(tx *store.Tx, s *store.SIM, c cause) error {
	was := s.Device
	s.Device, s.Linked = "", time.Time{}
	if err := tx.PutSIM(s); err != nil {
		return err
	}
	open, err := tx.OpenSIMSessions(s.ID)
	if err != nil {
		return err
	}
	for _, o := range open {
		if err := t.endSession(tx, s.ID, o.ID, was, t.Now(), CauseLink); err != nil {
			return err
		}
	}
	if err := tx.PutConnectivity(was, nil); err != nil && !errors.Is(err, store.ErrNone) {
		return err
	}
	tx.After(func() { t.hub.ConnectivityChanged(was) })
	return t.recordLink(tx, s, was, "", c)
}

func (t *Tenant) recordLink(tx *store.Tx, s *store.SIM, from, to string, c cause) error {
	err := tx.AddSIMHistory(&store.SIMHistory{Product: s.ID, At: t.Now(), Kind: "LINK", Was: from, Becomes: to,
		Actor: c.actor.Type, ActorID: c.actor.ID, Reason: c.reason, Correlation: c.correlation})
	if err != nil {
		return err
	}
	on := to
	if on == "" {
		on = from
	}
	return t.event(tx, LinkChanged, on, map[string]any{"productId": s.ID, "from": from, "to": to, "reason": c.reason, "actor": c.actor})
}

// DeleteLink ends the device link of a product; SIMLinkNotFound.
func (a *Access) DeleteLink(ctx context.Context, id string, o Origin) error {
	if err := a.enter(ctx, "", &opLink, 0); err != nil {
		return err
	}
	s, _, err := a.t.bundle(ctx, id, "")
	if err != nil {
		return err
	}
	return a.t.unlink(ctx, s.ID, "", cause{a.actor, "", o.Correlation})
}

// unlink ends the link of a product; with a device only one to that.
func (t *Tenant) unlink(ctx context.Context, product, of string, c cause) error {
	before, err := t.linksOf(ctx, product, "")
	if err != nil {
		return known(err, fault.SIMProductNotFound, "No product with id %s.", product)
	}
	for _, d := range before {
		t.bookAt(ctx, d)
	}
	err = t.db.Update(ctx, func(tx *store.Tx) error {
		s, err := tx.SIM(product)
		if err != nil {
			return err
		}
		if s.Device == "" || of != "" && s.Device != of {
			return fault.SIMLinkNotFound.New("Product %s is not linked to a device.", product)
		}
		return t.unlinkIn(tx, s, c)
	})
	if err == nil {
		t.follow(ctx, before...)
	}
	return known(err, fault.SIMProductNotFound, "No product with id %s.", product)
}

// unlinkGone ends the link of a device that was deleted (LK-6).
func (t *Tenant) unlinkGone(ctx context.Context, gone string) {
	err := t.db.Update(ctx, func(tx *store.Tx) error {
		s, err := tx.SIMOfDevice(gone)
		if err != nil {
			return err
		}
		if _, err := device(tx, gone); !errors.Is(err, store.ErrNone) {
			return err // there again
		}
		return t.unlinkIn(tx, s, hubCause("device deleted"))
	})
	if err != nil && !errors.Is(err, store.ErrNone) {
		t.o.Log.Warn("the link of a deleted device could not be ended", "tenant", t.name, "device", gone, "err", err)
	}
}

// registered follows registry writes: the hub calls it (LK-3, LK-6, RP-13).
func (t *Tenant) registered(c hub.DeviceChange) {
	if t.stopping() {
		return
	}
	var err error
	switch {
	case c.Deleted || c.Created:
		// A device that was deleted and made again has lost its link.
		err = t.forgetDevice(c)
		if c.Deleted || err != nil {
			break
		}
		fallthrough
	default:
		err = t.reported(c)
	}
	if err != nil {
		t.o.Log.Warn("what a registration says about a SIM could not be taken over", "tenant", t.name, "device", c.Device, "err", err)
	}
}

// forgetDevice ends a link that its device does not know of any more.
func (t *Tenant) forgetDevice(c hub.DeviceChange) error {
	err := t.db.Update(t.ctx, func(tx *store.Tx) error {
		s, err := tx.SIMOfDevice(c.Device)
		if err != nil {
			return err
		}
		i, err := device(tx, c.Device)
		if err == nil && i.Connectivity != nil {
			return nil // made again and linked meanwhile
		}
		if err != nil && !errors.Is(err, store.ErrNone) {
			return err
		}
		return t.unlinkIn(tx, s, hubCause("device deleted"))
	})
	if errors.Is(err, store.ErrNone) {
		return nil
	}
	return err
}

// reported takes over ICCID and IMEI of a registration.
func (t *Tenant) reported(c hub.DeviceChange) error {
	var s *store.SIM
	var with []*store.SIM
	err := t.db.View(t.ctx, func(tx *store.Tx) (err error) {
		if s, err = tx.SIMOfDevice(c.Device); errors.Is(err, store.ErrNone) {
			s, err = nil, nil
		}
		if err == nil && c.ICCID != "" {
			with, err = tx.SIMsBy("iccid", c.ICCID)
		}
		return err
	})
	if err != nil {
		return err
	}
	if s != nil {
		return t.newIMEI(c, s)
	}
	why := ""
	switch {
	case c.ICCID == "":
		return nil
	case len(with) == 0:
		why = "no product has the ICCID"
	case len(with) > 1:
		why = fmt.Sprintf("%d products have the ICCID", len(with))
	case with[0].Device != "":
		why = "the product is linked to another device"
	default:
		_, _, err = t.link(t.ctx, with[0].ID, c.Device, false, hubCause("registration"))
		if err == nil || !coded(err) {
			return err
		}
		why = fault.From(err).Text
	}
	return t.db.Update(t.ctx, func(tx *store.Tx) error {
		return t.event(tx, LinkChanged, c.Device, map[string]any{"deviceId": c.Device, "iccid": c.ICCID, "linked": false, "reason": why})
	})
}

// catchUp links devices whose registration names a SIM that is free: what was
// registered just before a crash, and SIMs that came later than their devices.
func (t *Tenant) catchUp(ctx context.Context) error {
	for after := ""; len(t.allAccounts()) > 0; {
		var wishes []store.SIMWish
		err := t.db.View(ctx, func(tx *store.Tx) (err error) { wishes, err = tx.SIMWishes(after, timerBatch); return err })
		if err != nil || len(wishes) == 0 {
			return err
		}
		for _, w := range wishes {
			after = w.Device
			var with []*store.SIM
			err := t.db.View(ctx, func(tx *store.Tx) (err error) { with, err = tx.SIMsBy("iccid", w.ICCID); return err })
			if err == nil && len(with) == 1 && with[0].Device == "" {
				_, _, err = t.link(ctx, with[0].ID, w.Device, false, hubCause("registration"))
			}
			if err != nil && !coded(err) {
				return err
			}
		}
	}
	return nil
}

func (t *Tenant) newIMEI(c hub.DeviceChange, s *store.SIM) error {
	a := t.account(s.Account)
	if a == nil || !a.embedded() || s.IMEI == c.IMEI {
		return nil
	}
	return t.db.Update(t.ctx, func(tx *store.Tx) error {
		s, err := tx.SIMOfDevice(c.Device)
		if errors.Is(err, store.ErrNone) {
			return nil
		}
		if err != nil {
			return err
		}
		s.IMEI = c.IMEI
		if err := t.lockIMEI(tx, s); err != nil {
			return err
		}
		if err := tx.PutSIM(s); err != nil {
			return err
		}
		if err := t.event(tx, ProductAttributes, s.Device, map[string]any{"product": map[string]any{"id": s.ID}, "attribute": "imei"}); err != nil {
			return err
		}
		return t.showDevice(tx, a, s)
	})
}
