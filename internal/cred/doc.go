// Package cred judges and makes proofs of identity: shared access signatures, keys, X.509 thumbprints and chains, and the
// connection strings that carry them.
//
// It knows nothing about hubs, devices or rights: a caller looks up the keys, thumbprints and CA certificates registered for
// the identity that is claimed and asks whether the [Claim] fits them. Everything here is a pure function of its arguments;
// the clock is passed in, values are safe for concurrent use once made, and no text it returns holds a key or a signature.
//
// Sources: docs/spec device-protocols 1.2 to 1.5, service-api 1.2 and 1.3, dps 2.7 to 2.9; RFC 5280 section 6.
package cred
