// Package mqtt is an engine for MQTT 3.1.1 (OASIS Standard, 29 October 2014) and, where Options.Versions allows it, MQTT 5.0 (7 March
// 2019): the codec of every packet, the server side of a connection, and a small client for load and tests. It knows topics as text
// and nothing of what they mean; QoS 2, shared subscriptions, sessions and extended authentication are not spoken.
//
// A server connection lives in three steps. Accept reads the CONNECT on the caller's goroutine, where a TLS handshake may
// have left a large stack. Session.Refuse answers with a return code and ends it; Session.Serve answers 0 and gives a Conn.
// Conn.Start then begins to read on a goroutine of its own, and calls the Handler until Handler.Closed, which is always last.
//
// A connection has two goroutines: the reader lives as long as the connection and makes every call to the handler; the
// writer exists only while there is something to write. An idle connection therefore costs one small stack and no buffer:
// buffers come from pools, and the reader gives its own back before it blocks.
//
// Acknowledgements are deferred: a QoS 1 PUBLISH comes with an Ack, which any goroutine may complete at any time, in any
// order. The PUBACKs leave in the order in which the publishes came.
//
// A connection of MQTT 5.0 differs by one pointer, which is nil for 3.1.1. It announces its limits with CONNACK, keeps those of the
// peer (receive maximum, packet size), and says why it ends with DISCONNECT: see ReasonError.
//
// Rules are cited in code as the specification numbers them, for instance [MQTT-3.1.2-24].
package mqtt
