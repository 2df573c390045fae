package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nave-hub/nave"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/gate"
	"github.com/nave-hub/nave/internal/store"
)

// Transports of iot/v1.
const (
	HTTPS = "https"
	MQTT  = "mqtt"
)

// Scopes of access tokens, in the order in which they are shown (iot-v1 3.1).
const (
	ScopeCatalog = "iot:catalog:read"
	ScopeDesired = "iot:desired-state:read"
	ScopeFeed    = "iot:feed-data:write"

	ScopeMQTT        = "iot:mqtt:connect"
	ScopeMQTTAck     = "iot:mqtt:ack:read"
	ScopeMQTTFeed    = "iot:mqtt:feed-data:write"
	ScopeMQTTDesired = "iot:mqtt:desired:read"
)

// HTTPSScopes are granted when a token request names none; MQTTScopes must be
// asked for (iot-v1 AU-13).
var (
	HTTPSScopes = []string{ScopeCatalog, ScopeDesired, ScopeFeed}
	MQTTScopes  = []string{ScopeMQTT, ScopeMQTTAck, ScopeMQTTFeed, ScopeMQTTDesired}
)

// Device is a control device as it was when Find read it. It must not be
// changed.
type Device struct {
	nave.ControlDevice
	Limits  nave.ControlPlan
	Sources []*nave.ControlSource // in the order of ids
	Catalog string                // revision (iot-v1 BT-4)
	Runtime string

	c   *Control
	by  map[string]*nave.ControlSource
	who nave.Principal
}

const (
	keepFor = time.Second // how stale a snapshot may be when a note of another node is lost
	maxKept = 20_000
)

// Find returns the device (step 4 of iot-v1 G-15): 4004 for an id that is
// malformed or not registered.
func (c *Control) Find(ctx context.Context, id string) (*Device, error) {
	if c.stopping() {
		return nil, c.shutting()
	}
	if !nave.IsControlID("cdv", id) {
		return nil, NoResource("device", "there is no such device")
	}
	c.mu.Lock()
	k, epoch := c.known[id], c.epoch
	c.mu.Unlock()
	if k != nil && time.Since(k.loaded) < keepFor {
		return k.device, nil
	}
	d, err := c.read(ctx, id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		if len(c.known) >= maxKept {
			clear(c.known)
		}
		c.known[id] = &kept{d, time.Now()}
	}
	return d, nil
}

func (c *Control) read(ctx context.Context, id string) (*Device, error) {
	d := &Device{c: c, by: map[string]*nave.ControlSource{}}
	err := c.db.View(ctx, func(tx *store.Tx) error {
		row, err := tx.Control(id)
		if err != nil {
			return err
		}
		d.ControlDevice = *row
		sources, err := tx.ControlSources(id)
		for _, s := range sources {
			d.Sources = append(d.Sources, &s.ControlSource)
			d.by[s.ID] = &s.ControlSource
		}
		return err
	})
	if errors.Is(err, store.ErrNone) {
		return nil, NoResource("device", "there is no such device")
	}
	if err == nil {
		d.Limits, err = c.plan(&d.ControlDevice)
	}
	if err != nil {
		return nil, c.away(err)
	}
	d.who = nave.Principal{Name: id, Rights: nave.DeviceConnect, Only: nave.ID{Device: id}, Proof: "oauth"}
	d.Catalog, d.Runtime = d.revisions()
	return d, nil
}

// plan returns the limits of a device.
func (c *Control) plan(d *nave.ControlDevice) (nave.ControlPlan, error) {
	name := d.Plan
	if name == "" {
		name = c.o.Plan
	}
	p, err := nave.NewControlPlan(name)
	if err != nil {
		return p, err
	}
	for _, values := range []map[string]float64{c.o.PlanValues, d.PlanValues} {
		for name, v := range values {
			if err := p.Set(name, v); err != nil {
				return p, err
			}
		}
	}
	return p, nil
}

