package dpsapi

import (
	"net/url"
	"strings"
)

// Protocols that a WebSocket carries, as WebSocket names them.
const (
	MQTTProtocol = "mqtt"
	AMQPProtocol = "AMQPWSB10"
)

// socketPaths are where SDKs upgrade: C#, Java over MQTT, and all the others
// (dps 2.6).
var socketPaths = []string{"/", "", "/mqtt", "/$iothub/websocket"}

// IsSocketPath says whether a path, percent-decoded, is one where a WebSocket
// may be opened on a host of the provisioning service (dps 2.6). The root is one
// of them, so ask only for requests that want an upgrade.
func IsSocketPath(path string) bool {
	for _, p := range socketPaths {
		if strings.EqualFold(path, p) {
			return true
		}
	}
	return false
}

// ChooseProtocol takes the first sub-protocol that is known, in any letter
// case: protocol is MQTTProtocol or AMQPProtocol, token the client's spelling,
// which the answer must echo. Both are empty when none is known (dps 2.6).
func ChooseProtocol(offered []string) (protocol, token string) {
	for _, token := range offered {
		for _, p := range []string{MQTTProtocol, AMQPProtocol} {
			if strings.EqualFold(token, p) {
				return p, token
			}
		}
	}
	return "", ""
}

// WithoutCertificate says whether the query asks that the connection counts as
// one without client certificate (dps 2.6). With AMQP it never does: Java's SDK
// asks for it there whatever it has, and a device that proves itself with a
// certificate would not get in.
func WithoutCertificate(protocol, rawQuery string) bool {
	if protocol != MQTTProtocol {
		return false
	}
	q, _ := url.ParseQuery(rawQuery) // what can be read of it counts
	for name, values := range q {
		if strings.EqualFold(name, "iothub-no-client-cert") && len(values) > 0 && strings.EqualFold(values[0], "true") {
			return true
		}
	}
	return false
}
