// Package hubmqtt is the hub's MQTT 3.1.1 surface: it reads identities from
// user names, topics as operations, property bags as messages, and writes back
// what the hub has for a device. Packets belong to package mqtt, rules to
// package hub. The contract is docs/spec/device-protocols.md, sections 1, 2, 5.
//
// Server.Serve takes one connection through CONNECT: user name, client id,
// proof, seat (which ends an older connection of the same identity), session,
// CONNACK. From then on the connection's reader calls a client, which is the
// mqtt.Handler of the packets and the hub.Peer of the line. A client has no
// goroutine of its own, except while deliveries that the device has
// acknowledged are being settled.
package hubmqtt
