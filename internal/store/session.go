package store

import (
	"encoding/json"
	"fmt"

	"github.com/nave-hub/nave"
)

// Session returns the MQTT session of the identity, or ErrNone.
func (t *Tx) Session(id nave.ID) (*nave.Session, error) {
	var filters string
	err := t.one(`SELECT filters FROM session WHERE hub = ? AND device = ? AND module = ? FOR UPDATE`, t.key(id), &filters)
	if err != nil {
		return nil, err
	}
	s := &nave.Session{ID: id}
	if err := json.Unmarshal([]byte(filters), &s.Filters); err != nil {
		return nil, fmt.Errorf("store: session of %s: %w", id, err)
	}
	return s, nil
}

// PutSession adds or replaces the session. It answers ErrNone without the
// identity.
func (t *Tx) PutSession(s *nave.Session) error {
	if err := t.exists(s.ID); err != nil {
		return err
	}
	filters, err := json.Marshal(s.Filters)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO session (hub, device, module, filters) VALUES (?, ?, ?, ?)
		ON CONFLICT (hub, device, module) DO UPDATE SET filters = excluded.filters`, t.key(s.ID, string(filters))...)
	return err
}

// DeleteSession removes the session if there is one.
func (t *Tx) DeleteSession(id nave.ID) error {
	_, err := t.exec(`DELETE FROM session WHERE hub = ? AND device = ? AND module = ?`, t.key(id)...)
	return err
}