// revisions name the content of catalogue and runtime descriptor by hashes, so
// that they change exactly when that does (iot-v1 BT-4).
func (d *Device) revisions() (catalog, runtime string) {
	hash := func(v any) string {
		text, _ := json.Marshal(v) // plain structs of ours
		h := sha256.Sum256(text)
		return hex.EncodeToString(h[:8])
	}
	type entry struct {
		ID string
		nave.ControlSource
	}
	var all []entry
	for _, s := range d.Sources {
		e := entry{s.ID, *s}
		// Neither is in the catalogue.
		e.Label, e.Lifetime, e.Adopt = "", 0, false
		all = append(all, e)
	}
	return "cat-" + hash([]any{d.Resource, all}), "run-" + hash([]any{d.Protocols, d.Limits, d.Expected, d.c.Broker()})
}

// Source returns the command or sensor of the id: 4004 when it is not on this
// device (iot-v1 CA-14).
func (d *Device) Source(id string, command bool) (*nave.ControlSource, error) {
	if s := d.by[id]; s != nil && s.IsCommand() == command {
		return s, nil
	}
	if command {
		return nil, NoResource("command", "this device has no such command")
	}
	return nil, NoResource("sensor", "this device has no such sensor")
}

var (
	opRead       = gate.Op{Name: "control.read", Own: true}
	opFeed       = gate.Op{Name: "control.feed", Own: true}
	opCredential = gate.Op{Name: "control.credential", Own: true}
)

// Admit takes steps 7 to 9 of iot-v1 G-15: disabled, subscription, and with a
// transport whether that is enabled.
func (d *Device) Admit(transport string) error {
	switch {
	case d.Disabled:
		return refuse(fault.ControlForbidden, "device_disabled", "the operator has disabled this device")
	case !d.Active(d.c.Now()):
		return refuse(fault.ControlPaymentRequired, "subscription_inactive", "the subscription of this device is not active")
	case transport != "" && !d.Speaks(transport):
		e := refuse(fault.ControlForbidden, "protocol_not_available", "%s is not enabled for this device", transport)
		e.Detail["available_protocols"] = d.Protocols
		return e
	}
	return nil
}

// Take takes a token of the class (step 10): 4029.
func (d *Device) Take(class nave.ControlClass) error {
	if wait := d.c.buckets.take(d.ID, class, d.Limits.Rates[class], d.c.Now()); wait > 0 {
		return tooFast(class, wait)
	}
	return nil
}

// Enter passes a read through the gate, where faults are injected and the hub's
// state counts.
func (d *Device) Enter(ctx context.Context) error { return d.enter(ctx, &opRead, 0) }

func (d *Device) enter(ctx context.Context, op *gate.Op, size int) error {
	return d.c.gate.Enter(ctx, &d.who, d.who.Only, op, size)
}

// See notes that the device has made an authenticated request.
func (d *Device) See() {
	now := d.c.Now()
	d.c.mu.Lock()
	d.c.seen[d.ID] = now
	d.c.mu.Unlock()
}

// Pace of bootstrap and polls in seconds (iot-v1 4.1).
const (
	defaultPoll = 30
	defaultItem = 60
	catalogPoll = 3600
)

// Poll returns how often the device is expected to poll, in seconds.
func (d *Device) Poll() int {
	if d.Expected > 0 {
		return d.Expected
	}
	return defaultPoll
}

// Online says whether the device is there (iot-v1 MQ-23).
func (d *Device) Online() bool {
	c := d.c
	c.mu.Lock()
	connected := false
	for s := range c.sessions[d.ID] {
		connected = connected || s.ready // a CONNECT that is not proven says nothing
	}
	seen := later(d.Seen, c.seen[d.ID])
	c.mu.Unlock()
	return connected || !seen.IsZero() && c.Now().Sub(seen) < time.Duration(3*d.Poll())*time.Second
}

// LastSeen returns when the device made its last authenticated request; the
// zero time for never.
func (d *Device) LastSeen() time.Time {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	return later(d.Seen, d.c.seen[d.ID])
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// States returns the state of every source by its number.
func (d *Device) States(ctx context.Context) (map[int64]nave.ControlState, error) {
	all := map[int64]nave.ControlState{}
	err := d.c.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.ControlSources(d.ID)
		for _, r := range rows {
			all[r.No] = r.State
		}
		return err
	})
	return all, d.c.away(err)
}

func (d *Device) String() string { return fmt.Sprintf("control device %s", d.ID) }

// Now returns the time on the hub's clock.
func (d *Device) Now() time.Time { return d.c.Now() }
