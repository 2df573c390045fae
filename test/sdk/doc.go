// Package sdk has no code of its own: its tests run the vendors' unmodified
// device and service SDKs against a node, see README.md.
package sdk
