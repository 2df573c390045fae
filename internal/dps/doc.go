// Package dps is the provisioning service: enrolments, attestation, allocation
// over linked hubs, registrations and what belongs to them (docs/spec/dps.md).
//
// A Service is one instance with an id scope and a service host name. Devices
// call Register, Status and Lookup with a Claim, whatever the protocol; whoever
// manages the instance gets an Access by As, and every method of it passes the
// gate. Registrations are carried out by workers: Register stores an operation
// and answers that it is being assigned; any node may finish it.
package dps
