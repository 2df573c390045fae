// Package hubamqp is the AMQP 1.0 surface of a hub: devices, services and
// readers of events share one port, one token node ($cbs) and often one
// connection. It maps addresses, messages and outcomes to calls of the hub; it
// holds no rules of the hub, and the protocol itself is the engine's.
//
// A [Server] is made for one hub. Serve runs one connection on the calling
// goroutine: SASL, then OPEN, then for each ATTACH the link that its address
// asks for. What a connection may do is a list of claims, one for each audience
// that a token was put for; a link is judged when it attaches. Each device
// identity on the connection has a seat: a hub.Line, the links that carry its
// traffic, and a queue of its own for whatever waits for the store, so that
// neither the reader of the connection nor another identity waits for it.
// Errors of one identity end its links and nothing else.
//
// Goroutines. The engine's reader calls Attach, OnDelivery and the other
// callbacks. Token requests and the proof of a link's identity run on the
// queue of the connection, in the order of arrival; everything about a seat's
// links on the queue of the seat. A queue is a goroutine only while it has
// something to do. The hub calls the seat (hub.Peer) from anywhere.
//
// Lock order: conn.mu before seat.mu; neither is held across a call into the
// hub. The engine may be called with seat.mu held: it never calls back from
// inside, except OnCredit from Accept.
//
// The contract is docs/spec/device-protocols.md sections 1 and 3, and for
// services and readers docs/spec/service-api.md sections 3, 4 and 7.3.
package hubamqp
