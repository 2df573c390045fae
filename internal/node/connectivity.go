package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nave-hub/nave/internal/console"
	"github.com/nave-hub/nave/internal/fault"
	"github.com/nave-hub/nave/internal/hub"
	"github.com/nave-hub/nave/internal/oauth"
	"github.com/nave-hub/nave/internal/sim"
	"github.com/nave-hub/nave/internal/simapi"
	"github.com/nave-hub/nave/internal/store"
)

// Connectivity is the connectivity API: SIMs and their platforms. Every hub is a
// tenant of it.
type Connectivity struct {
	Enabled        bool          `koanf:"enabled" default:"true" doc:"Serve the connectivity API: /api/, /oauth2/ and /problems/ on every hub's host, over HTTPS. Off: 404 (api_disabled)."`
	TokenLifetime  time.Duration `koanf:"tokenLifetime" default:"5m" doc:"How long access tokens of applications live, 1m to 1h."`
	TrustedProxies []string      `koanf:"trustedProxies" doc:"Addresses or networks (10.0.0.0/8) of proxies whose Forwarded and X-Forwarded-For count."`
	RateLimit      RateLimit     `koanf:"rateLimit"`
	Abuse          Abuse         `koanf:"abuse"`
	Retention      time.Duration `koanf:"retention" default:"9672h" doc:"How long usage, data sessions and messages are kept, 13 months."`
	MonitorKeep    time.Duration `koanf:"monitorRetention" default:"168h" doc:"How long ended monitors and tasks are kept."`
	AsyncTimeout   time.Duration `koanf:"asyncTimeout" default:"24h" doc:"When an asynchronous change without result ends with an error."`
}

// RateLimit are the limits of the connectivity API.
type RateLimit struct {
	Address int  `koanf:"addressPerSecond" default:"150" doc:"Requests of one client address a second; 0: no limit."`
	Tenant  int  `koanf:"tenantPerSecond" default:"150" doc:"Requests to one tenant a second; 0: no limit."`
	App     int  `koanf:"applicationPerHour" default:"36000" doc:"Requests of one application an hour; 0: no limit."`
	Tokens  int  `koanf:"tokensPerMinute" default:"600" doc:"Token requests of one client address a minute; 0: no limit."`
	Legacy  bool `koanf:"legacyHeaders" default:"true" doc:"Send RateLimit-Limit, -Remaining and -Reset beside the structured headers."`
}

// Abuse is the ban of addresses that cause errors.
type Abuse struct {
	Enabled    bool          `koanf:"enabled" default:"false" doc:"Ban addresses that get too many answers 400 to 499."`
	Threshold  int           `koanf:"threshold" default:"300" doc:"Such answers within the window."`
	Window     time.Duration `koanf:"window" default:"60s" doc:"Length of the window."`
	Ban        time.Duration `koanf:"ban" default:"48h" doc:"Length of a ban."`
	Exceptions []string      `koanf:"exceptions" doc:"Addresses or networks that are never banned."`
}

func (c *Connectivity) check() error {
	if c.TokenLifetime < time.Minute || c.TokenLifetime > time.Hour {
		return fmt.Errorf("connectivity.tokenLifetime is %s: allowed are 1m to 1h", c.TokenLifetime)
	}
	if _, err := prefixes("connectivity.trustedProxies", c.TrustedProxies); err != nil {
		return err
	}
	_, err := prefixes("connectivity.abuse.exceptions", c.Abuse.Exceptions)
	return err
}

// tenantForm is the form of a tenant's name (connectivity-api 1.1).
var tenantForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// tenants returns the hubs' names as tenants, in the order of hubs.
func (c *Config) tenants() (names []string) {
	for _, h := range c.hubs() {
		host := strings.ToLower(h.Host)
		name, _, _ := strings.Cut(host, ".")
		if h.Tenant != "" {
			name = h.Tenant
		} else if slices.Contains(names, name) || net.ParseIP(host) != nil {
			name = strings.NewReplacer(".", "-", ":", "-").Replace(host)
		}
		names = append(names, name)
	}
	return names
}

func (c *Config) checkTenants() error {
	names := c.tenants()
	for n, name := range names {
		switch {
		case !tenantForm.MatchString(name):
			return fmt.Errorf("hub.tenant of %s is %q: allowed are lower-case letters, digits and hyphens, at most 63", c.hubs()[n].Host, name)
		case slices.Contains(names[:n], name):
			return fmt.Errorf("two hubs are the tenant %s, set hub.tenant", name)
		}
	}
	return nil
}

// connectivity is the connectivity API with its domain; sim is nil when it is
// switched off.
type connectivity struct {
	sim    *sim.Service
	apps   *oauth.Apps
	server *simapi.Server
}

