package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// bundleRoutes are trust bundles (dps 3.12).
var bundleRoutes = noun[dps.TrustBundle, dps.TrustBundle]{
	path: "/trustBundles", item: "TrustBundle", read: dps.ServiceConfig, write: dps.ServiceConfig,
	get: (*dps.Access).TrustBundle, list: (*dps.Access).TrustBundles,
	parse: dps.ParseTrustBundle, put: (*dps.Access).PutTrustBundle, remove: unforced((*dps.Access).DeleteTrustBundle),
	etag: func(b *dps.TrustBundle) string { return b.ETag },
}.routes()
