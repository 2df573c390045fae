package control

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// Draft is a control device to be created. Device.ID and Created are given by
// Create; no protocols are both, a source's ID and Device are not read.
type Draft struct {
	Device   nave.ControlDevice
	Commands []SourceDraft
	Sensors  []SourceDraft
}

// SourceDraft is a command or sensor to be created; Value is the first desired
// value of a command.
type SourceDraft struct {
	nave.ControlSource
	Value string
}

// Create registers a control device and returns its client secret, which is
// shown once. ArgumentInvalid: what is wrong with the draft.
func (c *Control) Create(ctx context.Context, draft Draft) (*Device, string, error) {
	now := c.Now()
	d := draft.Device
	d.ID, d.Resource, d.Created, d.Seen = nave.NewControlID("cdv", now), nave.NewControlID("res", now), now, time.Time{}
	if len(d.Protocols) == 0 {
		d.Protocols = []string{HTTPS, MQTT}
	}
	if err := c.checkDevice(&d); err != nil {
		return nil, "", err
	}
	var sources []SourceDraft
	for _, s := range draft.Commands {
		s.ID = nave.NewControlID("cmd", now)
		sources = append(sources, s)
	}
	for _, s := range draft.Sensors {
		s.ID = nave.NewControlID("sen", now)
		sources = append(sources, s)
	}
	for n := range sources {
		sources[n].Device = d.ID
		if err := checkSource(&sources[n].ControlSource); err != nil {
			return nil, "", err
		}
	}
	if max(len(draft.Commands), len(draft.Sensors)) > nave.MaxControlSources {
		return nil, "", fault.ArgumentInvalid.New("a control device has at most %d commands and %d sensors", nave.MaxControlSources, nave.MaxControlSources)
	}
	secret := ""
	err := c.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err := tx.InsertControl(&d); err != nil {
			return err
		}
		for _, s := range sources {
			if err := tx.InsertControlSource(&s.ControlSource, firstValue(&s)); err != nil {
				return err
			}
		}
		secret, err = c.o.Clients.Put(tx, d.ID)
		return err
	})
	if err != nil {
		return nil, "", operator(c.away(err))
	}
	made, err := c.Device(ctx, d.ID)
	return made, secret, err
}

// firstValue returns the desired value a new command begins with.
func firstValue(s *SourceDraft) string {
	switch {
	case !s.IsCommand() || s.Value != "":
		return s.Value
	case s.ValueType == nave.NumericRange && s.Minimum != "":
		return s.Minimum
	case s.ValueType == nave.NumericRange:
		return "0"
	}
	return "-"
}

func (c *Control) checkDevice(d *nave.ControlDevice) error {
	for _, p := range d.Protocols {
		if p != HTTPS && p != MQTT {
			return fault.ArgumentInvalid.New("the protocol %q is unknown, known are https and mqtt", p)
		}
	}
	slices.Sort(d.Protocols)
	d.Protocols = slices.Compact(d.Protocols)
	switch {
	case len(d.Protocols) == 0:
		return fault.ArgumentInvalid.New("a control device needs https, mqtt or both")
	case len(d.Label) > 256:
		return fault.ArgumentInvalid.New("the label has %d bytes, allowed are 256", len(d.Label))
	case d.Expected < 0 || d.Expected > math.MaxInt32:
		return fault.ArgumentInvalid.New("the expected interval is %d seconds, it cannot be negative", d.Expected)
	}
	_, err := c.plan(d)
	return err
}

func checkSource(s *nave.ControlSource) error {
	for _, f := range []struct{ name, text string }{{"label", s.Label}, {"kind", s.Kind}, {"pin port", s.PinPort}, {"value type", s.ValueType},
		{"quantity", s.Quantity}, {"unit", s.Unit}} {
		if len(f.text) > 256 {
			return fault.ArgumentInvalid.New("the %s has %d bytes, allowed are 256", f.name, len(f.text))
		}
	}
	for _, f := range []struct{ name, text string }{{"minimum", s.Minimum}, {"maximum", s.Maximum}, {"step", s.Step}} {
		if f.text != "" && (!nave.IsNumber(f.text) || len(f.text) > 64) {
			return fault.ArgumentInvalid.New("the %s %q is no number", f.name, f.text)
		}
	}
	for _, r := range s.Resources {
		if !nave.IsControlID("res", r) {
			return fault.ArgumentInvalid.New("%q is no resource id", r)
		}
	}
	switch {
	case (s.Minimum == "") != (s.Maximum == ""):
		return fault.ArgumentInvalid.New("minimum and maximum go together")
	case s.Expected < 0 || s.Pause < 0 || s.Lifetime < -1 || len(s.Resources) > 16:
		return fault.ArgumentInvalid.New("intervals cannot be negative, a lifetime is -1 (without end) or more, and a source has at most 16 resources")
	case s.Kind == "":
		return fault.ArgumentInvalid.New("a source needs a kind, such as relay or thermistor")
	case s.IsCommand() && s.ValueType == "":
		s.ValueType = nave.NumericRange
	}
	return nil
}

// Device returns the device as it is now; GenericNotFound.
func (c *Control) Device(ctx context.Context, id string) (*Device, error) {
	if !nave.IsControlID("cdv", id) {
		return nil, fault.GenericNotFound.New("%q is no id of a control device", id)
	}
	d, err := c.read(ctx, id)
	if err != nil {
		return nil, named(err, "the hub has no control device %s", id)
	}
	return d, nil
}

