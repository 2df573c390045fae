package store

import (
	"errors"

	"github.com/nave-hub/nave"
)

// Counts are the sizes of a hub. Enabled, Disabled and Connected count devices
// only (service-api 5.8).
type Counts struct{ Devices, Enabled, Disabled, Modules, Connected int }

// identity counts one identity in (by 1) or out (by -1).
func (c *Counts) identity(id nave.ID, status string, by int) {
	switch {
	case id.IsModule():
		c.Modules += by
	case status == nave.Enabled:
		c.Devices += by
		c.Enabled += by
	default:
		c.Devices += by
		c.Disabled += by
	}
}

// Count returns the hub's counts in constant time, this transaction included.
func (t *Tx) Count() (Counts, error) {
	var c Counts
	err := t.one(`SELECT devices, enabled, disabled, modules, connected FROM tally WHERE hub = ?`, []any{t.db.hub},
		&c.Devices, &c.Enabled, &c.Disabled, &c.Modules, &c.Connected)
	if err != nil && !errors.Is(err, ErrNone) {
		return Counts{}, err
	}
	d := &t.tally
	return Counts{c.Devices + d.Devices, c.Enabled + d.Enabled, c.Disabled + d.Disabled, c.Modules + d.Modules, c.Connected + d.Connected}, nil
}

// putTally writes the difference that the transaction made. It comes last, so
// that PostgreSQL holds the row that all share for a moment only.
func (t *Tx) putTally() error {
	d := t.tally
	if d == (Counts{}) {
		return nil
	}
	t.tally = Counts{}
	_, err := t.exec(`INSERT INTO tally (hub, devices, enabled, disabled, modules, connected) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (hub) DO UPDATE SET devices = tally.devices + excluded.devices, enabled = tally.enabled + excluded.enabled,
		disabled = tally.disabled + excluded.disabled, modules = tally.modules + excluded.modules,
		connected = tally.connected + excluded.connected`, t.db.hub, d.Devices, d.Enabled, d.Disabled, d.Modules, d.Connected)
	return err
}