// openConnectivity starts the connectivity API, once the hubs are open.
func (n *Node) openConnectivity(ctx context.Context) (err error) {
	c := &n.conf.Connectivity
	key, err := n.secretKey(ctx)
	if err != nil {
		return err
	}
	host := strings.ToLower(n.conf.Hub.Host)
	s := &connectivity{}
	n.sims = s
	s.apps, err = oauth.OpenApps(ctx, oauth.AppsOptions{Host: host, DB: n.db.Scope("connectivity:" + host), Bus: n.bus, Lifetime: c.TokenLifetime, Secret: key, Log: n.log})
	if err != nil {
		return err
	}
	if c.Enabled {
		if s.sim, err = sim.Open(ctx, n.simOptions(c, key)); err != nil {
			return err
		}
	}
	proxies, err := prefixes("connectivity.trustedProxies", c.TrustedProxies)
	if err != nil {
		return err
	}
	exceptions, err := prefixes("connectivity.abuse.exceptions", c.Abuse.Exceptions)
	if err != nil {
		return err
	}
	s.server = simapi.New(simapi.Options{Sim: s.sim, Apps: s.apps, Host: host, Hosts: n.otherHosts(), Disabled: !c.Enabled, Proxies: proxies,
		Limits: c.RateLimit.limits(), Abuse: simapi.Abuse{Enabled: c.Abuse.Enabled, Threshold: c.Abuse.Threshold, Window: c.Abuse.Window, Ban: c.Abuse.Ban, Exceptions: exceptions},
		Log: n.log})
	return n.seedConnectivity(ctx)
}

// limits returns the limits as the surface takes them: there 0 is the default
// and a negative number switches one off.
func (r *RateLimit) limits() simapi.Limits {
	off := func(n int) int {
		if n == 0 {
			return -1
		}
		return n
	}
	return simapi.Limits{PerAddress: off(r.Address), PerTenant: off(r.Tenant), PerApp: off(r.App), Tokens: off(r.Tokens), NoLegacy: !r.Legacy}
}

// otherHosts returns the names besides the first hub's that clients dial.
func (n *Node) otherHosts() []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	for i, h := range n.conf.hubs() {
		if i > 0 {
			all = append(all, strings.ToLower(h.Host))
		}
		all = append(all, h.Aliases...)
	}
	return all
}

// What a new tenant has.
const (
	firstAccount  = "HUBSIM_1"
	firstPlatform = "HUBSIM"
	firstOffering = "off-default"
	// seeded is the setting of a tenant that has had its first account.
	seeded = "connectivity.seeded"
)

// seedConnectivity gives every new tenant an account at the platform inside the
// hub, and a tariff without a limit, so that SIMs can be imported at once. What
// an operator has removed does not come back.
func (n *Node) seedConnectivity(ctx context.Context) error {
	if n.sims.sim == nil {
		return nil
	}
	for i, name := range n.conf.tenants() {
		db := n.db.Scope(strings.ToLower(n.sites[i].conf.Host))
		err := db.View(ctx, func(tx *store.Tx) error { _, err := tx.Setting(seeded); return err })
		if err == nil {
			continue
		}
		if !errors.Is(err, store.ErrNone) {
			return err
		}
		if err := seedTenant(ctx, n.sims.sim.Tenant(name)); err != nil {
			return fmt.Errorf("the first platform account of %s: %w", name, err)
		}
		if err := db.Update(ctx, func(tx *store.Tx) error { return tx.PutSetting(seeded, "1") }); err != nil {
			return err
		}
	}
	return nil
}

func seedTenant(ctx context.Context, t *sim.Tenant) error {
	a := t.As(sim.Actor{Type: sim.ByHub, ID: "hub", Rights: sim.Read | sim.Administer})
	_, err := a.CreatePlatform(ctx, sim.Account{Account: firstAccount, Platform: firstPlatform, Adapter: sim.AdapterEmbedded, Enabled: true})
	if err != nil && !errors.Is(err, fault.SIMDuplicate) { // another node was faster
		return err
	}
	_, err = a.CreateOffering(ctx, sim.Offering{ID: firstOffering, Name: "Unlimited", Account: firstAccount})
	if err != nil && !errors.Is(err, fault.SIMDuplicate) {
		return err
	}
	return nil
}

func (n *Node) simOptions(c *Connectivity, key []byte) sim.Options {
	o := sim.Options{Bus: n.bus, Key: key, Retention: c.Retention, MonitorKeep: c.MonitorKeep, AsyncTimeout: c.AsyncTimeout, Log: n.log}
	names := n.conf.tenants()
	for i, s := range n.sites {
		o.Tenants = append(o.Tenants, sim.TenantOptions{Name: names[i], Hub: s.hub, DB: n.db.Scope(strings.ToLower(s.conf.Host)), Gate: s.gate})
	}
	return o
}

// closeConnectivity ends the connectivity API; before the hubs.
func (n *Node) closeConnectivity() (err error) {
	if n.sims == nil {
		return nil
	}
	if n.sims.sim != nil {
		err = n.sims.sim.Close()
	}
	if n.sims.apps != nil {
		n.sims.apps.Close()
	}
	return errors.Join(err)
}

// operate is the connectivity API for the console, nil when it is off.
func (n *Node) operate() *console.Connectivity {
	if n.sims.sim == nil {
		return nil
	}
	tenants := map[*hub.Hub]string{}
	for i, name := range n.conf.tenants() {
		tenants[n.sites[i].hub] = name
	}
	return &console.Connectivity{Tenant: func(h *hub.Hub) string { return tenants[h] }, As: n.sims.server.Operator}
}

// Connectivity returns domain and applications of the connectivity API; sims is
// nil when it is off.
func (n *Node) Connectivity() (sims *sim.Service, apps *oauth.Apps) { return n.sims.sim, n.sims.apps }
