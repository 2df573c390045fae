// Package controlapi puts iot/v1 on the wire: the HTTPS endpoints below /iot/v1/
// and the token endpoint /oauth/token with /oauth/revoke.
//
// A Server is made by New and needs no Close. Each request passes the stations
// of iot-v1 2.1 in their order: TLS, path and method, bearer token, device,
// scope, plan, body; then a call of the domain. A handler returns its error;
// fail alone turns it into bytes, reports and logs it. Whatever happens, the
// body of an answer bears one of the twelve codes of iot-v1 9.
//
// The JSON Schemas of iot-v1 14 are embedded, served under /iot/v1/schemas/, and
// every answer of the tests is checked against them.
//
// The contract is docs/spec/iot-v1.md.
package controlapi
