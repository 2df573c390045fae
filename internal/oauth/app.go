package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/store"
)

// App is an application with its permissions and credentials.
type App struct {
	Tenant, ID    string
	Name, Contact string
	Created       time.Time
	Permissions   []Permission
	Credentials   []Credential
}

// AppPatch holds what an application is changed to; nil stands for no change.
type AppPatch struct {
	Name, Contact *string
	Permissions   *[]Permission
}

// Limits of applications (connectivity-api AP-8).
const (
	MaxApps        = 200 // of a tenant
	MaxCredentials = 5   // of an application
)

func itoa(n int) string { return strconv.Itoa(n) }

// newUUID returns a random UUID (RFC 9562 5.4) in lower case.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// invalid is the refusal of values; the issues stand in its detail.
func invalid(issues []Issue) error {
	if len(issues) == 0 {
		return nil
	}
	e := fault.SIMValidationFailed.New("%s: %s", issues[0].Pointer, issues[0].Text)
	e.Detail = map[string]any{"issues": issues}
	return e
}

func noApp() error {
	return fault.SIMApplicationNotFound.New("the tenant has no application with this id")
}

// CreateApp registers an application with one credential, whose secret is in
// the answer and nowhere else. Errors: SIMValidationFailed with []Issue in
// Detail "issues", SIMNameTaken, SIMCredentialLimit beyond MaxApps.
func (a *Apps) CreateApp(ctx context.Context, tenant string, d AppDraft) (*App, error) {
	if err := invalid(d.Check()); err != nil {
		return nil, err
	}
	now := a.db.Now()
	app := &App{Tenant: tenant, ID: newUUID(), Name: d.Name, Contact: d.Contact, Created: now, Permissions: d.Permissions}
	row, made := a.newCredential(app.ID, now)
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.CountApps(tenant)
		if err != nil {
			return err
		}
		if n >= MaxApps {
			return fault.SIMCredentialLimit.New("the tenant already has %d applications", MaxApps)
		}
		if err := tx.InsertApp(&store.App{Tenant: tenant, ID: app.ID, Name: app.Name, Contact: app.Contact, Created: now}); err != nil {
			return taken(err, d.Name)
		}
		if err := tx.PutAppPermissions(app.ID, rowsOf(app.Permissions)); err != nil {
			return err
		}
		return tx.PutAppCredential(row)
	})
	if err != nil {
		return nil, known(err)
	}
	app.Credentials = []Credential{made}
	return app, nil
}

func taken(err error, name string) error {
	if errors.Is(err, store.ErrExists) {
		return fault.SIMNameTaken.New("the tenant has an application named %s", name)
	}
	return err
}

// known passes refusals on and turns what the store answers into a fault.
func known(err error) error {
	var e *fault.Error
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, store.ErrNone):
		return noApp()
	}
	return fault.SIMInternalError.Wrap(err, "the store cannot be reached now")
}

// App returns the application of the tenant without secrets, or
// SIMApplicationNotFound.
func (a *Apps) App(ctx context.Context, tenant, id string) (app *App, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error { app, err = readApp(tx, tenant, id); return err })
	return app, known(err)
}

// Apps returns up to limit applications of the tenant by name from offset on,
// without secrets, and how many there are.
func (a *Apps) Apps(ctx context.Context, tenant string, offset, limit int) (all []*App, total int, err error) {
	err = a.db.View(ctx, func(tx *store.Tx) error {
		if total, err = tx.CountApps(tenant); err != nil {
			return err
		}
		rows, err := tx.Apps(tenant, offset, limit)
		if err != nil {
			return err
		}
		for _, r := range rows {
			app, err := fill(tx, r)
			if err != nil {
				return err
			}
			all = append(all, app)
		}
		return nil
	})
	return all, total, known(err)
}

func readApp(tx *store.Tx, tenant, id string) (*App, error) {
	row, err := tx.App(tenant, id)
	if err != nil {
		return nil, err
	}
	return fill(tx, row)
}

func fill(tx *store.Tx, row *store.App) (*App, error) {
	app := &App{Tenant: row.Tenant, ID: row.ID, Name: row.Name, Contact: row.Contact, Created: row.Created}
	permissions, err := tx.AppPermissions(row.ID)
	if err != nil {
		return nil, err
	}
	app.Permissions = permissionsOf(permissions)
	credentials, err := tx.AppCredentials(row.ID)
	for _, c := range credentials {
		app.Credentials = append(app.Credentials, credentialOf(c))
	}
	return app, err
}

func permissionsOf(rows []store.AppPermission) (all []Permission) {
	for _, p := range rows {
		all = append(all, Permission(p))
	}
	return all
}

func rowsOf(all []Permission) (rows []store.AppPermission) {
	for _, p := range all {
		rows = append(rows, store.AppPermission(p))
	}
	return rows
}

// ChangeApp changes an application; taking a permission away is in force with
// its commit. Errors: SIMValidationFailed, SIMApplicationNotFound,
// SIMNameTaken.
func (a *Apps) ChangeApp(ctx context.Context, tenant, id string, p AppPatch) (app *App, err error) {
	if err := invalid(p.Check()); err != nil {
		return nil, err
	}
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		row, err := tx.App(tenant, id)
		if err != nil {
			return err
		}
		if p.Name != nil && *p.Name != row.Name {
			if _, err := tx.AppNamed(tenant, *p.Name); !errors.Is(err, store.ErrNone) {
				return errors.Join(err, fault.SIMNameTaken.New("the tenant has an application named %s", *p.Name))
			}
			row.Name = *p.Name
		}
		if p.Contact != nil {
			row.Contact = *p.Contact
		}
		if err := tx.UpdateApp(row); err != nil {
			return err
		}
		if p.Permissions != nil {
			if err := tx.PutAppPermissions(id, rowsOf(*p.Permissions)); err != nil {
				return err
			}
		}
		app, err = fill(tx, row)
		if err == nil {
			a.changed(tx, clientsOf(app)...)
		}
		return err
	})
	return app, known(err)
}

// Check returns everything that is wrong with the patch.
func (p *AppPatch) Check() (issues []Issue) {
	if p.Name != nil {
		issues = append(issues, checkName(*p.Name)...)
	}
	if p.Contact != nil {
		issues = append(issues, checkContact(*p.Contact)...)
	}
	if p.Permissions != nil {
		issues = append(issues, checkPermissions(*p.Permissions, 0)...)
	}
	return issues
}

// DeleteApp removes the application; its tokens end with the commit
// (connectivity-api AP-10).
func (a *Apps) DeleteApp(ctx context.Context, tenant, id string) error {
	return known(a.db.Update(ctx, func(tx *store.Tx) error {
		app, err := readApp(tx, tenant, id)
		if err != nil {
			return err
		}
		a.changed(tx, clientsOf(app)...)
		return tx.DeleteApp(tenant, id)
	}))
}

func clientsOf(app *App) (all []string) {
	for _, c := range app.Credentials {
		all = append(all, c.ClientID)
	}
	return all
}
