// Package hub holds what an IoT hub does with one device at a time: it
// authenticates identities, keeps a line to each live device, takes telemetry,
// queues cloud-to-device messages, carries direct methods, keeps twins and the
// registry, and writes the events of all of that to the log.
//
// A Hub is a value; a process may hold several. Devices meet it through a Line
// (Authenticate, then Connect), services through a Backend (Admit, then
// Backend). Both are bound to a principal once, so no operation takes one. Each
// operation enters through gate with its gate.Op, which stands above the
// method.
//
// The hub knows no protocol: the far end of a Line is a Peer, which a surface
// implements. Storage is the truth; the bus carries events, calls between nodes
// and wake-ups that may be lost, so receivers re-read the store.
//
// The contract behind it is docs/spec/hub-semantics.md, with the failure matrix
// of docs/spec/device-protocols.md 1.5.
package hub
