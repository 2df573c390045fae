package dpsapi

import "github.com/nave-hub/nave/internal/dps"

// credentialRoutes are credential policies (dps 3.12).
var credentialRoutes = noun[dps.CredentialPolicy, dps.CredentialPolicy]{
	path: "/credentialPolicies", item: "CredentialPolicy", read: dps.ServiceConfig, write: dps.ServiceConfig,
	get: (*dps.Access).CredentialPolicy, list: (*dps.Access).CredentialPolicies,
	parse: dps.ParseCredentialPolicy, put: (*dps.Access).PutCredentialPolicy, remove: (*dps.Access).DeleteCredentialPolicy,
	etag: func(p *dps.CredentialPolicy) string { return p.ETag },
}.routes()
