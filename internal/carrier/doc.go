// Package carrier plays a remote connectivity platform for people and programs
// that want to see what the hub makes of one: it speaks the connectivity API
// (docs/spec/connectivity-api.md) with SIMs in memory, and misbehaves as its
// profiles say. Nothing of it runs in a hub.
//
// A Carrier is an http.Handler. Profiles can be changed while it runs, by Set or
// over HTTP below /control.
package carrier
