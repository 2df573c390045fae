// Package hubhttp puts one hub on HTTPS: the REST calls of devices (telemetry,
// receiving cloud-to-device messages) and those of services (registry, bulk,
// twins, direct methods, queues, feedback, statistics).
//
// A Server is made by New and holds nothing but its options, so it needs no
// Close. Each request passes the same stations: route by the raw path,
// authenticate, check api-version, read the body within its limit, call the
// hub, write. A handler returns its error; fail alone turns it into bytes,
// reports and logs it.
//
// Devices and services share the URL space. The route tables at the top of the
// noun files say which is which: deviceRoutes are proven by a device's own
// credentials and get a hub.Line, all others by a policy or bearer token and
// get a hub.Backend. WebSocket upgrades are not served here.
//
// net/http hands header names over in canonical spelling, so the names of
// application properties that devices send in headers are stored in lower case
// (device-protocols 4.2 leaves that open); a batch keeps them as they are.
//
// The contract is docs/spec/service-api.md sections 1, 2, 5, 7 and
// docs/spec/device-protocols.md sections 0.4, 4 and 6.
package hubhttp
