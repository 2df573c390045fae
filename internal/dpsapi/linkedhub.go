package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// linkedHubRoutes are links to hubs (dps 3.11, 6.6).
var linkedHubRoutes = noun[dps.LinkedHub, dps.LinkedHub]{
	path: "/linkedHubs", item: "LinkedHub", read: dps.ServiceConfig, write: dps.ServiceConfig,
	get: (*dps.Access).LinkedHub, list: (*dps.Access).LinkedHubs,
	parse: dps.ParseLinkedHub, put: (*dps.Access).PutLinkedHub, remove: (*dps.Access).DeleteLinkedHub,
	etag: func(l *dps.LinkedHub) string { return l.ETag },
}.routes()
