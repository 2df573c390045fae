package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// settingsRoutes are profiles of provisioning settings (dps 6.4).
var settingsRoutes = noun[dps.Settings, dps.Settings]{
	path: "/provisioningSettings", item: "ProvisioningSettings", read: dps.ServiceConfig, write: dps.ServiceConfig,
	get: (*dps.Access).Settings, list: (*dps.Access).SettingsProfiles,
	parse: dps.ParseSettings, put: (*dps.Access).PutSettings, remove: unforced((*dps.Access).DeleteSettings),
	etag: func(p *dps.Settings) string { return p.ETag },
}.routes()
