package simapi

import (
	"net/http"

	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/sim"
)

// permissionView is a permission in answers (AP-6).
type permissionView struct {
	API     string `json:"api"`
	Version string `json:"version"`
	Access  string `json:"access,omitempty"`
	URL     string `json:"apiUrl"`
}

// credentialView is a credential in answers; the secret only where it was made.
type credentialView struct {
	ClientID  string   `json:"clientId"`
	Secret    string   `json:"clientSecret,omitempty"`
	Created   sim.Time `json:"createdAt"`
	Refreshed sim.Time `json:"refreshedAt"`
}

// appView is an application in answers.
type appView struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	Contact     string           `json:"contactEmail"`
	Created     sim.Time         `json:"createdAt"`
	Permissions []permissionView `json:"permissions"`
	Credentials []credentialView `json:"credentials"`
}

// urlOf returns the address of an API for the tenant. The devices API is the
// service surface of the hub.
func (c *call) urlOf(api string) string {
	switch api {
	case oauth.APIApplications:
		return c.origin + applicationPrefix + c.place.tenant
	case oauth.APIDevices:
		return c.origin + "/"
	}
	return c.origin + connectivityPrefix + c.place.tenant
}

func viewCredential(k *oauth.Credential) credentialView {
	return credentialView{k.ClientID, k.Secret, sim.At(k.Created), sim.At(k.Refreshed)}
}

func (c *call) viewApp(a *oauth.App) *appView {
	v := &appView{ID: a.ID, Name: a.Name, Contact: a.Contact, Created: sim.At(a.Created), Permissions: []permissionView{}, Credentials: []credentialView{}}
	for _, p := range a.Permissions {
		v.Permissions = append(v.Permissions, permissionView{p.API, p.Version, p.Access, c.urlOf(p.API)})
	}
	for n := range a.Credentials {
		v.Credentials = append(v.Credentials, viewCredential(&a.Credentials[n]))
	}
	return v
}

// listAPIs shows what permissions can be given for.
func (c *call) listAPIs() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	var all []permissionView
	for _, api := range oauth.APIs {
		all = append(all, permissionView{API: api, Version: oauth.APIVersion, URL: c.urlOf(api)})
	}
	return c.show(list(c, sim.Paging{Number: 1, Size: len(all)}, len(all), all))
}

func (c *call) listApps() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	page := q.paging()
	if err := q.done(); err != nil {
		return err
	}
	all, total, err := c.s.o.Apps.Apps(c.r.Context(), c.place.tenant, (page.Number-1)*page.Size, page.Size)
	if err != nil {
		return err
	}
	var views []*appView
	for _, a := range all {
		views = append(views, c.viewApp(a))
	}
	return c.show(list(c, page, total, views))
}

func (c *call) createApp() error {
	var i issues
	var d oauth.AppDraft
	if i.object(&c.body, "", "name", "contactEmail", "permissions") {
		d.Name, _ = i.text(&c.body, "", "name", true)
		d.Contact, _ = i.text(&c.body, "", "contactEmail", true)
		if p := c.body.member("permissions"); p == nil {
			i.body("/permissions", "required", "Must be given.")
		} else {
			d.Permissions = i.permissions(p)
		}
		i.also(d.Check())
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	app, err := c.s.o.Apps.CreateApp(c.r.Context(), c.place.tenant, d)
	if err != nil {
		return err
	}
	return c.created(c.base()+"/application/"+app.ID, c.viewApp(app))
}

// also adds what the domain finds, where nothing was found yet.
func (i *issues) also(all []oauth.Issue) {
	seen := map[string]bool{}
	for _, one := range i.all {
		seen[one.Pointer] = true
	}
	for _, one := range all {
		if !seen[one.Pointer] {
			i.body(one.Pointer, one.Code, one.Text)
		}
	}
}

// permissions reads a list of permissions; apiUrl may come back as it was shown
// and means nothing.
func (i *issues) permissions(v *value) (all []oauth.Permission) {
	if !i.list(v, "/permissions") {
		return nil
	}
	for n := range v.items {
		pointer, item := atItem("/permissions", n), &v.items[n]
		var p oauth.Permission
		if i.object(item, pointer, "api", "version", "access", "apiUrl") {
			p.API, _ = i.text(item, pointer, "api", true)
			p.Version, _ = i.text(item, pointer, "version", true)
			p.Access, _ = i.text(item, pointer, "access", true)
			i.text(item, pointer, "apiUrl", false)
		}
		all = append(all, p)
	}
	return all
}

func (c *call) showApp() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	app, err := c.s.o.Apps.App(c.r.Context(), c.place.tenant, c.ids[0])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, c.viewApp(app))
}

func (c *call) changeApp() error {
	var i issues
	var p oauth.AppPatch
	if i.object(&c.body, "", "name", "contactEmail", "permissions") {
		p.Name, p.Contact = i.word(&c.body, "name", nil), i.word(&c.body, "contactEmail", nil)
		if v := c.body.member("permissions"); v != nil {
			all := i.permissions(v)
			p.Permissions = &all
		}
		i.also(p.Check())
	}
	if err := i.err(); err != nil {
		return err
	}
	if err := c.noQuery(); err != nil {
		return err
	}
	app, err := c.s.o.Apps.ChangeApp(c.r.Context(), c.place.tenant, c.ids[0], p)
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, c.viewApp(app))
}

func (c *call) deleteApp() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.s.o.Apps.DeleteApp(c.r.Context(), c.place.tenant, c.ids[0]); err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

func (c *call) addCredential() error {
	if err := c.closed(); err != nil {
		return err
	}
	k, err := c.s.o.Apps.AddCredential(c.r.Context(), c.place.tenant, c.ids[0])
	if err != nil {
		return err
	}
	v := viewCredential(k)
	return c.created(c.base()+"/application/"+c.ids[0]+"/credential/"+k.ClientID, v)
}

func (c *call) refreshCredential() error {
	if err := c.closed(); err != nil {
		return err
	}
	k, err := c.s.o.Apps.RefreshCredential(c.r.Context(), c.place.tenant, c.ids[0], c.ids[1])
	if err != nil {
		return err
	}
	return c.reply(http.StatusOK, viewCredential(k))
}

func (c *call) deleteCredential() error {
	if err := c.noQuery(); err != nil {
		return err
	}
	if err := c.s.o.Apps.DeleteCredential(c.r.Context(), c.place.tenant, c.ids[0], c.ids[1]); err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}
