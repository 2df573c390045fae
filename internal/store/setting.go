package store

import "errors"

// Usage returns the units that were charged on the day (any text, by custom
// 2006-01-02), 0 when none were.
func (t *Tx) Usage(day string) (int64, error) {
	var units int64
	err := t.one(`SELECT units FROM daily WHERE hub = ? AND day = ?`, []any{t.db.hub, day}, &units)
	if errors.Is(err, ErrNone) {
		err = nil
	}
	return units, err
}

// AddUsage adds to the units of the day.
func (t *Tx) AddUsage(day string, units int64) error {
	_, err := t.exec(`INSERT INTO daily (hub, day, units) VALUES (?, ?, ?)
		ON CONFLICT (hub, day) DO UPDATE SET units = daily.units + excluded.units`, t.db.hub, day, units)
	return err
}

// Setting returns the value kept under the key, or ErrNone.
func (t *Tx) Setting(key string) (string, error) {
	var value string
	err := t.one(`SELECT value FROM setting WHERE hub = ? AND name = ?`, []any{t.db.hub, key}, &value)
	return value, err
}

// PutSetting keeps the value under the key.
func (t *Tx) PutSetting(key, value string) error {
	_, err := t.exec(`INSERT INTO setting (hub, name, value) VALUES (?, ?, ?)
		ON CONFLICT (hub, name) DO UPDATE SET value = excluded.value`, t.db.hub, key, value)
	return err
}

// FirstSetting keeps the value unless one is kept under the key already, and
// returns the one that is: nodes that start together agree.
func (t *Tx) FirstSetting(key, value string) (string, error) {
	_, err := t.exec(`INSERT INTO setting (hub, name, value) VALUES (?, ?, ?) ON CONFLICT (hub, name) DO NOTHING`, t.db.hub, key, value)
	if err != nil {
		return "", err
	}
	return t.Setting(key)
}
