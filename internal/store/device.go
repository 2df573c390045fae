package store

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/nave-hub/nave"
)

const selectIdentity = `SELECT i.device, i.module, i.generation, i.etag, i.status, i.status_reason, i.status_updated,
	i.created, i.auth, i.key1, i.key2, i.print1, i.print2, i.edge, i.scope, i.parents, i.managed_by, i.attributes,
	i.want_iccid, i.want_imei, i.connectivity, p.connected, p.node, p.changed, p.activity, q.pending
	FROM identity i
	JOIN presence p ON p.hub = i.hub AND p.device = i.device AND p.module = i.module
	JOIN queue q ON q.hub = i.hub AND q.device = i.device AND q.module = i.module
	WHERE i.hub = ? AND `

// Identity returns the device or module with its presence and the length of
// its command queue, or ErrNone. In an Update the row stays locked.
func (t *Tx) Identity(id nave.ID) (*nave.Identity, error) {
	all, err := list(t, scanIdentity, selectIdentity+`i.device = ? AND i.module = ? FOR NO KEY UPDATE OF i`, t.key(id)...)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// Devices returns up to limit devices, without modules, whose ids follow after,
// in the byte order of the ids.
func (t *Tx) Devices(after string, limit int) ([]*nave.Identity, error) {
	return list(t, scanIdentity, selectIdentity+`i.module = '' AND i.device > ? ORDER BY i.device LIMIT ?`, t.db.hub, after, limit)
}

// Modules returns the modules of the device in the byte order of their ids.
func (t *Tx) Modules(device string) ([]*nave.Identity, error) {
	return list(t, scanIdentity, selectIdentity+`i.device = ? AND i.module > '' ORDER BY i.module`, t.db.hub, device)
}

func scanIdentity(rows *sql.Rows) (*nave.Identity, error) {
	var (
		i                                   nave.Identity
		parents                             string
		attributes, connectivity            sql.NullString
		updated, created, changed, activity int64
		edge, connected                     int
	)
	err := rows.Scan(&i.ID.Device, &i.ID.Module, &i.Generation, &i.ETag, &i.Status, &i.StatusReason, &updated,
		&created, &i.Auth.Type, &i.Auth.Primary, &i.Auth.Secondary, &i.Auth.PrimaryThumbprint, &i.Auth.SecondThumbprint,
		&edge, &i.DeviceScope, &parents, &i.ManagedBy, &attributes,
		&i.WantICCID, &i.WantIMEI, &connectivity, &connected, &i.Presence.Node, &changed, &activity, &i.Pending)
	if err != nil {
		return nil, err
	}
	i.StatusUpdated, i.Created, i.Edge = moment(updated), moment(created), edge == 1
	i.Presence.Connected, i.Presence.Changed, i.Presence.Activity = connected == 1, moment(changed), moment(activity)
	if attributes.Valid {
		i.Attributes = json.RawMessage(attributes.String)
	}
	if connectivity.Valid {
		if err := json.Unmarshal([]byte(connectivity.String), &i.Connectivity); err != nil {
			return nil, fmt.Errorf("store: connectivity of %s: %w", i.ID, err)
		}
	}
	if parents != "[]" {
		if err := json.Unmarshal([]byte(parents), &i.ParentScopes); err != nil {
			return nil, fmt.Errorf("store: parent scopes of %s: %w", i.ID, err)
		}
	}
	return &i, nil
}

// columns returns what InsertIdentity and PutIdentity both write.
func columns(i *nave.Identity) ([]any, error) {
	parents := "[]"
	if len(i.ParentScopes) > 0 {
		text, err := json.Marshal(i.ParentScopes)
		if err != nil {
			return nil, err
		}
		parents = string(text)
	}
	return []any{i.Generation, i.ETag, i.Status, i.StatusReason, ticks(i.StatusUpdated), ticks(i.Created),
		string(i.Auth.Type), i.Auth.Primary, i.Auth.Secondary, i.Auth.PrimaryThumbprint, i.Auth.SecondThumbprint,
		bit(i.Edge), i.DeviceScope, parents, i.ManagedBy,
		sql.NullString{String: string(i.Attributes), Valid: i.Attributes != nil},
		i.WantICCID, i.WantIMEI}, nil
}

// InsertIdentity adds a device or module with an empty command queue and
// without a connection; its Presence, Pending and Connectivity are not read. It
// answers ErrExists, and ErrNone for a module without its device. The twin is the
// caller's to add.
func (t *Tx) InsertIdentity(i *nave.Identity) error {
	var parent any
	if i.ID.IsModule() {
		parent = ""
		if err := t.exists(i.ID.Parent()); err != nil {
			return err
		}
	}
	values, err := columns(i)
	if err != nil {
		return err
	}
	n, err := t.exec(`INSERT INTO identity (hub, device, module, parent, generation, etag, status, status_reason, status_updated,
		created, auth, key1, key2, print1, print2, edge, scope, parents, managed_by, attributes, want_iccid, want_imei)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, t.key(i.ID, append([]any{parent}, values...)...)...)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrExists
	}
	if _, err := t.exec(`INSERT INTO presence VALUES (?, ?, ?, 0, '', 0, 0)`, t.key(i.ID)...); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO queue VALUES (?, ?, ?, 0, 0, 0)`, t.key(i.ID)...); err != nil {
		return err
	}
	t.tally.identity(i.ID, i.Status, 1)
	return nil
}

// exists answers ErrNone when there is no such identity, and keeps it from
// being deleted until the transaction ends.
func (t *Tx) exists(id nave.ID) error {
	var one int
	return t.one(`SELECT 1 FROM identity WHERE hub = ? AND device = ? AND module = ? FOR KEY SHARE`, t.key(id), &one)
}

// PutIdentity replaces the identity's row; Presence, Pending and Connectivity
// are not written. It answers ErrNone.
func (t *Tx) PutIdentity(i *nave.Identity) error {
	var status string
	if err := t.one(`SELECT status FROM identity WHERE hub = ? AND device = ? AND module = ? FOR NO KEY UPDATE`, t.key(i.ID), &status); err != nil {
		return err
	}
	values, err := columns(i)
	if err != nil {
		return err
	}
	err = t.must(`UPDATE identity SET generation = ?, etag = ?, status = ?, status_reason = ?, status_updated = ?, created = ?,
		auth = ?, key1 = ?, key2 = ?, print1 = ?, print2 = ?, edge = ?, scope = ?, parents = ?, managed_by = ?, attributes = ?,
		want_iccid = ?, want_imei = ?
		WHERE hub = ? AND device = ? AND module = ?`, t.set(i.ID, values...)...)
	if err != nil {
		return err
	}
	t.tally.identity(i.ID, status, -1)
	t.tally.identity(i.ID, i.Status, 1)
	return nil
}

// PutConnectivity sets what the linked SIM says about the device, nil when none
// is linked any more. It answers ErrNone without the device; whoever changes
// what governs the device tells the hub after the commit.
func (t *Tx) PutConnectivity(device string, c *nave.Connectivity) error {
	var text any
	if c != nil {
		b, err := json.Marshal(c)
		if err != nil {
			return err
		}
		text = string(b)
	}
	return t.must(`UPDATE identity SET connectivity = ? WHERE hub = ? AND device = ? AND module = ?`, t.set(nave.ID{Device: device}, text)...)
}

// DeleteIdentity removes a device or module with its twin, command queue,
// feedback, session and presence; a device takes its modules with it. It
// answers ErrNone.
func (t *Tx) DeleteIdentity(id nave.ID) error {
	var status string
	var connected int
	err := t.one(`SELECT i.status, p.connected FROM identity i
		JOIN presence p ON p.hub = i.hub AND p.device = i.device AND p.module = i.module
		WHERE i.hub = ? AND i.device = ? AND i.module = ? FOR UPDATE`, t.key(id), &status, &connected)
	if err != nil {
		return err
	}
	feedback := `DELETE FROM feedback WHERE hub = ? AND device = ? AND module = ?`
	args := t.key(id)
	if !id.IsModule() {
		modules, err := t.exec(`DELETE FROM identity WHERE hub = ? AND device = ? AND module > ''`, t.db.hub, id.Device)
		if err != nil {
			return err
		}
		t.tally.Modules -= int(modules)
		t.tally.Connected -= connected
		feedback = `DELETE FROM feedback WHERE hub = ? AND device = ?`
		args = args[:2]
	}
	if _, err := t.exec(feedback, args...); err != nil {
		return err
	}
	// Everything else refers to the row and goes with it.
	if err := t.must(`DELETE FROM identity WHERE hub = ? AND device = ? AND module = ?`, t.key(id)...); err != nil {
		return err
	}
	t.tally.identity(id, status, -1)
	return nil
}