// List returns up to limit devices whose ids follow after, in the order of
// ids.
func (c *Control) List(ctx context.Context, after string, limit int) (all []*nave.ControlDevice, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) (err error) { all, err = tx.Controls(after, limit); return err })
	return all, operator(c.away(err))
}

// Change alters a device: f gets its definition. Disabling ends its MQTT
// credentials (iot-v1 AU-12).
func (c *Control) Change(ctx context.Context, id string, f func(*nave.ControlDevice) error) (*Device, error) {
	err := c.db.Update(ctx, func(tx *store.Tx) error {
		d, err := tx.Control(id)
		if err != nil {
			return err
		}
		if err := f(d); err != nil {
			return err
		}
		if err := c.checkDevice(d); err != nil {
			return err
		}
		if d.Disabled {
			if _, err := tx.EndControlCredentials(id, nil); err != nil {
				return err
			}
		}
		c.changed(tx, id)
		return tx.PutControl(d)
	})
	if err != nil {
		return nil, c.missing(err, id)
	}
	return c.Device(ctx, id)
}

func (c *Control) missing(err error, id string) error {
	if errors.Is(err, store.ErrNone) {
		return fault.GenericNotFound.New("the hub has no control device or source %s", id)
	}
	return operator(c.away(err))
}

// Delete removes a device with everything it has; its feed data goes in the
// background.
func (c *Control) Delete(ctx context.Context, id string) error {
	err := c.db.Update(ctx, func(tx *store.Tx) error {
		c.changed(tx, id)
		return errors.Join(tx.DeleteControl(id), c.o.Clients.Delete(tx, id))
	})
	return c.missing(err, id)
}

// Rotate gives a device a new client secret, which is shown once; its tokens
// and MQTT credentials end (iot-v1 AU-12).
func (c *Control) Rotate(ctx context.Context, id string) (secret string, err error) {
	err = c.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.Control(id); err != nil {
			return err
		}
		if secret, err = c.o.Clients.Put(tx, id); err != nil {
			return err
		}
		c.changed(tx, id)
		_, err := tx.EndControlCredentials(id, nil)
		return err
	})
	return secret, c.missing(err, id)
}

// AddSource gives a device a command or a sensor.
func (c *Control) AddSource(ctx context.Context, device string, draft SourceDraft, command bool) (*nave.ControlSource, error) {
	s := draft.ControlSource
	prefix := "sen"
	if command {
		prefix = "cmd"
	}
	s.ID, s.Device = nave.NewControlID(prefix, c.Now()), device
	if err := checkSource(&s); err != nil {
		return nil, err
	}
	err := c.db.Update(ctx, func(tx *store.Tx) error {
		// Takes the device's lock, so that two calls cannot pass the limit.
		if _, err := tx.Control(device); err != nil {
			return err
		}
		have, err := tx.ControlSources(device)
		if err != nil {
			return err
		}
		same := 0
		for _, h := range have {
			if h.IsCommand() == command {
				same++
			}
		}
		if same >= nave.MaxControlSources {
			return fault.ArgumentInvalid.New("the device has %d of these, more are not possible", same)
		}
		c.changed(tx, device)
		return tx.InsertControlSource(&s, firstValue(&SourceDraft{s, draft.Value}))
	})
	return &s, c.missing(err, device)
}

// ChangeSource alters a command or sensor: f gets its definition.
func (c *Control) ChangeSource(ctx context.Context, device, id string, f func(*nave.ControlSource) error) error {
	err := c.db.Update(ctx, func(tx *store.Tx) error {
		s, err := tx.ControlSource(id)
		if err != nil {
			return err
		}
		if s.Device != device {
			return store.ErrNone
		}
		if err := f(&s.ControlSource); err != nil {
			return err
		}
		s.ID = id
		if err := checkSource(&s.ControlSource); err != nil {
			return err
		}
		c.changed(tx, device)
		return tx.PutControlSource(&s.ControlSource)
	})
	return c.missing(err, id)
}

// RemoveSource takes a command or sensor from a device.
func (c *Control) RemoveSource(ctx context.Context, device, id string) error {
	err := c.db.Update(ctx, func(tx *store.Tx) error { c.changed(tx, device); return tx.DeleteControlSource(device, id) })
	return c.missing(err, id)
}

// History returns up to limit accepted items of a source with ids below before
// (0: all), the newest first.
func (c *Control) History(ctx context.Context, device, source string, before int64, limit int) (all []*nave.ControlFeedRow, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	err = c.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.ControlSource(source)
		if err != nil {
			return err
		}
		if s.Device != device {
			return store.ErrNone
		}
		all, err = tx.ControlHistory(s.No, before, limit)
		return err
	})
	return all, c.missing(err, source)
}

// DesiredHistory returns up to limit desired states of a command, the newest
// first.
func (c *Control) DesiredHistory(ctx context.Context, device, command string, limit int) (all []*nave.DesiredState, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) error {
		s, err := tx.ControlSource(command)
		if err != nil {
			return err
		}
		if s.Device != device {
			return store.ErrNone
		}
		all, err = tx.DesiredHistory(s.No, limit)
		return err
	})
	return all, c.missing(err, command)
}

// Audit is an entry of the audit log.
type Audit = store.ControlAudit

// Audits returns the newest entries of a device's audit log, the newest first.
func (c *Control) Audits(ctx context.Context, device string, limit int) (all []Audit, err error) {
	err = c.db.View(ctx, func(tx *store.Tx) (err error) { all, err = tx.ControlAudits(device, limit); return err })
	return all, operator(c.away(err))
}
