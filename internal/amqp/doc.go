// Package amqp is an engine for AMQP 1.0: values, frames, SASL, connections,
// sessions, links and messages. It serves connections that somebody else
// accepted and knows nothing about what the nodes behind the links mean.
//
// The life of a connection: [Serve] takes a net.Conn, runs the SASL layer when
// the peer asks for one, exchanges OPEN and then reads frames on the goroutine
// that called it until the connection ends. Each ATTACH of the peer becomes a
// [Link] and is handed to the [Handler], which answers it, at once or later,
// with [Link.Accept] or [Link.Refuse]. On a link whose Role is RoleReceiver
// messages of the peer arrive in Link.OnDelivery, each to be answered once
// with [Delivery.Accept], Reject, Release or Modify; the answer also returns
// the credit. On a link whose Role is RoleSender the application calls
// [Link.Send] within the peer's credit and learns outcomes in
// Link.OnDisposition. [Open] is the other side of the same machine: a small
// client for tests and load generators.
//
// Goroutines. One goroutine reads, and runs every callback except OnCredit; it
// holds no lock while it does, so callbacks may call any method here, but they
// must not block: nothing else is read meanwhile. A second goroutine writes; it
// exists only while there is something to write. A timer sends heartbeats and
// ends silent connections. All state of a connection, its sessions, links and
// deliveries is guarded by one mutex, Conn.mu. Methods may be called from any
// goroutine and never wait for the network, except those of the client that
// take a context.
//
// Memory. A silent connection holds no frame buffers beyond 512 bytes. What a
// peer can make the engine keep is limited before it is allocated: frame size,
// values per performative and their nesting, sessions, links, unsettled
// deliveries, bytes of unfinished and unanswered deliveries, unsent bytes. See
// [Options].
//
// Left out: transactions, durable termini and resumption of deliveries. A peer
// that tries gets amqp:not-implemented or a link without history.
//
// Sources: OASIS AMQP 1.0 parts 1 (types), 2 (transport), 3 (messaging) and 5
// (security). Numbers in comments such as "2.7.5" are clauses of these parts.
package amqp
