// Package openapi has no code of its own: its tests validate the OpenAPI
// document of the connectivity API and drive a hub with a client that is
// generated from it, see README.md.
package openapi
