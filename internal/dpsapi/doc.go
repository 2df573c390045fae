// Package dpsapi puts the provisioning service on the wire (docs/spec/dps.md):
// the device API over HTTPS, MQTT and AMQP, the latter two also over WebSocket,
// and the service API over HTTPS.
//
// A Server is an http.Handler for both APIs of one instance. Routes of the
// service API are one table: a noun's file declares its routes, each with the
// right it needs, and their handlers; call takes a request through version,
// proof and right to the handler, and fail is the only place where an error
// becomes an answer. MQTT and AMQP serve connections that a listener has
// accepted.
package dpsapi
