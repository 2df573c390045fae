package store

import (
	"database/sql"
	"time"
)

// App is an application of a tenant (connectivity-api 13).
type App struct {
	Tenant, ID    string
	Name, Contact string
	Created       time.Time
}

// AppPermission is what an application may do with one version of one API;
// Access is ro or rw.
type AppPermission struct{ API, Version, Access string }

// AppCredential is a client id of an application with the salted hash of its
// secret. Refreshed is zero before the first refresh; ValidFrom grows with
// every new secret.
type AppCredential struct {
	ID, App    string
	Salt, Hash []byte
	Created    time.Time
	Refreshed  time.Time
	ValidFrom  int64
}

const selectApp = `SELECT tenant, id, name, contact, created FROM application WHERE hub = ? AND `

func scanApp(rows *sql.Rows) (*App, error) {
	var a App
	var created int64
	if err := rows.Scan(&a.Tenant, &a.ID, &a.Name, &a.Contact, &created); err != nil {
		return nil, err
	}
	a.Created = moment(created)
	return &a, nil
}

// App returns the application, or ErrNone; an empty tenant stands for every
// one. In an Update the row stays locked.
func (t *Tx) App(tenant, id string) (*App, error) {
	all, err := list(t, scanApp, selectApp+`id = ? AND (tenant = ? OR ? = '') FOR NO KEY UPDATE`, t.db.hub, id, tenant, tenant)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// AppNamed returns the application of this name, or ErrNone.
func (t *Tx) AppNamed(tenant, name string) (*App, error) {
	all, err := list(t, scanApp, selectApp+`tenant = ? AND name = ?`, t.db.hub, tenant, name)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// Apps returns up to limit applications of the tenant by name, from offset on.
func (t *Tx) Apps(tenant string, offset, limit int) ([]*App, error) {
	return list(t, scanApp, selectApp+`tenant = ? ORDER BY name LIMIT ? OFFSET ?`, t.db.hub, tenant, limit, offset)
}

// CountApps returns how many applications the tenant has.
func (t *Tx) CountApps(tenant string) (n int, err error) {
	return n, t.one(`SELECT COUNT(*) FROM application WHERE hub = ? AND tenant = ?`, []any{t.db.hub, tenant}, &n)
}

// InsertApp adds an application. It answers ErrExists when the tenant has one
// of that name.
func (t *Tx) InsertApp(a *App) error {
	n, err := t.exec(`INSERT INTO application (hub, tenant, id, name, contact, created) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (hub, tenant, name) DO NOTHING`, t.db.hub, a.Tenant, a.ID, a.Name, a.Contact, ticks(a.Created))
	if err == nil && n == 0 {
		return ErrExists
	}
	return err
}

// UpdateApp writes name and contact of the application. It answers ErrNone.
func (t *Tx) UpdateApp(a *App) error {
	return t.must(`UPDATE application SET name = ?, contact = ? WHERE hub = ? AND tenant = ? AND id = ?`, a.Name, a.Contact, t.db.hub, a.Tenant, a.ID)
}

// DeleteApp removes the application with permissions and credentials. It
// answers ErrNone.
func (t *Tx) DeleteApp(tenant, id string) error {
	return t.must(`DELETE FROM application WHERE hub = ? AND tenant = ? AND id = ?`, t.db.hub, tenant, id)
}

// AppPermissions returns the permissions of the application by API.
func (t *Tx) AppPermissions(app string) ([]AppPermission, error) {
	return list(t, func(rows *sql.Rows) (p AppPermission, err error) {
		return p, rows.Scan(&p.API, &p.Version, &p.Access)
	}, `SELECT api, version, access FROM application_permission WHERE hub = ? AND application = ? ORDER BY api, version`, t.db.hub, app)
}

// PutAppPermissions replaces the permissions of the application.
func (t *Tx) PutAppPermissions(app string, all []AppPermission) error {
	if _, err := t.exec(`DELETE FROM application_permission WHERE hub = ? AND application = ?`, t.db.hub, app); err != nil {
		return err
	}
	for _, p := range all {
		_, err := t.exec(`INSERT INTO application_permission (hub, application, api, version, access) VALUES (?, ?, ?, ?, ?)`,
			t.db.hub, app, p.API, p.Version, p.Access)
		if err != nil {
			return err
		}
	}
	return nil
}

const selectAppCredential = `SELECT id, application, salt, hash, created, refreshed, valid_from FROM application_credential WHERE hub = ? AND `

func scanAppCredential(rows *sql.Rows) (*AppCredential, error) {
	var c AppCredential
	var created, refreshed int64
	if err := rows.Scan(&c.ID, &c.App, &c.Salt, &c.Hash, &created, &refreshed, &c.ValidFrom); err != nil {
		return nil, err
	}
	c.Created, c.Refreshed = moment(created), moment(refreshed)
	return &c, nil
}

// AppCredential returns the credential of the client id, or ErrNone.
func (t *Tx) AppCredential(id string) (*AppCredential, error) {
	all, err := list(t, scanAppCredential, selectAppCredential+`id = ?`, t.db.hub, id)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNone
	}
	return all[0], nil
}

// AppCredentials returns the credentials of the application, the oldest first.
func (t *Tx) AppCredentials(app string) ([]*AppCredential, error) {
	return list(t, scanAppCredential, selectAppCredential+`application = ? ORDER BY created, id`, t.db.hub, app)
}

// PutAppCredential adds a credential or replaces its secret.
func (t *Tx) PutAppCredential(c *AppCredential) error {
	_, err := t.exec(`INSERT INTO application_credential (hub, id, application, salt, hash, created, refreshed, valid_from) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (hub, id) DO UPDATE SET salt = excluded.salt, hash = excluded.hash, refreshed = excluded.refreshed, valid_from = excluded.valid_from`,
		t.db.hub, c.ID, c.App, c.Salt, c.Hash, ticks(c.Created), ticks(c.Refreshed), c.ValidFrom)
	return err
}

// DeleteAppCredential removes a credential of the application. It answers
// ErrNone.
func (t *Tx) DeleteAppCredential(app, id string) error {
	return t.must(`DELETE FROM application_credential WHERE hub = ? AND application = ? AND id = ?`, t.db.hub, app, id)
}
