// Package simapi puts the connectivity API on the wire: products, monitors,
// tasks, links and platforms below /api/connectivity/v1/{tenant}, the
// management of applications below /api/applications/v1/{tenant}, and the
// token endpoint with its keys and metadata.
//
// A Server is made by New and needs no Close; one serves all tenants of a
// process. Each request passes the checks of connectivity-api HT-1 in their
// order: sizes, address, token, tenant, limits, path and method, permission,
// headers, body, query; then a call of the domain. A handler returns its error;
// fail alone turns it into a problem, counts and logs it.
//
// The JSON Schemas of connectivity-api 14 and the OpenAPI document of 15 are
// embedded and served without a token at /api/connectivity/v1/openapi.json and
// /api/connectivity/v1/connectivity-v1.json; every answer of the tests is
// checked against them.
//
// The contract is docs/spec/connectivity-api.md.
package simapi
